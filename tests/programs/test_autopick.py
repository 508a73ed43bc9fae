"""autopick from end to end, on small micrographs with known particles."""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from picking_case import GRID, PIXEL_A, hits, micrograph, write_case, write_table

from vitreous import backend
from vitreous.comm import LocalComm
from vitreous.errors import InputError
from vitreous.io.coordinates import read_coordinate_list, read_coordinates
from vitreous.io.mrc import read_mrc, write_mrc
from vitreous.io.spider import read_spider
from vitreous.io.star import read_star
from vitreous.programs import autopick
from vitreous.programs.option_parser import parse

LOG = "--LoG --LoG_diam_min 90 --LoG_diam_max 110 --shrink 0 --lowpass 20 --LoG_adjust_threshold 0.8"
TEMPLATE = (
    "--ref refs.mrcs --invert --ang 30 --shrink 0 --lowpass 20 --threshold 0.3 --min_distance 100 --keep_best_of_pairs"
)


@pytest.fixture
def case(tmp_path, monkeypatch):
    monkeypatch.chdir(write_case(tmp_path))
    return tmp_path


def run(words, odir="P", i="mics.star"):
    options = parse(autopick.Options, ["--i", i, "--odir", odir, "--verb", "0", *words.split()])
    return autopick.run(options, backend.cpu(2), LocalComm())


def table(odir, i):
    return read_coordinates(f"{odir}/M/mic{i}_autopick.star")


@pytest.mark.parametrize("words", [LOG, TEMPLATE, LOG + " --shrink 1", TEMPLATE + " --shrink 1 --threshold 0.45"])
def test_autopick_finds_the_particles(case, words):
    run(words)
    found, wrong = np.sum(
        [hits(table("P", i)["rlnCoordinateX"], table("P", i)["rlnCoordinateY"], i - 1) for i in (1, 2, 3)], axis=0
    )
    assert found >= 0.95 * 3 * len(GRID) and wrong <= 0.1 * 3 * len(GRID)


def test_autopick_keeps_the_better_of_a_pair_when_told(case):
    run(TEMPLATE.replace("--keep_best_of_pairs", "")), run(TEMPLATE, odir="Q")
    assert table("Q", 1).n_rows > table("P", 1).n_rows
    assert hits(table("Q", 1)["rlnCoordinateX"], table("Q", 1)["rlnCoordinateY"], 0)[0] == len(GRID)


def test_autopick_of_dark_references_needs_no_invert(case):
    images, _ = read_mrc("refs.mrcs")
    write_mrc("dark.mrcs", -images, PIXEL_A, stack=True)
    run(TEMPLATE), run(TEMPLATE.replace("refs", "dark").replace("--invert", ""), odir="Q")
    assert table("P", 1)["rlnCoordinateX"].tolist() == table("Q", 1)["rlnCoordinateX"].tolist()


def test_autopick_gives_reference_and_angle(case):
    run(TEMPLATE.replace("--ang 30", "--ang 90"))
    from picking_case import truth

    found = table("P", 1)
    right = 0
    for x, y, angle, i in truth(0):
        near = np.flatnonzero(np.hypot(found["rlnCoordinateX"] - x, found["rlnCoordinateY"] - y) < 6)
        right += len(near) and found["rlnClassNumber"][near[0]] == i + 1 and found["rlnAnglePsi"][near[0]] == angle
    assert right >= 0.8 * len(GRID)  # the two references share their disc, and noise picks between them


def test_autopick_writes_both_lists_summary_log_and_report(case):
    result = run(LOG)
    names = [f"M/mic{i}.mrc" for i in (1, 2, 3)]
    expected = {name: f"P/{name[:-4]}_autopick.star" for name in names}
    assert read_coordinate_list("P/autopick.star") == expected == read_coordinate_list("P/coords_suffix_autopick.star")
    summary = read_star("P/summary.star").first("")
    assert (
        summary["rlnGroupNrParticles"].tolist() == [table("P", i).n_rows for i in (1, 2, 3)] == result.counts.tolist()
    )
    assert list(table("P", 1)) == [
        "rlnCoordinateX",
        "rlnCoordinateY",
        "rlnAutopickFigureOfMerit",
        "rlnClassNumber",
        "rlnAnglePsi",
    ]
    page = Path("P/report.html").read_text()
    assert page.count('stroke="rgb(') == result.counts.sum() and len(page) < 5e6
    events = [json.loads(line) for line in Path("P/autopick.jsonl").read_text().splitlines()]
    assert [e["name"] for e in events if e["event"] == "micrograph"] == names and events[-1]["status"] == "finished"


def test_autopick_template_columns_are_relions(case):
    run(TEMPLATE)
    assert list(table("P", 1)) == [
        "rlnCoordinateX",
        "rlnCoordinateY",
        "rlnClassNumber",
        "rlnAutopickFigureOfMerit",
        "rlnAnglePsi",
    ]


@pytest.mark.parametrize("words", [LOG, TEMPLATE])
def test_autopick_with_read_maps_is_the_fresh_run(case, words):
    run(words + " --write_fom_maps")
    again = "--threshold 0.5 --min_distance 150 --LoG_adjust_threshold 1.5 --max_stddev_noise 2"
    run(f"{words} {again} --read_fom_maps")
    run(f"{words} {again}", odir="Q")
    for i in (1, 2, 3):
        assert table("P", i).n_rows == table("Q", i).n_rows > 0
        for label in table("P", i):
            np.testing.assert_allclose(table("P", i)[label], table("Q", i)[label], atol=1e-6)


def test_autopick_writes_maps_under_relions_names_and_as_mrc(case):
    run(TEMPLATE + " --write_fom_maps --fom_mrc")
    for name in ("_stddevNoise", "_avgNoise", "_ref000000._bestCCF", "_ref000001._bestPSI"):
        image, _maximum = read_spider(f"P/M/mic1_autopick{name}.spi")
        same, pixel_A = read_mrc(f"P/M/mic1_autopick{name}.mrc")
        np.testing.assert_array_equal(image, same[0])
        assert pixel_A == pytest.approx(PIXEL_A * 256 / len(image), rel=1e-6)
    assert read_spider("P/M/mic1_autopick_ref000000._bestCCF.spi")[1] > 1  # the expected ratio
    run(LOG + " --write_fom_maps", odir="Q")
    assert Path("Q/M/mic1_autopick_LoG90.spi").exists() and Path("Q/M/mic1_autopick_bestLoGc.spi").exists()


def test_autopick_reads_only_maps_of_its_sizes(case):
    run(TEMPLATE + " --write_fom_maps")
    with pytest.raises(InputError, match="--lowpass and --shrink"):
        run(TEMPLATE.replace("--lowpass 20", "--lowpass 30") + " --read_fom_maps")
    with pytest.raises(InputError, match="--write_fom_maps first"):
        run(TEMPLATE + " --read_fom_maps", odir="Q")


def test_autopick_only_unfinished_picks_what_is_missing(case):
    run(LOG)
    Path("P/M/mic2_autopick.star").unlink()
    old = {i: Path(f"P/M/mic{i}_autopick.star").stat().st_mtime_ns for i in (1, 3)}
    run(LOG + " --only_do_unfinished")
    assert Path("P/M/mic2_autopick.star").exists()
    assert old == {i: Path(f"P/M/mic{i}_autopick.star").stat().st_mtime_ns for i in (1, 3)}
    result = run(LOG + " --only_do_unfinished")  # nothing left: the lists are made again
    assert len(result.coordinates) == 3


def test_autopick_of_nothing_leaves_empty_files(case):
    run(LOG + " --LoG_adjust_threshold 90")
    assert Path("P/M/mic1_autopick.star").stat().st_size == 0
    assert len(read_coordinate_list("P/autopick.star")) == 3
    assert len(run(LOG + " --only_do_unfinished").coordinates) == 3


def spoil(case, kind):
    path = case / "M/mic2.mrc"
    image = micrograph(1)
    if kind == "nan":
        image[3, 3] = np.nan
    if kind == "constant":
        image[:] = 7
    if kind == "stack":
        write_mrc(path, np.stack([image, image]), PIXEL_A, stack=True)
    elif kind == "missing":
        path.unlink()
    else:
        write_mrc(path, image, PIXEL_A, stack=False)
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:100_000])


@pytest.mark.parametrize("words", [LOG, TEMPLATE])
@pytest.mark.parametrize(
    ("kind", "why"),
    [("nan", "1 of 65536 pixels that are no finite"), ("constant", "all pixels are 7"), ("truncated", "was cut short"),
     ("missing", "cannot be read"), ("stack", "has 2 sections")],
)  # fmt: skip
def test_autopick_goes_on_after_a_bad_micrograph(case, capsys, words, kind, why):
    spoil(case, kind)
    result = run(words)
    assert list(result.failed) == ["M/mic2.mrc"] and why in result.failed["M/mic2.mrc"]
    assert f"M/mic2.mrc: {result.failed['M/mic2.mrc']}" in capsys.readouterr().err
    assert list(result.coordinates) == ["M/mic1.mrc", "M/mic3.mrc"]
    assert not Path("P/M/mic2_autopick.star").exists()


def test_autopick_of_only_bad_micrographs_is_an_error(case):
    for i in (1, 2, 3):
        Path(f"M/mic{i}.mrc").write_bytes(b"x" * 2000)
    with pytest.raises(InputError, match="all 3 micrographs failed"):
        run(LOG)


@pytest.mark.parametrize("shape", [(200, 301), (301, 256)])
def test_autopick_of_odd_and_oblong_micrographs(tmp_path, monkeypatch, shape):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "M").mkdir()
    image = np.full(shape, 100, np.float32) + 7 * np.random.default_rng(0).normal(size=shape).astype(np.float32)
    part = micrograph(0)[:100, :100]
    image[:100, :100] = part
    write_mrc("M/mic1.mrc", image, PIXEL_A, stack=False)
    write_table("mics.star", ["M/mic1.mrc"])
    write_case(tmp_path / "refs" if (tmp_path / "refs").mkdir() is None else tmp_path, n=1)
    for words in (LOG, TEMPLATE.replace("refs.mrcs", "refs/refs.mrcs")):
        run(words)
        x, y = table("P", 1)["rlnCoordinateX"], table("P", 1)["rlnCoordinateY"]
        assert hits(x, y, 0)[0] >= 3  # the four particles that lie in the corner, of which one may be at the edge
        assert x.max() < shape[1] and y.max() < shape[0]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("", "--LoG, --ref: found neither"), (LOG + " --ref refs.mrcs", "found both"), ("--LoG --LoG_diam_min 90", "--LoG_diam_max"),
        (LOG + " --write_fom_maps --read_fom_maps", "found both"), (LOG + " --helix", "helices"), (LOG + " --topaz_extract", "Topaz"),
        (LOG + " --LoG_diam_mn 5", "did you mean --LoG_diam_m"), ("--ref nothing.mrcs", "is not there"),
        (TEMPLATE + " --particle_diameter 900", "--particle_diameter"), ("--ref gauss", "--particle_diameter"),
        (LOG + " --shrink 5000", "--shrink"), (LOG + " --pickname a/b", "--pickname"),
    ],
)  # fmt: skip
def test_autopick_refuses_what_cannot_be_meant(case, words, why):
    with pytest.raises(InputError, match=why):
        run(words)


def test_autopick_needs_a_defocus_for_ctf(case):
    star = read_star("mics.star")
    from vitreous.io.star import write_star

    block = star["micrographs"]
    write_star(
        "bare.star",
        {
            "optics": star["optics"],
            "micrographs": {"rlnMicrographName": block["rlnMicrographName"], "rlnOpticsGroup": block["rlnOpticsGroup"]},
        },
    )
    for words in (TEMPLATE + " --ctf", LOG + " --LoG_use_ctf"):
        with pytest.raises(InputError, match="rlnDefocusU"):
            run(words, i="bare.star")


def test_autopick_says_that_the_pixel_size_is_odd(case, capsys):
    write_table(case / "wrong.star", ["M/mic1.mrc"], 1.25)
    run(LOG + " --lowpass 5 --LoG_diam_min 22 --LoG_diam_max 28", i="wrong.star")
    assert "the header has 5 A per pixel, expected the 1.25 A" in capsys.readouterr().err


def test_autopick_from_a_pattern(case):
    result = run(LOG + " --angpix 5", i="M/*.mrc")
    assert list(result.coordinates) == [f"M/mic{i}.mrc" for i in (1, 2, 3)]


def test_autopick_of_a_gaussian_blob(case):
    run(
        "--ref gauss --particle_diameter 100 --invert --shrink 0 --lowpass 20 --threshold 0.2 --min_distance 60 "
        "--gauss_max 0.3 --threshold 0.01 --keep_best_of_pairs"
    )
    found, _wrong = hits(table("P", 1)["rlnCoordinateX"], table("P", 1)["rlnCoordinateY"], 0)
    assert found >= 0.7 * len(GRID)


def test_autopick_accepts_what_interfaces_send(case):
    run(LOG + " --fn_topaz_exe topaz --gpu 0 --pipeline_control P --Log_max_search 4 --random_seed -1")
    assert table("P", 1).n_rows


def test_autopick_is_the_same_for_any_number_of_threads(case):
    for n, odir in ((1, "P"), (2, "Q")):
        options = parse(autopick.Options, f"--i mics.star --odir {odir} --verb 0 {LOG}".split())
        autopick.run(options, backend.cpu(n), LocalComm())
    backend.cpu(2)
    assert Path("P/M/mic1_autopick.star").read_bytes() == Path("Q/M/mic1_autopick.star").read_bytes()


def test_autopick_stops_when_asked_and_goes_on(case):
    Path("P").mkdir()
    Path("P/RELION_JOB_ABORT_NOW").touch()
    with pytest.raises(KeyboardInterrupt):
        run(LOG + " --pipeline_control P")
    done = len(list(Path("P/M").glob("*_autopick.star")))
    assert done < 3
    Path("P/RELION_JOB_ABORT_NOW").unlink()
    assert len(run(LOG + " --only_do_unfinished").coordinates) == 3


def test_autopick_removes_half_files_of_a_killed_run(case):
    run(LOG)
    half = Path("P/M/.mic1_autopick.star.abcd1234.tmp")
    half.touch()
    run(LOG + " --only_do_unfinished")
    assert not half.exists()


def test_autopick_of_references_in_a_star_file_takes_their_header(case, tmp_path):
    from vitreous.io.star import write_star

    write_star(
        "classes.star", {"": {"rlnReferenceImage": ["000001@refs.mrcs", "000002@refs.mrcs"], "rlnClassNumber": [1, 2]}}
    )
    run(TEMPLATE), run(TEMPLATE.replace("refs.mrcs", "classes.star"), odir="Q")
    assert table("P", 1)["rlnAutopickFigureOfMerit"].tolist() == table("Q", 1)["rlnAutopickFigureOfMerit"].tolist()
    shutil.rmtree("Q")


def test_autopick_by_a_map_projects_it(case):
    from vitreous.engine.phantom import make_phantom

    volume = make_phantom(100.0).volume(32, PIXEL_A)
    write_mrc("map.mrc", volume / volume.sum(0).std(), PIXEL_A, stack=False)
    words = "--ref map.mrc --particle_diameter 100 --invert --ang 60 --shrink 0 --lowpass 25 --healpix_order 0 --threshold 0.1"
    run(words)
    assert read_mrc("P/reference_projections.mrcs")[0].shape == (12, 32, 32)
    assert table("P", 1).n_rows and set(table("P", 1)["rlnClassNumber"]) <= set(range(1, 13))
    run(words + " --sym D7", odir="Q")
    assert 1 <= len(read_mrc("Q/reference_projections.mrcs")[0]) < 12
    write_mrc("odd.mrc", np.random.default_rng(0).normal(size=(31, 31, 31)).astype(np.float32), PIXEL_A, stack=False)
    with pytest.raises(InputError, match="even cube"):
        run(words.replace("map.mrc", "odd.mrc"))


def test_autopick_goes_on_after_a_kill(case, start, command):
    slow = (
        "import time\nfrom vitreous.programs import autopick as a\npick_one = a.pick_one\n"
        "def slow(*x):\n    n = pick_one(*x)\n    time.sleep(20)\n    return n\na.pick_one = slow"
    )
    words = ["autopick", "--i", "mics.star", "--odir", "P", "--j", "1", *LOG.split()]
    process = start(words, code=slow)
    for _ in range(600):
        if Path("P/M/mic1_autopick.star").exists():
            break
        time.sleep(0.1)
    process.kill()
    process.communicate()
    assert sorted(path.name for path in Path("P/M").iterdir()) == ["mic1_autopick.star"]
    first = Path("P/M/mic1_autopick.star").stat().st_mtime_ns
    done = command([*words, "--only_do_unfinished"])
    assert done.returncode == 0, done.stderr
    assert Path("P/M/mic1_autopick.star").stat().st_mtime_ns == first
    run(LOG, odir="Q")
    for i in (1, 2, 3):
        assert Path(f"P/M/mic{i}_autopick.star").read_bytes() == Path(f"Q/M/mic{i}_autopick.star").read_bytes()


def test_autopick_leaves_the_markers_of_the_pipeline(case, start, command):
    words = ["autopick", "--i", "mics.star", "--odir", "P/", "--j", "1", "--pipeline_control", "P/", *LOG.split()]
    Path("P").mkdir(), Path("Q").mkdir()
    assert command(words).returncode == 0
    assert [p.name for p in Path("P").glob("RELION_JOB_*")] == ["RELION_JOB_EXIT_SUCCESS"]
    ask = (
        "from pathlib import Path\nfrom vitreous.programs import autopick as a\npick_one = a.pick_one\n"
        "def then_ask(*x):\n    n = pick_one(*x)\n    Path('Q/RELION_JOB_ABORT_NOW').touch()\n    return n\na.pick_one = then_ask"
    )
    process = start([word.replace("P/", "Q/") for word in words], code=ask)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 2 and "--only_do_unfinished" in told
    assert [p.name for p in Path("Q").glob("RELION_JOB_*")] == ["RELION_JOB_EXIT_ABORTED"]
    assert [p.name for p in Path("Q/M").iterdir()] == ["mic1_autopick.star"]


@pytest.mark.parametrize("words", [LOG, TEMPLATE])
def test_autopick_twice_writes_the_same_bytes(case, words):
    run(words + " --write_fom_maps"), run(words + " --write_fom_maps", odir="Q")
    files = sorted(p.relative_to("P") for kind in ("*.star", "*.spi") for p in Path("P").rglob(kind))
    assert len(files) > 9
    for file in files:
        ours, again = (Path(folder, file).read_bytes() for folder in "PQ")
        assert ours == (again.replace(b"Q/", b"P/") if file.suffix == ".star" else again), file


def test_autopick_of_references_with_an_odd_box(case):
    images, _ = read_mrc("refs.mrcs")
    write_mrc("odd.mrcs", np.ascontiguousarray(images[:, 1:, 1:]), PIXEL_A, stack=True)
    run(TEMPLATE), run(TEMPLATE.replace("refs.mrcs", "odd.mrcs"), odir="Q")
    even, odd = (table(folder, 1) for folder in "PQ")
    found, _ = hits(odd["rlnCoordinateX"], odd["rlnCoordinateY"], 0)
    assert found >= hits(even["rlnCoordinateX"], even["rlnCoordinateY"], 0)[0] - 1


def test_autopick_of_references_larger_than_a_micrograph_is_told(case):
    write_mrc("M/mic2.mrc", micrograph(1)[:25, :30].copy(), PIXEL_A, stack=False)
    result = run(TEMPLATE)
    assert list(result.coordinates) == ["M/mic1.mrc", "M/mic3.mrc"]
    assert "is 30 x 25 px" in result.failed["M/mic2.mrc"]
