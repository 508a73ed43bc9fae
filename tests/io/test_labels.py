"""The table of labels is whole and consistent, and a misspelt label finds its neighbour."""

from vitreous.io.labels import FIELDS, SPELLINGS, TYPES, label_type, label_types, nearest_label


def test_label_types_are_all_known_types():
    types = label_types()
    assert len(types) == 610
    assert set(types.values()) == set(TYPES)
    assert types["rlnDefocusU"] == "double" and types["rlnOpticsGroup"] == "int" and types["rlnImageName"] == "string"


def test_label_fields_and_spellings_are_known_labels():
    types = label_types()
    assert not set(FIELDS) - set(types)
    assert not set(SPELLINGS) & set(types) - {"rlnTomogramHProjectionalf2"}


def test_label_type_knows_other_spellings():
    assert label_type("rlnKullbackLeibnerDivergence") == label_type("rlnKullbackLeiblerDivergence") == "double"
    assert label_type("wrpSomething") is None


def test_nearest_label_finds_misspellings_and_other_units():
    present = ["rlnImageName", "rlnOriginX", "rlnDefocusU", "rlnDefocusV", "rlnMagMatrix_01"]
    assert nearest_label("rlnDefocusu", present) in ("rlnDefocusU", "rlnDefocusV")
    assert nearest_label("rlnimagename", present) == "rlnImageName"
    assert nearest_label("rlnOriginXAngst", present) == "rlnOriginX"
    assert nearest_label("rlnMagMat01", present) == "rlnMagMatrix_01"
    assert nearest_label("rlnHelicalTubeID", present) is None
    assert nearest_label("rlnVoltage", []) is None
