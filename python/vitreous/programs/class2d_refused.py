"""Flags of RELION's refinement program that class2d does not have, and what to do instead."""

from __future__ import annotations

# (what to do, the flags)
_GROUPS = (
    (
        "gradient-driven classification is not in vitreous yet: leave it and the other gradient options out, "
        "and give --iter 25",
        "grad grad_em_iters grad_ini_frac grad_fin_frac grad_ini_subset grad_fin_subset mu grad_stepsize "
        "grad_stepsize_scheme grad_write_iter grad_min_resol grad_ini_resol grad_fin_resol "
        "class_inactivity_threshold tau2_fudge_scheme som som_ini_nodes som_connectivity "
        "som_inactivity_threshold som_neighbour_pull sgd stochastic_em sgd_ini_iter sgd_fin_iter "
        "sgd_inbetween_iter sgd_ini_resol sgd_fin_resol sgd_ini_subset sgd_fin_subset sgd_stepsize "
        "sgd_sigma2fudge_initial sgd_sigma2fudge_halflife sgd_skip_anneal sgd_write_iter",
    ),
    (
        "helical classification is not in vitreous yet: leave it out to classify segments as single particles",
        "helix ignore_helical_symmetry helical_nr_asu helical_twist_initial helical_twist_min "
        "helical_twist_max helical_twist_inistep helical_rise_initial helical_rise_min helical_rise_max "
        "helical_rise_inistep helical_nstart helical_z_percentage helical_inner_diameter "
        "helical_outer_diameter helical_symmetry_search helical_sigma_distance helical_keep_tilt_prior_fixed "
        "helical_exclude_resols helical_offset_step skip_realspace_helical_sym",
    ),
    (
        "it belongs to 3D refinement, which is not in vitreous yet: leave it out, or use relion_refine",
        "auto_refine auto_sampling split_random_halves low_resol_join_halves auto_local_healpix_order "
        "solvent_correct_fsc auto_iter_max auto_ignore_angles auto_resol_angles force_converge "
        "join_random_halves multibody_masks multibody_norm_overlap reconstruct_subtracted_bodies "
        "always_join_random_halves sequential_halves_recons blush blush_skip_spectral_trailing "
        "external_reconstruct minimum_angular_sampling maximum_angular_sampling",
    ),
    (
        "it belongs to 3D classification and refinement, which are not in vitreous yet: leave it out, or use "
        "relion_refine",
        "healpix_order limit_tilt relax_sym denovo_3dref local_symmetry only_sample_tilt asymmetric_padding "
        "normalised_subtomo skip_subtomo_multi ctf3d_not_squared subtomo_multi_thr",
    ),
    (
        "searches around known angles or offsets are not in vitreous yet: leave it out, or use --skip_rotate "
        "or --skip_align",
        "sigma_ang sigma_rot sigma_tilt sigma_psi offset_range_x offset_range_y offset_range_z",
    ),
    (
        "tomography is not in vitreous yet: use relion_refine",
        "ios tomograms trajectories",
    ),
    (
        "it is not in vitreous yet: leave it out, or mask the references with --solvent_mask",
        "solvent_mask2 lowpass_mask lowpass",
    ),
    (
        "give references with the box and pixel size of the particles (relion_image_handler --rescale_angpix "
        "--new_box)",
        "ref_angpix trust_ref_size",
    ),
    (
        "it is not in vitreous yet: leave it out, or use relion_refine",
        "NN r_min_nn fourier_mask pad_ctf dont_skip_gridding no_map sigma bfactor",
    ),
    (
        "it is a developer's option of RELION: leave it out",
        "model sampling sigma2_fudge gridding_iter accuracy_current_size use_all_data debug_split_random_half "
        "halt_all_followers_except keep_debug_reconstruct_files",
    ),
    (
        "there is no SYCL backend: leave it out to run on the CPU",
        "sycl sycl_cuda sycl_hip sycl_levelzero sycl_opencl sycl_cpu",
    ),
    (
        "print it with relion_refine",
        "print_metadata_labels print_symmetry_ops",
    ),
)

REFUSED: dict[str, str] = {flag: todo for todo, flags in _GROUPS for flag in flags.split()}
