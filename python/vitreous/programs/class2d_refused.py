"""Flags of RELION's refinement program that class2d does not have, and what to do instead."""

from __future__ import annotations

from vitreous.programs import refine_refused as flags

_GROUPS = (
    (
        flags.NO_OLD_GRADIENT,
        flags.OLD_GRADIENT,
    ),
    (
        "helical classification is not in vitreous yet: leave it out to classify segments as single particles",
        flags.HELIX,
    ),
    (
        "it belongs to 3D refinement: leave it out, or use vitreous refine3d",
        f"{flags.TWO_HALVES} {flags.AUTO_SAMPLING}",
    ),
    (
        "it belongs to 3D refinement and is not in vitreous yet: leave it out, or use relion_refine",
        f"{flags.MULTIBODY} {flags.LEARNED_PRIOR}",
    ),
    (
        "it belongs to 3D classification and refinement: leave it out, or use vitreous class3d or refine3d",
        "healpix_order",
    ),
    (
        "it belongs to 3D classification and refinement and is not in vitreous yet: leave it out, or use relion_refine",
        f"limit_tilt relax_sym denovo_3dref local_symmetry only_sample_tilt asymmetric_padding {flags.SUBTOMOGRAMS}",
    ),
    (
        "searches around known angles or offsets are not in vitreous yet: leave it out, or use --skip_rotate "
        "or --skip_align",
        f"sigma_ang sigma_rot sigma_tilt sigma_psi {flags.OFFSET_PRIORS}",
    ),
    (
        "give references with the box and pixel size of the particles (relion_image_handler --rescale_angpix "
        "--new_box)",
        "ref_angpix trust_ref_size",
    ),
    *flags.EVERYWHERE,
)

REFUSED: dict[str, str] = flags.refused(_GROUPS)
