"""Every option of class2d does what its help says, seen from a run's results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vitreous.errors import InputError
from vitreous.io.mrc import read_mrc, write_mrc
from vitreous.io.particles import read_particles
from vitreous.io.run_files import read_iteration
from vitreous.programs.class2d import Options
from vitreous.programs.options import flag_of

pytestmark = pytest.mark.usefixtures("no_report")
BOX, PIXEL_A = 32, 6.0
RADIUS = np.hypot(*np.indices((BOX, BOX)) - BOX // 2)


def steps(values, step):
    """How far values are from multiples of a step, in steps."""
    return np.abs(values / step - np.rint(values / step)).max()


# Basic


def test_k_and_iter_count_classes_and_iterations(run):
    state = run(K=5, iter=1)
    assert state(1).model.references.shape == (5, BOX, BOX)
    assert not Path(f"{state.root}_it002_optimiser.star").exists()


def test_iter_0_makes_first_references_and_no_more(run):
    state = run(iter=0)
    assert state(0).model.references.any()
    assert not Path(f"{state.root}_it001_optimiser.star").exists()


def test_tau2_fudge_weighs_the_data(run):
    weak, strong = run(tau2_fudge=0.1, iter=1), run(tau2_fudge=4, iter=1)
    assert strong(1).model.tau2_fudge == 4
    assert (strong(1).model.data_vs_prior.sum() > 2 * weak(1).model.data_vs_prior.sum())
    assert strong(1).model.references.std() > weak(1).model.references.std()


def test_particle_diameter_and_maskedge_bound_the_averages(run):
    for diameter, edge in ((100, 0), (100, 6), (60, 3)):
        state = run(particle_diameter=diameter, maskedge=edge, flatten_solvent=True, iter=1)
        image = np.abs(state(1).model.references).max(0)
        outer = diameter / 2 / PIXEL_A + edge
        assert not image[outer <= RADIUS].any()
        assert image[outer - 1 > RADIUS].all()


def test_particle_diameter_is_derived_from_the_box(run):
    record = Path(f"{run(particle_diameter=None, iter=0).root}_options.toml").read_text()
    assert f"particle_diameter = {(BOX - 5) * PIXEL_A}  # A, derived: the box less the mask edge" in record


def test_flatten_solvent_is_off_by_default_and_leaves_an_unmasked_copy(run, base):
    assert np.abs(base.classes[:, RADIUS > 15]).max() > 0
    state = run(flatten_solvent=True, iter=1)
    unmasked = read_mrc(f"{state.root}_unmasked_classes.mrcs")[0]
    assert np.abs(unmasked[:, RADIUS > 15]).max() > 0
    inside = RADIUS < 140 / 2 / PIXEL_A - 1
    np.testing.assert_array_equal(unmasked[:, inside], state(1).model.references[:, inside])


def test_zero_mask_changes_what_is_outside_the_particle_only(run, base):
    other = run(zero_mask=None).result
    assert not np.array_equal(other.classes, base.classes)
    assert np.corrcoef(np.bincount(other.particles.class_number), np.bincount(base.particles.class_number))[0, 1] > 0


def test_center_classes_moves_averages_to_the_middle(run, case, views, tmp_path):
    write_mrc(tmp_path / "ref.mrcs", np.roll(np.maximum(views, 0), (2, 2), (1, 2)), PIXEL_A, stack=True)
    usual = {"ref": str(tmp_path / "ref.mrcs"), "firstiter_cc": True, "iter": 1, "flatten_solvent": True}

    def distance(classes):
        mass = np.maximum(classes, 0)
        x = np.arange(BOX) - BOX // 2
        centre = np.stack([(mass * x[:, None]).sum((1, 2)), (mass * x).sum((1, 2))]) / mass.sum((1, 2))
        return np.hypot(*centre)

    moved, left = (distance(run(**usual, center_classes=on)(1).model.references) for on in (True, None))
    # Linear interpolation and the solvent mask after the move leave a few tenths of a pixel.
    assert (moved < 0.5).all() and (left > 1).all()


def test_norm_and_scale_are_off_unless_asked_for(run, base):
    assert (base.particles.norm == 1).all() and (base.model.group_scale == 1).all()
    on = run(norm=True, scale=True).result
    assert np.ptp(on.particles.norm) > 0 and np.ptp(on.model.group_scale) > 0
    off = run(norm=True, scale=True, no_norm=True, no_scale=True).result
    np.testing.assert_array_equal(off.classes, base.classes)


def test_ini_high_limits_the_first_references(run):
    references = run(ini_high=48, iter=0)(0).model.references
    power = np.abs(np.fft.fft2(references)) ** 2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(BOX, PIXEL_A), np.fft.fftfreq(BOX, PIXEL_A)))
    beyond = frequency > 1 / 48 + 2 / (BOX * PIXEL_A)  # the filter's edge is two shells
    assert power[:, beyond].sum() < 1e-6 * power.sum()


def test_firstiter_cc_decides_for_one_pose_and_keeps_the_noise(run, views, tmp_path):
    write_mrc(tmp_path / "ref.mrcs", 100 * views, PIXEL_A, stack=True)  # not on the particles' grey scale
    state = run(ref=str(tmp_path / "ref.mrcs"), firstiter_cc=True, ini_high=40)
    first = state(1)
    assert (first.dataset.particles.p_max == 1).all() and (first.dataset.particles.n_significant == 1).all()
    np.testing.assert_array_equal(first.model.sigma2_noise, state(0).model.sigma2_noise)
    assert (state(2).dataset.particles.p_max < 1).any()
    assert not np.array_equal(state(2).model.sigma2_noise, first.model.sigma2_noise)


def test_always_cc_decides_for_one_pose_every_time(run):
    assert (run(always_cc=True)(2).dataset.particles.p_max == 1).all()


@pytest.mark.parametrize("oversampling", [0, 1])
def test_strict_highres_exp_limits_the_search_not_the_averages(run, events, oversampling):
    state = run(strict_highres_exp=48, oversampling=oversampling)
    log = [e for e in events(state.root) if e["event"] == "iteration"]
    assert [e["coarse_size_px"] for e in log] == [8, 8]
    assert log[1]["current_size_px"] > 8
    power = np.abs(np.fft.fft2(state(2).model.references)) ** 2
    assert power[:, 0, 6].max() > 0  # shell 6 is beyond the limit


def test_strict_lowres_exp_leaves_coarse_data_out(run, base):
    # Only the data between 64 A (shell 3) and the current limit count, so poses are less sure.
    assert run(strict_lowres_exp=64).result.model.average_p_max < base.model.average_p_max


def test_fast_subsets_uses_100_particles_per_class(run, case):
    state = run(K=1, fast_subsets=True, iter=1)
    assert (state(1).dataset.particles.n_significant > 0).sum() == 100


# References


def test_references_come_from_a_stack_or_a_star_file(run, base, case, views, tmp_path, outputs):
    write_mrc(tmp_path / "ref.mrcs", views, PIXEL_A, stack=True)
    stack = run(ref=str(tmp_path / "ref.mrcs"))
    np.testing.assert_array_equal(stack(0).model.references, views)
    again = run(ref=f"{base.root}_it002_model.star")
    np.testing.assert_array_equal(again(0).model.references, base.classes)


def test_true_references_find_the_true_classes(run, case, views, tmp_path):
    write_mrc(tmp_path / "ref.mrcs", views, PIXEL_A, stack=True)
    found = run(ref=str(tmp_path / "ref.mrcs")).result.particles.class_number
    assert (found == case.truth).mean() > 0.95


@pytest.mark.parametrize("cc", [None, True])
def test_one_reference_becomes_different_classes(run, views, tmp_path, cc):
    write_mrc(tmp_path / "ref.mrc", views.mean(0), PIXEL_A)
    state = run(ref=str(tmp_path / "ref.mrc"), firstiter_cc=cc, iter=3)
    np.testing.assert_array_equal(state(0).model.references[0], state(0).model.references[2])
    last = state(3).model
    assert (last.class_weight > 0.05).all()
    assert not np.array_equal(last.references[0], last.references[1])


@pytest.mark.parametrize(("make", "message"), [
    (lambda path, views: write_mrc(path, views[:2], PIXEL_A, stack=True), r"found 2 references, expected 1 or --K 3"),
    (lambda path, views: write_mrc(path, views[:, :28, :28], PIXEL_A, stack=True), r"28 x 28 px, expected 32 x 32"),
    (lambda path, views: write_mrc(path, views, 3.0, stack=True), r"pixel size is 3 A, expected 6 A"),
    (lambda path, views: write_mrc(path, views * np.nan, PIXEL_A, stack=True), r"NaN"),
    (lambda path, views: None, r"is not there"),
])  # fmt: skip
def test_references_that_do_not_fit_are_refused(run, views, tmp_path, make, message):
    make(tmp_path / "ref.mrcs", views)
    with pytest.raises(InputError, match=message):
        run(ref=str(tmp_path / "ref.mrcs"))


def test_no_init_blobs_starts_from_averages(run, base):
    blobs = read_iteration(f"{base.root}_it000_optimiser.star").model
    averages = run(no_init_blobs=True, iter=0)(0).model
    # The average of particles at random angles has no mask; blobs lie within the particle's circle on an even ground.
    outside = RADIUS > 140 / 2 / PIXEL_A + 5
    assert np.ptp(blobs.references[:, outside], axis=1).max() < 1e-6
    assert np.ptp(averages.references[:, outside], axis=1).min() > 1e-6


def test_solvent_mask_is_applied(run, tmp_path):
    mask = ((np.indices((BOX, BOX))[1] > 14) & (RADIUS < 10)).astype(np.float32)
    write_mrc(tmp_path / "mask.mrc", mask, PIXEL_A)
    state = run(solvent_mask=str(tmp_path / "mask.mrc"), flatten_solvent=True, iter=1)
    assert not state(1).model.references[:, mask == 0].any()
    assert state(1).model.references[:, mask == 1].any()


@pytest.mark.parametrize("mask", [np.ones((30, 30)), np.full((BOX, BOX), 2.0)])
def test_solvent_mask_that_does_not_fit_is_refused(run, tmp_path, mask):
    write_mrc(tmp_path / "mask.mrc", mask.astype(np.float32), PIXEL_A)
    with pytest.raises(InputError, match=r"--solvent_mask .*found .*expected \(32, 32\) and 0 to 1"):
        run(solvent_mask=str(tmp_path / "mask.mrc"), flatten_solvent=True)


def test_tau_is_the_power_of_the_signal_in_all_iterations(run, base):
    state = run(tau=f"{base.root}_it002_model.star")
    for i in (1, 2):
        np.testing.assert_allclose(state(i).model.tau2, np.tile(base.model.tau2[0], (3, 1)), rtol=1e-12)


# Sampling


@pytest.mark.parametrize(("oversampling", "fine"), [(0, 1), (1, 2), (2, 4)])
def test_poses_lie_on_the_grid_of_the_steps(run, oversampling, fine):
    state = run(oversampling=oversampling, perturb=0, iter=1)
    particles = state(1).dataset.particles
    # Children lie around their parent: offsets of half a child's step, so the grid is of half child steps.
    half = 2 if oversampling else 1
    assert steps(particles.euler_deg[:, 2], 15 / fine / half) < 1e-4
    assert steps(particles.shift_A, PIXEL_A / fine / half) < 1e-5
    assert np.abs(particles.shift_A).max() <= (3 + 0.5) * PIXEL_A
    assert state(1).sampling.perturb == 0
    assert len(np.unique(particles.euler_deg[:, 2])) > 10


def test_finer_steps_are_asked_for_with_psi_step_and_offset_step(run):
    state = run(psi_step=30, offset_step=2, offset_range=4, perturb=0, oversampling=0, iter=1)
    particles = state(1).dataset.particles
    assert steps(particles.euler_deg[:, 2], 30) < 1e-4 and steps(particles.shift_A, 2 * PIXEL_A) < 1e-5
    assert np.hypot(*particles.shift_A.T).max() <= 4 * PIXEL_A + 1e-5


def test_perturb_moves_the_grid_differently_every_iteration(run):
    state = run(perturb=0.5, oversampling=0)
    found = [state(i).sampling.perturb for i in (1, 2)]
    assert found[0] != found[1] and all(0 < abs(x) <= 0.5 for x in found)
    psi = state(2).dataset.particles.euler_deg[:, 2]
    assert steps(psi - found[1] * 15, 15) < 1e-3 < steps(psi, 15)


def test_skip_align_keeps_angles_and_offsets(run, case):
    truth = read_particles(case.truth_file).particles
    found = run(i=case.truth_file, skip_align=True, iter=3)
    np.testing.assert_allclose(found.result.particles.euler_deg, truth.euler_deg, atol=1e-6)
    np.testing.assert_allclose(found.result.particles.shift_A, truth.shift_A, atol=1e-6)
    assert len(np.unique(found.result.particles.class_number)) > 1


def test_skip_rotate_keeps_angles_and_searches_offsets(run, case):
    truth = read_particles(case.truth_file).particles
    found = run(i=case.truth_file, skip_rotate=True).result.particles
    np.testing.assert_allclose(found.euler_deg, truth.euler_deg, atol=1e-6)
    assert (np.abs(found.shift_A - truth.shift_A).max(1) > 0.1).mean() > 0.5


def test_allow_coarser_sampling_never_goes_finer(run):
    state = run(allow_coarser_sampling=True, psi_step=2, offset_step=0.5, offset_range=1, iter=2)
    assert state(1).sampling.psi_step_deg >= 2 and state(2).sampling.psi_step_deg > 2
    assert state(2).sampling.psi_step_original_deg == 2


def test_offset_is_the_first_spread_of_origins(run):
    assert run(offset=23, iter=0)(0).model.sigma_offset_A == 23
    assert run(offset=23, fix_sigma_offset=True)(2).model.sigma_offset_A == 23


def test_min_sigma2_offset_bounds_the_spread_of_origins(run, base):
    assert run(min_sigma2_offset=900)(2).model.sigma_offset_A == pytest.approx(30)
    assert base.model.sigma_offset_A < 30


# Expert


def test_fix_sigma_noise_keeps_the_first_spectra(run):
    state = run(fix_sigma_noise=True)
    np.testing.assert_array_equal(state(2).model.sigma2_noise, state(0).model.sigma2_noise)


def test_nr_parts_sigma2noise_limits_the_first_spectrum(run, base):
    few = run(nr_parts_sigma2noise=20, iter=0)(0).model.sigma2_noise
    many = read_iteration(f"{base.root}_it000_optimiser.star").model.sigma2_noise
    assert not np.array_equal(few, many)
    np.testing.assert_allclose(few[0, 8:].mean(), many[0, 8:].mean(), rtol=0.1)  # 20 x 500 samples: 2 per cent


def test_adaptive_fraction_and_maxsig_shorten_the_fine_pass(run, base):
    usual = base.particles.n_significant
    assert run(adaptive_fraction=0.5).result.particles.n_significant.mean() < usual.mean()
    assert run(maxsig=2).result.particles.n_significant.max() <= 2 < usual.max()


def test_incr_size_and_coarse_size_bound_the_images(run, events):
    state = run(incr_size=2, coarse_size=6, iter=1)
    log = next(e for e in events(state.root) if e["event"] == "iteration")
    shell = round(BOX * PIXEL_A / state(0).model.current_resolution_A)
    assert log["current_size_px"] == 2 * (shell + 2) and log["coarse_size_px"] == 6


def test_minres_map_is_the_least_resolution(run):
    assert run(minres_map=12, iter=1)(1).model.current_resolution_A <= BOX * PIXEL_A / 12


@pytest.mark.parametrize("pad", [1, 3])
def test_pad_changes_the_interpolation_little(run, base, pad):
    state = run(pad=pad, iter=1)
    assert state(1).model.padding == pad
    usual = read_iteration(f"{base.root}_it001_optimiser.star").model.references
    for mine, theirs in zip(state(1).model.references, usual):
        # Interpolation of first order on an unpadded transform is coarse, yet shows the same image.
        assert np.corrcoef(mine.ravel(), theirs.ravel())[0, 1] > (0.9 if pad == 1 else 0.97)


def test_skip_maximize_leaves_the_references(run, base):
    state = run(skip_maximize=True)
    np.testing.assert_array_equal(state(1).model.references, state(0).model.references)
    assert (state(1).dataset.particles.p_max > 0).all()
    assert not Path(f"{state.root}_it002_optimiser.star").exists()
    first = read_iteration(f"{base.root}_it001_optimiser.star").dataset.particles
    np.testing.assert_array_equal(state(1).dataset.particles.euler_deg, first.euler_deg)


def test_abort_at_resolution_stops_when_it_is_reached(run):
    assert not Path(f"{run(abort_at_resolution=100).root}_it002_optimiser.star").exists()
    assert Path(f"{run(abort_at_resolution=1).root}_it002_optimiser.star").exists()


# Computation and output


@pytest.mark.parametrize("options", [
    {"preread_images": True}, {"j": 1}, {"deterministic": True}, {"gpu": "0"}, {"verb": 1},
    {
        "pool": 3, "onthefly_shifts": True, "dont_combine_weights_via_disc": True, "no_parallel_disc_io": True,
        "cpu": True, "free_gpu_memory": 100, "failsafe_threshold": 10, "bimodal_psi": True, "ctf_corrected_ref": True,
        "skip_gridding": True, "sym": "c1",
    },
])  # fmt: skip
def test_options_of_the_machine_do_not_change_the_answer(run, base, outputs, options):
    assert outputs(run(**options).root, 2) == outputs(base.root, 2)


def test_scratch_holds_a_copy_during_the_run_alone(run, base, outputs, tmp_path, capfd):
    scratch = tmp_path / "fast"
    usual = {"scratch_dir": str(scratch), "keep_free_scratch": 0, "verb": 1}
    assert outputs(run(**usual).root, 2) == outputs(base.root, 2)
    assert "1 of 1 stacks are there (0 from before)" in capfd.readouterr().out
    assert not [path for path in scratch.rglob("*") if path.is_file()]
    run(**usual, keep_scratch=True, iter=0)
    assert len([path for path in scratch.rglob("*") if path.is_file()]) == 1
    capfd.readouterr()
    run(**usual, reuse_scratch=True, iter=0)
    assert "1 of 1 stacks are there (1 from before)" in capfd.readouterr().out


def test_scratch_without_room_reads_where_the_images_are(run, base, outputs, tmp_path, capfd):
    state = run(scratch_dir=str(tmp_path / "fast"), keep_free_scratch=1e9, verb=1)
    assert outputs(state.root, 2) == outputs(base.root, 2)
    assert "0 of 1 stacks are there" in capfd.readouterr().out


def test_verb_0_is_silent(run, capfd):
    run(verb=0)
    assert capfd.readouterr() == ("", "")


def test_gpu_without_its_module_says_that_the_cpu_runs(run, capfd):
    run(gpu="default", verb=1, iter=0)
    assert "--gpu: running on the CPU" in capfd.readouterr().out


def test_random_seed_is_drawn_recorded_and_repeats_the_run(run, outputs):
    first = run(random_seed=None)
    seed = first(1).progress.random_seed
    assert f"random_seed = {seed}  # derived: from the clock" in Path(f"{first.root}_options.toml").read_text()
    assert outputs(run(random_seed=seed).root, 2) == outputs(first.root, 2)


@pytest.mark.parametrize(("options", "message"), [
    ({"K": 0}, r"--K: found 0, expected a whole number >= 1"),
    ({"K": "three"}, r"--K: found 'three', expected a whole number"),
    ({"psi_step": 0}, r"--psi_step: found 0, expected .* > 0"),
    ({"sym": "D7"}, r"--sym: found 'D7', expected C1"),
    ({"kk": 3}, r"--kk: found an unknown option, .*did you mean --K\?|--kk: found an unknown option"),
    ({"healpix_order": 3}, r"--healpix_order: found an option of RELION.*3D"),
    ({"som": True}, r"--som: found an option of RELION.*no effect in RELION 5 either"),
    ({"ctf_phase_flipped": True, "only_flip_phases": True}, r"--only_flip_phases: found together"),
    ({"ctf": None, "ctf_intact_first_peak": True}, r"--ctf_intact_first_peak: found without --ctf"),
    ({"ctf_uncorrected_ref": True}, r"--ctf_uncorrected_ref: found without --ref, expected with it"),
    ({"keep_scratch": True}, r"--keep_scratch: found without --scratch_dir"),
    ({"i": None}, r"--i: found nothing, expected a value"),
    ({"o": None}, r"--o: found nothing, expected a value"),
    ({"adaptive_fraction": float("nan")}, r"--adaptive_fraction: found nan, expected a number"),
])  # fmt: skip
def test_wrong_options_are_refused(run, options, message):
    with pytest.raises(InputError, match=message):
        run(**options)


def test_every_option_is_tried_somewhere():
    """A new option needs a test here, in the tests of --continue or in those of bad images."""
    folder = Path(__file__).parent
    text = "".join(path.read_text() for path in folder.glob("test_class2d*.py")) + (folder / "conftest.py").read_text()
    flags = {flag_of(name, field) for name, field in Options.model_fields.items()}
    names = flags | {"continue_from"}
    untried = {flag for flag in flags if f"{flag}=" not in text and f'"{flag}"' not in text}
    assert untried <= {"i", "o"}, f"no test uses {sorted(untried)}"
    assert len(names) > 60
