"""Options of auto."""

from __future__ import annotations

from typing import ClassVar

from pydantic import field_validator

from vitreous.programs.options import SHARED_THREADS, Common, ProgramOptions, again, option
from vitreous.programs.volume_options import symmetry_name


class Options(ProgramOptions):
    """From micrographs or particles to a map."""

    PROGRAM: ClassVar[str] = "auto"
    SHARED: ClassVar[bool] = True
    SUMMARY: ClassVar[str] = "from micrographs with their CTF, or particles, to a map from two half-sets"
    EXAMPLES: ClassVar[tuple[str, ...]] = (
        "vitreous auto --i CtfFind/job003/micrographs_ctf.star --o auto",
        "vitreous auto --i particles.star --o auto --particle_diameter 180 --sym D2",
        "vitreous auto --i micrographs_ctf.star --o auto --overrides mine.yaml   the same command goes on after a stop",
    )

    input: str | None = option(
        None, "micrographs with their CTF, or extracted particles: a STAR file", group="input", flag="i", metavar="FILE",
        unset="required",
    )  # fmt: skip
    overrides: str | None = option(
        None, "YAML file with choices and options of steps in place of the program's own", group="input", metavar="FILE",
        unset="none",
    )  # fmt: skip
    output: str = option("auto", "project folder, in which every step is a job folder", group="output", flag="o", metavar="FOLDER")
    stop_after: str | None = option(None, "stop when this step is done", group="output", metavar="STEP", unset="the last")
    pipeline_control: str | None = again(
        Common, "pipeline_control",
        "folder for RELION_JOB_EXIT_SUCCESS, _FAILURE or _ABORTED; RELION_JOB_ABORT_NOW there stops the run",
    )  # fmt: skip
    verb: int = again(Common, "verb", "0 is silent, 2 lets the steps speak for themselves")
    particle_diameter: float | None = option(
        None, "largest extent of the particle", group="basic", unit="A", unset="estimated", gt=0
    )
    sym: str | None = option(None, "point group: C1, C4, D7, T, O, I, ...", group="basic", unset="found in the first map")
    no_pick_again: bool = option(False, "do not pick once more with the map, where that would find more particles", group="basic")
    j: int = again(Common, "j", SHARED_THREADS)
    random_seed: int = option(1, "seed of all random numbers", group="compute", ge=0)

    @field_validator("sym")
    @classmethod
    def _read_symmetry(cls, value: str | None) -> str | None:
        return None if value in (None, "auto") else symmetry_name(value)
