"""Our star-handler writes the bytes that relion_star_handler writes, where the specification says they are "
"determined."""

import numpy as np
import pytest
from relion_case import relion

from vitreous.io.mrc import write_mrc
from vitreous.io.star import read_star, write_star
from vitreous.programs import star_handler
from vitreous.programs.option_parser import parse

pytestmark = pytest.mark.interop

N = 60


def optics(names, pixel_A, **more):
    columns = {
        "rlnOpticsGroupName": np.array(names, object), "rlnOpticsGroup": np.arange(1, len(names) + 1),
        "rlnImagePixelSize": np.array(pixel_A), "rlnImageSize": np.full(len(names), 16),
        "rlnImageDimensionality": np.full(len(names), 2), "rlnVoltage": np.full(len(names), 300.0),
        "rlnSphericalAberration": np.full(len(names), 2.7), "rlnAmplitudeContrast": np.full(len(names), 0.1),
    }  # fmt: skip
    return columns | more


def particles(seed, n_groups, stack="a.mrcs"):
    rng = np.random.default_rng(seed)
    mics = np.array([f"Movies/m{i}.mrc" for i in rng.integers(0, 3, N)], object)
    columns = {
        "rlnImageName": np.array([f"{i + 1:06d}@{stack}" for i in range(N)], object), "rlnMicrographName": mics,
        "rlnOpticsGroup": rng.integers(1, n_groups + 1, N), "rlnDefocusU": rng.uniform(5000, 20000, N).round(3),
        "rlnClassNumber": rng.integers(1, 5, N),
        "rlnGroupName": np.array([f"g{i}" for i in rng.integers(0, 3, N)], object),
        "rlnGroupNumber": rng.integers(1, 4, N), "rlnLogLikeliContribution": np.exp(rng.normal(0, 8, N)),
    }  # fmt: skip
    for label, scale in (("rlnCoordinateX", 100), ("rlnCoordinateY", 100), ("rlnAngleRot", 180), ("rlnAngleTilt", 90),
                         ("rlnAnglePsi", -180), ("rlnOriginXAngst", 20), ("rlnOriginYAngst", -20)):  # fmt: skip
        columns[label] = (scale * rng.uniform(size=N)).round(4)
    return columns


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(5)
    images = rng.normal(size=(N, 16, 16)).astype(np.float32)
    images[3] += 2
    images[8] *= 1.6
    write_mrc(folder / "a.mrcs", images, 2.4)
    one = particles(1, 1)
    write_star(folder / "one.star", {"optics": optics(["og1"], [2.4]), "particles": one})
    write_star(folder / "two.star", {"optics": optics(["og1", "og2"], [2.4, 3.0]), "particles": particles(2, 2)})
    tilted = optics(["og3", "og1"], [1.5, 2.4], rlnBeamTiltX=np.array([0.3, 0.2]), rlnBeamTiltY=np.array([0.1, -0.4]))
    more = particles(3, 2, "b.mrcs") | {"rlnCtfMaxResolution": np.full(N, 4.5)}
    write_star(folder / "tilted.star", {"optics": tilted, "particles": more})
    near = {k: v.copy() for k, v in one.items()}
    near["rlnCoordinateX"] = near["rlnCoordinateX"] + rng.normal(0, 1, N).round(4)
    near["rlnCoordinateZ"] = one["rlnCoordinateX"]
    write_star(folder / "near.star", {"optics": optics(["og1"], [2.4]), "particles": near})
    three = one | {"rlnOriginZAngst": (10 * rng.uniform(size=N)).round(4)}
    write_star(folder / "three.star", {"optics": optics(["og1"], [2.4]), "particles": three})
    micrographs = {"rlnMicrographName": np.array(["a.mrc", "b.mrc", "c.mrc"], object),
                   "rlnOpticsGroup": np.array([1, 1, 1]),
                   "rlnCtfMaxResolution": np.array([4.0, 5.0, 6.0])}  # fmt: skip
    of_mics = optics(["og1"], [2.4]) | {"rlnMicrographPixelSize": np.array([1.2])}
    del of_mics["rlnImagePixelSize"]
    write_star(folder / "mics.star", {"optics": of_mics, "micrographs": micrographs})
    old = {
        "rlnImageName": one["rlnImageName"], "rlnMicrographName": one["rlnMicrographName"],
        "rlnMagnification": np.where(np.arange(N) < 20, 50000.0, 40000.0), "rlnDetectorPixelSize": np.full(N, 7.5),
        "rlnVoltage": np.full(N, 300.0), "rlnSphericalAberration": np.full(N, 2.7),
        "rlnAmplitudeContrast": np.full(N, 0.1), "rlnBeamTiltX": np.full(N, 0.2),
        "rlnOriginX": one["rlnOriginXAngst"], "rlnOriginY": one["rlnOriginYAngst"],
    }  # fmt: skip
    write_star(folder / "old.star", {"": old}, version=None)
    mics = {label: column for label, column in old.items() if not label.startswith(("rlnOrigin", "rlnImageName"))}
    write_star(folder / "oldmics.star", {"": mics}, version=None)
    return folder


SAME = [
    "--i two.star",
    "--i mics.star",
    "--i two.star --select rlnDefocusU --minval 9000 --maxval 15000.5",
    "--i two.star --select rlnClassNumber --minval 2 --maxval 3",
    "--i mics.star --select rlnCtfMaxResolution --maxval 5",
    "--i two.star --select_by_str rlnMicrographName --select_include m1",
    "--i two.star --select_by_str rlnMicrographName --select_exclude s/m1.m",
    "--i one.star --discard_on_stats --discard_sigma 3",
    "--i one.star --remove_duplicates 30",
    "--i one.star --remove_duplicates 12.5 --image_angpix 1.1",
    "--i two.star --center --center_X 5 --center_Y -2.5 --center_Z 3",
    "--i three.star --center --center_X 5 --center_Y -2.5 --center_Z 30",
    "--i two.star --operate rlnDefocusU --operate2 rlnCoordinateX --multiply_by 1.5 --add_to -3",
    "--i two.star --operate rlnClassNumber --multiply_by 2.5",
    "--i two.star --operate rlnMicrographName --set_to m.mrc",
    "--i two.star --operate rlnDefocusU --set_to 12000.5",
    "--i two.star --remove_column rlnDefocusU",
    "--i two.star --add_column rlnRandomSubset --add_column_value 2",
    "--i two.star --add_column rlnDefocusV --copy_column_from rlnDefocusU",
    "--i ./one.star --split --nr_split 7",
    "--i ./one.star --split --size_split 25",
    "--i ./one.star --split --size_split 11 --nr_split 3",
    "--i one.star --compare near.star --label1 rlnImageName",
    "--i one.star --compare two.star --label1 rlnClassNumber --max_dist 0.6",
    "--i one.star --compare near.star --label1 rlnCoordinateX --max_dist 0.5",
    "--i one.star --compare near.star --label1 rlnCoordinateX --label2 rlnCoordinateY --max_dist 1",
    "--i near.star --compare near.star --label1 rlnCoordinateX --label2 rlnCoordinateY --label3 rlnCoordinateZ "
    "--max_dist 3",
    "--combine --i one.star,tilted.star,two.star --check_duplicates rlnImageName",
]


@pytest.mark.parametrize("words", [f"--o ./x/out.star {words}" for words in SAME])
def test_star_handler_writes_the_bytes_of_relion(tables, monkeypatch, words):
    words = [word.replace(",", " ") for word in words.split()]
    monkeypatch.chdir(tables)
    found = {}
    for who in ("theirs", "ours"):
        folder = tables / "x"
        folder.mkdir(exist_ok=True)
        for path in folder.iterdir():
            path.unlink()
        if who == "theirs":
            relion("relion_star_handler", *words, folder=tables)
        else:
            star_handler.run(parse(star_handler.Options, [*words, "--verb", "0"]))
        found[who] = {path.name: path.read_bytes() for path in folder.iterdir() if "NODES" not in path.name}
    assert found["theirs"] and max(map(len, found["theirs"].values())) > 300
    assert found["ours"].keys() == found["theirs"].keys()
    for name, content in found["theirs"].items():
        assert found["ours"][name] == content, name


@pytest.mark.parametrize("name", ["old", "oldmics"])
def test_star_handler_converts_as_relion_convert_star(tables, monkeypatch, name):
    monkeypatch.chdir(tables)
    relion("relion_convert_star", "--i", f"{name}.star", "--o", "theirs.star", folder=tables)
    star_handler.run(parse(star_handler.Options, ["--i", f"{name}.star", "--o", "ours.star", "--verb", "0"]))
    assert (tables / "ours.star").read_bytes() == (tables / "theirs.star").read_bytes()


@pytest.mark.parametrize(
    "label, more",
    [
        ("rlnDefocusU", ""),
        ("rlnDefocusU", "--hist_bins 7"),
        ("rlnDefocusU", "--hist_bins 6 --hist_min 0 --hist_max 15000"),
        ("rlnLogLikeliContribution", ""),  # far outliers: the number of bins is limited
        ("rlnOpticsGroup", ""),  # all alike
    ],
)
def test_star_handler_prints_the_histogram_of_relion(tables, monkeypatch, capsys, label, more):
    monkeypatch.chdir(tables)
    words = ["--i", "one.star", "--o", "hist.star", "--hist_column", label, *more.split()]
    theirs = relion("relion_star_handler", *words, folder=tables).splitlines()
    (tables / "hist.eps").unlink()
    star_handler.run(parse(star_handler.Options, words))
    ours = capsys.readouterr().out.splitlines()
    theirs = [line for line in theirs if not line.startswith(" Done")]
    if label == "rlnOpticsGroup":  # theirs says [1, +INF] where it means [2, +INF]
        theirs[-1] = theirs[-1].replace("[1,", "[2,")
    assert ours[: len(theirs)] == theirs
    assert (tables / "hist.eps").read_bytes().startswith(b"%!PS-Adobe")


def test_relion_reads_what_star_handler_writes(tables, monkeypatch):
    """A table without optics groups, of which RELION itself makes an empty file."""
    monkeypatch.chdir(tables)
    star_handler.run(
        parse(star_handler.Options, ["--i", "two.star", "--ignore_optics", "--o", "flat.star", "--verb", "0"])
    )
    flat, whole = read_star("flat.star"), read_star("two.star")
    assert list(flat) == ["particles"]
    np.testing.assert_array_equal(flat["particles"]["rlnDefocusU"], whole["particles"]["rlnDefocusU"])
    listed = relion("relion_star_printtable", "flat.star", "data_particles", "_rlnDefocusU", folder=tables).split()
    np.testing.assert_allclose(np.array(listed, float), whole["particles"]["rlnDefocusU"], rtol=1e-6)
