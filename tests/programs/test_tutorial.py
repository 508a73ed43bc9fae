"""The single-particle tutorial from micrographs to a second extraction, with its own flags, on simulated micrographs."""

import shutil

import numpy as np
import pytest
from scipy.spatial import cKDTree

from vitreous.cli import call
from vitreous.io.star import read_star

pytestmark = [pytest.mark.data, pytest.mark.slow]

PIXEL_A, BOX, SMALL, TOLERANCE_A = 3.8, 72, 36, 60
TEMPLATES = {
    "invert": True, "ctf": True, "ang": 5, "shrink": 0, "lowpass": 20, "angpix_ref": PIXEL_A * BOX / SMALL,
    "min_distance": 120, "max_stddev_noise": -1, "min_avg_noise": -999,
}  # fmt: skip


def picks(folder, micrograph):
    block = read_star(folder / f"{micrograph}_autopick.star").first("")
    return np.column_stack([block.columns[f"rlnCoordinate{axis}"] for axis in "XY"])


def extract(job, picked):
    call("extract", i="micrographs_ctf.star", coord_list=f"{picked}/autopick.star", part_dir=f"{job}/", extract=True, norm=True,
         part_star=f"{job}/particles.star", extract_size=BOX, scale=SMALL, bg_radius=13, invert_contrast=True)  # fmt: skip
    return read_star(f"{job}/particles.star")["particles"].n_rows


def pick(job, **options):
    call("autopick", i="micrographs_ctf.star", odir=f"{job}/", pickname="autopick", **options)


def test_tutorial_from_micrographs_to_templates_and_back(test_data, tmp_path, monkeypatch):
    source = test_data / "sim" / "micrographs_groel"
    (tmp_path / "Micrographs").symlink_to(source / "Micrographs")
    shutil.copy(source / "micrographs_ctf.star", tmp_path)
    monkeypatch.chdir(tmp_path)
    truth = read_star(source / "truth" / "coords" / "mic_001_truth.star").first("", "particles")
    truth = np.column_stack([truth.columns[f"rlnCoordinate{axis}"] for axis in "XY"])
    recall = lambda found: np.mean(cKDTree(found).query(truth)[0] * PIXEL_A < TOLERANCE_A)

    pick("AutoPick/job001", LoG=True, LoG_diam_min=130, LoG_diam_max=170, shrink=0, lowpass=20, LoG_adjust_threshold=0)
    blobs = picks(tmp_path / "AutoPick/job001/Micrographs", "mic_001")
    assert recall(blobs) > 0.7  # carbon and overlaps are in these micrographs; relion_autopick finds as many
    n = extract("Extract/job002", "AutoPick/job001")
    assert n > 1.4 * len(blobs)  # of two micrographs; some lie at the edges

    call("class2d", i="Extract/job002/particles.star", o="Class2D/job003/run", K=8, iter=10, tau2_fudge=2, particle_diameter=200,
         ctf=True, zero_mask=True, psi_step=12, offset_range=5, offset_step=2, flatten_solvent=True, norm=True, scale=True,
         center_classes=True, random_seed=1)  # fmt: skip
    call("select", i="Class2D/job003/run_it010_model.star", o="Select/job004/", best_classes=4, recenter=True)
    averages = {"ref": "Select/job004/class_averages.star"} | TEMPLATES

    pick("AutoPick/job005", threshold=0.4, write_fom_maps=True, **averages)
    strict = picks(tmp_path / "AutoPick/job005/Micrographs", "mic_001")
    pick("AutoPick/job005", threshold=0.1, read_fom_maps=True, **averages)
    again = picks(tmp_path / "AutoPick/job005/Micrographs", "mic_001")
    pick("AutoPick/job006", threshold=0.1, **averages)
    np.testing.assert_allclose(again, picks(tmp_path / "AutoPick/job006/Micrographs", "mic_001"))
    assert len(again) > len(strict) > len(blobs) / 2
    assert recall(again) > max(0.85, recall(blobs))
    assert extract("Extract/job007", "AutoPick/job006") > n
    assert (tmp_path / "Extract/job007/report.html").is_file()
