"""Atomic models: what is read of PDB and mmCIF files, and what is said about those that cannot be used."""

import gzip
import lzma
import sys

import numpy as np
import pytest

from vitreous.errors import InputError
from vitreous.io.models import is_model, read_model

gemmi = pytest.importorskip("gemmi")

PDB = """\
REMARK 350 BIOMOLECULE: 1
REMARK 350 APPLY THE FOLLOWING TO CHAINS: A
REMARK 350   BIOMT1   1  1.000000  0.000000  0.000000        0.00000
REMARK 350   BIOMT2   1  0.000000  1.000000  0.000000        0.00000
REMARK 350   BIOMT3   1  0.000000  0.000000  1.000000        0.00000
REMARK 350   BIOMT1   2 -1.000000  0.000000  0.000000        0.00000
REMARK 350   BIOMT2   2  0.000000 -1.000000  0.000000        0.00000
REMARK 350   BIOMT3   2  0.000000  0.000000  1.000000        5.00000
ATOM      1  N   ALA A   1      11.000  12.000  13.000  1.00 20.00           N
ATOM      2  CA  ALA A   1      12.000  12.500  13.250  0.50 30.00           C
ATOM      3  H   ALA A   1      11.500  12.500  13.250  1.00 30.00           H
HETATM    4  O   HOH A   2      20.000  20.000  20.000  1.00 30.00           O
END
"""


def write(path, text, opener=open):
    with opener(path, "wb") as file:
        file.write(text.encode())
    return path


@pytest.mark.parametrize(("name", "opener"), [("a.pdb", open), ("a.pdb.gz", gzip.open), ("a.ent.xz", lzma.open)])
def test_read_model_leaves_hydrogens_and_water_out(tmp_path, name, opener):
    atoms = read_model(write(tmp_path / name, PDB, opener))
    np.testing.assert_allclose(atoms.position_A, [[11, 12, 13], [12, 12.5, 13.25]])
    np.testing.assert_allclose(atoms.b_factor_A2, [20, 30])
    np.testing.assert_allclose(atoms.occupancy, [1, 0.5])
    # the electron scattering factors at 0, of nitrogen and carbon (International Tables C, 4.3.2.2)
    np.testing.assert_allclose(atoms.amplitude_A.sum(axis=1)[atoms.kind], [2.2135, 2.5088])


def test_read_model_of_mmcif_is_that_of_pdb(tmp_path):
    pdb = write(tmp_path / "a.pdb", PDB)
    text = gemmi.read_structure(str(pdb)).make_mmcif_document().as_string()
    a, b = read_model(pdb), read_model(write(tmp_path / "a.cif.xz", text, lzma.open))
    for name in ("position_A", "kind", "b_factor_A2", "occupancy", "amplitude_A", "width_A2"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_read_model_builds_the_assembly(tmp_path):
    atoms = read_model(write(tmp_path / "a.pdb", PDB), assembly="1", b_factor_A2=7.0)
    np.testing.assert_allclose(atoms.position_A, [[11, 12, 13], [12, 12.5, 13.25], [-11, -12, 18], [-12, -12.5, 18.25]])
    assert (atoms.b_factor_A2 == 7).all()


def test_centre_is_where_the_scattering_is(tmp_path):
    atoms = read_model(write(tmp_path / "a.pdb", PDB))
    weight = np.array([1, 0.5]) * atoms.amplitude_A.sum(axis=1)[atoms.kind]
    np.testing.assert_allclose(atoms.centre_A, (weight[:, None] * atoms.position_A).sum(axis=0) / weight.sum())


@pytest.mark.parametrize(("text", "options", "said"), [
    (PDB, {"assembly": "3"}, r"found no assembly '3'.*\(1\)"),
    ("\n".join(PDB.splitlines()[10:]), {}, "no atoms but hydrogens and water"),
    (PDB.replace(" 1.00 20", " 0.00 20").replace(" 0.50 30", " 0.00 30"), {}, "occupancies of 0 alone"),
    ("hello\n", {}, "expected a PDB or mmCIF file"),
    ("", {}, "expected a PDB or mmCIF file"),
    (PDB.replace("           N\n", "          LR\n"), {}, "element Lr"),
])  # fmt: skip
def test_read_model_refuses(tmp_path, text, options, said):
    with pytest.raises(InputError, match=said) as found:
        read_model(write(tmp_path / "a.pdb", text), **options)
    assert str(found.value).startswith(str(tmp_path / "a.pdb"))


def test_read_model_of_no_file(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_model(tmp_path / "a.pdb")


def test_read_model_of_a_file_cut_short(tmp_path):
    path = write(tmp_path / "a.pdb.xz", PDB, lzma.open)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="cannot be read"):
        read_model(path)


def test_read_model_without_gemmi_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gemmi", None)
    with pytest.raises(InputError, match=r"pip install 'vitreous\[models\]'"):
        read_model(write(tmp_path / "a.pdb", PDB))


@pytest.mark.parametrize(("name", "expected"), [
    ("a.pdb", True), ("b/a.PDB", True), ("a.cif.gz", True), ("a.mrc", False), ("a.mrc.gz", False), ("a.star", False),
])  # fmt: skip
def test_is_model_goes_by_the_name(name, expected):
    assert is_model(name) == expected
