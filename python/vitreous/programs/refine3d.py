"""3D refinement of one map from two independent half-sets."""

from __future__ import annotations

from vitreous.engine.schedule3d import AutoOptions
from vitreous.programs import refine_volume
from vitreous.programs.refine3d_options import Options
from vitreous.programs.refine_volume import Course, Result

__all__ = ["Options", "Result", "run"]


def run(options: Options, be, comm) -> Result:
    """Refine to convergence; every iteration leaves files from which the run can go on."""
    return refine_volume.run(options, be, comm, course, 1)


def course(options: Options) -> Course:
    """Automatic sampling in half-sets."""
    auto = AutoOptions(
        local_order=options.auto_local_healpix_order,
        ignore_angles=options.auto_ignore_angles,
        resolution_angles=options.auto_resol_angles,
    )
    join_A = options.low_resol_join_halves or 0.0
    return Course(auto, options.auto_iter_max, join_A, options.solvent_correct_fsc, options.force_converge)
