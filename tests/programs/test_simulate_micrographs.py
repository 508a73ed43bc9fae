"""``vitreous simulate --micrographs``: with the truth, extraction and reconstruction give the true map back."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from vitreous.cli import call
from vitreous.errors import InputError
from vitreous.io.mrc import read_header, read_mrc, write_mrc
from vitreous.io.star import read_star
from vitreous.programs import simulate
from vitreous.programs.simulate import Options

PIXEL_A, BOX = 5.0, 52
SMALL = {"micrographs": 2, "size": 400, "size_y": 320, "angpix": PIXEL_A, "particle_diameter": 130, "verb": 0}
# 366 particles, far enough from each other
FIELD = {"micrographs": 6, "size": 700, "size_y": 600, "min_distance": 190, "noise": "white", "astigmatism": 1500}


def make(folder, **options):
    return simulate.run(Options.from_keywords(o=str(folder), **(SMALL | options)))


def fourier_shells(a, b):
    """FSC, and the scale of a against b, of each shell."""
    n = min(len(a), len(b))
    a, b = (v[tuple(slice(m // 2 - n // 2, m // 2 + n // 2) for m in v.shape)] for v in (a, b))
    a_ft, b_ft = np.fft.fftn(a), np.fft.fftn(b)
    k = np.fft.fftfreq(n) * n
    shell = np.rint(np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2)).astype(int).ravel()
    cross, aa, bb = (np.bincount(shell, np.real(x * y.conj()).ravel())
                     for x, y in ((a_ft, b_ft), (a_ft, a_ft), (b_ft, b_ft)))  # fmt: skip
    return cross / np.sqrt(aa * bb), cross / bb


def extracted(folder, made, name="Extract/", **source):
    source = source or {"coord_list": str(made.coordinates)}
    call("extract", i=str(made.micrographs), part_dir=str(folder / name), extract_size=BOX, norm=True, invert_contrast=True,
         verb=0, **source)  # fmt: skip
    return folder / name / "particles.star"


def reconstructed(folder, particles):
    call("reconstruct", i=str(particles), o=str(folder / "map.mrc"), ctf=True, verb=0)
    return read_mrc(folder / "map.mrc")[0]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    return folder, make(folder, snr=30.0, **FIELD)


def test_truth_gives_the_map_back(plain, tmp_path, monkeypatch):
    made = plain[1]
    monkeypatch.chdir(tmp_path)
    truth = read_mrc(made.maps[0])[0]
    found = reconstructed(tmp_path, extracted(tmp_path, made))
    fsc, scale = fourier_shells(found, truth)
    # 0.98 remain at 19 A, where the molecule fades; an error of half a pixel in one coordinate would leave less than 0.9
    assert fsc[1:15].min() > 0.96
    half = np.exp(-1j * np.pi * np.fft.fftfreq(len(truth)))
    assert fourier_shells(np.fft.ifftn(np.fft.fftn(truth) * half).real, truth)[0][12:15].max() < 0.9
    # the map is in units of the noise of a box's corners, to which the neighbours of this clean set add 5 percent
    assert np.abs(scale[2:12] - 0.95).max() < 0.03


def test_files_hold_together(plain):
    folder, made = plain
    micrographs, truth = read_star(made.micrographs)["micrographs"], read_star(made.truth_file)["particles"]
    names = [str(folder / "Micrographs" / f"mic_0000{i}.mrc") for i in range(1, 7)]
    assert micrographs["rlnMicrographName"].tolist() == names
    header = read_header(names[0])
    assert header.shape == (1, 600, 700) and header.mode == 2 and header.pixel_size_A == pytest.approx(PIXEL_A)
    assert not {"rlnCtfFigureOfMerit", "rlnCtfMaxResolution"} & set(micrographs)
    assert set(truth["rlnMicrographName"]) == set(names) and made.n == truth.n_rows
    assert np.abs(truth["rlnOriginXAngst"]).max() <= PIXEL_A / 2
    listed = read_star(made.coordinates)["coordinate_files"]
    rows = truth["rlnMicrographName"] == names[2]
    one = read_star(listed["rlnMicrographCoordinates"][2]).first("")
    for label in ("rlnCoordinateX", "rlnAngleRot", "rlnOriginYAngst"):
        np.testing.assert_array_equal(one[label], truth[label][rows])
    for label in ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle"):  # particles lie at their micrograph's defocus
        assert set(truth[label][rows]) == {micrographs[label][2]}
    assert (folder / "report.html").stat().st_size < 5 << 20
    assert (folder / "run.jsonl").exists() and (folder / "run_options.toml").exists()


def test_particles_in_layers_have_their_own_defocus(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = make(tmp_path / "sim", snr=8.0, ice_thickness=12000, **FIELD)
    truth = read_mrc(made.maps[0])[0]
    table, particles = read_star(made.micrographs)["micrographs"], read_star(made.truth_file)["particles"]
    height = particles["rlnDefocusU"] - np.repeat(table["rlnDefocusU"], [
        np.sum(particles["rlnMicrographName"] == name) for name in table["rlnMicrographName"]])  # fmt: skip
    assert np.ptp(height) > 8000 and np.abs(height % 50 - 25).min() > 24.9
    own, flat = (fourier_shells(reconstructed(tmp_path, extracted(tmp_path, made, name, **source)), truth)[0][8:17].mean()
                 for name, source in (("own/", {"reextract_data_star": str(made.truth_file)}), ("flat/", {})))  # fmt: skip
    assert own > 0.93 and flat < own - 0.1


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    options = {"carbon": 0.5, "contaminants": 2, "overlaps": 0.1, "ice_thickness": 300, "sym": "C3"}
    a, b, c = (make(tmp_path / name, seed=seed, **options) for name, seed in (("a", 2), ("b", 2), ("c", 3)))
    for name in ("Micrographs/mic_00001.mrc", "Micrographs/mic_00002.mrc", "truth.mrc"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
        assert name == "truth.mrc" or (tmp_path / "a" / name).read_bytes() != (tmp_path / "c" / name).read_bytes()
    assert a.n == b.n and c.n > 0


@pytest.mark.parametrize(("flag", "mode", "step"), [("int16", 1, 1.0), ("float16", 12, 0.5)])
def test_micrographs_of_half_the_size_show_the_same(tmp_path, flag, mode, step):
    make(tmp_path / "full", micrographs=1)
    make(tmp_path / "half", micrographs=1, **{flag: True})
    full, half = (tmp_path / name / "Micrographs" / "mic_00001.mrc" for name in ("full", "half"))
    assert read_header(half).mode == mode and half.stat().st_size < 0.51 * full.stat().st_size
    # whole numbers; half precision has eleven bits: steps of 1 from 1024 on
    assert np.abs(read_mrc(full)[0] - read_mrc(half)[0]).max() <= step


def test_states_are_mixed_in_their_shares(tmp_path):
    for name, sigma in (("a", 3.0), ("b", 6.0)):
        axis = np.arange(40) - 20.0
        ball = np.exp(-(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2) / (2 * sigma**2))
        write_mrc(tmp_path / f"{name}.mrc", ball, PIXEL_A)
    (tmp_path / "states.star").write_text(
        "data_\n\nloop_\n_rlnReferenceImage #1\n_rlnClassDistribution #2\na.mrc 0.5\nb.mrc 1.5\n"
    )
    made = make(tmp_path / "sim", i=str(tmp_path / "states.star"), micrographs=6)
    classes = read_star(made.truth_file)["particles"]["rlnClassNumber"]
    share = np.mean(classes == 2)
    assert share == pytest.approx(0.75, abs=4 * np.sqrt(0.19 / len(classes))) and set(classes) == {1, 2}
    assert [path.name for path in made.maps] == ["truth_001.mrc", "truth_002.mrc"]
    widths = [np.sum(read_mrc(path)[0] > 0.5 * read_mrc(path)[0].max()) for path in made.maps]
    assert widths[1] > 5 * widths[0]
    # particle images of states carry the state as their class, too
    particles = simulate.run(Options.from_keywords(
        o=str(tmp_path / "p"), i=str(tmp_path / "states.star"), n=40, box=48, angpix=PIXEL_A, verb=0
    ))  # fmt: skip
    assert set(read_star(particles.truth_file)["particles"]["rlnClassNumber"]) == {1, 2}
    with pytest.raises(InputError, match="--views 3: found with 2 states"):
        simulate.run(Options.from_keywords(o=str(tmp_path / "v"), i=str(tmp_path / "states.star"), views=3, verb=0))


def test_picks_are_where_the_truth_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = make(tmp_path / "sim", snr=1.0, size=900, size_y=900, noise="ice", i=None)
    call("autopick", i=str(made.micrographs), odir="pick/", pickname="autopick", LoG=True, LoG_diam_min=110, LoG_diam_max=140,
         shrink=0, lowpass=20, LoG_adjust_threshold=1, verb=0)  # fmt: skip
    picked, listed = read_star("pick/autopick.star")["coordinate_files"], read_star(made.coordinates)["coordinate_files"]
    n_found = n_picks = n_true = 0
    for a, b in zip(picked["rlnMicrographCoordinates"], listed["rlnMicrographCoordinates"]):
        picks, truth = (np.column_stack([read_star(path).first("")[f"rlnCoordinate{x}"] for x in "XY"]) for path in (a, b))
        n_found += np.sum(cKDTree(picks).query(truth)[0] * PIXEL_A < 50)
        n_picks, n_true = n_picks + len(picks), n_true + len(truth)
    # dark particles on bright ice are what a picker looks for; with the contrast inverted it finds none
    assert 2 * n_found / (n_picks + n_true) > 0.9


@pytest.mark.data
def test_atoms_of_the_shared_models(test_data, tmp_path):
    pytest.importorskip("gemmi")
    made = make(tmp_path, i=str(test_data / "models" / "apoferritin_ca_sym.pdb.xz"), particle_diameter=None, size=256,
                size_y=256, micrographs=1, atom_bfactor=100)  # fmt: skip
    volume, pixel_size_A = read_mrc(made.maps[0])
    assert pixel_size_A == PIXEL_A and made.recipe.diameter_A == pytest.approx(126, abs=6)  # ferritin is 120 A wide
    axis_A = (np.arange(len(volume)) - len(volume) // 2) * PIXEL_A
    radius = np.sqrt(axis_A[:, None, None] ** 2 + axis_A[:, None] ** 2 + axis_A**2)
    shell = volume[(radius > 40) & (radius < 58)].mean()
    assert shell > 10 * abs(volume[radius < 25].mean())  # a hollow shell


@pytest.mark.parametrize(("change", "said"), [
    ({"views": 4}, "--views: found with --micrographs"),
    ({"micrographs": 0, "size": None, "size_y": None, "overlaps": 0.1}, "--overlaps: found with particle images"),
    ({"micrographs": 0, "size": None, "size_y": None, "noise": "ice"}, "--noise ice: found with particle images"),
    ({"int16": True, "float16": True}, "--int16: found with --float16"),
    ({"particles_per_micrograph": 5000}, "found 5000 particles in a micrograph of 400 x 320 px"),
    ({"sym": "D2", "i": "a.mrc"}, "--sym D2: found with --i"),
    ({"sym": "Q3"}, "--sym: found Q3"),
    ({"noise": "pink"}, "noise is 'pink'"),
    ({"i": "nowhere.pdb"}, "nowhere.pdb: cannot be read"),
    ({"i": "nowhere.mrc"}, "nowhere.mrc: is not there"),
    ({"assembly": "1"}, "--assembly: found without atoms"),
    ({"box": 20}, "expected less than the box"),
])  # fmt: skip
def test_bad_input_is_refused(tmp_path, change, said):
    with pytest.raises(InputError, match=said):
        options = {key: value for key, value in (SMALL | change).items() if value is not None}
        simulate.run(Options.from_keywords(o=str(tmp_path), **options))
    assert not list(tmp_path.rglob("*.mrc"))
