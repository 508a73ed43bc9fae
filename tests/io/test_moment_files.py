"""The moments of a gradient-driven run come back from their files to the last bit, and nothing else passes for them."""

import numpy as np
import pytest

from vitreous.errors import InputError
from vitreous.io.moment_files import moment_names, read_moments, write_moments
from vitreous.io.mrc import read_mrc, write_mrc
from vitreous.io.run_files import RunPaths
from vitreous.model.state import Moments

SHAPES = {2: (7, 4), 3: (7, 7, 4)}
N_CLASSES = 2


def written(folder, n_dim=3):
    rng, shape = np.random.default_rng(0), SHAPES[n_dim]
    first = (rng.normal(size=(2, N_CLASSES, *shape)) + 1j * rng.normal(size=(2, N_CLASSES, *shape))).astype(np.complex64)
    moments = Moments(first, rng.uniform(size=(N_CLASSES, *shape)).astype(np.float32))
    paths = RunPaths(str(folder / "run"), 3)
    write_moments(paths, moments, 3.0)
    return moments, paths


@pytest.mark.parametrize("n_dim", SHAPES)
def test_moments_survive_their_files_bitwise(tmp_path, n_dim):
    moments, paths = written(tmp_path, n_dim)
    found = read_moments(paths, N_CLASSES, SHAPES[n_dim])
    np.testing.assert_array_equal(found.first, moments.first)
    np.testing.assert_array_equal(found.second, moments.second)


def test_moments_of_the_second_half_come_after_the_first_half(tmp_path):
    """Real and imaginary part side by side, as RELION has them."""
    for n_dim, read in ((3, lambda names: read_mrc(names[2])[0]), (2, lambda names: read_mrc(names[0])[0][2])):
        moments, paths = written(tmp_path, n_dim)
        second_half = read(moment_names(paths, N_CLASSES, n_dim)[0])
        np.testing.assert_array_equal(second_half[..., ::2], moments.first[1, 0].real)
        np.testing.assert_array_equal(second_half[..., 1::2], moments.first[1, 0].imag)


def test_moments_of_2d_references_are_two_stacks(tmp_path):
    written(tmp_path, 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run_it003_1moment.mrcs", "run_it003_2moment.mrcs"]


@pytest.mark.parametrize("n_dim", SHAPES)
def test_moments_are_none_where_a_run_left_none(tmp_path, n_dim):
    assert read_moments(RunPaths(str(tmp_path / "run"), 3), N_CLASSES, SHAPES[n_dim]) is None


@pytest.mark.parametrize("n_dim", SHAPES)
def test_moments_on_another_lattice_are_not_taken(tmp_path, n_dim):
    """RELION's have another margin."""
    _, paths = written(tmp_path, n_dim)
    assert read_moments(paths, N_CLASSES, (9, 9, 5)[3 - n_dim :]) is None


def test_moments_in_part_are_refused(tmp_path):
    _, paths = written(tmp_path)
    _, second = moment_names(paths, N_CLASSES, 3)
    write_mrc(second[1], np.zeros((2, 2, 2), np.float32), 3.0, stack=False)
    with pytest.raises(InputError, match=r"2moment002\.mrc: has shape \(2, 2, 2\), expected \(7, 7, 4\) as the others"):
        read_moments(paths, N_CLASSES, SHAPES[3])
    (tmp_path / second[0]).unlink()
    with pytest.raises(InputError, match=r"2moment001\.mrc: is not there"):
        read_moments(paths, N_CLASSES, SHAPES[3])
