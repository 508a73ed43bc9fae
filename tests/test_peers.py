"""The judge of side-by-side runs, the sets that it simulates, and the galleries that it matches."""

import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "bench" / "peers"))

import files
import galleries
import judge
import simulate

N_VIEWS, BOX, PIXEL_A = 6, 64, 4.0


def test_judge_resolution_of_a_perfect_and_of_a_blurred_average():
    atoms_A = simulate.chain_atoms(1)
    kx, ky, k2, _ = simulate.frequencies(BOX, PIXEL_A)
    rot, tilt = simulate.view_directions(N_VIEWS)[1]
    ft = simulate.project_ft(atoms_A @ simulate.rotation(rot, tilt, 33.0)[:2].T, BOX, PIXEL_A)
    ft = ft * (-1.0) ** (kx + ky) * np.exp(-15 * k2 - 2j * np.pi * (kx * 2.5 - ky * 1.25) / BOX)
    noise = np.fft.rfft2(np.random.default_rng(6).normal(size=(BOX, BOX))) * np.abs(ft).mean() / BOX
    averages = np.fft.irfft2(np.stack([ft, np.where(k2 < 1 / 30**2, ft, noise)]), s=(BOX, BOX))
    view = np.full(200, 2)
    share, class_number, turn = np.array([0.5, 0.5]), np.repeat([1, 2], 100), {(1, 2): 33.0, (2, 2): 33.0}
    found = judge.true_resolutions(averages, share, class_number, view, turn, N_VIEWS, atoms_A, PIXEL_A, 220)
    assert found[0] == 2 * PIXEL_A  # never below 0.5 up to Nyquist
    assert 25 < found[1] < 32


def test_simulated_set_has_unit_background_and_reads_back(tmp_path):
    images, truth = simulate.simulate(40, BOX, PIXEL_A, N_VIEWS, 0.1, 2.0, 220.0, 1, simulate.chain_atoms(1))
    simulate.write_set(tmp_path, BOX, PIXEL_A, images, truth)
    np.testing.assert_array_equal(files.read_stack(tmp_path / "particles.mrcs"), images)
    table = files.read_star(tmp_path / "truth.star")["particles"]
    np.testing.assert_array_equal(files.numbers(table, "rlnAnglePsi"), truth["rlnAnglePsi"])
    outside = np.hypot(*(np.mgrid[:BOX, :BOX] - BOX // 2)) >= 220 / (2 * PIXEL_A)
    np.testing.assert_allclose(images[:, outside].mean(1), 0, atol=1e-5)  # float32 of values of order 1
    np.testing.assert_allclose(images[:, outside].std(1), 1, atol=1e-5)


def test_gallery_finds_rotated_shifted_and_mirrored_partners():
    atoms_A = simulate.chain_atoms(1)
    kx, ky, k2, _ = simulate.frequencies(BOX, PIXEL_A)
    directions = simulate.view_directions(4)

    def averages(psi_deg, shift_px):
        ft = [simulate.project_ft(atoms_A @ simulate.rotation(*d, psi_deg)[:2].T, BOX, PIXEL_A) for d in directions]
        phase = np.exp(-400 * k2 - 2j * np.pi * (kx * shift_px[0] + ky * shift_px[1]) / BOX) * (-1.0) ** (kx + ky)
        return np.fft.irfft2(np.array(ft) * phase, s=(BOX, BOX))

    a, b = averages(10.0, (0, 0)), averages(73.0, (2, -3))[[2, 0, 3, 1]]
    b[1] = np.roll(b[1][:, ::-1], 1, axis=1)
    a, b = galleries.standardised(a), galleries.standardised(b)
    best, move = galleries.scores(a, b)
    assert best.argmax(1).tolist() == [1, 3, 0, 2]
    assert move[0, 1, 1] == 1 and not move[[1, 2, 3], [3, 0, 2], 1].any()
    for i, j in enumerate([1, 3, 0, 2]):
        # Left over: the rounding of the shift after the turn, at most half a pixel of detail that fades at 4 pixels.
        assert galleries.refined(a[i], b[j], *move[i, j, :2])[0] > 0.95
