"""vitreous extract end to end: what a user asks for, and what goes wrong."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from extract_case import (
    N_PICKS,
    PICKED,
    PIXEL_A,
    make_project,
    micrograph_columns,
    picks,
    run_extract,
    stack_of,
    write_micrograph,
    write_table,
)

from vitreous.errors import InputError
from vitreous.io.mrc import read_header, read_mrc, write_mrc
from vitreous.io.particles import read_particles
from vitreous.io.star import Block, read_star, write_star
from vitreous.job.job import Aborted
from vitreous.programs import extract_loop
from vitreous.programs.extract_loop import few_enough

NORMED = PICKED + "--extract_size 64 --scale 32 --norm --bg_radius 12 --invert_contrast --part_dir Extract/job007/ "


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_project(tmp_path)
    return tmp_path


def particles(path="Extract/job007/particles.star"):
    return read_star(path)["particles"]


def test_extract_makes_particles_that_class2d_can_read(project):
    result = run_extract(NORMED)
    assert result.n == 2 * N_PICKS and not result.left_out
    data = read_particles("Extract/job007/particles.star", need_ctf=True)
    assert data.optics[0].pixel_size_A == 2 * PIXEL_A and data.optics[0].box == 32
    assert len(data.particles.row) == 2 * N_PICKS
    images, pixel_A = read_mrc(stack_of("Extract/job007", "mic_01.mrc"))
    assert images.shape == (N_PICKS, 32, 32) and pixel_A == 2 * PIXEL_A
    assert Path("Extract/job007/report.html").stat().st_size < 5e6
    assert "mean of" in Path("Extract/job007/report.html").read_text()
    assert all(Path(name.split("@")[1]).is_file() for name in particles()["rlnImageName"])


def test_extract_header_statistics_are_those_of_the_images(project):
    run_extract(NORMED)
    path = stack_of("Extract/job007", "mic_01.mrc")
    images = read_mrc(path)[0].astype(float)
    low, high, mean = np.frombuffer(Path(path).read_bytes()[76:88], "<f4")
    rms = np.frombuffer(Path(path).read_bytes()[216:220], "<f4")[0]
    np.testing.assert_allclose(
        [low, high, mean, rms], [images.min(), images.max(), images.mean(), images.std()], rtol=1e-5, atol=1e-6
    )


def test_extract_float16_is_half_the_size(project):
    run_extract(NORMED)
    whole, _ = read_mrc(stack_of("Extract/job007", "mic_01.mrc"))
    run_extract(NORMED.replace("job007", "job008") + "--float16")
    path = stack_of("Extract/job008", "mic_01.mrc")
    assert read_header(path).mode == 12
    np.testing.assert_allclose(read_mrc(path)[0], whole, atol=3e-3)  # 11 bits of values up to 5


def test_extract_takes_each_kind_of_coordinates(project):
    expected = run_extract(NORMED)
    reference = read_mrc(stack_of("Extract/job007", "mic_02.mrc"))[0]
    names = [f"MotionCorr/job002/Movies/mic_{i:02d}.mrc" for i in (1, 2)]
    files = [f"AutoPick/job006/Movies/mic_{i:02d}_autopick.star" for i in (1, 2)]
    columns = {"rlnMicrographName": np.array(names, object), "rlnMicrographCoordinates": np.array(files, object)}
    write_star("AutoPick/job006/autopick.star", [Block("coordinate_files", columns=columns)])
    Path("AutoPick/job006/coords_suffix_autopick.star").write_text("micrographs_ctf.star\n")
    for name, file in zip(names, files):
        block = next(iter(read_star(file).values()))
        xy = np.trunc(np.column_stack([block["rlnCoordinateX"], block["rlnCoordinateY"]])).astype(int)
        Path(name).with_suffix(".box").write_text("".join(f"{x - 32}\t{y - 32}\t64\t64\n" for x, y in xy))
        Path(f"{name[:-4]}_t.txt").write_text("x y\n" + "".join(f"{x} {y}\n" for x, y in xy))
    rest = NORMED.removeprefix(PICKED).replace("Extract/job007/", "Other/") + "--i micrographs_ctf.star "
    for source in ("--coord_list AutoPick/job006/autopick.star", "--coord_list "
                                                                 "AutoPick/job006/coords_suffix_autopick.star",
                   "--coord_suffix .box", "--coord_suffix _t.txt"):  # fmt: skip
        assert run_extract(rest + source).n == expected.n
        np.testing.assert_array_equal(read_mrc(stack_of("Other", "mic_02.mrc"))[0], reference)


def test_extract_takes_picks_above_a_score_or_of_a_colour(project):
    assert run_extract(NORMED + "--minimum_pick_fom 0.5").n == N_PICKS  # half of each
    path = "AutoPick/job006/Movies/mic_01_autopick.star"
    block = next(iter(read_star(path).values()))
    block["rlnParticleSelectionType"] = 1 + np.arange(N_PICKS) % 2
    write_star(path, [block])
    write_table(project, ["MotionCorr/job002/Movies/mic_01.mrc"])
    assert run_extract(NORMED + "--selection_type 2").n == N_PICKS // 2
    assert "rlnParticleSelectionType" not in particles()


def test_extract_set_angpix_replaces_the_pixel_size(project):
    run_extract(NORMED + "--set_angpix 1.5")
    assert read_star("Extract/job007/particles.star")["optics"]["rlnImagePixelSize"].tolist() == [3.0]


def test_extract_writes_a_list_of_picks(project):
    run_extract(NORMED + "--pick_star Extract/job007/extractpick.star")
    listed = read_star("Extract/job007/extractpick.star")["coordinate_files"]
    assert listed["rlnMicrographCoordinates"].tolist() == [
        f"Extract/job007/Movies/mic_{i:02d}_extract.star" for i in (1, 2)
    ]


def test_extract_a_micrograph_without_picks_is_warned_about(project, capsys):
    Path("AutoPick/job006/Movies/mic_01_autopick.star").unlink()
    result = run_extract(NORMED)
    assert result.n == N_PICKS
    assert "mic_01.mrc: no coordinates" in capsys.readouterr().err


def test_extract_an_empty_file_of_picks_is_done_without_particles(project):
    Path("AutoPick/job006/Movies/mic_01_autopick.star").write_text("")
    assert run_extract(NORMED).n == N_PICKS
    assert Path("Extract/job007/Movies/mic_01_extract.star").stat().st_size == 0
    assert run_extract(NORMED + "--only_do_unfinished").n == N_PICKS


def truncated(path):
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[: len(data) // 2])


def constant(path):
    write_mrc(path, np.full((300, 260), 3.0, np.float32), PIXEL_A)


def all_nan(path):
    write_mrc(path, np.full((300, 260), np.nan, np.float32), PIXEL_A)


def small(path):
    write_micrograph(Path(path), (50, 300), 1)


def movie(path):
    write_mrc(path, np.zeros((3, 300, 260), np.float32), PIXEL_A, stack=True)


def missing(path):
    Path(path).unlink()


def not_mrc(path):
    Path(path).write_text("no image at all" * 200)


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (truncated, "was cut short"),
        (constant, "all pixels are 3"),
        (all_nan, "no pixel that is a number"),
        (small, "expected at least the box of 64 px"),
        (movie, "has 3 sections"),
        (missing, "No such file"),
        (not_mrc, "expected positive sizes"),
    ],
)
def test_extract_a_bad_micrograph_is_told_and_the_others_are_done(project, capsys, spoil, text):
    spoil("MotionCorr/job002/Movies/mic_01.mrc")
    result = run_extract(NORMED)
    assert result.n == N_PICKS and len(result.left_out) == 1
    assert text in result.left_out[0][1] and "mic_01.mrc" in result.left_out[0][1]
    assert text in capsys.readouterr().err
    assert not Path("Extract/job007/Movies/mic_01_extract.star").exists()  # so that a continued run tries again


def test_extract_boxes_with_nan_are_left_out(project, capsys):
    name = "MotionCorr/job002/Movies/mic_01.mrc"
    image = read_mrc(name)[0][0]
    block = next(iter(read_star("AutoPick/job006/Movies/mic_01_autopick.star").values()))
    x, y = int(block["rlnCoordinateX"][6]), int(block["rlnCoordinateY"][6])
    image[y, x] = np.nan
    write_mrc(name, image, PIXEL_A)
    result = run_extract(NORMED)
    touched = sum(
        abs(int(a) - x) <= 32 and abs(int(b) - y) <= 32
        for a, b in zip(block["rlnCoordinateX"], block["rlnCoordinateY"])
    )
    assert result.outcomes[0].n_left_out >= 1
    assert result.n >= 2 * N_PICKS - touched
    assert np.isfinite(read_mrc(stack_of("Extract/job007", "mic_01.mrc"))[0]).all()
    assert len(read_mrc(stack_of("Extract/job007", "mic_01.mrc"))[0]) == result.outcomes[0].n
    assert "pixels that are no numbers" in capsys.readouterr().err


def test_extract_coordinates_of_another_pixel_size_are_told(project, capsys):
    path = "AutoPick/job006/Movies/mic_01_autopick.star"
    block = next(iter(read_star(path).values()))
    for label in ("rlnCoordinateX", "rlnCoordinateY"):
        block[label] = 4 * block[label] + 400
    write_star(path, [block])
    result = run_extract(NORMED)
    assert result.n == N_PICKS
    assert "were they picked at another pixel size?" in result.left_out[0][1]
    block["rlnCoordinateX"][:3] = block["rlnCoordinateY"][:3] = 100
    write_star(path, [block])
    assert run_extract(NORMED).n == N_PICKS + 3
    assert "do the coordinates belong to this pixel size?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("--extract_size 63", "--extract_size: found 63, expected an even number; give 64"),
        ("--extract_size 64 --norm --bg_radius 40", "--bg_radius: found 40 px, expected at most 32"),
        ("--norm", "--extract_size: found none"),
        ("--extract_size 64 --coord_list x.star", "found --coord_suffix and --coord_list, expected one"),
        ("--extract_size 64 --recenter", "--recenter: found no refined particles"),
        ("--extract_size 64 --premultiply_ctf --premultiply_extract_size 32", "expected at least --extract_size 64"),
        ("--extract_size 64 --premultiply_ctf --phase_flip", "--phase_flip: found --premultiply_ctf too"),
        ("--extract_size 64 --helix --norm", "--helical_outer_diameter: found none"),
        ("--extract_size 64 --project3d", "--project3d: found an option of RELION"),
        ("--extract_size 64 --bgradius 9", "did you mean --bg_radius?"),
    ],
)
def test_extract_refuses_options_with_one_line(project, words, text):
    with pytest.raises(InputError) as error:
        run_extract(PICKED + words)
    assert text in str(error.value)


def test_extract_without_a_ctf_warns_and_premultiplication_is_refused(project, capsys):
    names = [f"MotionCorr/job002/Movies/mic_{i:02d}.mrc" for i in (1, 2)]
    columns = {k: v for k, v in micrograph_columns(names).items() if not k.startswith(("rlnDefocus", "rlnCtf"))}
    block = Block("micrographs", columns=columns)
    write_star("micrographs_ctf.star", [read_star("micrographs_ctf.star")["optics"], block])
    run_extract(NORMED)
    assert "has no rlnDefocusU" in capsys.readouterr().err
    assert not [label for label in particles() if label.startswith("rlnDefocus")]
    with pytest.raises(InputError, match="rlnDefocusU"):
        run_extract(NORMED + "--premultiply_ctf")


def test_extract_premultiplied_particles_say_so(project):
    run_extract(NORMED + "--premultiply_ctf")
    assert read_star("Extract/job007/particles.star")["optics"]["rlnCtfDataAreCtfPremultiplied"].tolist() == [1]
    assert read_particles("Extract/job007/particles.star").optics[0].premultiplied


def test_extract_two_micrographs_of_one_name_are_refused(project):
    make_project(project, job="MotionCorr/job005/")
    names = [f"MotionCorr/{job}/Movies/mic_01.mrc" for job in ("job002", "job005")]
    write_table(project, names)
    with pytest.raises(InputError, match=r"would both be written to Extract/job007/Movies/mic_01.mrcs"):
        run_extract(NORMED)


def test_extract_the_defocus_in_micrometres_is_found(project):
    write_table(project, ["MotionCorr/job002/Movies/mic_01.mrc"], rlnDefocusU=np.array([1.2]))
    with pytest.raises(InputError, match="multiply by 10000"):
        run_extract(NORMED)


def test_extract_reads_a_table_of_relion_3_0(project):
    names = [f"MotionCorr/job002/Movies/mic_{i:02d}.mrc" for i in (1, 2)]
    new = run_extract(NORMED)
    columns = {k: v for k, v in micrograph_columns(names).items() if k != "rlnOpticsGroup"}
    columns |= {"rlnVoltage": [300.0] * 2, "rlnSphericalAberration": [2.7] * 2, "rlnAmplitudeContrast": [0.1] * 2,
                "rlnMagnification": [10000.0] * 2, "rlnDetectorPixelSize": [PIXEL_A] * 2}  # fmt: skip
    write_star(
        "micrographs_ctf.star", [Block("", columns={k: np.asarray(v) for k, v in columns.items()}, version=None)]
    )
    assert run_extract(NORMED.replace("job007", "job008")).n == new.n
    data = read_particles("Extract/job008/particles.star", need_ctf=True)
    assert data.optics[0].pixel_size_A == 2 * PIXEL_A and data.optics[0].voltage_kV == 300


def test_extract_continues_with_what_is_missing_only(project):
    run_extract(NORMED)
    first = stack_of("Extract/job007", "mic_01.mrc")
    whole = particles()
    before = Path(first).stat().st_mtime_ns
    Path("Extract/job007/Movies/mic_02_extract.star").unlink()
    result = run_extract(NORMED + "--only_do_unfinished")
    assert Path(first).stat().st_mtime_ns == before
    assert len(result.outcomes) == 1 and result.n == 2 * N_PICKS
    assert {k: v.tolist() for k, v in particles().columns.items()} == {k: v.tolist() for k, v in whole.columns.items()}


def test_extract_killed_and_continued_is_as_if_nothing_had_been(project):
    shapes = [(700, 700)] * 12
    make_project(project, shapes=shapes)
    run_extract(NORMED)
    whole = {k: v.tolist() for k, v in particles().columns.items()}
    stacks = {p.name: p.read_bytes() for p in Path("Extract/job007/Movies").glob("*.mrcs")}
    words = NORMED.replace("Extract/job007/", "Killed/job007/")
    command = [sys.executable, "-m", "vitreous", "extract", *words.split(), "--j", "1"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
    deadline = time.monotonic() + 60
    while not list(Path("Killed").glob("job007/Movies/*_extract.star")) and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    Path("Killed/job007/Movies/.mic_99.mrcs.abcdefgh.tmp").write_bytes(b"left behind")
    run_extract(words + "--only_do_unfinished")
    assert {p.name: p.read_bytes() for p in Path("Killed/job007/Movies").glob("*.mrcs")} == stacks
    assert not list(Path("Killed/job007/Movies").glob(".*.tmp"))
    again = {k: v.tolist() for k, v in particles("Killed/job007/particles.star").columns.items()}
    whole["rlnImageName"] = [v.replace("Extract", "Killed") for v in whole["rlnImageName"]]
    assert again == whole


def test_extract_stops_where_the_pipeline_asks_for_it_and_goes_on(project, capsys):
    Path("RELION_JOB_ABORT_NOW").touch()
    with pytest.raises(Aborted):
        run_extract(NORMED + "--pipeline_control .")
    assert "--only_do_unfinished" in capsys.readouterr().err
    assert Path("Extract/job007/Movies/mic_01_extract.star").is_file()
    assert not Path("Extract/job007/Movies/mic_02_extract.star").exists()
    Path("RELION_JOB_ABORT_NOW").unlink()
    result = run_extract(NORMED + "--pipeline_control . --only_do_unfinished")
    assert len(result.outcomes) == 1 and result.n == 2 * N_PICKS


def test_extract_a_full_disk_ends_the_run_with_one_line(project, monkeypatch):
    from vitreous.io.atomic import WriteError

    def full(self, images, *known):
        raise WriteError("x.mrcs: cannot be written (No space left on device) after 9 bytes, expected room; free space")

    monkeypatch.setattr(extract_loop.CountedStackWriter, "write_counted", full)
    with pytest.raises(InputError, match="No space left"):
        run_extract(NORMED)
    assert not list(Path("Extract/job007").rglob("*.tmp")) and not list(Path("Extract/job007").rglob("*_extract.star"))


def test_extract_does_not_depend_on_threads(project):
    run_extract(NORMED + "--white_dust 3", n_threads=1)
    one = Path(stack_of("Extract/job007", "mic_01.mrc")).read_bytes()
    run_extract(NORMED + "--white_dust 3", n_threads=2)
    assert Path(stack_of("Extract/job007", "mic_01.mrc")).read_bytes() == one


def refined(n_moved=0):
    run_extract(PICKED + "--extract_size 64 --scale 32 --norm --part_dir First/")
    star = read_star("First/particles.star")
    columns = dict(star["particles"].columns)
    n = len(columns["rlnImageName"])
    columns |= {"rlnAngleRot": np.zeros(n), "rlnAngleTilt": np.zeros(n), "rlnAnglePsi": np.zeros(n)}
    columns |= {
        "rlnOriginXAngst": np.full(n, 6.5),
        "rlnOriginYAngst": np.full(n, -4.0),
        "rlnRandomSubset": 1 + np.arange(n) % 2,
    }
    columns["rlnDefocusU"] = columns["rlnDefocusU"] + 111
    write_star("run_data.star", [star["optics"], Block("particles", columns=columns)])


AGAIN = "--i micrographs_ctf.star --reextract_data_star run_data.star --extract_size 48 --norm --part_dir Again/ "


def test_extract_again_moves_the_boxes_and_keeps_what_was_refined(project):
    refined()
    assert run_extract(AGAIN + "--recenter").n == 2 * N_PICKS
    before, after = read_star("run_data.star")["particles"], particles("Again/particles.star")
    np.testing.assert_allclose(after["rlnCoordinateX"], before["rlnCoordinateX"] - 3, atol=1e-6)  # 6.5 A of 2 A pixels
    np.testing.assert_allclose(after["rlnOriginXAngst"], 0.5, atol=1e-6)
    np.testing.assert_allclose(after["rlnOriginYAngst"], 0, atol=1e-6)
    assert after["rlnDefocusU"].tolist() == before["rlnDefocusU"].tolist()
    assert after["rlnRandomSubset"].tolist() == before["rlnRandomSubset"].tolist()
    run_extract(AGAIN + "--keep_ctfs_micrographs")
    assert set(particles("Again/particles.star")["rlnDefocusU"]) == {12000.0, 13000.0}


def test_extract_again_reads_origins_in_pixels(project):
    refined()
    star = read_star("run_data.star")
    block = star["particles"]
    block["rlnOriginX"], block["rlnOriginY"] = block["rlnOriginXAngst"] / 4, block["rlnOriginYAngst"] / 4  # of 4 A
    block.columns = {k: v for k, v in block.columns.items() if not k.startswith("rlnOrigin") or not k.endswith("Angst")}
    write_star("run_data.star", [star["optics"], block])
    run_extract(AGAIN)
    after = particles("Again/particles.star")
    assert "rlnOriginX" not in after
    np.testing.assert_allclose(after["rlnOriginXAngst"], 6.5, atol=1e-5)


def test_extract_again_of_micrographs_that_are_not_there_is_told(project, capsys):
    refined()
    write_table(project, ["MotionCorr/job002/Movies/mic_02.mrc"])
    assert run_extract(AGAIN).n == N_PICKS
    assert f"{N_PICKS} of {2 * N_PICKS} particles are on none of the micrographs" in capsys.readouterr().err
    write_micrograph(project / "other.mrc", (100, 100), 3)
    write_table(project, ["other.mrc"])
    with pytest.raises(InputError, match=r"none of its micrographs is in micrographs_ctf.star"):
        run_extract(AGAIN)


def test_extract_no_coordinates_at_all_is_an_error(project):
    with pytest.raises(
        InputError, match=r"none of 2 micrographs has coordinates, expected e.g. AutoPick/job006/Movies/mic_01_x.star"
    ):
        run_extract(NORMED.replace("_autopick.star", "_x.star"))


def test_extract_operates_on_a_star_file(project):
    run_extract(PICKED + "--extract_size 64 --part_dir First/")
    result = run_extract("--operate_on First/particles.star --operate_out small.mrcs --scale 32 --norm --bg_radius 12")
    assert result.n == 2 * N_PICKS
    data = read_particles("small.star")
    assert data.optics[0].pixel_size_A == 2 * PIXEL_A
    run_extract(PICKED + "--extract_size 64 --scale 32 --norm --bg_radius 12 --part_dir Direct/")
    direct = read_mrc(stack_of("Direct", "mic_01.mrc"))[0]
    np.testing.assert_allclose(read_mrc("small.mrcs")[0][:N_PICKS], direct, atol=2e-4)  # through float32 of 500


def test_extract_keeps_few_images_for_its_report():
    images = [np.zeros((16, 256, 256), np.float32)] * 100
    n = next(n for n in range(100) if not few_enough(images[:n]))
    assert sum(a.nbytes for a in images[:n]) < 40 << 20
    assert few_enough([np.zeros((900, 32, 32), np.float32)]) and not few_enough([np.zeros((1000, 32, 32), np.float32)])


def test_extract_memory_does_not_grow_with_the_number_of_picks(project):
    """The forecast is of one micrograph and one batch, whatever the number of particles."""
    from vitreous.programs.extract import predicted_memory
    from vitreous.programs.extract_options import Options
    from vitreous.programs.extract_plan import make_plan
    from vitreous.programs.option_parser import parse

    plan = make_plan(parse(Options, NORMED.split()))
    few = sum(predicted_memory(plan.tasks, plan.options.recipe()).values())
    path = "AutoPick/job006/Movies/mic_01_autopick.star"
    write_star(path, [Block("", columns=picks((300, 260), 1, 5000))])
    plan = make_plan(parse(Options, NORMED.split()))
    assert sum(predicted_memory(plan.tasks, plan.options.recipe()).values()) == few
