"""Our table of micrographs is that of relion_import."""

import numpy as np
import pytest
from relion_case import relion

from vitreous.backend import cpu
from vitreous.comm import LocalComm
from vitreous.io.mrc import write_mrc
from vitreous.io.star import read_star
from vitreous.programs import import_
from vitreous.programs.option_parser import parse

pytestmark = pytest.mark.interop


def test_import_gives_the_table_of_relion(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("Micrographs", "Relion"):
        (tmp_path / name).mkdir()
    for i in (1, 2):
        write_mrc(f"Micrographs/mic_{i}.mrc", np.random.default_rng(i).normal(size=(40, 50)).astype(np.float32), 0.885)
    words = [
        "--do_micrographs",
        "--optics_group_name",
        "og7",
        "--angpix",
        "0.885",
        "--kV",
        "200",
        "--Cs",
        "1.4",
        "--Q0",
        "0.07",
    ]
    words += ["--beamtilt_x", "0.1", "--beamtilt_y", "0.2", "--i", "Micrographs/*.mrc"]
    relion("relion_import", *words, "--odir", "Relion/", "--ofile", "micrographs.star", folder=tmp_path)
    import_.run(parse(import_.Options, [*words, "--odir", "Ours/", "--verb", "0"]), cpu(1), LocalComm())
    ours, theirs = read_star("Ours/micrographs.star"), read_star("Relion/micrographs.star")
    assert ours["micrographs"]["rlnMicrographName"].tolist() == theirs["micrographs"]["rlnMicrographName"].tolist()
    for label, column in theirs["optics"].columns.items():
        assert ours["optics"][label].tolist() == column.tolist(), label
