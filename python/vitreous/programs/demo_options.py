"""Options of demo."""

from __future__ import annotations

from typing import ClassVar

from vitreous.errors import InputError
from vitreous.programs.options import Common, ProgramOptions, again, option

OF_CLASSES = ("n", "K", "iter")  # options that the run to a map does not have


class Options(ProgramOptions):
    """A first run."""

    PROGRAM: ClassVar[str] = "demo"
    SUMMARY: ClassVar[str] = "all steps from self-made micrographs to a map, compared with the truth"
    EXAMPLES: ClassVar[tuple[str, ...]] = (
        "vitreous demo",
        "vitreous demo --classes   a 2D classification alone: ten seconds of CPU",
        "vitreous demo --i particles.star --o try",
    )

    output: str = option("demo", "folder for everything that is made", group="output", flag="o", metavar="FOLDER")
    verb: int = again(Common, "verb")
    particles: str | None = option(
        None,
        "your own particles: they are classified with defaults for a first look; there is no truth to compare with",
        group="input",
        flag="i",
        metavar="FILE",
        unset="simulated micrographs",
    )
    classes: bool = option(False, "make particles in place of micrographs, and only classify them: ten seconds of CPU", group="basic")
    n: int = option(1500, "number of simulated particles, with --classes", group="basic", ge=100)
    K: int | None = option(
        None, "number of classes, with --classes or --i", group="basic", ge=1, unset="12, or one per 150 of your particles"
    )
    iter: int = option(25, "iterations, with --classes or --i", group="basic", ge=1)
    j: int = again(Common, "j")
    random_seed: int = option(1, "seed of all random numbers", group="compute", ge=0)

    def check(self) -> None:
        """Raise InputError for options that do not go together."""
        if self.particles is not None and self.classes:
            raise InputError("--classes: found with --i, expected one of them; leave --classes out")
        for name in OF_CLASSES if self.particles is None and not self.classes else ():
            if self.is_given(name):
                raise InputError(f"--{name}: found without --classes, expected an option of the run to a map; give --classes")
        if self.particles is not None and self.is_given("n"):
            raise InputError("--n: found with --i, expected simulated particles; leave one of them out")
