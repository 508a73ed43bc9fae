"""select on a 2D classification, on micrographs and on particles: rows, files, averages, and mistakes."""

import json

import numpy as np
import pytest

from vitreous.engine.select import centre_of_mass
from vitreous.errors import InputError
from vitreous.io.mrc import read_mrc, write_mrc
from vitreous.io.star import read_star, write_star
from vitreous.programs import select
from vitreous.programs.option_parser import parse

COUNTS = (40, 25, 5, 30)
BOX, PIXEL_A = 24, 3.54


def disc(y, x):
    yy, xx = np.mgrid[:BOX, :BOX] - BOX // 2
    return np.clip(5 - np.hypot(yy - y, xx - x), 0, 1) - 0.1


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A project with a finished classification of 100 particles into four classes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Class2D/job008").mkdir(parents=True)
    rng = np.random.default_rng(3)
    classes = rng.permutation(np.repeat(np.arange(1, 5), COUNTS))
    n = len(classes)
    optics = {
        "rlnOpticsGroup": np.array([1]), "rlnOpticsGroupName": np.array(["opticsGroup1"], object),
        "rlnImagePixelSize": np.array([PIXEL_A]), "rlnVoltage": np.array([300.0]),
    }  # fmt: skip
    group = rng.integers(1, 9, n)
    particles = {
        "rlnCoordinateX": rng.uniform(0, 900, n).round(3), "rlnCoordinateY": rng.uniform(0, 900, n).round(3),
        "rlnImageName": np.array([f"{i + 1:06d}@a.mrcs" for i in range(n)], object),
        "rlnMicrographName": np.array([f"MotionCorr/job002/Movies/m{g}.mrc" for g in group], object),
        "rlnOpticsGroup": np.ones(n, int), "rlnGroupNumber": group, "rlnClassNumber": classes,
        "rlnMaxValueProbDistribution": rng.uniform(0, 1, n).round(4),
    }  # fmt: skip
    root = "Class2D/job008/run_it025_"
    write_star(f"{root}data.star", {"optics": optics, "particles": particles})
    images = np.array([disc(3, -2.5), disc(0, 0), disc(-4, 4), disc(1, 1)], np.float32)
    write_mrc(f"{root}classes.mrcs", images, PIXEL_A)
    model_classes = {
        "rlnReferenceImage": np.array([f"{i:06d}@{root}classes.mrcs" for i in range(1, 5)], object),
        "rlnClassDistribution": np.array(COUNTS) / 100, "rlnAccuracyRotations": np.array([2.0, 3, 9, 2.5]),
        "rlnEstimatedResolution": np.array([12.0, 25.0, 40.0, 14.0]), "rlnClassScore": np.array([0.9, 0.2, 0.1, 0.6]),
    }  # fmt: skip
    groups = {
        "rlnGroupNumber": np.arange(1, 9), "rlnGroupName": np.array([f"m{i}" for i in range(1, 9)], object),
        "rlnGroupNrParticles": np.full(8, 99),
        "rlnGroupScaleCorrection": np.array([1.2, 0.8, 1.0, 1.4, 0.7, 1.1, 0.9, 1.3]),
    }  # fmt: skip
    general = {"rlnPixelSize": PIXEL_A, "rlnNrClasses": 4}
    blocks = {"model_general": general, "model_classes": model_classes, "model_groups": groups}
    write_star(f"{root}model.star", blocks)
    optimiser = {"rlnModelStarFile": f"{root}model.star", "rlnExperimentalDataStarFile": f"{root}data.star"}
    write_star(f"{root}optimiser.star", {"optimiser_general": optimiser})
    return tmp_path


MODEL = "--i Class2D/job008/run_it025_model.star --o Select/job009/"
DATA = "--i Class2D/job008/run_it025_data.star --o Select/job009/"


def run(words):
    return select.run(parse(select.Options, [*words.split(), "--verb", "0"]))


def particles_of(path="Select/job009/particles.star"):
    return read_star(path)["particles"]


@pytest.mark.parametrize(
    "words, chosen",
    [
        ("--classes 1,3-4", [1, 3, 4]),
        ("--classes 4,1 --invert_selection", [2, 3]),
        ("--min_class_share 0.25", [1, 2, 4]),
        ("--min_class_parts 30", [1, 4]),
        ("--max_class_resolution 14", [1, 4]),
        ("--max_class_resolution 30 --min_class_parts 30", [1, 4]),
        ("--best_classes 2", [1, 4]),
        ("--max_class_resolution 30 --best_classes 1 --classes 2-4", [4]),
        ("--min_score 0.5", [1, 4]),
    ],
)
@pytest.mark.parametrize("name", ["model", "optimiser", "data"])
def test_select_takes_the_particles_of_the_chosen_classes(here, name, words, chosen):
    result = run(f"{MODEL.replace('model', name)} {words}")
    found, all_rows = particles_of(), particles_of("Class2D/job008/run_it025_data.star")
    expected = [row for number in chosen for row in np.flatnonzero(all_rows["rlnClassNumber"] == number)]
    assert list(found["rlnImageName"]) == list(all_rows["rlnImageName"][expected])
    assert result.n_after == len(expected) == sum(COUNTS[number - 1] for number in chosen)
    averages = read_star("Select/job009/class_averages.star")[""]
    assert list(averages["rlnClassNumber"]) == chosen
    selected = read_star("Select/job009/backup_selection.star")[""]["rlnSelected"]
    assert list(np.flatnonzero(selected) + 1) == chosen and len(selected) == 4
    assert averages["rlnReferenceImage"][0] == f"{chosen[0]:06d}@Class2D/job008/run_it025_classes.mrcs"


def test_select_recentres_averages_and_leaves_particles_as_they_are(here):
    result = run(f"{MODEL} --classes 1,3 --recenter")
    stack, pixel_A = read_mrc("Select/job009/class_averages.mrcs")
    before = read_mrc("Class2D/job008/run_it025_classes.mrcs")[0][[0, 2]]
    assert pixel_A == pytest.approx(PIXEL_A) and len(stack) == 2
    for image in stack:
        assert np.hypot(*centre_of_mass(image)) < 0.05  # what lies below zero mixes into the edge of the disc
    np.testing.assert_allclose(result.centres_px, [[3, -2.5], [-4, 4]], atol=0.02)
    np.testing.assert_allclose(stack[1], np.roll(before[1], (4, -4), (0, 1)), atol=0.02)
    names = list(read_star("Select/job009/class_averages.star")[""]["rlnReferenceImage"])
    assert names == ["000001@Select/job009/class_averages.mrcs", "000002@Select/job009/class_averages.mrcs"]


def test_select_writes_classes_in_the_order_of_the_display(here):
    run(f"{MODEL} --classes 1-4 --sort rlnClassDistribution --reverse --max_nr_parts_per_class 7")
    assert list(particles_of()["rlnClassNumber"]) == [1] * 7 + [4] * 7 + [2] * 7 + [3] * 5
    assert list(read_star("Select/job009/class_averages.star")[""]["rlnClassNumber"]) == [1, 2, 3, 4]


def test_select_goes_on_from_its_saved_selection(here):
    run(f"{MODEL} --classes 2")
    assert run(f"{MODEL} --recenter").n_after == COUNTS[1]
    assert run(f"{MODEL} --invert_selection --selection Select/job009/backup_selection.star").n_after == 100 - COUNTS[1]


def test_select_regroups_by_scale(here):
    run(f"{MODEL} --classes 1,2,4 --regroup 4")
    found = particles_of()
    assert "rlnGroupNumber" not in found
    names = found["rlnGroupName"]
    mics = found["rlnMicrographName"]
    order = ["m5", "m2", "m7", "m3", "m6", "m1", "m8", "m4"]  # by scale
    number, running, average = 1, 0, found.n_rows // 4
    for mic in order:
        rows = np.array([mic in name for name in mics])
        running += rows.sum()
        if running > average:
            number, running = number + 1, 0
        assert set(names[rows]) <= {f"group_{number}"}
    assert len(set(names)) > 2


def test_select_regroups_a_data_file_with_its_model_beside_it(here):
    assert run(f"{DATA} --regroup 5").n_after == 100
    with pytest.raises(InputError, match="expected at least 10; ask for fewer groups"):
        run(f"{DATA} --regroup 11")
    (here / "Class2D/job008/run_it025_model.star").unlink()
    with pytest.raises(InputError, match="expected the scales of its groups"):
        run(f"{DATA} --regroup 5")


def test_select_by_class_number_needs_no_model(here):
    (here / "Class2D/job008/run_it025_model.star").rename(here / "elsewhere.star")
    assert run(f"{DATA} --classes 2").n_after == COUNTS[1]
    with pytest.raises(InputError, match="choose with --classes"):
        run(f"{DATA} --max_class_resolution 20")


def test_select_combines_steps_in_order(here):
    result = run(f"{MODEL} --classes 1,4 --select rlnMaxValueProbDistribution --minval 0.5 --remove_duplicates 200")
    assert [n for _, n in result.steps] == sorted([n for _, n in result.steps], reverse=True)
    assert result.steps[0][1] == 70 and len(result.steps) == 3
    removed = read_star("Select/job009/particles_removed.star")[""]
    assert removed.n_rows + particles_of().n_rows == result.steps[1][1] and removed.n_rows > 0
    assert particles_of()["rlnMaxValueProbDistribution"].min() >= 0.5


def test_select_splits_and_lists_the_parts(here):
    result = run(f"{DATA} --split --size_split 30 --random_order --random_seed 1")
    parts = [particles_of(path)["rlnImageName"] for path in result.files]
    assert [len(part) for part in parts] == [30, 30, 30, 10] and len(set(np.concatenate(parts))) == 100
    nodes = read_star("Select/job009/RELION_OUTPUT_NODES.star")["output_nodes"]["rlnPipeLineNodeName"]
    assert list(nodes) == [str(path) for path in result.files] and not (here / "Select/job009/particles.star").exists()


@pytest.fixture
def micrographs(here):
    names = [f"MotionCorr/job002/Movies/m{i}.mrc" for i in range(1, 9)]
    optics = {"rlnOpticsGroup": np.array([1]), "rlnOpticsGroupName": np.array(["og"], object),
              "rlnMicrographPixelSize": np.array([0.885])}  # fmt: skip
    write_star("mics.star", {"optics": optics, "micrographs": {
        "rlnMicrographName": np.array(names, object), "rlnOpticsGroup": np.ones(8, int),
        "rlnCtfMaxResolution": np.arange(3.0, 11.0)}})  # fmt: skip
    return names


@pytest.mark.parametrize(
    "words, chosen",
    [
        ("--mics 2,5-6", [2, 5, 6]),
        ("--mics 2,5-6 --invert_selection", [1, 3, 4, 7, 8]),
        ("--mics some.txt", [3, 8]),
        ("--select rlnCtfMaxResolution --maxval 5", [1, 2, 3]),
        ("--select_by_str rlnMicrographName --select_exclude m4", [1, 2, 3, 5, 6, 7, 8]),
    ],
)
def test_select_micrographs_under_both_names(here, micrographs, words, chosen):
    (here / "some.txt").write_text("# the good ones\nMovies/m3.mrc 1.5\nMotionCorr/job777/Movies/m8.mrc\n")
    assert run(f"--i mics.star --o Select/job005/ {words}").kind == "micrographs"
    for name in ("micrographs.star", "micrographs_selected.star"):
        star = read_star(f"Select/job005/{name}")
        assert list(star) == ["optics", "micrographs"]
        assert list(star["micrographs"]["rlnMicrographName"]) == [micrographs[i - 1] for i in chosen]


def test_select_from_the_list_of_picks_and_again_from_the_saved_selection(here, micrographs):
    (here / "coords_suffix_manualpick.star").write_text("mics.star\n")
    run("--i coords_suffix_manualpick.star --o Select/job005/ --mics 1-3")
    assert run("--i mics.star --o Select/job005/ --invert_selection").n_after == 5
    result = run(
        "--i Class2D/job008/run_it025_data.star --o Select/job006/ --mics Select/job005/micrographs_selected.star"
    )
    assert {name[-6:] for name in particles_of("Select/job006/particles.star")["rlnMicrographName"]} <= {
        f"m{i}.mrc" for i in range(4, 9)
    }
    assert 0 < result.n_after < 100


def test_select_leaves_a_report_and_a_log(here):
    run(f"{MODEL} --classes 1,3")
    page = (here / "Select/job009/report.html").read_text()
    assert "Selected classes: 2" in page and "Classes left out: 2" in page and page.count("data:image/png") == 4
    events = [json.loads(line) for line in (here / "Select/job009/select.jsonl").read_text().splitlines()]
    assert next(e for e in events if e["event"] == "selected")["n_after"] == 45
    assert 'classes = "1,3"' in (here / "Select/job009/select_options.toml").read_text()


def test_select_takes_the_command_of_relion_display(here):
    result = run(
        "--gui --i Class2D/job008/run_it025_optimiser.star --allow_save --fn_parts Select/job009/particles.star "
        "--fn_imgs Select/job009/class_averages.star --recenter --classes 1"
    )
    assert {path.name for path in result.files} == {"particles.star", "class_averages.star"}


@pytest.mark.parametrize(
    "words, message",
    [
        ("--o Select/job009/", "--i: found nothing"),
        ("--i Class2D/job008/run_it025_model.star", "--o: found nothing, expected a folder"),
        ("--i Class2D/job008/run_it025_model.star --o a.star --classes 1", "give --fn_parts a.star"),
        (MODEL, "found no criterion"),
        (f"{MODEL} --classes 1,9", "expected class numbers between 1 and 4"),
        (f"{MODEL} --classes one", "expected numbers such as 1,4,7-12"),
        (f"{MODEL} --max_class_resolution 5", "no class is chosen"),
        (f"{MODEL} --classes 1 --sort rlnNoSuch", "there is no column rlnNoSuch"),
        (f"{MODEL} --classes 3 --select rlnMaxValueProbDistribution --minval 2", "no particles are left"),
        (f"{MODEL} --classes 1 --minval 2", "--minval: found without --select"),
        (f"{MODEL} --classes 1 --nr_split 2", "found without --split"),
        (f"{MODEL} --select_min_nr_particles 9", "found without a score"),
        (f"{MODEL} --selection short.star", "expected 4, one for each of the classes"),
        (f"{DATA} --mics none.txt", "none of its 1 micrographs is in"),
        ("--i plain.star --o Select/job009/", "found no criterion"),
    ],
)
def test_select_mistakes_are_told(here, words, message):
    write_star("short.star", {"": {"rlnSelected": np.array([1, 0])}})
    star = read_star("Class2D/job008/run_it025_data.star")
    write_star("plain.star", star)
    (here / "none.txt").write_text("Movies/other.mrc\n")
    with pytest.raises(InputError) as error:
        run(words)
    assert message in str(error.value)


def test_select_tells_files_of_different_iterations(here):
    star = read_star("Class2D/job008/run_it025_data.star")
    star["particles"]["rlnClassNumber"] = star["particles"]["rlnClassNumber"] + 1
    write_star("Class2D/job008/run_it025_data.star", star)
    with pytest.raises(InputError, match="goes from 2 to 5, expected 0 to 4"):
        run(f"{MODEL} --classes 1")
    (here / "Class2D/job008/run_it025_data.star").unlink()
    with pytest.raises(InputError, match="give the files of one iteration together"):
        run(f"{MODEL} --classes 1")


def test_select_reads_a_run_of_ours(base, tmp_path):
    """The files that class2d writes, with its averages and groups."""
    model = f"{base.root}_it002_model.star"
    result = select.run(select.Options.from_keywords(i=model, o=str(tmp_path), best_classes=2, recenter=True, verb=0))
    assert result.chosen.sum() == 2 and 0 < result.n_after < 150
    assert read_mrc(tmp_path / "class_averages.mrcs")[0].shape == (2, 32, 32)
