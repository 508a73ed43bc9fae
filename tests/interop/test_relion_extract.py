"""Our particles are those of relion_preprocess."""

import sys
from pathlib import Path

import numpy as np
import pytest
from relion_case import relion

sys.path.append(str(Path(__file__).parents[1] / "programs"))
from extract_case import PICKED, make_project, run_extract, stack_of

from vitreous.io.mrc import read_mrc
from vitreous.io.star import Block, read_star, write_star
from vitreous.model.rotation import euler_to_matrix

pytestmark = pytest.mark.interop

# Both write float32. Ours rescales by products in float32: 5e-6 of the noise at worst, 5e-7 on average.
EXACT, RESCALED = 2e-6, 1e-5


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    make_project(folder)
    return folder


CASES = [
    ("--extract_size 48 --norm --bg_radius 18 --invert_contrast", EXACT),
    ("--extract_size 48 --norm --bg_radius 18 --no_ramp", EXACT),
    ("--extract_size 64 --scale 32 --norm --bg_radius 12 --invert_contrast", RESCALED),
    ("--extract_size 60 --scale 24 --norm --bg_radius 9", RESCALED),
    ("--extract_size 40 --scale 60 --norm --bg_radius 22", RESCALED),
    # --scale with --window is not compared: relion_preprocess 3.1.3 then writes images that are mostly empty.
    ("--extract_size 64 --window 20 --norm --bg_radius 8", EXACT),
    ("--extract_size 48 --window 64 --norm --bg_radius 20", EXACT),
    ("--extract_size 48 --extract_bias_x 3 --extract_bias_y -5", 0),
    ("--extract_size 64 --scale 32 --invert_contrast", 2e-4),  # grey values of 500 as float32
    ("--extract_size 48 --norm --bg_radius 18 --phase_flip", RESCALED),
    ("--extract_size 48 --norm --bg_radius 18 --premultiply_ctf", RESCALED),
    # Over the edge the fill makes large steps, which the CTF in float32 (2e-6) carries further.
    ("--extract_size 48 --scale 32 --norm --bg_radius 12 --premultiply_ctf --premultiply_extract_size 64", 3e-5),
    ("--extract_size 48 --norm --bg_radius 18 --premultiply_ctf --ctf_intact_first_peak", RESCALED),
]


def both(project, monkeypatch, words, source=PICKED):
    monkeypatch.chdir(project)
    words = f"{source} {words}"
    relion("relion_preprocess", *words.split(), "--extract", "--part_dir", "Relion/", "--part_star",
           "Relion/particles.star", folder=project)  # fmt: skip
    run_extract(f"{words} --part_dir Ours/")


@pytest.mark.parametrize(("words", "tolerance"), CASES)
def test_extract_gives_the_images_of_relion(project, monkeypatch, words, tolerance):
    both(project, monkeypatch, words)
    for i in (1, 2):
        ours, pixel_A = read_mrc(stack_of("Ours", f"mic_{i:02d}.mrc"))
        theirs, their_pixel_A = read_mrc(stack_of("Relion", f"mic_{i:02d}.mrc"))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)
        assert theirs.std() > 0.1
        assert pixel_A == pytest.approx(their_pixel_A, rel=1e-5)


def test_extract_replaces_the_dust_that_relion_replaces(project, monkeypatch):
    """What comes in its place is random, and moves an image's level and scale by what a few of 1,000 pixels can."""
    words = "--extract_size 64 --norm --bg_radius 24"
    both(project, monkeypatch, f"{words} --white_dust 4 --black_dust 4")
    dusted = [read_mrc(stack_of(who, "mic_01.mrc"))[0] for who in ("Ours", "Relion")]
    both(project, monkeypatch, words)
    plain = [read_mrc(stack_of(who, "mic_01.mrc"))[0] for who in ("Ours", "Relion")]
    np.testing.assert_allclose(*plain, rtol=0, atol=EXACT)
    near = np.abs(dusted[0] - dusted[1]) < 0.3
    assert 1e-5 < 1 - near.mean() < 5e-3  # only replaced pixels differ
    assert np.abs(plain[0][~near]).min() > 4 and max(np.abs(d).max() for d in dusted) < np.abs(plain[0]).max() - 1
    np.testing.assert_allclose(dusted[0][near], dusted[1][near], atol=0.1)


def table(path):
    star = read_star(path)
    return star, star["particles"].columns


def test_extract_gives_the_table_of_relion(project, monkeypatch):
    both(project, monkeypatch, "--extract_size 64 --scale 32 --norm --bg_radius 12 --invert_contrast")
    ours, rows = table("Ours/particles.star")
    theirs, their_rows = table("Relion/particles.star")
    assert list(rows) == list(their_rows)
    for label, column in their_rows.items():
        if column.dtype == object:
            assert [v.replace("Relion/", "Ours/") for v in column] == rows[label].tolist()
        else:
            np.testing.assert_allclose(rows[label], column, atol=1e-5, err_msg=label)
    assert list(ours["optics"].columns) == list(theirs["optics"].columns)
    for label, column in theirs["optics"].columns.items():
        assert ours["optics"][label].tolist() == column.tolist(), label


def refined(project, names):
    """A data.star as of a refinement, from our own extraction, with angles and origins."""
    run_extract(f"{PICKED} --extract_size 64 --scale 32 --norm --part_dir First/")
    star = read_star("First/particles.star")
    columns = dict(star["particles"].columns)
    n = len(columns["rlnImageName"])
    rng = np.random.default_rng(4)
    columns |= {f"rlnAngle{k}": rng.uniform(-180, 180, n) for k in ("Rot", "Psi")} | {
        "rlnAngleTilt": rng.uniform(0, 180, n)
    }
    columns |= {f"rlnOrigin{k}Angst": rng.normal(0, 12, n) for k in "XY"}
    columns["rlnRandomSubset"] = 1 + np.arange(n) % 2
    write_star("run_data.star", [star["optics"], Block("particles", columns=columns)])


@pytest.mark.parametrize(
    "words",
    [
        "--recenter",
        "--recenter --recenter_x 5 --recenter_y 2 --recenter_z 3",
        "--recenter --recenter_x 5 --recenter_y 2 --recenter_z 3 --ref_angpix 2",
        "--reset_offsets",
        "--keep_ctfs_micrographs",
        "",
    ],
)
def test_extract_again_gives_the_particles_of_relion(project, monkeypatch, words):
    monkeypatch.chdir(project)
    refined(project, None)
    source = "--i micrographs_ctf.star --reextract_data_star run_data.star"
    both(project, monkeypatch, f"{words} --extract_size 48 --norm --bg_radius 18 --invert_contrast", source)
    _, rows = table("Ours/particles.star")
    _, their_rows = table("Relion/particles.star")
    order = np.argsort([v.replace("Relion/", "Ours/") for v in their_rows["rlnImageName"]])
    mine = np.argsort(rows["rlnImageName"].tolist())
    for label in ("rlnCoordinateX", "rlnCoordinateY", "rlnOriginXAngst", "rlnOriginYAngst", "rlnAnglePsi",
                  "rlnDefocusU", "rlnRandomSubset"):  # fmt: skip
        np.testing.assert_allclose(rows[label][mine], their_rows[label][order], atol=2e-4, err_msg=label)
    for i in (1, 2):
        ours, theirs = (read_mrc(stack_of(place, f"mic_{i:02d}.mrc"))[0] for place in ("Ours", "Relion"))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=EXACT)


def test_extract_cuts_tubes_as_relion(project, monkeypatch):
    monkeypatch.chdir(project)
    for i in (1, 2):
        ends = np.array([(40.0, 60.5), (180, 200), (200, 50), (90.2, 220)])
        columns = {"rlnCoordinateX": ends[:, 0], "rlnCoordinateY": ends[:, 1]}
        Path("Tubes/Movies").mkdir(parents=True, exist_ok=True)
        write_star(f"Tubes/Movies/mic_{i:02d}_tubes.star", [Block("", columns=columns)])
    words = ("--extract_size 48 --norm --bg_radius 18 --helix --helical_outer_diameter 40 --helical_tubes "
             "--helical_cut_into_segments "
             "--helical_nr_asu 2 --helical_rise 9 --helical_bimodal_angular_priors")  # fmt: skip
    both(project, monkeypatch, words, "--i micrographs_ctf.star --coord_dir Tubes/ --coord_suffix _tubes.star")
    _, rows = table("Ours/particles.star")
    _, their_rows = table("Relion/particles.star")
    assert list(rows) == list(their_rows)
    for label in (
        "rlnCoordinateX",
        "rlnCoordinateY",
        "rlnHelicalTubeID",
        "rlnAnglePsiPrior",
        "rlnHelicalTrackLengthAngst",
    ):
        np.testing.assert_allclose(rows[label], their_rows[label], atol=1e-4, err_msg=label)
    ours, theirs = (read_mrc(stack_of(place, "mic_01.mrc"))[0] for place in ("Ours", "Relion"))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=RESCALED)


def test_extract_on_a_stack_gives_the_images_of_relion(project, monkeypatch):
    monkeypatch.chdir(project)
    run_extract(f"{PICKED} --extract_size 64 --part_dir First/")
    words = f"--operate_on {stack_of('First', 'mic_01.mrc')} --scale 32 --norm --bg_radius 12 --invert_contrast"
    relion("relion_preprocess", *words.split(), "--operate_out", "theirs.mrcs", folder=project)
    run_extract(f"{words} --operate_out ours.mrcs")
    np.testing.assert_allclose(
        read_mrc("ours.mrcs")[0], read_mrc("theirs.mrcs")[0], rtol=0, atol=5e-5
    )  # of grey values at 500


def test_the_case_has_rotations_that_matter():
    """The vectors above would pass with the transposed matrix if the angles were too simple."""
    a = euler_to_matrix(np.array([30.0, 40.0, 10.0]))
    assert np.abs(a - a.T).max() > 0.3
