"""One engine for single-particle cryo-EM and cryo-ET that speaks RELION's files and flags.

Programs are functions here, with _ for - in their names and options by their flag names, as on the command line:
``from vitreous import class2d; class2d(i="particles.star", o="Class2D/run", K=50)``. Each returns the Result of its
module in vitreous.programs, and raises errors.InputError, in one line, where an option or a file is not as expected.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vitreous._io import version as __version__

__all__ = ["__version__"]  # and the programs


def __getattr__(name: str) -> Callable[..., Any]:
    """The function of a program."""
    from vitreous.cli import PROGRAMS, call

    program = name.rstrip("_").replace("_", "-")
    if program not in PROGRAMS:
        raise AttributeError(f"vitreous has no {name!r}, expected a program: {', '.join(sorted(PROGRAMS))}")

    def run(**options: Any) -> Any:
        return call(program, **options)

    run.__name__, run.__doc__ = name, f"{PROGRAMS[program][1]}; options by their flag names, see vitreous {program} --help."
    return run


def __dir__() -> list[str]:
    from vitreous.cli import PROGRAMS

    return [*globals(), *(program.replace("-", "_") for program in PROGRAMS)]
