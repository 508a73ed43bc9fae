"""3D classification by expectation-maximisation: particles in, K maps and tables out."""

from __future__ import annotations

from vitreous.programs import refine_volume
from vitreous.programs.class3d_options import Options
from vitreous.programs.refine_volume import Course, Result

__all__ = ["Options", "Result", "run"]


def run(options: Options, be, comm) -> Result:
    """Run to the last iteration; every iteration leaves files from which the run can go on."""
    return refine_volume.run(options, be, comm, course, options.K)


def course(options: Options) -> Course:
    """A given number of iterations with one sampling."""
    return Course(None, options.iter)
