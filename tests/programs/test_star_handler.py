"""star-handler by its errors, and where it departs from relion_star_handler; tests/interop holds that the rest "
"agrees."""

import numpy as np
import pytest

from vitreous.errors import InputError
from vitreous.io.mrc import write_mrc
from vitreous.io.star import read_star, write_star
from vitreous.programs import star_handler
from vitreous.programs.option_parser import parse

N = 12


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with particles.star of two optics groups, and its stack."""
    monkeypatch.chdir(tmp_path)
    optics = {
        "rlnOpticsGroup": np.array([1, 2]), "rlnOpticsGroupName": np.array(["one", "two"], object),
        "rlnImagePixelSize": np.array([4.0, 4.0]), "rlnVoltage": np.array([300.0, 300.0]),
    }  # fmt: skip
    rng = np.random.default_rng(0)
    particles = {
        "rlnImageName": np.array([f"{i + 1:06d}@a.mrcs" for i in range(N)], object),
        "rlnMicrographName": np.array(["a.mrc"] * N, object), "rlnOpticsGroup": np.array([1] * 6 + [2] * 6),
        "rlnCoordinateX": 10.0 * np.arange(N), "rlnCoordinateY": np.zeros(N), "rlnDefocusU": 1e4 + 100.0 * np.arange(N),
        "rlnClassNumber": np.arange(N) % 3 + 1,
    }  # fmt: skip
    write_star("particles.star", {"optics": optics, "particles": particles})
    write_mrc("a.mrcs", rng.normal(size=(N, 8, 8)).astype(np.float32), 4.0)
    return tmp_path


def run(words):
    return star_handler.run(parse(star_handler.Options, [*words.split(), "--verb", "0"]))


@pytest.mark.parametrize(
    "words, message",
    [
        ("--o out.star", "--i: found nothing"),
        ("--i nowhere.star", "nowhere.star: cannot be read"),
        ("--i particles.star --select rlnDefocusW", "did you mean rlnDefocusU"),
        ("--i particles.star --select rlnMicrographName", "holds text there, expected numbers; use --select_by_str"),
        ("--i particles.star --select_by_str rlnClassNumber --select_include 3", "holds numbers there, expected text"),
        ("--i particles.star --select_by_str rlnMicrographName", "found neither of --select_include"),
        ("--i particles.star --select rlnDefocusU --center", "one operation at a time"),
        ("--i particles.star --minval 3", "--minval: found without --select"),
        ("--i particles.star --split", "found neither --nr_split nor --size_split"),
        ("--i particles.star --center --center_X 3", "--center rlnAngleRot"),
        ("--i particles.star --operate rlnMicrographName --multiply_by 2", "expected numbers to multiply"),
        ("--i particles.star --operate rlnDefocusU --set_to deep", "found 'deep', expected a number for rlnDefocusU"),
        ("--i particles.star --operate rlnDefocusW --set_to 1", "did you mean"),
        ("--i particles.star --remove_column rlnDefocusV", "has no such column"),
        ("--i particles.star --add_column rlnDefocusV", "found neither of --add_column_value"),
        ("--i particles.star --add_column rlnDefocusV --copy_column_from rlnImageName", "holds text, expected numbers"),
        ("--i particles.star --compare particles.star", "found no --label1"),
        ("--i particles.star --compare particles.star --label1 rlnClass", "has no such column"),
        ("--i particles.star --i_tablename micrographs", "expected data_micrographs"),
        ("--i particles.star --discard_on_stats --discard_label rlnCtfImage", "--discard_label rlnCtfImage"),
        ("--i particles.star --hist_column rlnImageName", "holds text"),
        ("--combine --i nothing*.star", "no file has such a name"),
        ("--i particles.star --combine_picks", "--combine_picks: found an option of RELION"),
        ("--i particles.star --selct rlnDefocusU", "did you mean --select?"),
    ],
)
def test_star_handler_mistakes_are_told(here, words, message):
    with pytest.raises(InputError) as error:
        run(words)
    assert message in str(error.value)
    assert not (here / "out.star").exists()


def test_star_handler_takes_the_pixel_size_of_the_coordinates_from_the_micrographs(here, capsys):
    """Neighbours are 10 px apart: 40 A by the particles' pixel, 10 A by the micrographs'."""
    assert read_star(run("--i particles.star --remove_duplicates 39 --o a.star")[0])["particles"].n_rows == N
    star = read_star("particles.star")
    star["optics"]["rlnMicrographPixelSize"] = [1.0, 1.0]
    write_star("particles.star", star)
    assert read_star(run("--i particles.star --remove_duplicates 10 --o a.star")[0])["particles"].n_rows == 1
    assert read_star("a_removed.star")[""].n_rows == N - 1
    star["optics"].columns.pop("rlnMicrographPixelSize")
    star["optics"]["rlnMicrographOriginalPixelSize"] = [1.0, 1.0]
    write_star("particles.star", star)
    capsys.readouterr()
    run("--i particles.star --remove_duplicates 10 --o a.star")
    assert "give the micrographs' pixel size as --image_angpix" in capsys.readouterr().err


def test_star_handler_duplicates_in_tomograms_turn_origins_with_their_subtomograms(here):
    """Two particles meet only where the origin of each is turned by its subtomogram's own angles."""
    columns = {
        "rlnTomoName": np.array(["t1", "t1"], object), "rlnCoordinateX": np.array([50.0, 40.0]),
        "rlnCoordinateY": np.array([50.0, 50.0]), "rlnCoordinateZ": np.array([50.0, 50.0]),
        "rlnOriginXAngst": np.array([0.0, 0.0]), "rlnOriginYAngst": np.array([0.0, 20.0]),
        "rlnOriginZAngst": np.zeros(2), "rlnTomoSubtomogramRot": np.array([0.0, -90.0]),
        "rlnTomoSubtomogramTilt": np.zeros(2), "rlnTomoSubtomogramPsi": np.zeros(2), "rlnOpticsGroup": np.array([1, 1]),
    }  # fmt: skip
    optics = {"rlnOpticsGroup": np.array([1]), "rlnOpticsGroupName": np.array(["t"], object),
              "rlnTomoTiltSeriesPixelSize": np.array([2.0])}  # fmt: skip
    for sign, left in ((1, 1), (-1, 2)):
        turned = columns | {"rlnTomoSubtomogramRot": sign * columns["rlnTomoSubtomogramRot"]}
        write_star("tomo.star", {"optics": optics, "particles": turned})
        run("--i tomo.star --remove_duplicates 1 --o left.star")
        assert read_star("left.star")["particles"].n_rows == left


def test_star_handler_changes_labels_of_data_optics_there(here):
    run("--i particles.star --operate rlnVoltage --set_to 200 --o out.star")
    star = read_star("out.star")
    assert (star["optics"]["rlnVoltage"] == 200).all() and "rlnVoltage" not in star["particles"]


def test_star_handler_random_parts_hold_every_row_once_and_are_repeated_by_the_seed(here):
    names = [
        run(f"--i particles.star --split --nr_split 3 --random_order --random_seed 5 --o {o}")
        for o in ("a.star", "b.star")
    ]
    images = [[name for path in paths for name in read_star(path)["particles"]["rlnImageName"]] for paths in names]
    assert images[0] == images[1] != sorted(images[0]) and len(set(images[0])) == N


def test_star_handler_split_lists_its_files_for_the_pipeline(here):
    run("--i particles.star --split --nr_split 2 --o Select/job003/particles.star")
    nodes = read_star("Select/job003/RELION_OUTPUT_NODES.star")["output_nodes"]
    assert list(nodes["rlnPipeLineNodeName"]) == [f"Select/job003/particles_split{i}.star" for i in (1, 2)]
    run("--i particles.star --split --nr_split 2 --o here.star")  # where relion_star_handler stops
    assert (here / "here_split2.star").exists() and not (here / "RELION_OUTPUT_NODES.star").exists()


def test_star_handler_writes_no_empty_parts(here, capsys):
    assert len(run("--i particles.star --split --nr_split 9 --size_split 2 --o a.star")) == 6
    assert "3 files would be empty" in capsys.readouterr().err


def test_star_handler_leaves_out_images_that_cannot_be_used(here, capsys):
    images = np.random.default_rng(0).normal(size=(N - 2, 8, 8)).astype(np.float32)
    images[4, 3, 3] = np.nan
    write_mrc("a.mrcs", images, 4.0)
    run("--i particles.star --discard_on_stats --o out.star")
    left = read_star("out.star")["particles"]["rlnImageName"]
    assert len(left) == N - 3 and "000005@a.mrcs" not in left
    error = capsys.readouterr().err
    assert "2 images are not in the file" in error and "1 images hold NaN" in error


def test_star_handler_without_any_image_says_where_to_run(here):
    (here / "a.mrcs").unlink()
    with pytest.raises(InputError, match="run in the folder that the names start from"):
        run("--i particles.star --discard_on_stats")


def test_star_handler_joins_files_that_lack_optics_columns(here):
    star = read_star("particles.star")
    for block, label, value in (("optics", "rlnOddZernike", "[1,0,0,0,0,0]"), ("optics", "rlnMagMat00", 1.01)):
        star[block][label] = [value, value]
    star["optics"]["rlnOpticsGroupName"] = ["one", "three"]
    write_star("more.star", star)
    run_words = parse(
        star_handler.Options, ["--combine", "--i", "particles.star more.star", "--o", "all.star", "--verb", "0"]
    )
    star_handler.run(run_words)
    joined = read_star("all.star")
    assert list(joined["optics"]["rlnOpticsGroupName"]) == ["one", "two", "three"]
    assert list(joined["optics"]["rlnOddZernike"]) == ["[0,0,0,0,0,0]"] * 2 + ["[1,0,0,0,0,0]"]
    assert list(joined["optics"]["rlnMagMat00"]) == [1, 1, 1.01]
    assert list(joined["particles"]["rlnOpticsGroup"]) == [1] * 6 + [2] * 6 + [1] * 6 + [3] * 6


def test_star_handler_takes_files_of_lists_alone(here):
    write_star("general.star", {"optimiser_general": {"rlnCurrentIteration": 3}})
    run("--i general.star --operate rlnCurrentIteration --set_to 5 --o out.star")
    assert read_star("out.star")["optimiser_general"].value("rlnCurrentIteration") == 5


def test_star_handler_drops_a_list_that_counts_rows_when_rows_change(here):
    star = read_star("particles.star")
    left_out = {"vitreousRow": np.array([2]), "vitreousCause": np.array(["NaN"], object)}
    write_star("run_data.star", {**star, "vitreous_quarantine": left_out})
    run("--i run_data.star --o same.star")
    assert "vitreous_quarantine" in read_star("same.star")
    run("--i run_data.star --select rlnClassNumber --maxval 2 --o less.star")
    assert "vitreous_quarantine" not in read_star("less.star")


def test_star_handler_keeps_columns_and_blocks_that_it_does_not_know(here):
    star = read_star("particles.star")
    star["particles"]["myNote"] = [f"n{i}" for i in range(N)]
    write_star("odd.star", {"general": {"rlnTomoSubTomosAre2DStacks": 1}, **star, "extra": {"fooBar": np.arange(3)}})
    run("--i odd.star --select rlnClassNumber --maxval 1 --o out.star")
    found = read_star("out.star")
    assert list(found) == ["general", "optics", "particles", "extra"]
    assert list(found["particles"]["myNote"]) == ["n0", "n3", "n6", "n9"]
