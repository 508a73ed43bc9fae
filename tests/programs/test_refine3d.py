"""refine3d and class3d as a user runs them, on a small simulated set."""

import numpy as np
import pytest

from vitreous.cli import call
from vitreous.engine.fsc import fourier_shell_correlation
from vitreous.errors import InputError
from vitreous.io.mrc import read_mrc
from vitreous.io.particles import read_particles
from vitreous.io.refine_files import read_refinement
from vitreous.io.star import read_star
from vitreous.model.rotation import angular_distance_deg, euler_to_matrix

BOX, PIXEL_A, DIAMETER_A = 24, 8.0, 150
USUAL = {
    "particle_diameter": DIAMETER_A, "ini_high": 50, "ctf": True, "zero_mask": True, "flatten_solvent": True,
    "healpix_order": 1, "offset_range": 2, "offset_step": 2, "random_seed": 1, "j": 2, "verb": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """120 particles of all views at good contrast, their truth and its map."""
    folder = tmp_path_factory.mktemp("refine3d")
    call("simulate", o=str(folder), n=120, box=BOX, angpix=PIXEL_A, snr=1.0, particle_diameter=DIAMETER_A, seed=2, shift_std=6, verb=0)
    return folder


def refine(case, root, program="refine3d", **options):
    """The result of a run with the usual options, others as given."""
    given = {"i": str(case / "particles.star"), "ref": str(case / "truth.mrc")} | USUAL
    if program == "refine3d":
        given |= {"auto_iter_max": 4, "low_resol_join_halves": 60, "auto_local_healpix_order": 3}
    if "continue" in options:
        given = {"verb": 0, "j": 2}
    given |= {"o": str(root)} | options
    return call(program, **{flag: value for flag, value in given.items() if value is not None})


@pytest.fixture(scope="module")
def four(case, tmp_path_factory):
    """Root and result of four iterations of refinement."""
    root = tmp_path_factory.mktemp("four") / "run"
    return root, refine(case, root)


def test_refine3d_finds_the_poses(case, four):
    _, result = four
    truth = read_particles(case / "particles_truth.star").particles
    angle = angular_distance_deg(euler_to_matrix(result.particles.euler_deg), euler_to_matrix(truth.euler_deg))
    step = 15.0  # of the fine pass at order 1
    assert np.median(angle) < step
    shift = np.hypot(*(result.particles.shift_A[:, :2] - truth.shift_A[:, :2]).T)
    assert np.median(shift) < PIXEL_A


def test_refine3d_refines_its_sampling_to_convergence(case, tmp_path):
    """From 15 degrees after oversampling down to local searches, which end with one map of all particles."""
    result = refine(case, tmp_path / "run", auto_iter_max=30, auto_ignore_angles=True, auto_resol_angles=True)
    state, _ = read_refinement(tmp_path / "run_optimiser.star")
    assert state.sampling.healpix_order >= 3 and state.sampling.sigma_deg > 0 and state.progress.has_converged
    truth = read_particles(case / "particles_truth.star").particles
    angle = angular_distance_deg(euler_to_matrix(result.particles.euler_deg), euler_to_matrix(truth.euler_deg))
    assert np.median(angle) < 7.5  # half of the first step


@pytest.mark.parametrize("order, width_deg", [(1, 0.0), (3, 2 * 3.75)])
def test_refine3d_from_the_order_of_local_searches_on_keeps_near_the_given_angles(case, tmp_path, order, width_deg):
    refine(case, tmp_path / "run", i=str(case / "particles_truth.star"), healpix_order=order, auto_iter_max=1)
    state, _ = read_refinement(tmp_path / "run_it001_optimiser.star")
    assert state.sampling.sigma_deg == width_deg
    truth = read_particles(case / "particles_truth.star").particles
    angle = angular_distance_deg(euler_to_matrix(state.dataset.particles.euler_deg), euler_to_matrix(truth.euler_deg))
    limit = 3 * width_deg + 7.5  # three widths, and a step of the grid
    assert width_deg == 0 or angle.max() < limit


def test_refine3d_writes_relions_files_of_every_iteration(four):
    root, _ = four
    for i in range(5):
        for name in ("data.star", "sampling.star", "optimiser.star", "half1_model.star", "half2_model.star", "half1_class001.mrc"):
            assert (root.parent / f"run_it{i:03d}_{name}").is_file(), name
    assert (root.parent / "report.html").stat().st_size > 10_000
    halves = read_star(root.parent / "run_it004_data.star")["particles"].columns["rlnRandomSubset"]
    assert set(halves.tolist()) == {1, 2}


def test_refine3d_continued_is_the_same_to_the_bit(case, four, tmp_path):
    root, _ = four
    refine(case, tmp_path / "again", **{"continue": str(root.parent / "run_it002_optimiser.star")})
    for name in ("data.star", "half1_class001.mrc", "half2_class001.mrc", "half1_model.star"):
        old, new = (root.parent / f"run_it004_{name}").read_bytes(), (tmp_path / f"again_it004_{name}").read_bytes()
        assert old.replace(str(root).encode(), b"ROOT") == new.replace(str(tmp_path / "again").encode(), b"ROOT"), name


def test_refine3d_does_not_depend_on_the_number_of_threads(case, four, tmp_path):
    root, _ = four
    refine(case, tmp_path / "run", j=1)
    for name in ("data.star", "half1_class001.mrc"):
        assert (root.parent / f"run_it004_{name}").read_bytes() == (tmp_path / f"run_it004_{name}").read_bytes()


def test_refine3d_last_iteration_joins_the_halves(case, four, tmp_path):
    root, _ = four
    options = {"continue": str(root.parent / "run_it004_optimiser.star"), "force_converge": True, "auto_iter_max": 9}
    result = refine(case, tmp_path / "run", **options)
    for name in ("class001.mrc", "half1_class001_unfil.mrc", "half2_class001_unfil.mrc", "model.star", "data.star", "optimiser.star"):
        assert (tmp_path / f"run_{name}").is_file(), name
    truth, _ = read_mrc(case / "truth.mrc")
    ours, pixel = read_mrc(tmp_path / "run_class001.mrc")
    assert pixel == pytest.approx(PIXEL_A)
    curve = fourier_shell_correlation(ours, truth)
    assert (curve[1:6] > 0.8).all()  # to 32 A, well beyond the start at 50 A
    halves = [read_mrc(tmp_path / f"run_half{i}_class001_unfil.mrc")[0] for i in (1, 2)]
    assert not np.array_equal(*halves)
    np.testing.assert_allclose(np.corrcoef(*(h.ravel() for h in halves))[0, 1], 1, atol=0.5)
    assert len(result.half_maps) == 2


def test_class3d_of_one_class_runs_and_skips_alignment_when_told(case, tmp_path):
    truth = read_particles(case / "particles_truth.star").particles
    result = refine(case, tmp_path / "run", "class3d", i=str(case / "particles_truth.star"), K=2, iter=2, skip_align=True)
    np.testing.assert_allclose(result.particles.euler_deg, truth.euler_deg, atol=1e-5)
    assert result.maps.shape == (2, BOX, BOX, BOX)
    assert (tmp_path / "run_it002_class002.mrc").is_file()
    model = read_star(tmp_path / "run_it002_model.star")
    assert model["model_classes"].columns["rlnClassDistribution"].sum() == pytest.approx(1)


def test_class3d_begins_with_the_maps_of_a_star_file(case, tmp_path):
    """Each class has its own first map, of a model.star; a number that is not --K is refused."""
    first = refine(case, tmp_path / "one", "class3d", K=2, iter=1)
    star = f"{first.root}_it001_model.star"
    refine(case, tmp_path / "two", "class3d", K=2, iter=1, ref=star, ini_high=None)
    names = [(f"{first.root}_it001_class{k:03d}.mrc", str(tmp_path / f"two_it000_class{k:03d}.mrc")) for k in (1, 2)]
    maps = [[read_mrc(name)[0].ravel() for name in pair] for pair in names]
    assert all(np.corrcoef(given, begun)[0, 1] > 0.999 for given, begun in maps)  # the mask's edge is put on twice
    assert np.corrcoef(maps[0][1], maps[1][1])[0, 1] < 0.995 < np.corrcoef(*maps[0])[0, 1]
    with pytest.raises(InputError, match="holds 2 maps, expected 3 as --K"):
        refine(case, tmp_path / "three", "class3d", K=3, iter=1, ref=star)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"ref": "nowhere.mrc"}, "--ref nowhere.mrc: is not there"),
        ({"solvent_correct_fsc": True}, "--solvent_mask"),
        ({"sym": "Q3"}, "no point group"),
        ({"K": 2}, "--K: found an option of RELION"),
    ],
)
def test_refine3d_refuses(case, tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        refine(case, tmp_path / "run", **change)


def test_refine3d_refuses_a_reference_of_another_grid(case, tmp_path):
    from vitreous.io.mrc import write_mrc

    truth, _ = read_mrc(case / "truth.mrc")
    write_mrc(tmp_path / "other.mrc", truth, PIXEL_A * 1.2)
    with pytest.raises(InputError, match="--trust_ref_size"):
        refine(case, tmp_path / "run", ref=str(tmp_path / "other.mrc"))
