"""Flags of RELION's refinement program that vitreous lacks, by method: the lists that several programs refuse."""

from __future__ import annotations

from collections.abc import Iterable

GRADIENT = (
    "grad grad_em_iters grad_ini_frac grad_fin_frac grad_ini_subset grad_fin_subset mu grad_stepsize "
    "grad_stepsize_scheme grad_write_iter class_inactivity_threshold grad_ini_resol grad_fin_resol tau2_fudge_scheme"
)
OLD_GRADIENT = (
    "grad_min_resol som som_ini_nodes som_connectivity som_inactivity_threshold "
    "som_neighbour_pull sgd stochastic_em sgd_ini_iter sgd_fin_iter sgd_inbetween_iter sgd_ini_resol sgd_fin_resol "
    "sgd_ini_subset sgd_fin_subset sgd_stepsize sgd_sigma2fudge_initial sgd_sigma2fudge_halflife sgd_skip_anneal "
    "sgd_write_iter"
)
NO_OLD_GRADIENT = "it has no effect in RELION 5 either, or belongs to its older gradients: leave it out"
HELIX = (
    "helix ignore_helical_symmetry helical_nr_asu helical_twist_initial helical_twist_min helical_twist_max "
    "helical_twist_inistep helical_rise_initial helical_rise_min helical_rise_max helical_rise_inistep helical_nstart "
    "helical_z_percentage helical_inner_diameter helical_outer_diameter helical_symmetry_search helical_sigma_distance "
    "helical_keep_tilt_prior_fixed helical_exclude_resols helical_offset_step skip_realspace_helical_sym"
)
TWO_HALVES = (
    "auto_refine split_random_halves low_resol_join_halves auto_local_healpix_order solvent_correct_fsc auto_iter_max "
    "auto_ignore_angles auto_resol_angles force_converge join_random_halves always_join_random_halves "
    "sequential_halves_recons"
)
AUTO_SAMPLING = "auto_sampling minimum_angular_sampling maximum_angular_sampling"
MULTIBODY = "multibody_masks multibody_norm_overlap reconstruct_subtracted_bodies"
LEARNED_PRIOR = "blush blush_skip_spectral_trailing external_reconstruct"
TOMOGRAPHY = "ios tomograms trajectories"
SUBTOMOGRAMS = "normalised_subtomo skip_subtomo_multi ctf3d_not_squared subtomo_multi_thr"
OFFSET_PRIORS = "offset_range_x offset_range_y offset_range_z"
MORE_MASKS = "solvent_mask2 lowpass_mask lowpass"
SYCL = "sycl sycl_cuda sycl_hip sycl_levelzero sycl_opencl sycl_cpu"

# What every program refuses with the same words: (what to do, the flags)
EVERYWHERE = (
    ("tomography is not in vitreous yet: use relion_refine", TOMOGRAPHY),
    ("it is not in vitreous yet: leave it out, or mask the references with --solvent_mask", MORE_MASKS),
    (
        "it is not in vitreous yet: leave it out, or use relion_refine",
        "NN r_min_nn fourier_mask pad_ctf dont_skip_gridding no_map sigma bfactor",
    ),
    (
        "it is a developer's option of RELION: leave it out",
        "model sampling sigma2_fudge gridding_iter accuracy_current_size use_all_data debug_split_random_half "
        "halt_all_followers_except keep_debug_reconstruct_files",
    ),
    ("there is no SYCL backend: leave it out to run on the CPU", SYCL),
    ("print it with relion_refine", "print_metadata_labels print_symmetry_ops"),
)


def refused(groups: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Flag -> what to do instead, from (what to do, flags in one text)."""
    return {flag: todo for todo, flags in groups for flag in flags.split()}
