"""Messages about a table name the line, and names of files are found where they are."""

import numpy as np
import pytest

from vitreous.errors import InputError
from vitreous.io.star import Block, read_star
from vitreous.io.table import Row, Table, beside, exists, factorise

TEXT = """# a comment

data_first

_rlnVoltage 300

data_second

loop_
_rlnImageName #1
_rlnDefocusU #2
_other #3

1@a.mrcs 1.0 1
2@a.mrcs 2.0 1.5

3@a.mrcs 3.0 x
"""


@pytest.fixture
def star(tmp_path):
    path = tmp_path / "t.star"
    path.write_text(TEXT.replace("\n\n3@", "\n3@"))
    return read_star(path)


def test_where_is_the_line_of_the_row(star):
    table = Table(star.path, star["second"])
    lines = (TEXT.replace("\n\n3@", "\n3@")).splitlines()
    for row in range(3):
        assert lines[int(table.where(row).rpartition(":")[2]) - 1].startswith(f"{row + 1}@a")
    assert table.where() == f"{star.path} (data_second)"
    assert Table(star.path, Block("made", "loop", {"a": np.zeros(2)})).where(1) == f"{star.path} (data_made)"


def test_columns_have_a_type_or_a_default(star):
    table = Table(star.path, star["second"])
    np.testing.assert_array_equal(table.numbers("rlnDefocusU"), [1, 2, 3])
    np.testing.assert_array_equal(table.integers("rlnDefocusU"), [1, 2, 3])
    np.testing.assert_array_equal(table.numbers("absent", 7), [7, 7, 7])
    assert table.strings("other") == ["1", "1.5", "x"]
    with pytest.raises(InputError, match=r"t.star:16: other is x, expected a number"):
        table.numbers("other")
    with pytest.raises(InputError, match=r"no column rlnDefocusV \(the nearest column there is rlnDefocusU\)"):
        table.require("rlnDefocusV", "a defocus", "add it")


def test_row_reads_single_values(star):
    row = Row(star.path, star["first"])
    assert (row.number("rlnVoltage", 1), row.integer("absent", 5), row.flag("absent", True)) == (300.0, 5, True)
    assert row.string("absent", "none") == "none"


def test_other_spelling_of_a_label_is_found():
    table = Table("t.star", Block("optics", "loop", {"rlnMagMatrix_00": np.array([1.01])}))
    assert "rlnMagMat00" in table and table.numbers("rlnMagMat00")[0] == 1.01


def test_factorise_numbers_names_by_first_appearance():
    names, codes = factorise(["b", "a", "b", "c"])
    assert names == ["b", "a", "c"]
    np.testing.assert_array_equal(codes, [0, 1, 0, 2])


def test_beside_prefers_the_name_as_it_is(tmp_path, monkeypatch):
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "s.mrcs").touch()
    monkeypatch.chdir(tmp_path)
    assert beside("job/x.star", "3@elsewhere/s.mrcs") == "3@job/s.mrcs"
    (tmp_path / "s.mrcs").touch()
    assert beside("job/x.star", "s.mrcs") == "s.mrcs"
    assert beside("job/x.star", "no/t.mrcs") == "no/t.mrcs"
    assert not exists("x" * 5000) and not exists("a\0b")
