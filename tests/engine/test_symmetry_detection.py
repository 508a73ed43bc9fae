"""Which group a map has, and what decides it."""

from types import SimpleNamespace

import pytest
from test_align_symmetry import PIXEL_A, turned_map

from vitreous.engine.symmetry_detection import detect, is_part, judged
from vitreous.model.symmetry import Symmetry


@pytest.mark.parametrize("name, noise", [("C1", 0.0), ("C1", 1.0), ("C3", 1.0), ("D3", 0.0), ("D2", 1.0), ("O", 1.0)])
def test_detect_names_the_group(name, noise):
    volume, _, _ = turned_map(name, noise=noise)
    found = detect(volume, PIXEL_A, most_fold=6)
    assert found.symmetry == name
    supported = {row.name for row in found.candidates if row.supported}
    parts = {row.name for row in found.candidates if is_part(row.name, name)}
    assert supported == (parts | {name} if name != "C1" else set())


def test_detect_finds_icosahedra():
    assert detect(turned_map("I1")[0], PIXEL_A, most_fold=5).symmetry == "I2"


def judge(**weakest):
    return judged({name: SimpleNamespace(symmetry=name, weakest=value) for name, value in weakest.items()})


def test_a_pseudo_symmetry_is_not_the_group():
    """A dimer of two similar chains: its twofold axis is exact, two more are nearly so."""
    found = judge(C2=0.99, C4=0.1, D2=0.85)
    assert found.symmetry == "C2" and not found.candidates[1].supported
    assert judge(C2=0.97, C7=0.93, D7=0.92).symmetry == "D7"
    assert judge(C2=0.4, C3=0.3).symmetry == "C1"


def test_parts_of_groups():
    names = [f"{kind}{n}" for kind in "CD" for n in range(2, 7)] + ["T", "O", "I2"]
    for part in names:
        for whole in names:
            if is_part(part, whole):
                assert Symmetry(whole).order % Symmetry(part).order == 0 and part != whole
    assert is_part("C2", "D3") and is_part("T", "I2") and is_part("D3", "O") and is_part("C2", "C6")
    assert not is_part("D2", "D3") and not is_part("C4", "T") and not is_part("D2", "C4") and not is_part("T", "D6")
