"""The moments of a gradient-driven run come back from their files to the last bit, and nothing else passes for them."""

from dataclasses import replace

import numpy as np
import pytest
from run_case import refinement

from vitreous.errors import InputError
from vitreous.io.moment_files import moment_names, with_moments, write_moments
from vitreous.io.mrc import read_mrc, write_mrc
from vitreous.io.refine_files import RefinePaths
from vitreous.model.state import Moments

SHAPE = (7, 7, 4)


def written(folder, n_classes=2):
    rng = np.random.default_rng(0)
    first = (rng.normal(size=(2, n_classes, *SHAPE)) + 1j * rng.normal(size=(2, n_classes, *SHAPE))).astype(np.complex64)
    moments = Moments(first, rng.uniform(size=(n_classes, *SHAPE)).astype(np.float32))
    state = refinement(1)
    state.models[0] = replace(state.models[0], references=np.zeros((n_classes, 4, 4, 4), np.float32))
    paths = RefinePaths(str(folder / "run"), state.progress.iteration)
    write_moments(paths, moments, 3.0)
    return state, moments, paths


def test_moments_survive_their_files_bitwise(tmp_path):
    state, moments, paths = written(tmp_path)
    found = with_moments(state, str(tmp_path / "run"), SHAPE).moments
    np.testing.assert_array_equal(found.first, moments.first)
    np.testing.assert_array_equal(found.second, moments.second)
    names, _ = moment_names(paths, 2)
    second_half = read_mrc(names[2])[0]  # of class 1, after the K of the first half-set: re and im side by side
    np.testing.assert_array_equal(second_half[..., ::2], moments.first[1, 0].real)
    np.testing.assert_array_equal(second_half[..., 1::2], moments.first[1, 0].imag)


def test_moments_are_none_where_a_run_left_none(tmp_path):
    assert with_moments(refinement(1), str(tmp_path / "run"), SHAPE).moments is None


def test_moments_on_another_lattice_are_not_taken(tmp_path):
    """RELION's have another margin."""
    state, *_ = written(tmp_path)
    assert with_moments(state, str(tmp_path / "run"), (9, 9, 5)).moments is None


def test_moments_in_part_are_refused(tmp_path):
    state, _, paths = written(tmp_path)
    _, second = moment_names(paths, 2)
    write_mrc(second[1], np.zeros((2, 2, 2), np.float32), 3.0, stack=False)
    with pytest.raises(InputError, match=r"2moment002\.mrc: has shape \(2, 2, 2\), expected \(7, 7, 4\) as the others"):
        with_moments(state, str(tmp_path / "run"), SHAPE)
    (tmp_path / second[0]).unlink()
    with pytest.raises(InputError, match=r"2moment001\.mrc: is not there"):
        with_moments(state, str(tmp_path / "run"), SHAPE)
