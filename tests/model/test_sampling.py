import numpy as np
import pytest

from vitreous.model import rotation, sampling


@pytest.mark.parametrize("step, n", [(10, 36), (7, 52), (360, 1), (360 / 7, 7), (360 / 49, 49), (0.3, 1200)])
def test_psi_grid_divides_the_circle(step, n):
    grid = sampling.psi_grid(step)
    assert len(grid) == n and grid[0] == 0
    np.testing.assert_allclose(np.diff(np.append(grid, 360)), sampling.adjusted_step_deg(step), rtol=1e-9)
    assert sampling.adjusted_step_deg(sampling.adjusted_step_deg(step)) == sampling.adjusted_step_deg(step)


def test_psi_children_divide_the_circle_too():
    step = sampling.adjusted_step_deg(7)
    children = sampling.psi_children(sampling.psi_grid(7), step, 2)
    assert children.shape == (52, 4)
    np.testing.assert_allclose(np.diff(children.ravel()), step / 4)
    np.testing.assert_allclose(children.mean(1), sampling.psi_grid(7), atol=1e-12)
    np.testing.assert_array_equal(sampling.psi_children([3.0], step, 0), [[3.0]])


def test_shift_grid_of_the_defaults_has_29_points():
    """Range 6, step 2: integer points within radius 3, x outer and y inner."""
    grid = sampling.shift_grid(6, 2)
    assert len(grid) == 29
    np.testing.assert_array_equal(grid[:4], [[-6, 0], [-4, -4], [-4, -2], [-4, 0]])
    np.testing.assert_array_equal(grid, -grid[::-1])


def test_shift_grid_keeps_the_rim():
    grid = sampling.shift_grid(0.5, 0.1)
    assert any(np.allclose(p, (0.3, 0.4)) for p in grid) and len(grid) == 81
    assert len(sampling.shift_grid(5, 1)) == 81


def test_shift_grid_limits():
    np.testing.assert_array_equal(sampling.shift_grid(0, 1), [[0, 0]])
    np.testing.assert_array_equal(sampling.shift_grid(0.9, 1), [[0, 0]])
    assert sampling.shift_grid(1, 1, 3).shape == (7, 3)
    with pytest.raises(ValueError, match="range is 3 and step 0"):
        sampling.shift_grid(3, 0)


@pytest.mark.parametrize("n_axes", [2, 3])
def test_shift_children_divide_the_cell(n_axes):
    children = sampling.shift_children(np.zeros((1, n_axes)), 2.0, 2)[0]
    assert children.shape == (4**n_axes, n_axes)
    np.testing.assert_array_equal(np.unique(children), [-0.75, -0.25, 0.25, 0.75])
    np.testing.assert_allclose(children.mean(0), 0)
    np.testing.assert_array_equal(children[:2, 0], [-0.75, -0.75])  # x is the outer loop


def test_shift_children_of_a_grid_are_a_grid():
    square = np.array([(x, y) for x in (-2.0, 0, 2) for y in (-2.0, 0, 2)])
    children = sampling.shift_children(square, 2, 1).reshape(-1, 2)
    assert sorted(map(tuple, children)) == [(x, y) for x in np.arange(-2.5, 3) for y in np.arange(-2.5, 3)]


def test_perturbation_is_a_function_of_seed_and_iteration():
    p = [sampling.perturbation(17, i, 0.5) for i in range(60)]
    assert p[0] == 0 and p == [sampling.perturbation(17, i, 0.5) for i in range(60)]
    assert p[30] != sampling.perturbation(18, 30, 0.5)
    assert max(map(abs, p)) <= 0.5
    steps = np.diff(p) % 1.0  # the wrap adds a whole number of 2 factor = 1
    assert steps.min() >= 0.25 and steps.max() < 0.5
    assert sampling.perturbation(17, 30, 0.0) == 0


def test_perturbation_fills_its_range():
    p = np.array([sampling.perturbation(seed, 100, 0.5) for seed in range(2000)])
    # uniform on [-1/2, 1/2] once the start is forgotten (a tenth a step); 5 standard errors of mean and variance
    assert abs(p.mean()) < 0.03 and p.var() == pytest.approx(1 / 12, abs=0.009)


def test_perturb_psi_wraps():
    np.testing.assert_allclose(sampling.perturb_psi([0, 179.0], 0.5, 10), [5, -176])


def test_perturb_orientations_turns_the_reference():
    euler = np.array([[10.0, 20, 30], [100, 140, -60]])
    moved = sampling.perturb_orientations(euler, 0.25, 8)
    turn = rotation.euler_to_matrix([2, 2, 2])
    np.testing.assert_allclose(rotation.euler_to_matrix(moved), rotation.euler_to_matrix(euler) @ turn, atol=1e-12)
    np.testing.assert_allclose(sampling.perturb_orientations(euler, 0, 8), euler, atol=1e-9)


def test_perturb_shifts_moves_every_axis():
    np.testing.assert_allclose(sampling.perturb_shifts([[0, 1.0]], -0.5, 2), [[-1, 0]])


def test_random_orientations_are_even_over_all_rotations():
    matrix = rotation.euler_to_matrix(sampling.random_orientations(np.arange(20_000), 3, 7))
    # an even rotation's matrix has entries of mean 0 and variance 1/3; 5 standard errors of 20,000
    assert abs(matrix.mean(0)).max() < 5 * np.sqrt(1 / 3 / 20_000)
    assert abs((matrix**2).mean(0) - 1 / 3).max() < 5 * np.sqrt((1 / 5 - 1 / 9) / 20_000)


def test_random_orientations_are_of_row_seed_and_use():
    whole = sampling.random_orientations(np.arange(9), 3, 7)
    np.testing.assert_array_equal(sampling.random_orientations([8, 2], 3, 7), whole[[8, 2]])
    for other in ((4, 7), (3, 8)):
        assert not np.isin(sampling.random_orientations(np.arange(9), *other), whole).any()
    assert sampling.random_orientations([], 3, 7).shape == (0, 3)


def test_sampling_refuses_nonsense():
    with pytest.raises(ValueError, match="psi step is 0 degrees, expected more than 0"):
        sampling.psi_grid(0)
    with pytest.raises(ValueError, match="oversampling order is -1"):
        sampling.psi_children([0], 10, -1)
