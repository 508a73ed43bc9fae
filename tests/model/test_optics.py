"""Which images may share a batch."""

from dataclasses import replace

import numpy as np

from vitreous.model.optics import OpticsGroup, first_numbers_of_batches

GROUP = OpticsGroup("g1", 1, 300.0, 2.7, 0.1, 1.5, 64)


def test_batch_key_ignores_what_is_a_parameter_of_each_image():
    assert replace(GROUP, name="g2", number=2, voltage_kV=200.0, Cs_mm=0.1).batch_key == GROUP.batch_key


def test_batch_key_separates_what_is_computed_once_per_batch():
    others = [
        replace(GROUP, box=66),
        replace(GROUP, pixel_size_A=1.6),
        replace(GROUP, beam_tilt_mrad=(0.1, 0.0)),
        replace(GROUP, odd_zernike=(0.0, 0.0, 1.0)),
        replace(GROUP, even_zernike=(0.0, 0.0, 1.0)),
        replace(GROUP, magnification=((1.01, 0.0), (0.0, 0.99))),
        replace(GROUP, premultiplied=True),
    ]
    assert len({g.batch_key for g in [GROUP, *others]}) == len(others) + 1


def test_beam_tilt_makes_voltage_count():
    tilted = replace(GROUP, beam_tilt_mrad=(0.1, 0.0))
    assert replace(tilted, voltage_kV=200.0).batch_key != tilted.batch_key


def test_first_numbers_of_batches_groups_equal_keys():
    groups = [GROUP, replace(GROUP, box=66), replace(GROUP, name="c"), replace(GROUP, box=66, name="d")]
    np.testing.assert_array_equal(first_numbers_of_batches(groups), [0, 1, 0, 1])
