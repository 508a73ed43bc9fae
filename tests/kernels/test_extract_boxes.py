import numpy as np
import pytest

from vitreous.engine.extract import resize, shrink_tables
from vitreous.kernels_extract import extract_boxes

RTOL = 3e-6  # float32 products summed over a box of up to 64, relative to the spread of the result


def micrograph(ny=50, nx=40, seed=1):
    return np.random.default_rng(seed).normal(100, 10, (ny, nx)).astype(np.float32)


CENTRES = np.array([(20, 25), (0, 0), (39, 49), (-3, 60), (10, 49), (35, 2), (1000, -1000)], np.int64)


def oracle(image, centres, box, fill=None, offset=0.0):
    """Pixel by pixel."""
    ny, nx = image.shape
    out = np.empty((len(centres), box, box))
    for i, (cx, cy) in enumerate(centres):
        for y in range(box):
            for x in range(box):
                at_y, at_x = cy - box // 2 + y, cx - box // 2 + x
                inside = 0 <= at_y < ny and 0 <= at_x < nx
                value = image[min(max(at_y, 0), ny - 1), min(max(at_x, 0), nx - 1)]
                out[i, y, x] = (value if inside or fill is None else fill) - offset
    return out


def oracle_shrink(images, side):
    """The definition, by a sum over frequencies: unpaired ones are those of +side/2."""
    box = images.shape[-1]
    ky = np.arange(-side // 2 + 1, side // 2 + 1)
    kx = np.arange(side // 2 + 1)
    x, to = np.arange(box), np.arange(side)
    forward = [np.exp(-2j * np.pi * np.outer(k, x) / box) for k in (ky, kx)]
    ft = np.einsum("ay,iyx,bx->iab", forward[0], images, forward[1]) / box**2
    weight = np.where((kx == 0) | (kx == side // 2), 1.0, 2.0)  # of the half plane
    back = [np.exp(2j * np.pi * np.outer(to, k) / side) for k in (ky, kx)]
    return np.einsum("ya,iab,xb,b->iyx", back[0], ft, back[1], weight).real


@pytest.mark.parametrize("box", [1, 6, 7, 32])
@pytest.mark.parametrize("fill", [None, 55.5])
def test_extract_boxes_matches_oracle(be, box, fill):
    image = micrograph()
    got = extract_boxes(be, image, CENTRES, box, fill=fill, offset=100.0)
    np.testing.assert_array_equal(got, oracle(image, CENTRES, box, fill, 100.0).astype(np.float32))


@pytest.mark.parametrize(("box", "side"), [(32, 16), (32, 30), (20, 2), (64, 18)])
def test_extract_boxes_made_smaller_match_the_oracle(be, box, side):
    image = micrograph()
    got = extract_boxes(be, image, CENTRES, box, shrink_tables(box, side), offset=100.0)
    expected = oracle_shrink(oracle(image, CENTRES, box, offset=100.0), side)
    np.testing.assert_allclose(got, expected, rtol=0, atol=RTOL * 10)
    np.testing.assert_allclose(resize(oracle(image, CENTRES, box, offset=100.0), side), expected, rtol=0, atol=1e-4)


def test_extract_boxes_smaller_keeps_a_constant_and_a_slow_wave(be):
    n, side = 48, 16
    y, x = np.indices((n, n))
    image = (7 + np.cos(2 * np.pi * (2 * x - y) / n)).astype(np.float32)
    got = extract_boxes(be, image, np.array([[n // 2, n // 2]], np.int64), n, shrink_tables(n, side))[0]
    y, x = np.indices((side, side))
    np.testing.assert_allclose(got, 7 + np.cos(2 * np.pi * (2 * x - y) / side), atol=2e-5)


def test_extract_boxes_do_not_depend_on_threads(be):
    image, centres = micrograph(), np.repeat(CENTRES, 5, axis=0)
    tables = shrink_tables(32, 16)
    many = extract_boxes(be, image, centres, 32, tables)
    be.lib.set_num_threads(1)
    try:
        np.testing.assert_array_equal(many, extract_boxes(be, image, centres, 32, tables))
    finally:
        be.lib.set_num_threads(be.n_threads)


def test_extract_boxes_of_no_particles(be):
    assert extract_boxes(be, micrograph(), np.zeros((0, 2), np.int64), 8).shape == (0, 8, 8)


def test_extract_boxes_refuses_wrong_shapes_and_types(be):
    with pytest.raises(ValueError, match=r"extract_boxes: sine has shape \(3, 8\), expected \(4, 8\)"):
        cosine, sine, edge = shrink_tables(8, 4)
        extract_boxes(be, micrograph(), CENTRES, 8, (cosine, sine[:3], edge))
    with pytest.raises(ValueError, match="expected at least one pixel each"):
        extract_boxes(be, micrograph(), CENTRES, 0)
    with pytest.raises(TypeError, match="centre: dtype is <i4, expected <i8"):
        extract_boxes(be, micrograph(), CENTRES.astype(np.int32), 8)
