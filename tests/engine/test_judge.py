"""The judge against classifications whose faults are known because they were made here."""

from dataclasses import replace

import numpy as np
import pytest

from vitreous.engine import judge as judging
from vitreous.engine.phantom import make_phantom
from vitreous.engine.simulate import Recipe, draw_truth, euler_matrix, view_directions
from vitreous.model.rotation import wrap_deg

N_VIEWS, BOX, PIXEL_A = 4, 48, 5.0
RECIPE = Recipe(n=400, box=BOX, pixel_size_A=PIXEL_A, views=N_VIEWS, seed=2)


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(RECIPE.diameter_A, n_rods=40)


@pytest.fixture(scope="module")
def bank(phantom):
    return judging.ViewBank(project(phantom, np.arange(N_VIEWS), 0.0), PIXEL_A, RECIPE.diameter_A)


def project(phantom, views, psi_deg, shift_A=(0.0, 0.0)):
    rot, tilt = view_directions(N_VIEWS)
    rotations = euler_matrix(rot[views], tilt[views], np.full(len(views), psi_deg))
    return phantom.projections(rotations, np.tile(shift_A, (len(views), 1)), BOX, PIXEL_A)


def perfect():
    """Estimates equal to the truth, one class per view."""
    t = draw_truth(RECIPE)
    shift_A = np.stack([t.origin_x_A, t.origin_y_A], axis=1)
    truth = {"view": t.view, "psi_deg": t.psi_deg, "shift_A": shift_A}
    return {"class_number": t.view + 1, "psi_deg": t.psi_deg, "shift_A": shift_A}, truth


def test_match_finds_a_turned_and_shifted_view(phantom, bank):
    averages = project(phantom, np.arange(N_VIEWS), 40.0, (10.0, -5.0))
    for i, average in enumerate(averages):
        view, correlation, turn, moved = bank.match(3 * average + 7, 15.0)
        assert view == i
        assert correlation > 0.98
        # psi = 40 shows the reference turned by -40 degrees in the array's axes, which is what rotate calls +40
        assert abs(wrap_deg(abs(turn) - 40)) <= 1
        assert moved.shape == (BOX, BOX)


def test_match_of_noise_is_poor(bank):
    noise = np.random.default_rng(1).normal(size=(BOX, BOX))
    assert bank.match(noise, 15.0)[1] < 0.5


def test_perfect_classification_has_no_error(phantom, bank):
    columns, truth = perfect()
    score = judging.judge(project(phantom, np.arange(N_VIEWS), 0.0), np.full(N_VIEWS, 0.25), np.full(N_VIEWS, 12.0),
                          columns, truth, bank)
    assert score.purity == 1 and score.n_views_found == N_VIEWS
    assert score.angle_error_deg == 0 and score.shift_error_A == 0
    for one in score.classes:
        assert one.view == one.class_number - 1 and one.correlation > 0.99 and one.purity == 1


def test_a_turn_and_shift_of_a_whole_class_is_no_error():
    columns, truth = perfect()
    # a class average that lies turned by 30 degrees and shifted by d: psi and origins of its members follow
    rotation = euler_matrix(0.0, 0.0, columns["psi_deg"] - 30)[:, :2, :2]
    moved = truth["shift_A"] + np.einsum("nij,j->ni", rotation, [7.0, 3.0])
    angle, shift, turn = judging.pose_errors(columns["class_number"], truth["view"], columns["psi_deg"] - 30,
                                             truth["psi_deg"], moved, truth["shift_A"])
    assert turn == {(view + 1, view): pytest.approx(30) for view in range(N_VIEWS)}
    assert len(angle) == len(truth["view"])
    np.testing.assert_allclose(angle, 0, atol=1e-9)
    np.testing.assert_allclose(shift, 0, atol=1e-9)


def test_errors_of_known_size_are_measured():
    columns, truth = perfect()
    rng = np.random.default_rng(6)
    noisy = truth["shift_A"] + rng.normal(0, 2.0, truth["shift_A"].shape)
    psi_deg = truth["psi_deg"] + rng.normal(0, 3, len(truth["view"]))
    angle, shift, _ = judging.pose_errors(columns["class_number"], truth["view"], psi_deg, truth["psi_deg"], noisy,
                                          truth["shift_A"])
    assert np.median(angle) == pytest.approx(0.6745 * 3, rel=0.2)  # median |normal|, 400 particles
    assert np.median(shift) == pytest.approx(1.1774 * 2, rel=0.15)  # median of a Rayleigh variable


def test_purity_counts_strays():
    view = np.repeat([0, 1], 50)
    classes = np.repeat([1, 2], 50)
    classes[:5] = 2
    assert judging.purity(classes, view) == pytest.approx(0.95)
    assert judging.purity(np.ones(100, int), view) == pytest.approx(0.5)


def test_empty_and_tiny_classes_are_left_out(phantom, bank):
    columns, truth = perfect()
    columns = columns | {"class_number": np.where(columns["class_number"] == 4, 1, columns["class_number"])}
    score = judging.judge(project(phantom, np.arange(N_VIEWS), 0.0), np.array([0.5, 0.25, 0.25, 0.0]),
                          np.full(N_VIEWS, 12.0), columns, truth, bank)
    assert [c.class_number for c in score.classes] == [1, 2, 3]
    assert score.n_views_found == 3 and score.purity < 1


def test_no_error_is_claimed_without_enough_particles():
    t = draw_truth(replace(RECIPE, n=5))
    shift = np.zeros((5, 2))
    angle, *_ = judging.pose_errors(t.view + 1, t.view, t.psi_deg, t.psi_deg, shift, shift)
    assert len(angle) == 0


def test_circular_median_crosses_the_seam():
    middle = judging.circular_median_deg(np.array([179.0, -179.0, 178.0, -178.0, 180.0]))
    assert abs(wrap_deg(middle - 180)) <= 1


def test_each_true_place_is_found_once():
    true = np.array([[0.0, 0.0], [10.0, 0.0], [20.0, 0.0]])
    found = np.array([[1.0, 0.0], [0.5, 0.0], [13.0, 0.0], [50.0, 50.0]])  # two at the first, one off the second
    assert judging.n_matched(found, true, near=4.0) == 2
    assert judging.n_matched(found, true, near=2.0) == 1
    assert judging.n_matched(found[:0], true, near=2.0) == 0
