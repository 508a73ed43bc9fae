"""vitreous import: a project from a folder of micrographs and any CTF table."""

import sys
from pathlib import Path

import numpy as np
import pytest
from extract_case import picks, run_extract, write_micrograph

sys.path.append(str(Path(__file__).parents[1] / "io"))
from test_ctf_tables import cryosparc, ctffind, star

from vitreous.backend import cpu
from vitreous.comm import LocalComm
from vitreous.errors import InputError
from vitreous.io.micrographs import read_micrographs
from vitreous.io.mrc import read_mrc, write_mrc
from vitreous.io.star import Block, read_star, write_star
from vitreous.programs import import_
from vitreous.programs.option_parser import parse

NAMES = ["Micrographs/mic_01.mrc", "Micrographs/mic_02.mrc"]
HERE = "--i Micrographs/ --odir Import/job001/ "


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i, name in enumerate(NAMES):
        write_micrograph(Path(name), (120, 100), i)  # 2 A by their headers
    return tmp_path


def run(words):
    return import_.run(parse(import_.Options, [*words.split(), "--verb", "0"]), cpu(1), LocalComm())


def test_import_makes_a_table_that_others_read(folder):
    result = run(HERE + "--angpix 0.885 --kV 200 --Cs 1.4 --Q0 0.07")
    assert result.names == NAMES and result.star_ctf is None
    table = read_micrographs("Import/job001/micrographs.star")
    group = table.groups[0]
    assert (group.pixel_size_A, group.voltage_kV, group.Cs_mm, group.amplitude_contrast) == (0.885, 200, 1.4, 0.07)
    assert table.names == NAMES and not table.has_ctf
    assert Path("Import/job001/report.html").is_file()


def test_import_takes_the_pixel_size_of_the_headers_and_says_so(folder, capsys):
    run(HERE)
    assert read_micrographs("Import/job001/micrographs.star").pixel_size_A(0) == 2
    assert "pixel size 2 A is from the micrographs' headers" in capsys.readouterr().err
    run(HERE + "--angpix 1")
    assert "the headers of 2 micrographs say 2 A" in capsys.readouterr().err


def test_import_does_not_believe_a_pixel_of_1(folder):
    for name in NAMES:
        write_mrc(name, read_mrc(name)[0][0], 1.0)
    with pytest.raises(InputError, match="its header says 1 A per pixel"):
        run(HERE)
    assert len(run(HERE + "--angpix 1").names) == 2


@pytest.mark.parametrize("kind", ["ctffind", "cryosparc", "relion"])
def test_import_joins_the_ctf_of_each_program(folder, kind):
    if kind == "ctffind":
        for i in (1, 2):
            path = Path(f"mic_{i:02d}_ctf.txt")
            ctffind(path)
            path.write_text(path.read_text().replace("mic_01.mrc", f"mic_{i:02d}.mrc"))
            Path(f"mic_{i:02d}_ctf_avrot.txt").write_text("# Output from CTFFind\n")
        ctf, defocus, pixel_A = "mic_*_ctf*.txt", 10863.8, 0.885
    elif kind == "cryosparc":
        ctf, defocus, pixel_A = cryosparc(folder / "exposures.cs"), 12000, 0.885
    else:
        ctf, defocus, pixel_A = star(folder / "ctf.star", rlnMicrographName=np.array(NAMES, object)), 1e4, 1.1
    result = run(HERE + f"--ctf {ctf}")
    table = read_micrographs(result.star_ctf, need_ctf=True)
    assert table.names == NAMES
    assert table.table.numbers("rlnDefocusU")[0] == pytest.approx(defocus)
    assert table.pixel_size_A(0) == pytest.approx(pixel_A)
    parameters = table.ctf_parameters(0)[0]
    assert parameters[0] == pytest.approx(defocus) and np.isfinite(parameters).all()
    if kind != "relion":
        assert parameters[6] == pytest.approx(90 if kind == "ctffind" else 45, rel=1e-5)  # phase shift, deg


def test_import_leads_to_particles(folder):
    run(HERE + f"--ctf {cryosparc(folder / 'exposures.cs')}")
    Path("Picks/Micrographs").mkdir(parents=True)
    for i in (1, 2):
        write_star(f"Picks/Micrographs/mic_{i:02d}_p.star", [Block("", columns=picks((120, 100), i))])
    result = run_extract("--i Import/job001/micrographs_ctf.star --coord_dir Picks/ --coord_suffix _p.star "
                         "--extract_size 32 "
                         "--premultiply_ctf --norm --part_dir Extract/job002/")  # fmt: skip
    assert result.n == 28


def test_import_makes_a_group_for_each_kind_of_optics(folder):
    run(HERE + f"--ctf {cryosparc(folder / 'exposures.cs', ctf__exp_group_id=[3, 4])}")
    table = read_micrographs("Import/job001/micrographs_ctf.star")
    assert [group.name for group in table.groups] == ["exposureGroup3", "exposureGroup4"]
    assert table.group.tolist() == [0, 1]


def test_import_says_where_the_user_and_the_ctf_table_differ(folder, capsys):
    run(HERE + f"--ctf {cryosparc(folder / 'exposures.cs')} --kV 200")
    assert "--kV 200 is used, but the CTF table says 300" in capsys.readouterr().err
    assert read_micrographs("Import/job001/micrographs_ctf.star").groups[0].voltage_kV == 200


def test_import_leaves_out_what_is_no_micrograph(folder, capsys):
    Path("Micrographs/bad.mrc").write_text("no image")
    write_mrc("Micrographs/movie.mrc", np.zeros((3, 20, 20), np.float32), 2.0, stack=True)
    data = Path(NAMES[0]).read_bytes()
    Path("Micrographs/cut.mrc").write_bytes(data[: len(data) // 2])
    result = run(HERE)
    assert result.names == NAMES
    assert sorted(Path(name).name for name, _ in result.left_out) == ["bad.mrc", "cut.mrc", "movie.mrc"]
    text = capsys.readouterr().err
    assert "expected an MRC header" in text and "has 3 sections" in text and "was cut short" in text


def test_import_micrographs_without_ctf_are_left_out_of_its_table(folder, capsys):
    write_micrograph(Path("Micrographs/unknown.mrc"), (120, 100), 5)
    result = run(HERE + f"--ctf {cryosparc(folder / 'exposures.cs')}")
    assert len(read_micrographs(result.star)) == 3 and len(read_micrographs(result.star_ctf)) == 2
    assert "has no CTF of 1 micrographs, such as Micrographs/unknown.mrc" in capsys.readouterr().err


def test_import_of_a_table_of_others_is_refused(folder):
    with pytest.raises(InputError, match=r"none of its micrographs, such as J2/x/other_01\.mrc, is among those of --i"):
        run(HERE + f"--ctf {cryosparc(folder / 'e.cs', (b'J2/x/other_01.mrc', b'J2/x/other_02.mrc'))}")


def test_import_continues_with_new_micrographs_only(folder):
    run(HERE + "--angpix 2")
    write_micrograph(Path("Micrographs/mic_03.mrc"), (120, 100), 5)
    run(HERE + "--angpix 2 --continue")
    assert read_micrographs("Import/job001/micrographs.star").names == [*NAMES, "Micrographs/mic_03.mrc"]
    write_micrograph(Path("Other/mic_04.mrc"), (120, 100), 5)
    with pytest.raises(InputError, match="group opticsGroup1 has rlnVoltage 300, the new micrographs 200"):
        run("--i Other/ --odir Import/job001/ --angpix 2 --kV 200 --continue")
    run("--i Other/ --odir Import/job001/ --angpix 2 --kV 200 --continue --optics_group_name second")
    table = read_micrographs("Import/job001/micrographs.star")
    assert [group.voltage_kV for group in table.groups] == [300, 200] and table.group.tolist() == [0, 0, 0, 1]


def test_import_brings_coordinates_in(folder):
    run(HERE)
    Path("boxes").mkdir()
    for i in (1, 2):
        Path(f"boxes/mic_{i:02d}.box").write_text("10 20 32 32\n40 50 32 32\n")
    run("--do_coordinates --i boxes/*.box --micrographs Import/job001/micrographs.star --odir Import/job002/")
    block = next(iter(read_star("Import/job002/Micrographs/mic_01_import.star").values()))
    assert block["rlnCoordinateX"].tolist() == [26, 56] and block["rlnCoordinateY"].tolist() == [36, 66]
    result = run_extract("--i Import/job001/micrographs.star --coord_list Import/job002/import.star --extract_size 16 "
                         "--part_dir Extract/job003/")  # fmt: skip
    assert result.n == 4


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("--odir Import/", "--i: found none"),
        ("--i nothing/*.mrc", "--i nothing/*.mrc: found no files"),
        ("--i Micrographs/ --ctf nothing.star", "--ctf nothing.star: found no files"),
        ("--i Micrographs/ --do_movies", "correct the movies' motion first"),
        ("--i x --do_coordinates", "--micrographs: found none"),
        ("--i Micrographs/ --angpx 1", "did you mean --angpix?"),
    ],
)
def test_import_refuses_options_with_one_line(folder, words, text):
    with pytest.raises(InputError) as error:
        run(words)
    assert text in str(error.value)
