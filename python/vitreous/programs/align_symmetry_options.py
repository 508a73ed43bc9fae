"""Options of ``vitreous align-symmetry``."""

from __future__ import annotations

from typing import ClassVar

from pydantic import field_validator, model_validator

from vitreous.programs.options import Common, ProgramOptions, again, option
from vitreous.programs.volume_options import symmetry_name

GRID = "all orientations that differ are searched, on a grid as fine as the map tells"
OPTIMISER = "an optimiser refines angles and centre to the end"


class Options(ProgramOptions):
    """Axes of a point group in a map."""

    PROGRAM: ClassVar[str] = "align-symmetry"
    SUMMARY: ClassVar[str] = "the axes of a point group in a map, brought to their places; or which group a map has"
    EXAMPLES: ClassVar[tuple[str, ...]] = (
        "vitreous align-symmetry --i InitialModel/job005/run_it200_class001.mrc --sym D2 --apply_sym --o aligned.mrc",
        "vitreous align-symmetry --i run_it200_model.star --select_largest_class --sym O --o aligned.mrc",
        "vitreous align-symmetry --i run_class001.mrc --detect --o aligned.mrc",
    )

    input: str | None = option(
        None, "map, white on dark; or a model.star, whose maps are all tried", group="input", flag="i", metavar="FILE",
        unset="required",
    )  # fmt: skip
    select_largest_class: bool = option(False, "of a model.star, the class with most particles", group="input")
    select_highest_resol: bool = option(False, "of a model.star, the class with the best resolution", group="input")
    angpix: float | None = option(None, "pixel size", group="input", unit="A", unset="from the header", gt=0)
    output: str = option("aligned.mrc", "the turned map", group="output", flag="o", metavar="FILE")
    pipeline_control: str | None = again(Common, "pipeline_control")
    verb: int = again(Common, "verb")
    sym: str = option("C1", "point group: Cn, Dn, T, O, I1 to I4; C1 leaves the map as it is", group="basic")
    detect: bool = option(False, "find the point group, then turn the map for it", group="basic")
    apply_sym: bool = option(False, "average the turned map over the group", group="basic")
    keep_centre: bool = option(False, "the centre of the box is that of the group", group="basic")
    presumed: bool = option(False, "the group is only tried: that the map does not show it is no warning", group="expert")
    only_rot: bool = option(False, "turn the map about z alone", group="basic")
    maxres: float | None = option(
        None, "finest detail to compare", group="basic", unit="A", unset="a seventh of the diameter, at most 20 A", gt=0
    )
    box_size: int = option(
        64, "side to which larger maps are brought for the search", group="expert", unit="px", ge=16, le=512
    )
    most_fold: int = option(12, "highest order of an axis that --detect looks for", group="expert", ge=2, le=24)
    NN: bool = option(False, "take the nearest voxel when the map is turned, not a cubic spline", group="expert")
    nr_uniform: int = option(400, "random orientations to try", group="expert", ge=0, no_effect=GRID)
    local_search_range: float = option(2, "steps of the local search", group="expert", ge=0, no_effect=OPTIMISER)
    local_search_step: float = option(
        2, "step of the local search", group="expert", unit="deg", ge=0, no_effect=OPTIMISER
    )
    pad: float = option(
        2, "padding of the transform", group="expert", ge=1, no_effect="maps are turned in real space, by splines"
    )
    j: int = again(Common, "j")

    @field_validator("sym")
    @classmethod
    def _read_symmetry(cls, value: str) -> str:
        return symmetry_name(value)

    @model_validator(mode="after")
    def _check(self) -> Options:
        if self.input is None:
            raise ValueError("--i: found no map, expected one; give an .mrc file or a model.star")
        selections = self.select_largest_class + self.select_highest_resol
        if selections > 1:
            raise ValueError(
                "--select_largest_class: found --select_highest_resol beside it, expected one way to select; give one"
            )
        if selections and not self.input.endswith(".star"):
            raise ValueError(
                f"--i: found the map {self.input} with a selection of classes, expected a model.star; leave the "
                "selection out"
            )
        if self.detect and self.sym != "C1":
            raise ValueError(f"--detect: found --sym {self.sym} beside it, expected one of the two; leave one out")
        if self.detect and self.only_rot:
            raise ValueError("--detect: found --only_rot beside it, expected a search of all axes; leave one out")
        return self
