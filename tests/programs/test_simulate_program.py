"""``vitreous simulate``: files that hold together, the same bytes for a seed, and RELION's agreement with the truth."""

import re
import shutil
import subprocess

import numpy as np
import pytest

from vitreous.engine import simulate as engine
from vitreous.errors import InputError
from vitreous.io.mrc import read_header, read_mrc, write_mrc
from vitreous.io.star import read_star
from vitreous.programs import simulate
from vitreous.programs.simulate import Options

SMALL = {"n": 60, "box": 32, "angpix": 6.0, "verb": 0}


def make(folder, **options):
    return simulate.run(Options.from_keywords(o=str(folder), **(SMALL | options)))


def fourier_shell_correlation(a, b):
    a_ft, b_ft = np.fft.fftn(a), np.fft.fftn(b)
    k = np.fft.fftfreq(len(a)) * len(a)
    shell = np.rint(np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2)).astype(int).ravel()
    cross, aa, bb = (np.bincount(shell, np.real(x * y.conj()).ravel())
                     for x, y in ((a_ft, b_ft), (a_ft, a_ft), (b_ft, b_ft)))
    return cross / np.sqrt(aa * bb)


def test_files_agree_with_each_other(tmp_path):
    result = make(tmp_path, views=3, optics_groups=2, scale_std=0.1)
    particles, truth = read_star(result.particles)["particles"], read_star(result.truth_file)["particles"]
    for label in particles.columns:
        np.testing.assert_array_equal(particles[label], truth[label])
    assert not {"rlnAnglePsi", "rlnClassNumber", "rlnOriginXAngst"} & set(particles.columns)
    assert set(truth["rlnClassNumber"]) == {1, 2, 3} and set(truth["rlnOpticsGroup"]) == {1, 2}
    np.testing.assert_allclose(truth["rlnAnglePsi"], result.truth.psi_deg, atol=1e-5)  # six decimals
    header = read_header(tmp_path / "particles_001.mrcs")
    assert header.shape == (60, 32, 32)
    assert re.fullmatch(r"000060@.*particles_001\.mrcs", particles["rlnImageName"][-1])


def test_stacks_hold_the_engine_s_images(tmp_path, monkeypatch):
    monkeypatch.setattr(simulate, "PARTICLES_PER_STACK", 25)
    result = make(tmp_path)
    expected = np.concatenate(list(engine.simulate_batches(result.source, result.recipe)))
    stacks = [read_mrc(tmp_path / f"particles_00{i}.mrcs")[0] for i in (1, 2, 3)]
    assert [len(s) for s in stacks] == [25, 25, 10]
    np.testing.assert_array_equal(np.concatenate(stacks), expected)
    names = read_star(result.particles)["particles"]["rlnImageName"]
    assert names[26].startswith("000002@") and names[26].endswith("particles_002.mrcs")


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    for folder in ("a", "b"):
        make(tmp_path / folder)
    for name in ("particles_001.mrcs", "truth.mrc"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_map_may_be_simulated(tmp_path):
    made = make(tmp_path / "phantom")
    result = make(tmp_path / "map", i=str(tmp_path / "phantom" / "truth.mrc"))
    a, b = (read_mrc(folder / "particles_001.mrcs")[0] for folder in (tmp_path / "phantom", tmp_path / "map"))
    # the same noise and nearly the same projections: what differs is the map's linear interpolation
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.999
    assert result.gain == pytest.approx(1.0, rel=0.02) and made.gain != pytest.approx(1.0, rel=0.02)


def test_optics_groups_have_the_voltage_asked_for_and_lower_ones(tmp_path):
    for folder, options, voltages_kV in (("low", {"kV": 80.0}, [80]), ("three", {"optics_groups": 3}, [300, 200, 120])):
        result = make(tmp_path / folder, **options)
        assert read_star(result.particles)["optics"]["rlnVoltage"].tolist() == voltages_kV


@pytest.mark.parametrize("change, text", [
    ({"box": 33}, "box is 33"), ({"noise": "pink"}, "noise is 'pink'"), ({"particle_diameter": 300.0}, "larger box"),
    ({"i": "nowhere.mrc"}, "nowhere.mrc"), ({"sym": "D99x"}, "--sym: found D99x"),
    ({"defocus_min": 30000.0}, "--defocus_min 30000: found more than --defocus_max 20000"),
    ({"kV": 200.0, "optics_groups": 3}, "--optics_groups 3: found 20 kV for the last group.*give --kV 260 or more"),
])
def test_bad_input_is_refused(tmp_path, change, text):
    with pytest.raises(InputError, match=text):
        make(tmp_path, **change)
    assert not list(tmp_path.glob("*.mrcs"))


def test_a_map_without_pixel_size_asks_for_it(tmp_path):
    write_mrc(tmp_path / "map.mrc", np.ones((16, 16, 16), np.float32), 1.0)
    data = bytearray((tmp_path / "map.mrc").read_bytes())
    data[40:52] = bytes(12)
    (tmp_path / "map.mrc").write_bytes(data)
    with pytest.raises(InputError, match="--map_angpix"):
        make(tmp_path / "out", i=str(tmp_path / "map.mrc"))


@pytest.mark.interop
def test_relion_reconstructs_the_truth(tmp_path):
    if not shutil.which("relion_reconstruct"):
        pytest.skip("relion_reconstruct is not installed")
    result = make(tmp_path, n=600, snr=0.5, optics_groups=2, astigmatism=3000.0)
    command = ["relion_reconstruct", "--i", str(result.truth_file), "--o", str(tmp_path / "map.mrc"), "--ctf"]
    subprocess.run(command, check=True, capture_output=True)
    found, truth = (read_mrc(tmp_path / name)[0] for name in ("map.mrc", "truth.mrc"))
    fsc = fourier_shell_correlation(found, truth)
    # the noise of 600 particles leaves 0.96 here; a wrong sign of angle, origin, defocus or contrast leaves below 0.5
    assert fsc[1:9].min() > 0.93
    scale = np.vdot(np.fft.fftn(truth).ravel()[1:], np.fft.fftn(found).ravel()[1:]).real
    assert scale / np.sum(np.abs(np.fft.fftn(truth).ravel()[1:]) ** 2) == pytest.approx(1, abs=0.05)
