"""Hundreds of STAR files of other programs: read, written back and read again; and damaged in every way."""

import os
import tarfile

import numpy as np
import pytest

from vitreous.errors import InputError
from vitreous.io.star import parse_star, write_star

# Broken on purpose, mmCIF with loops over several lines, or NaN among whole numbers: RELION reads none of these whole.
REFUSED = {"sample.star", "relion_test.star", "relion_test2.star", "no_input.star", "test_data3.star"}


PIECES = (b"\n", b"\t", b'"', b"#", b"loop_\n", b"data_\n", b"_x\n", b"\0", b"nan", b"\r")


@pytest.fixture(scope="module")
def collection(test_data):
    """(name, bytes) of every STAR file of the collection that is not empty."""
    archive = test_data / "star" / "star_collection.tar.xz"
    if not archive.exists():
        pytest.skip(f"{archive} is not there")
    found = []
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isfile() and member.name.endswith(".star") and member.size:
                found.append((member.name, tar.extractfile(member).read()))
    assert len(found) > 400
    return found


@pytest.mark.data
def test_collection_is_read_and_survives_writing(collection, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # hundreds of waits for the disk prove nothing here
    refused, n_identical = set(), 0
    for name, data in collection:
        try:
            star = parse_star(data, name)
        except InputError as error:
            refused.add(name.rsplit("/", 1)[1])
            assert f"{name}:" in str(error)
            continue
        write_star(tmp_path / "a.star", star, allow_nan=True)
        written = (tmp_path / "a.star").read_bytes()
        n_identical += written == data
        again = parse_star(written) if written else {}
        assert [key for key in star if star[key].n_rows] == list(again), name
        for key, block in again.items():
            assert list(block) == list(star[key]), name
            for label, column in block.columns.items():
                before = star[key][label]
                if before.dtype == object:
                    assert column.tolist() == before.tolist(), (name, label)
                else:  # RELION's format: 5 decimals for negative numbers, 6 significant digits in exponents
                    np.testing.assert_allclose(column, before, rtol=5.1e-6, atol=5.1e-6, err_msg=f"{name} {label}")
    assert refused == REFUSED
    assert n_identical > 150  # those that RELION 3.1 to 5 itself has written


@pytest.mark.data
def test_damaged_files_are_read_or_refused_with_the_line(collection):
    rng = np.random.default_rng(11)
    small = [data for _, data in collection if len(data) < 20_000]
    n_refused = 0
    for _ in range(1500):
        data = bytearray(small[rng.integers(len(small))])
        for _ in range(rng.integers(1, 6)):
            at = int(rng.integers(len(data)))
            what = rng.integers(5)
            if what == 0:
                del data[at:]
            elif what == 1:
                data[at] = rng.integers(256)
            elif what == 2:
                del data[at : at + int(rng.integers(1, 80))]
            elif what == 3:
                data[at:at] = data[at // 2 : at // 2 + int(rng.integers(1, 200))]
            else:
                data[at:at] = PIECES[rng.integers(len(PIECES))]
            if not data:
                break
        try:
            for block in parse_star(bytes(data), "a.star").values():
                assert len({len(column) for column in block.columns.values()}) <= 1
        except InputError as error:
            n_refused += 1
            assert str(error).startswith("a.star") and "expected" in str(error)
    assert n_refused > 100
