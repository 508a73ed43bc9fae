"""STAR: RELION's layout byte for byte, every dialect read, and errors that point at the line."""

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitreous.errors import InputError
from vitreous.io.star import Block, StarFile, parse_star, read_star, round_as_written, write_star

RELION = b"""# RELION optimiser; version 3.1.3
# --o a --i "b c"\x20

# version 30001

data_general

_rlnCurrentIteration                          25
_rlnOutputRootName                  Class2D/run
_rlnPixelSize                           3.540000
_rlnTomoTrajectoriesFile            ""
\x20

# version 30001

data_particles

loop_\x20
_rlnImageName #1\x20
_rlnDefocusU #2\x20
_rlnAnglePsi #3\x20
_rlnClassNumber #4\x20
_rlnCtfBfactor #5\x20
000001@a.mrcs 10860.123456    -12.34568            3 1.234568e-05\x20
000002@a.mrcs 10860.123456   179.000000           12     0.000000\x20
     "b c" 2.500000e+05     0.500000            1 -1.23457e-05\x20
\x20
"""


def parse(text: str, **kwargs) -> StarFile:
    return parse_star(text.encode(), "a.star", **kwargs)


def written(tmp_path, blocks, **kwargs) -> str:
    write_star(tmp_path / "w.star", blocks, **kwargs)
    return (tmp_path / "w.star").read_text()


# ---- what RELION writes --------------------------------------------------------------------------------------------


def test_write_star_repeats_relion_bytes(tmp_path):
    star = parse_star(RELION)
    assert list(star) == ["general", "particles"]
    assert star["general"].kind == "list" and star["particles"].kind == "loop"
    assert star["general"].comments == ("RELION optimiser; version 3.1.3", '--o a --i "b c" ')
    assert star["general"].value("rlnCurrentIteration") == 25
    assert star["general"].value("rlnTomoTrajectoriesFile") == ""
    particles = star["particles"]
    assert particles["rlnImageName"].tolist() == ["000001@a.mrcs", "000002@a.mrcs", "b c"]
    assert particles["rlnClassNumber"].dtype == np.int64
    np.testing.assert_array_equal(particles["rlnAnglePsi"], [-12.34568, 179.0, 0.5])
    assert written(tmp_path, star).encode() == RELION


@pytest.mark.parametrize("value", [
    0.0, -0.0, 0.001, 0.000999, -0.001, 1 / 3, -1 / 3, 2.5e-6, 0.0000005, 1.0000005, 99999.9999995, 100000.0, -100000.0,
    100000.1, -99999.999994, 123456789.123, -4.2e7, 1e-99, 0.5e-6 + 1, 0.1234565, 8.1234575])
def test_numbers_are_those_of_printf(tmp_path, value):
    """The rule of RELION's writer, from the C library itself."""
    size, decimals = abs(value), 5 if value < 0 else 6
    form = "e" if 0 < size < 0.001 or size > 100000 else "f"
    expected = f"{value:12.{decimals}{form}}"[:12]
    row = written(tmp_path, {"x": {"rlnDefocusU": [value]}}).splitlines()[-2]
    assert row == expected + " "


@given(st.floats(-1.2e5, 1.2e5))
@settings(max_examples=300)
def test_round_as_written_is_printf_rounding(value):
    size, decimals = abs(value), 5 if value < 0 else 6
    form = "e" if 0 < size < 0.001 or size > 100000 else "f"
    text = f"{value:.{decimals}{form}}"
    if form == "e" and len(text) > 12:
        text = f"{value:.{decimals - 1}e}"
    assert round_as_written([value])[0] == float(text[:12] if size == 100000 else text)


@pytest.mark.parametrize("value", [1.23456e-100, -1.23456e-300, 1.5e200, -7.25e99, 9.99999999e-100, 9.9999999e99])
def test_three_digit_exponents_are_not_cut(tmp_path, value):
    text = written(tmp_path, {"x": {"rlnDefocusU": [value]}}).splitlines()[-2].strip()
    assert float(text) == pytest.approx(value, rel=1e-4)
    assert len(text) <= 12 or value in (9.99999999e-100, 9.9999999e99)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
@settings(max_examples=100)
def test_precise_numbers_survive_exactly(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("p") / "a.star"
    write_star(path, {"x": {"rlnDefocusU": np.array(values)}}, precise=True)
    np.testing.assert_array_equal(read_star(path)["x"]["rlnDefocusU"], values)


def test_version_and_list_or_loop_are_as_asked(tmp_path):
    text = written(tmp_path, {"general": {"rlnPixelSize": 1.0}, "fsc": {"rlnResolution": [0.5]}}, version=50001)
    assert text.count("# version 50001") == 2
    assert "\ndata_general\n\n_rlnPixelSize" in text and "\ndata_fsc\n\nloop_ \n_rlnResolution #1 \n" in text
    assert "version" not in written(tmp_path, [Block("", columns={"rlnResolution": [1.0]}, version=None)])


def test_empty_tables_are_not_written(tmp_path):
    assert written(tmp_path, {"particles": {"rlnImageName": []}}) == ""


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n\0"), max_size=12), min_size=1, max_size=8))
@settings(max_examples=300)
def test_texts_survive_or_are_refused(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("t") / "a.star"
    blocks = {"x": {"rlnImageName": texts, "rlnMicrographName": texts[::-1], "rlnGroupName": texts}}
    try:
        write_star(path, blocks)
    except InputError:
        assert any('"' in text and "'" in text for text in texts)
        return
    assert read_star(path)["x"]["rlnImageName"].tolist() == texts
    assert read_star(path)["x"]["rlnMicrographName"].tolist() == texts[::-1]


@pytest.mark.parametrize("text", ["_a", "data_x", "loop_", "#1", "'a", '"a', "a#b", "don't", "'a b'c", ""])
def test_texts_that_look_like_syntax_survive(tmp_path, text):
    for blocks in ({"x": {"rlnImageName": [text, "m"]}}, {"x": {"rlnImageName": text}}):
        write_star(tmp_path / "a.star", blocks)
        assert read_star(tmp_path / "a.star")["x"]["rlnImageName"][0] == text


def test_foreign_bytes_survive(tmp_path):
    data = b"data_\n\nloop_\n_rlnImageName #1\n_rlnGroupName #2\n_rlnClassNumber #3\nM\xfcnchen.mrc a 1\n"
    star = parse_star(data)
    write_star(tmp_path / "a.star", star)
    assert b"M\xfcnchen.mrc" in (tmp_path / "a.star").read_bytes()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_write_star_refuses_what_relion_reads_as_zero(tmp_path, value):
    blocks = {"x": {"rlnDefocusU": [1.0, value]}}
    with pytest.raises(InputError, match=r"w.star: data_x: rlnDefocusU is -?(nan|inf) in row 2, expected a finite"):
        written(tmp_path, blocks)
    assert not (tmp_path / "w.star").exists()
    again = parse(written(tmp_path, blocks, allow_nan=True))["x"]["rlnDefocusU"]
    np.testing.assert_array_equal(again, [1.0, value])


@pytest.mark.parametrize("blocks, message", [
    ({"x": {"a": [1, 2], "b": [1.0]}}, "columns have lengths"),
    ({"x": {"a": ["u\nv"]}}, "line break"),
    ({"x": {"a": [None]}}, "is None in row 1"),
    ({"x y": {"a": [1]}}, "holds a blank"),
    ({"x": {"a b": [1]}}, "holds a blank"),
    ([Block("x", "list", {"a": [1, 2]})], "has 2 rows, expected 1 in a list"),
])
def test_write_star_refuses(tmp_path, blocks, message):
    with pytest.raises(InputError, match=message):
        written(tmp_path, blocks)
    assert not (tmp_path / "w.star").exists()


# ---- what is read --------------------------------------------------------------------------------------------------

LOOP = "data_particles\n\nloop_\n_rlnImageName #1\n_rlnDefocusU #2\n_rlnClassNumber #3\n1@a 1.5 2\n2@a 2.5 3\n"


@pytest.mark.parametrize("text", [
    LOOP,
    LOOP.replace("\n", "\r\n"),
    "\ufeff" + LOOP,
    LOOP[:-1],
    LOOP.replace(" 1.5 2", "\t1.5\t\t2\t"),
    LOOP.replace("\n\n", "\n"),
    LOOP.replace("#1", "").replace(" #2", " #7"),
    LOOP.replace(" #1", "#1").replace(" #2", "#2"),
    LOOP.replace("loop_\n", "loop_ \n\n"),
    LOOP.replace("1@a 1.5 2\n", "\n1@a 1.5 2 # good\n# bad\n\n"),
    LOOP.replace("1@a", '"1@a"').replace("2@a", "'2@a'"),
    "# version 30001\n" + LOOP + "\n\n# end\n",
    LOOP + "data_next\n\n_rlnPixelSize 1\n",
    LOOP + " \n# version 30001\n\ndata_next\n\nloop_\n_rlnPixelSize\n1\n",
    LOOP.replace(" 2\n", " 2.000000\n").replace("1.5", "+1.5e0"),
    "  " + LOOP.replace("\n", "\n  "),
])
def test_read_star_takes_every_dialect(text):
    block = parse(text)["particles"]
    assert block["rlnImageName"].tolist() == ["1@a", "2@a"]
    assert block["rlnDefocusU"].tolist() == [1.5, 2.5] and block["rlnDefocusU"].dtype == np.float64
    assert block["rlnClassNumber"].tolist() == [2, 3] and block["rlnClassNumber"].dtype == np.int64


def test_read_star_finds_blocks_after_rows():
    star = parse(LOOP + "data_next\n_rlnPixelSize 1.25 # A\n_rlnReferenceImage\n"
                 "data_\nloop_\n_rlnPixelSize\n1\n\ndata_empty\n")
    assert list(star) == ["particles", "next", "", "empty"]
    assert star["next"].value("rlnPixelSize") == 1.25 and star["next"].value("rlnReferenceImage") == ""
    assert star[""].n_rows == 1 and star["empty"].n_rows == 0
    assert star["next"].where == "a.star:9"


def test_read_star_keeps_versions_and_comments():
    star = parse("# a\n# version 50001\n\n" + LOOP + "\n# b\ndata_x\n")
    assert star["particles"].version == 50001 and star["particles"].comments == ("a",)
    assert star["x"].version is None and star["x"].comments == ("b",)


def test_read_star_does_not_take_names_for_blocks():
    text = "data_\nloop_\n_rlnMicrographName\n_rlnClassNumber\ndata_1/a.mrc 1\ndata_2/a.mrc 2\n"
    assert parse(text)[""]["rlnMicrographName"].tolist() == ["data_1/a.mrc", "data_2/a.mrc"]
    one = "data_\nloop_\n_rlnMicrographName\ndata_1/a.mrc\ndata_2/a.mrc\ndata_3/a.mrc\n\ndata_x\n_rlnPixelSize 1\n"
    assert parse(one)[""]["rlnMicrographName"].tolist() == ["data_1/a.mrc", "data_2/a.mrc", "data_3/a.mrc"]


def test_read_star_gives_second_blocks_of_a_name_their_own_key(tmp_path):
    star = parse("data_a\n_x 1\ndata_a\n_x 2\n")
    assert star["a"].value("x") == 1 and star["a#2"].value("x") == 2
    assert [b.value("x") for b in parse(written(tmp_path, star)).values()] == [1, 2]


def test_read_star_wanted_blocks_only():
    star = parse("data_a\nloop_\n_x\n1\n\n" + LOOP, blocks=["particles"])
    assert list(star) == ["particles"]


def test_short_tables_are_lenient():
    block = parse("data_x\nloop_\n_rlnJobOptionVariable\n_rlnJobOptionValue\na\nb c d # e\n")["x"]
    assert block["rlnJobOptionVariable"].tolist() == ["a", "b"]
    assert block["rlnJobOptionValue"].tolist() == ["", "c d"]


@pytest.mark.parametrize("texts, dtype", [
    (["1", "-2"], np.int64), (["1", "2.5"], np.float64), (["1.10", "1e-4"], np.float64), (["007", "1"], object),
    (["1.12345678", "1"], object), (["1", "nan"], object), (["1", "x"], object), (["0x10"], object),
    (["1_000"], object), (["99999999999999999999"], object),
])
def test_unknown_columns_survive_unchanged(tmp_path, texts, dtype):
    star = parse("data_x\nloop_\n_wrpNew\n_b\n_c\n" + "".join(f"{text} a b\n" for text in texts))
    column = star["x"]["wrpNew"]
    assert column.dtype == dtype
    again = parse(written(tmp_path, star))["x"]["wrpNew"]
    assert again.dtype == dtype and again.tolist() == column.tolist()
    if dtype is object:
        assert column.tolist() == texts


@given(st.floats() | st.integers(-10**30, 10**30), st.sampled_from(["{}", "{:.3f}", "{:e}", "+{}", "{:.40f}"]))
@settings(max_examples=400)
def test_numbers_are_read_correctly_rounded(value, form):
    text = form.format(value).replace("+-", "-")
    got = parse(f"data_x\n_rlnDefocusU {text}\n")["x"].value("rlnDefocusU")
    assert got == float(text) or (math.isnan(got) and math.isnan(float(text)))


@pytest.mark.parametrize("text", ["1e400", "-1e400", "1e-400", "0.0e99999", "1e+5", ".5", "5.", "-.5e-3"])
def test_numbers_at_the_limits_are_read(text):
    assert parse(f"data_x\n_rlnDefocusU {text}\n")["x"].value("rlnDefocusU") == float(text)


@pytest.mark.parametrize("text, message", [
    ("", "a.star: is empty"),
    ("hello\n", "a.star:1: found 'hello', expected data_<name> first"),
    ("# only a comment\n", "has no data_ block"),
    (LOOP.replace(" 1.5 2", " 1.5"), "a.star:7: found 2 fields, expected 3"),
    (LOOP + "3@a 1 2 3 4\n", "a.star:9: found 5 fields, expected 3"),
    (LOOP.replace("2.5", "x2.5"), "a.star:8: rlnDefocusU is 'x2.5', expected a number"),
    (LOOP.replace("2.5", "0x10"), "rlnDefocusU is '0x10', expected a number"),
    (LOOP.replace("2.5", "1e"), "rlnDefocusU is '1e', expected a number"),
    (LOOP.replace("2.5", "--1"), "rlnDefocusU is '--1', expected a number"),
    (LOOP.replace(" 3\n", " 3.5\n"), "a.star:8: rlnClassNumber is '3.5', expected a whole number"),
    (LOOP.replace("_rlnDefocusU", "_rlnImageName"), "a.star:5: the label rlnImageName appears twice"),
    ("data_x\nloop_\n\ndata_y\n", "loop_ without labels"),
    ("data_x\nloop_\n1 2\n", "a.star:3: found loop_ without labels"),
    ("data_x\n_ 1\n", "without a label"),
    ("data_x\nvalue 1\n", "a.star:2: found 'value 1', expected data_, loop_ or a _label"),
])
def test_read_star_points_at_the_line(text, message):
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        parse(text)


def test_read_star_says_that_a_file_is_missing(tmp_path):
    with pytest.raises(InputError, match=r"cannot be read .*No such file.*check the name"):
        read_star(tmp_path / "no.star")


def test_read_star_does_not_load_a_binary_file(tmp_path):
    """A stack given in place of its table may be larger than the memory."""
    with open(tmp_path / "a.mrcs", "wb") as file:
        file.write(b"data_\0")
        file.truncate(10**12)
    with pytest.raises(InputError, match=r"a.mrcs: holds binary data, expected a STAR file"):
        read_star(tmp_path / "a.mrcs")


def test_read_star_takes_python_truth_values():
    star = parse("data_x\nloop_\n_rlnIsFlip\n_rlnImageName\n_c\nTrue a a\nFalse b b\n1 c c\n")
    assert star["x"]["rlnIsFlip"].tolist() == [1, 0, 1]


def test_missing_blocks_and_columns_name_the_nearest():
    star = parse(LOOP)
    with pytest.raises(InputError, match="expected data_particle; did you mean data_particles"):
        star["particle"]
    with pytest.raises(InputError, match=r"a.star:1: data_particles has no column .*did you mean rlnDefocusU"):
        star["particles"]["rlnDefocusV"]
    assert star.first("images", "particles") is star["particles"]
    assert star["particles"].value("rlnVoltage", None) is None


def test_take_keeps_columns_and_order():
    block = parse(LOOP)["particles"].take(np.array([1]))
    assert block["rlnImageName"].tolist() == ["2@a"]
    assert list(block) == ["rlnImageName", "rlnDefocusU", "rlnClassNumber"]


PIECES = [b"data_x", b"loop_", b"_rlnDefocusU", b"_b", b"#", b"'", b'"', b"\n", b"\n", b" ", b"\t", b"1", b"-2.5e3",
          b"\0", b"\xff", b";", b"\r"]


@given(st.binary(max_size=200) | st.lists(st.sampled_from(PIECES), max_size=60).map(b"".join))
@settings(max_examples=500)
def test_read_star_never_fails_otherwise(data):
    try:
        for block in parse_star(data).values():
            assert len({len(column) for column in block.columns.values()}) <= 1
    except InputError as error:
        assert "expected" in str(error)


def test_read_star_does_not_slow_down_with_many_blocks():
    """Trajectory files hold a block per particle; a quadratic reader would need minutes for this one."""
    data = b"".join(b"\ndata_%d\n\nloop_\n_rlnOriginXAngst\n1.0\n2.0\n" % i for i in range(20_000))
    start = time.process_time()
    assert len(parse_star(data)) == 20_000
    assert time.process_time() - start < 10
