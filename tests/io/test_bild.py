"""The BILD file of orientations: a cylinder per direction, as long as its weight, in RELION's colours."""

import numpy as np
import pytest

from vitreous.io.bild import write_bild

DIRECTIONS = np.array([[0.0, 0.0], [0.0, 90.0], [90.0, 90.0], [30.0, 60.0]])


def drawn(path):
    """Colours (n, 3); cylinders (n, 7): from, to, width."""
    words = [line.split() for line in path.read_text().splitlines()]
    assert [w[0] for w in words] == [".color", ".cylinder"] * (len(words) // 2)
    return tuple(np.array([w[1:] for w in words[i::2]], float).reshape(-1, n) for i, n in ((0, 3), (1, 7)))


def test_cylinders_point_along_their_views_and_grow_with_the_weight(tmp_path):
    write_bild(tmp_path / "a.bild", DIRECTIONS, np.array([0.5, 0.25, 0.25, 0.0]), 1, 200.0)
    colours, cylinders = drawn(tmp_path / "a.bild")
    expected = [[100, 100, 200, 100, 100, 230], [200, 100, 100, 215, 100, 100], [100, 200, 100, 100, 215, 100]]
    np.testing.assert_allclose(cylinders[:, :6], expected, atol=1e-3)  # six digits
    # The circle of 100 A has 12 steps of 30 degrees; a radius is a quarter of one, so that neighbours do not touch.
    np.testing.assert_allclose(cylinders[:, 6], 2 * np.pi * 100 / 12 / 4, rtol=1e-5)
    spread = (np.array([0.5, 0.25, 0.25]) - 0.25) / np.sqrt(0.125 / 4)
    np.testing.assert_allclose(colours, np.column_stack([(spread + 1) / 6, 0 * spread, (5 - spread) / 6]), atol=1e-6)


@pytest.mark.parametrize("weights, n_drawn", [(np.full(4, 0.25), 4), (np.zeros(4), 0), ([1.0, 1e-4, 4e-4, 0.0], 2)])
def test_weights_without_length_are_left_out(tmp_path, weights, n_drawn):
    """Of the last, 0.3 x 100 A x 1e-4 is less than the 0.01 A below which a cylinder has no length, and 4e-4 more."""
    write_bild(tmp_path / "a.bild", DIRECTIONS, np.array(weights), 2, 200.0)
    colours, cylinders = drawn(tmp_path / "a.bild")
    assert len(cylinders) == n_drawn and (colours[:, 1] == 0).all()
