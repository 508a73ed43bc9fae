"""``vitreous reconstruct``: maps from known orientations, their halves, and what it says of input that cannot be."""

import numpy as np
import pytest

from vitreous.cli import call, main
from vitreous.engine.fsc import fourier_shell_correlation
from vitreous.errors import InputError
from vitreous.io.mrc import read_header, read_mrc, write_mrc
from vitreous.io.star import read_star, write_star
from vitreous.programs import reconstruct, simulate

BOX, PIXEL_A = 32, 6.0


@pytest.fixture(scope="module")
def particles(tmp_path_factory):
    """300 particles in all directions, with CTF and origins, hardly any noise."""
    folder = tmp_path_factory.mktemp("simulated")
    options = {"n": 300, "box": BOX, "angpix": PIXEL_A, "snr": 20.0, "optics_groups": 2, "astigmatism": 2000, "seed": 3}
    simulate.run(simulate.Options.from_keywords(o=str(folder), verb=0, **options))
    return folder


def make(particles, root, **options):
    usual = {"i": str(particles / "particles_truth.star"), "ctf": True, "verb": 0, "j": 2}
    return call("reconstruct", **(usual | {"o": str(root)} | options))


def truth(particles):
    return read_mrc(particles / "truth.mrc")[0]


def edited(particles, path, change):
    """A particle file whose columns ``change`` has edited in place."""
    star = read_star(particles / "particles_truth.star")
    columns = dict(star["particles"].columns)
    change(columns)
    write_star(path, {"optics": dict(star["optics"].columns), "particles": columns})
    return str(path)


def test_reconstruct_gives_back_the_truth(particles, tmp_path):
    result = make(particles, tmp_path / "map")
    assert result.path == tmp_path / "map.mrc" and result.n_particles == 300
    volume, pixel_A = read_mrc(result.path)
    np.testing.assert_array_equal(volume, result.volume)
    assert pixel_A == pytest.approx(PIXEL_A) and read_header(result.path).shape == (BOX,) * 3
    assert fourier_shell_correlation(volume, truth(particles))[1:14].min() > 0.94  # the noise leaves 0.957
    scale = np.vdot(truth(particles), volume) / np.vdot(truth(particles), truth(particles))
    # images without noise are normalised by what the CTF spreads beyond the circle, 8 % of their grey values
    assert scale == pytest.approx(0.92, abs=0.03)
    assert {p.name for p in tmp_path.iterdir()} == {"map.mrc", "map.jsonl", "map_options.toml", "report.html"}
    assert "Central sections" in (tmp_path / "report.html").read_text()


def test_reconstruct_is_the_same_at_every_number_of_threads(particles, tmp_path):
    one, two = (make(particles, tmp_path / f"{n}", j=n).volume for n in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_reconstruct_without_ctf_is_worse(particles, tmp_path, capsys):
    volume = make(particles, tmp_path / "map", ctf=False).volume
    assert (
        fourier_shell_correlation(volume, truth(particles))[12:14].max() < 0.5
    )  # past the CTF's zeros, where signs differ
    assert "give --ctf" in capsys.readouterr().err


def test_half_maps_agree_and_make_up_the_whole(particles, tmp_path):
    result = make(particles, tmp_path / "map", half_maps=True)
    halves = [read_mrc(path)[0] for path in result.half_paths]
    assert [path.name for path in result.half_paths] == ["map_half1_unfil.mrc", "map_half2_unfil.mrc"]
    np.testing.assert_allclose(result.fsc, fourier_shell_correlation(*halves))
    assert result.resolution_A < 14
    whole = make(particles, tmp_path / "apart" / "whole").volume
    np.testing.assert_allclose(result.volume, whole, atol=1e-5 * whole.max())
    assert "Fourier shell correlation" in (tmp_path / "report.html").read_text()


def test_subset_and_class_take_their_particles(particles, tmp_path):
    def change(columns):
        columns["rlnRandomSubset"] = 1 + np.arange(300) % 2
        columns["rlnClassNumber"] = 1 + np.arange(300) // 150

    path = edited(particles, tmp_path / "split.star", change)
    halves = make(particles, tmp_path / "map", i=path, half_maps=True)
    one = make(particles, tmp_path / "one", i=path, subset=1)
    assert one.n_particles == 150
    np.testing.assert_allclose(one.volume, read_mrc(halves.half_paths[0])[0], atol=1e-6)
    assert make(particles, tmp_path / "two", i=path, subset=2, **{"class": 1}).n_particles == 75


def test_maxres_empties_what_is_finer(particles, tmp_path):
    volume = make(particles, tmp_path / "map", maxres=24).volume
    power = abs(np.fft.fftn(volume)) ** 2
    k = np.fft.fftfreq(BOX) * BOX
    radius = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2)
    assert power[radius > 11].max() < 1e-3 * power[(radius > 6) & (radius < 8)].max()  # shell 8 is 24 A


def test_symmetry_of_the_map_is_that_asked_for(particles, tmp_path):
    volume = make(particles, tmp_path / "map", sym="c2").volume[1:, 1:, 1:]
    np.testing.assert_allclose(volume, volume[:, ::-1, ::-1], atol=1e-3 * volume.max())


def test_fsc_regularises_where_the_signal_ends(particles, tmp_path):
    fsc = np.where(np.arange(BOX // 2 + 1) < 8, 0.999, 0.0)
    write_star(tmp_path / "fsc.star", {"fsc": {"rlnFourierShellCorrelation": fsc}})
    volume = make(particles, tmp_path / "map", fsc=str(tmp_path / "fsc.star")).volume
    plain = make(particles, tmp_path / "plain").volume
    ratio = abs(np.fft.fftn(volume)) / abs(np.fft.fftn(plain))
    assert ratio[0, 0, 5] == pytest.approx(1, abs=0.05) and ratio[0, 0, 11] < 0.2


def test_subtract_of_the_map_leaves_little(particles, tmp_path):
    whole = make(particles, tmp_path / "map")
    rest = make(particles, tmp_path / "rest", subtract=str(whole.path)).volume
    assert np.linalg.norm(rest) < 0.1 * np.linalg.norm(whole.volume)


def test_random_errors_blur_and_repeat(particles, tmp_path):
    def with_errors(name, seed):
        return make(particles, tmp_path / name, angular_error=8, shift_error=3, random_seed=seed).volume

    blurred = with_errors("a", 1)
    sharp = make(particles, tmp_path / "map").volume
    shells = slice(6, 12)
    reference = truth(particles)
    assert (
        fourier_shell_correlation(blurred, reference)[shells] < fourier_shell_correlation(sharp, reference)[shells]
    ).all()
    np.testing.assert_array_equal(with_errors("b", 1), blurred)
    assert (with_errors("c", 2) != blurred).any()


def test_weights_of_particles_count(particles, tmp_path):
    def change(columns):
        columns["rlnParticleFigureOfMerit"] = np.where(np.arange(300) < 120, 2.0, 0.0)
        columns["rlnClassNumber"] = np.where(np.arange(300) < 120, 1, 2)

    path = edited(particles, tmp_path / "weights.star", change)
    weighted = make(particles, tmp_path / "a", i=path, fom_weighting=True).volume
    some = make(particles, tmp_path / "b", i=path, **{"class": 1}).volume
    np.testing.assert_allclose(weighted, some, atol=1e-4 * some.max())


def test_a_bad_image_is_left_out(particles, tmp_path, capsys):
    images, _ = read_mrc(particles / "particles_001.mrcs")
    images[7] = np.nan
    write_mrc(tmp_path / "bad.mrcs", images, PIXEL_A)
    names = np.array([f"{i + 1:06d}@{tmp_path / 'bad.mrcs'}" for i in range(300)], object)
    path = edited(particles, tmp_path / "bad.star", lambda columns: columns.update(rlnImageName=names))
    volume = make(particles, tmp_path / "map", i=path).volume
    assert np.isfinite(volume).all()
    assert "1 particles are left out, the first is 000008@" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change, text",
    [
        ({"sym": "K4"}, "--sym: found K4, which is no point group"),
        ({"subset": 2}, "found no particle with --subset 2"),
        ({"i": ""}, "--i: found nothing"),
        ({"subtract": "nowhere.mrc"}, "--subtract nowhere.mrc: is not there"),
        ({"fom_weighting": True}, "found no column rlnParticleFigureOfMerit"),
        ({"ctf": False, "only_flip_phases": True}, "--only_flip_phases: found without --ctf"),
        ({"half_maps": True, "subset": 1}, "--half_maps: found together with --subset"),
    ],
)
def test_bad_input_is_refused(particles, tmp_path, change, text):
    with pytest.raises(InputError, match=text):
        make(particles, tmp_path / "map", **change)
    assert not (tmp_path / "map.mrc").exists()


def test_particles_without_directions_are_refused(particles, tmp_path):
    with pytest.raises(InputError, match="found no column rlnAngleRot or rlnAngleTilt"):
        make(particles, tmp_path / "map", i=str(particles / "particles.star"))


def test_what_relion_has_and_we_have_not_is_told(capsys):
    assert main(["reconstruct", "--i", "a.star", "--ewald"]) == 2
    assert "--ewald: found an option of RELION" in capsys.readouterr().err


def test_memory_that_is_not_there_is_told_before_the_start(particles, tmp_path, monkeypatch):
    monkeypatch.setattr("vitreous.job.memory.available_bytes", lambda: 1 << 20)
    with pytest.raises(InputError, match="--pad 1"):
        make(particles, tmp_path / "map")
    assert reconstruct.forecast is not None and not (tmp_path / "map.mrc").exists()
