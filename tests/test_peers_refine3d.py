"""The judge of side-by-side 3D refinements finds the errors that were put in, and none where there are none."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

sys.path.append(str(Path(__file__).parents[1] / "bench" / "peers"))

import files
import judge3d
import poses
import refine3d
import simulate

N, BOX, PIXEL_A, DIAMETER_A = 400, 48, 5.0, 180.0
TURN, SHIFT_A = Rotation.from_rotvec([0.4, -1.1, 2.0], degrees=True).as_matrix(), np.array([1.5, -0.7, 2.2])


@pytest.fixture(scope="module")
def truth():
    rng = np.random.default_rng(3)
    euler = np.column_stack([simulate.random_directions(rng, N), rng.uniform(-180, 180, N)])
    return euler, rng.normal(0, 8, (N, 2))


def turned(euler_deg, rotation):
    """Euler angles of A rotation."""
    matrices = poses.euler_matrices(*euler_deg.T) @ rotation
    return Rotation.from_matrix(matrices).inv().as_euler("ZYZ", degrees=True)


def off_the_truth(truth, operators, angle_sd_deg=0.0, shift_sd_A=0.0):
    """Poses of a map that lies TURN and SHIFT_A off the truth, each of another mate, with errors."""
    euler, origin = truth
    rng = np.random.default_rng(4)
    error = Rotation.from_rotvec(rng.normal(0, angle_sd_deg, (N, 3)), degrees=True).as_matrix()
    mates = operators[rng.integers(0, len(operators), N)]
    found = turned(euler, error @ mates @ TURN.T)  # r' = Q r + t: A' = A R Q^T, and Q leaves the map its own axes
    along = poses.euler_matrices(*found.T)[:, :2] @ SHIFT_A
    return found, origin + along + rng.normal(0, shift_sd_A, (N, 2))


@pytest.mark.parametrize("group", ["C1", "C3", "D2"])
def test_judge_finds_no_error_in_poses_of_a_turned_and_shifted_map(truth, group):
    operators = poses.symmetry(group)
    found, origin = off_the_truth(truth, operators)
    angle, shift, turn, t = judge3d.pose_errors(found, truth[0], origin, truth[1], operators)
    # arccos near 1 has the square root of the rounding: 1e-6 degrees
    assert angle.max() < 1e-5 and shift.max() < 1e-9
    np.testing.assert_allclose(turn, TURN, atol=1e-9)
    np.testing.assert_allclose(t, SHIFT_A, atol=1e-9)


@pytest.mark.parametrize("group", ["C1", "D2"])
def test_judge_finds_the_errors_put_in(truth, group):
    operators = poses.symmetry(group)
    found, origin = off_the_truth(truth, operators, 2.0, 3.0)
    angle, shift, turn, t = judge3d.pose_errors(found, truth[0], origin, truth[1], operators)
    # Medians of a Maxwell and of a Rayleigh distribution; those of 400 samples scatter by 3 and 4 %.
    assert np.median(angle) == pytest.approx(1.5382 * 2, rel=0.1)
    assert np.median(shift) == pytest.approx(1.1774 * 3, rel=0.12)
    assert np.degrees(np.arccos((np.trace(turn @ TURN.T) - 1) / 2)) < 0.5 and np.abs(t - SHIFT_A).max() < 1


def test_density_projects_to_the_images():
    """Its central slices are the transforms of the projected atoms."""
    atoms_A = simulate.chain_atoms(1, 500)
    volume = simulate.density(atoms_A, BOX, PIXEL_A)
    assert volume.sum() == pytest.approx(len(atoms_A), rel=1e-9)
    kx, ky, k2, _ = simulate.frequencies(BOX, PIXEL_A)
    expected = simulate.project_ft(atoms_A[:, :2], BOX, PIXEL_A) * np.exp(-simulate.B_FACTOR_A2 / 4 * k2)
    found = np.fft.rfft2(volume.sum(0)) * (-1.0) ** (kx + ky)
    inside = np.hypot(kx, ky) < BOX // 2
    # Linear splatting on four times finer pixels loses 1 % at Nyquist, on the map it is corrected.
    np.testing.assert_allclose(found[inside], expected[inside], atol=0.02 * np.abs(expected[kx + ky > 0]).max())


def test_judge_resolution_of_a_perfect_and_of_a_noisy_map():
    atoms_A = simulate.chain_atoms(1)
    volume = simulate.density(atoms_A @ TURN.T + SHIFT_A, BOX, PIXEL_A)
    args = (atoms_A, TURN, SHIFT_A, PIXEL_A, DIAMETER_A)
    assert judge3d.true_resolution_A(volume, *args) == 2 * PIXEL_A
    low = np.fft.rfftn(volume)
    rows = np.fft.fftfreq(BOX, 1 / BOX)
    radius = np.sqrt(rows[:, None, None] ** 2 + rows[:, None] ** 2 + np.arange(BOX // 2 + 1) ** 2)
    noise = np.fft.rfftn(np.random.default_rng(5).normal(size=volume.shape)) * volume.std()
    cut = np.fft.irfftn(np.where(radius <= 10, low, noise))
    assert judge3d.true_resolution_A(cut, *args) == pytest.approx(BOX * PIXEL_A / 10.5, rel=0.06)  # the mask mixes shells
    assert judge3d.half_map_resolution_A(volume, cut, PIXEL_A, DIAMETER_A) < BOX * PIXEL_A / 10


@pytest.mark.parametrize("group", ["C1", "D2"])
def test_judged_files_of_the_truth_are_perfect(tmp_path, group):
    """A run that wrote the truth: no error, and a resolution of Nyquist; half maps of one molecule agree."""
    o = refine3d.parse(["--work", str(tmp_path), "--n", "30", "--box", "32", "--sym", group, "--diameter", "160"])
    particles = refine3d.make_set(o, o.n, o.box)
    out = tmp_path / "run"
    out.mkdir()
    for name in ("run_data.star", "run_it007_data.star"):
        (out / name).write_text((particles / "truth.star").read_text())
    (out / "run_model.star").write_text("data_model_general\n\n_rlnCurrentResolution 17.5\n")
    for name in ("run_class001.mrc", "run_half1_class001_unfil.mrc", "run_half2_class001_unfil.mrc"):
        (out / name).write_bytes((particles / "truth.mrc").read_bytes())
    found = refine3d.quality(o, particles, out)
    assert found["n_iterations"] == 7 and found["resolution_A"] == 17.5
    assert found["true_resolution_A"] == found["half_resolution_A"] == 16.0
    assert found["angle_error_deg"] < 1e-5 and found["shift_error_A"] < 1e-6


def test_map_of_a_set_is_on_the_scale_of_its_images():
    """An image with little noise is the projection of the molecule with the amplitude that the truth tells."""
    atoms_A, (kx, ky, k2, azimuth) = simulate.chain_atoms(1), simulate.frequencies(BOX, PIXEL_A)
    images, truth = simulate.simulate(5, BOX, PIXEL_A, 0, 1e4, 0.0, DIAMETER_A, 1, atoms_A)
    for i, image in enumerate(images):
        a = simulate.rotation(*(truth[f"rlnAngle{name}"][i] for name in ("Rot", "Tilt", "Psi")))
        transfer = simulate.ctf(k2, azimuth, *(truth[f"rlnDefocus{name}"][i] for name in ("U", "V", "Angle")))
        falloff = np.exp(-simulate.B_FACTOR_A2 / 4 * k2) * (-1.0) ** (kx + ky)
        ft = simulate.project_ft(atoms_A @ a[:2].T, BOX, PIXEL_A) * transfer * falloff * truth["amplitude"][i]
        expected = np.fft.irfft2(ft)
        slope = np.polyfit(expected.ravel(), image.ravel(), 1)[0]
        assert slope == pytest.approx(1, abs=1e-3)  # of noise with a hundredth of the signal's amplitude, 2304 pixels


def test_set_holds_the_map_in_the_mean_scale(tmp_path):
    o = refine3d.parse(["--work", str(tmp_path), "--n", "20", "--box", "32", "--sym", "C3"])
    volume = files.read_stack(refine3d.make_set(o, o.n, o.box) / "truth.mrc")
    _, truth = simulate.simulate(20, 32, 8.0, 0, 0.1 / 0.25, 1.0, o.diameter, o.seed, refine3d.atoms(o))
    assert volume.sum() == pytest.approx(len(refine3d.atoms(o)) * truth["amplitude"].mean(), rel=1e-4)
    turned = np.rot90(volume[:, 1:, 1:], 2, (1, 2))  # C3 has no half turn, so this says that the map is not round
    assert np.corrcoef(turned.ravel(), volume[:, 1:, 1:].ravel())[0, 1] < 0.9
