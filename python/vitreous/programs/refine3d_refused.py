"""Flags of RELION's refinement program that refine3d, class3d or initial-model do not have, and what to do instead."""

from __future__ import annotations

from vitreous.programs import refine_refused as flags

_MAPS = (
    (
        "helical refinement is not in vitreous yet: leave it out to treat segments as single particles, or use "
        "relion_refine",
        f"{flags.HELIX} bimodal_psi",
    ),
    ("tomography is not in vitreous yet: use relion_refine", flags.SUBTOMOGRAMS),
    (
        "it is not in vitreous yet: leave it out, or use relion_refine",
        f"{flags.MULTIBODY} {flags.LEARNED_PRIOR} limit_tilt only_sample_tilt local_symmetry asymmetric_padding",
    ),
    ("relaxed symmetry is not in vitreous yet: leave it out, or use --sym C1 --sigma_ang 3", "relax_sym"),
    (
        "offsets are searched around each particle's own: leave it out, and set --offset_range and --offset",
        flags.OFFSET_PRIORS,
    ),
    ("in 3D the in-plane step is that of --healpix_order: leave it out", "psi_step"),
    ("cross-correlation is for the first iteration only: leave it out, or give --firstiter_cc", "always_cc"),
    (
        "it is an option of 2D classification: leave it out, and centre the first reference before the run "
        "(relion_image_handler --shift_com)",
        "center_classes",
    ),
    (
        "it is an option of 2D classification: leave it out",
        "skip_rotate skip_maximize abort_at_resolution",
    ),
    *flags.EVERYWHERE,
)
_BOTH = (
    (
        "steps along the gradient are for initial models: leave it and the other gradient options out, or use vitreous "
        "initial-model",
        f"{flags.GRADIENT} {flags.OLD_GRADIENT}",
    ),
    ("an initial model is not made here: leave it out, and give the map of vitreous initial-model with --ref", "denovo_3dref"),
    ("it is an option of first references: leave it out, or use vitreous initial-model", "no_init_blobs"),
    *_MAPS,
)

REFUSED_REFINE3D: dict[str, str] = flags.refused(
    (
        *_BOTH,
        ("there is one map: leave it out, or use vitreous class3d", "K"),
        ("refinement ends when it has converged: leave it out, or give --auto_iter_max", "iter"),
        (
            "all particles are aligned in every iteration: leave it out, or use vitreous class3d",
            "fast_subsets skip_align",
        ),
        (
            "refinement chooses its sampling itself: leave it out, or set where it starts with --healpix_order",
            f"{flags.AUTO_SAMPLING} allow_coarser_sampling",
        ),
        (
            "the halves are joined at low resolution and in the last iteration only: leave it out, or set "
            "--low_resol_join_halves",
            "join_random_halves always_join_random_halves",
        ),
        ("it is a developer's option of RELION: leave it out", "sequential_halves_recons"),
    )
)

REFUSED_CLASS3D: dict[str, str] = flags.refused(
    (
        *_BOTH,
        ("it belongs to the refinement of two half-sets: leave it out, or use vitreous refine3d", flags.TWO_HALVES),
        (
            "the sampling of a classification is fixed: leave it out, and set --healpix_order and --offset_step",
            f"{flags.AUTO_SAMPLING} allow_coarser_sampling",
        ),
    )
)

REFUSED_INITIAL: dict[str, str] = flags.refused(
    (
        *_MAPS,
        (
            flags.NO_OLD_GRADIENT,
            flags.OLD_GRADIENT,
        ),
        ("it belongs to the refinement of two half-sets: leave it out, or use vitreous refine3d", flags.TWO_HALVES),
        (
            "the run chooses its sampling: leave it out, and set --max_healpix_order",
            "minimum_angular_sampling maximum_angular_sampling allow_coarser_sampling",
        ),
    )
)
