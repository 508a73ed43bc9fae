"""Optics groups from tables of every age."""

import numpy as np
import pytest

from vitreous.io.optics_star import old_optics, optics_columns, parse_vector, read_optics
from vitreous.io.star import Block
from vitreous.io.table import Table
from vitreous.model.optics import OpticsGroup


def table(columns, name="optics"):
    return Table("t.star", Block(name, "loop", {label: np.asarray(values) for label, values in columns.items()}))


def test_parse_vector_reads_relions_form():
    assert parse_vector("[1.5,-2,3e-4]") == (1.5, -2.0, 3e-4)
    assert parse_vector("[]") == parse_vector("") == ()
    with pytest.raises(ValueError, match="could not convert"):
        parse_vector("[1,a]")


def test_made_up_groups_survive_their_table():
    plain = OpticsGroup("a", 1, 300.0, 2.7, 0.1, 1.2345678901234, 64)
    full = OpticsGroup(
        "b",
        2,
        200.0,
        0.01,
        0.07,
        0.5,
        128,
        beam_tilt_mrad=(0.1, -0.2),
        odd_zernike=(1.0, 2.0, 3.0),
        even_zernike=(0.5,),
        magnification=((1.01, 0.001), (0.002, 0.99)),
        premultiplied=True,
        phase_flipped=True,
        ctf_corrected=True,
        mtf_file="mtf.star",
        original_pixel_size_A=0.25,
    )
    assert read_optics(table(optics_columns([plain, full])), True) == [plain, full]
    assert "rlnBeamTiltX" not in optics_columns([plain])


def test_old_rows_make_groups_in_order_of_appearance():
    columns = {
        "rlnVoltage": [300.0, 200.0, 200.0, 300.0, 300.0],
        "rlnDetectorPixelSize": [5.0] * 5,
        "rlnMagnification": [50000.0, 50000.0, 50000.0, 50000.0, 25000.0],
    }
    groups, index, moved = old_optics(table(columns, ""))
    np.testing.assert_array_equal(index, [0, 1, 1, 0, 2])
    np.testing.assert_array_equal(groups["rlnVoltage"], [300, 200, 300])
    np.testing.assert_allclose(groups["rlnImagePixelSize"], [1, 1, 2], rtol=1e-15)
    assert moved == set(columns)


def test_values_relion_assumes_without_a_ctf():
    (group,) = read_optics(table({"rlnImagePixelSize": [2.0]}), need_ctf=False)
    assert (group.voltage_kV, group.Cs_mm, group.amplitude_contrast, group.box) == (200.0, 0.0, 0.0, 0)


def test_values_in_rows_will_do_for_a_ctf():
    (group,) = read_optics(
        table({"rlnImagePixelSize": [2.0]}), True, {"rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast"}
    )
    assert group.pixel_size_A == 2.0
