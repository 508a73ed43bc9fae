"""RELION's own programs against our CTF, direction list and projection convention."""

import shutil
import subprocess

import mrcfile
import numpy as np
import pytest
from scipy import fft

from vitreous import backend
from vitreous.kernels_image import ctf_image, gather_band
from vitreous.model import ctf, healpix, rotation
from vitreous.model.band import Band

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def be():
    return backend.cpu(1)


def relion(program, *arguments, cwd):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run([program, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-500:]


@pytest.mark.parametrize("flag, option", [(None, {}), ("--ctf_intact_first_peak", {"intact_first_peak": True})])
def test_ctf_is_that_of_relion_ctf_toolbox(be, tmp_path, flag, option):
    box, pixel_A = 128, 1.3
    numbers = {"defU": 12000, "defV": 9000, "defAng": 35, "kV": 200, "Cs": 1.4, "Q0": 0.07, "phase_shift": 40}
    flags = [word for name, value in numbers.items() for word in (f"--{name}", value)]
    relion("relion_ctf_toolbox", "--simulate", "ctf.mrc", "--angpix", pixel_A, "--box", box, *flags,
           *([flag] if flag else []), cwd=tmp_path)
    k = np.arange(box) - box // 2
    kx, ky = (a.ravel() for a in np.meshgrid(k, k))
    ours = ctf_image(be, *ctf.frequencies(kx, ky, box, pixel_A), np.array([[*numbers.values(), 0, 1]]), **option)
    # Its wavelength and angles are float32-like: 1.6e-5 at a phase of 30 rad; 5e-5 still tells a wrong constant.
    np.testing.assert_allclose(ours.reshape(box, box), mrcfile.read(tmp_path / "ctf.mrc"), atol=5e-5)


def star(columns):
    """A loop of one row."""
    names = "".join(f"_{name} #{i + 1}\n" for i, name in enumerate(columns))
    return "loop_\n" + names + " ".join(map(str, columns.values())) + "\n\n"


OPTICS = {"rlnOpticsGroup": 1, "rlnOpticsGroupName": "og", "rlnVoltage": 300, "rlnSphericalAberration": 2.7,
          "rlnAmplitudeContrast": 0.1, "rlnImagePixelSize": 3, "rlnImageSize": 32, "rlnImageDimensionality": 2}


def blob_map(box=32):
    """Three blobs that no rotation maps onto each other."""
    z, y, x = np.indices((box,) * 3) - box // 2
    centres = (((5, 0, 1), 1.0), ((-2, 4, 0), 0.7), ((0, -3, 5), 1.5))
    blobs = (a * np.exp(-((x - c[0]) ** 2 + (y - c[1]) ** 2 + (z - c[2]) ** 2) / 4) for c, a in centres)
    return sum(blobs).astype(np.float32)


def write_map(path, array):
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(array)
        file.voxel_size = 3


def test_directions_are_those_of_relion_refine(be, tmp_path):
    """relion_refine writes the directions of its grid in their order into _sampling.star."""
    write_map(tmp_path / "map.mrc", blob_map())
    write_map(tmp_path / "one.mrcs", blob_map().sum(0)[None])
    particle = {"rlnImageName": "1@one.mrcs", "rlnMicrographName": "m", "rlnOpticsGroup": 1}
    (tmp_path / "one.star").write_text(f"data_optics\n\n{star(OPTICS)}data_particles\n\n{star(particle)}")
    relion("relion_refine", "--i", "one.star", "--o", "./run", "--ref", "map.mrc", "--ini_high", 30, "--healpix_order", 2,
           "--oversampling", 0, "--iter", 1, "--particle_diameter", 80, "--perturb", 0, "--offset_range", 0,
           "--dont_check_norm", "--random_seed", 1, "--zero_mask", "--firstiter_cc", cwd=tmp_path)
    lines = (tmp_path / "run_it001_sampling.star").read_text().split("data_sampling_directions")[1].splitlines()
    rows = [line.split() for line in lines]
    listed = np.array([row for row in rows if len(row) == 2 and row[0][0] != "_"], float)
    ours = healpix.directions(be, 2)
    assert listed.shape == ours.shape
    np.testing.assert_allclose(rotation.psi_distance_deg(listed[:, 0], ours[:, 0]), 0, atol=1e-6)
    np.testing.assert_allclose(listed[:, 1], ours[:, 1], atol=1e-6)


def test_projection_of_relion_is_our_slice_and_shift(be, tmp_path):
    """Blobs projected by relion_project stand where R = euler_to_matrix puts them, and -origin moves them."""
    write_map(tmp_path / "map.mrc", blob_map())
    euler, shift_px = (25.0, 70.0, -40.0), (2.0, -3.0)
    angles = dict(zip(("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"), euler))
    origin = {"rlnOriginXAngst": 3 * shift_px[0], "rlnOriginYAngst": 3 * shift_px[1], "rlnOpticsGroup": 1}
    (tmp_path / "pose.star").write_text(f"data_optics\n\n{star(OPTICS)}data_particles\n\n{star(angles | origin)}")
    relion("relion_project", "--i", "map.mrc", "--ang", "pose.star", "--o", "p", "--angpix", 3, cwd=tmp_path)
    image = mrcfile.read(tmp_path / "p.mrcs").reshape(1, 32, 32).astype(np.float32)
    band = Band(32, 8)
    kx, ky = band.kx.astype(np.float32), band.ky.astype(np.float32)
    centred = gather_band(be, fft.rfft2(image), band.index, kx, ky, np.array([shift_px], np.float32), 32)
    a = rotation.euler_to_matrix(euler)
    points = np.stack([kx, ky], 1) @ a[:2]  # the slice: x row 1 + y row 2, in the reference's Fourier space
    z, y, x = np.indices((32,) * 3).reshape(3, -1) - 16
    wave = np.exp(-2j * np.pi / 32 * (points @ np.stack([x, y, z])))
    expected = wave @ blob_map().ravel() / 32**2
    got = centred[0, 0] + 1j * centred[0, 1]
    # linear interpolation in its twofold padded transform: 2% of the norm
    scale = np.vdot(expected, got).real / np.vdot(expected, expected).real
    assert scale > 0
    assert np.linalg.norm(got / scale - expected) < 0.03 * np.linalg.norm(expected)
