"""From a folder of micrographs to particles, on the shared test data."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from extract_case import run_extract

sys.path.append(str(Path(__file__).parents[1] / "interop"))
from relion_case import relion

from vitreous.backend import cpu
from vitreous.comm import LocalComm
from vitreous.io.mrc import read_mrc
from vitreous.io.particles import read_particles
from vitreous.io.star import Block, read_star, write_star
from vitreous.programs import import_
from vitreous.programs.option_parser import parse

pytestmark = pytest.mark.data
WORDS = "--extract_size 64 --scale 32 --norm --bg_radius 12 --invert_contrast "


def import_micrographs(words):
    return import_.run(parse(import_.Options, [*words.split(), "--verb", "0"]), cpu(1), LocalComm())


@pytest.fixture
def groel(test_data, tmp_path, monkeypatch):
    """Simulated micrographs of GroEL imported, and their true positions as a RELION 4 list of picks."""
    monkeypatch.chdir(tmp_path)
    source = test_data / "sim" / "micrographs_groel"
    shutil.copytree(source / "Micrographs", "Micrographs")
    import_micrographs(f"--i Micrographs/*.mrc --odir Import/job001/ --ctf {source / 'micrographs_ctf.star'}")
    names = [f"Micrographs/mic_{i:03d}.mrc" for i in (1, 2)]
    for i, name in enumerate(names, 1):
        shutil.copy(source / f"truth/coords/mic_{i:03d}_truth.star", f"{name[:-4]}_truth.star")
    listed = {"rlnMicrographName": np.array(names, object),
              "rlnMicrographCoordinates": np.array([f"{name[:-4]}_truth.star" for name in names], object)}  # fmt: skip
    write_star("picks.star", [Block("coordinate_files", columns=listed)])
    return tmp_path


def test_extract_particles_at_the_truth_are_centred_and_bright(groel):
    result = run_extract(
        f"--i Import/job001/micrographs_ctf.star --coord_list picks.star {WORDS} --part_dir Extract/job002/"
    )
    assert result.n == 215 and not result.left_out
    data = read_particles("Extract/job002/particles.star", need_ctf=True)
    assert data.optics[0].pixel_size_A == pytest.approx(7.6)
    stacks = [read_mrc(f"Extract/job002/Micrographs/mic_{i:03d}.mrcs")[0] for i in (1, 2)]
    mean = np.concatenate(stacks).mean(axis=0)
    y, x = np.indices(mean.shape) - 16
    inside = np.hypot(x, y) < 10  # GroEL is 140 A wide, 18 px
    weight = np.clip(mean, 0, None) * inside
    assert mean[inside].mean() > 0.2 > 4 * abs(mean[np.hypot(x, y) > 12].mean())
    assert np.abs([(weight * x).sum() / weight.sum(), (weight * y).sum() / weight.sum()]).max() < 0.6


def test_extract_int16_micrographs_as_relion(groel):
    words = f"--i Import/job001/micrographs_ctf.star --coord_dir ./ --coord_suffix _truth.star {WORDS}"
    there = ["--part_dir", "Relion/", "--part_star", "Relion/particles.star"]
    relion("relion_preprocess", *words.split(), "--extract", *there, folder=groel)
    run_extract(words + "--part_dir Ours/")
    for i in (1, 2):
        ours, theirs = (read_mrc(f"{place}/Micrographs/mic_{i:03d}.mrcs")[0] for place in ("Ours", "Relion"))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


def test_extract_a_real_compressed_micrograph(test_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("Micrographs").mkdir()
    shutil.copy(test_data / "real/micrographs/fei_k2_diamond_fcrop2_1400.mrc.gz", "Micrographs/k2.mrc.gz")
    assert import_micrographs("--i Micrographs/*.gz --odir Import/job001/").names == ["Micrographs/k2.mrc.gz"]
    xy = np.random.default_rng(1).uniform(0, 1400, (40, 2))
    write_star("Micrographs/k2.mrc_p.star", {"": {"rlnCoordinateX": xy[:, 0], "rlnCoordinateY": xy[:, 1]}})
    result = run_extract(
        f"--i Import/job001/micrographs.star --coord_suffix _p.star {WORDS} --part_dir Extract/job002/"
    )
    assert result.n == 40
    assert read_star("Extract/job002/particles.star")["optics"]["rlnImagePixelSize"][0] == pytest.approx(
        2 * 1.7076, rel=1e-3
    )
    images = read_mrc("Extract/job002/Micrographs/k2.mrc.mrcs")[0]
    assert images.std(axis=(1, 2)) == pytest.approx(1, abs=0.3)


def test_extract_normalises_what_relion_extracted_without_a_change(test_data, tmp_path, monkeypatch):
    """Real particles that RELION normalised stay as they are when normalised again."""
    monkeypatch.chdir(tmp_path)
    stack = sorted((test_data / "real/bgal_empiar10204/Extract").rglob("*.mrcs"))[0]
    run_extract(f"--operate_on {stack} --norm --bg_radius 24 --operate_out again.mrcs")
    before, after = read_mrc(stack)[0], read_mrc("again.mrcs")[0]
    y, x = np.indices((64, 64)) - 32
    assert before[:, x**2 + y**2 > 24**2].std(axis=1) == pytest.approx(1, abs=0.02)
    np.testing.assert_allclose(after, before, atol=0.02)  # it is stored in half precision
