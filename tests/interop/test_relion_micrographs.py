"""RELION extracts the particles of a simulated micrograph at their true places and reconstructs the true map."""

import numpy as np
import pytest
from relion_case import relion

from vitreous.cli import call
from vitreous.io.mrc import read_mrc

pytestmark = pytest.mark.interop


def correlation(a, b):
    return np.vdot(a, b).real / np.linalg.norm(a) / np.linalg.norm(b)


def test_relion_gets_the_true_map_from_micrographs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call("simulate", o=".", micrographs=6, size=700, size_y=600, angpix=5, min_distance=190, particle_diameter=130, noise="white",
         astigmatism=1500, snr=30, box=52, verb=0)  # fmt: skip
    (tmp_path / "truth" / "Micrographs").symlink_to(".")  # RELION looks for truth/Micrographs/mic_00001_truth.star
    relion("relion_preprocess", "--i", "micrographs_ctf.star", "--coord_dir", "truth/", "--coord_suffix", "_truth.star", "--part_star",
           "particles.star", "--part_dir", "Extract/", "--extract", "--extract_size", "52", "--norm", "--bg_radius", "20",
           "--invert_contrast", folder=tmp_path)  # fmt: skip
    relion("relion_reconstruct", "--i", "particles.star", "--o", "map.mrc", "--ctf", folder=tmp_path)
    found, truth = (np.fft.fftn(read_mrc(name)[0]) for name in ("map.mrc", "truth.mrc"))
    k = np.fft.fftfreq(52) * 52
    radius = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2)
    band = (radius > 8) & (radius <= 14)  # 33 to 19 A, where the molecule fades
    halfway = truth * np.exp(-1j * np.pi * k / 52)  # half a pixel along one axis leaves 0.94; a wrong sign or angle less
    found_at, halfway_at = (correlation(other[band], truth[band]) for other in (found, halfway))
    assert found_at > 0.98 and halfway_at < 0.95
