"""``vitreous project``: projections of a map in the orientations asked for, noise, and what is left of images."""

import numpy as np
import pytest

from vitreous.cli import call
from vitreous.errors import InputError
from vitreous.io.mrc import read_header, read_mrc, write_mrc
from vitreous.io.particles import read_particles
from vitreous.io.star import read_star, write_star
from vitreous.programs import simulate

BOX, PIXEL_A = 32, 6.0


@pytest.fixture(scope="module")
def particles(tmp_path_factory):
    """60 particles without noise in two optics groups, and their map."""
    folder = tmp_path_factory.mktemp("simulated")
    options = {"n": 60, "box": BOX, "angpix": PIXEL_A, "snr": 500.0, "optics_groups": 2, "astigmatism": 2000, "seed": 3}
    simulate.run(simulate.Options.from_keywords(o=str(folder), verb=0, particles_per_micrograph=7, **options))
    return folder


def make(particles, root, **options):
    usual = {"i": str(particles / "truth.mrc"), "verb": 0, "j": 2}
    return call("project", **(usual | {"o": str(root)} | options))


def views(particles):
    return str(particles / "particles_truth.star")


def inner(array):
    """Without the corners of Fourier space, which no slice holds and this coarse map has much in."""
    k = np.fft.fftfreq(BOX) * BOX
    radius = np.sqrt(sum(np.meshgrid(*[k**2] * array.ndim)))
    return np.fft.ifftn(np.fft.fftn(array) * (radius < 14)).real


def distance(a, b):
    return np.linalg.norm(inner(a) - inner(b)) / np.linalg.norm(inner(b))


def correlations(a, b):
    a, b = (x.reshape(len(x), -1) - x.reshape(len(x), -1).mean(1)[:, None] for x in (a, b))
    return (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))


def test_project_shows_what_particles_show(particles, tmp_path):
    result = make(particles, tmp_path / "proj", ang=views(particles), ctf=True)
    images, pixel_A = read_mrc(result.images)
    truth, _ = read_mrc(particles / "particles_001.mrcs")
    assert result.n_images == len(images) == 60 and pixel_A == pytest.approx(PIXEL_A)
    assert (
        correlations(images, truth).min() > 0.97
    )  # angles, origins, both CTFs, in the file's order; lost corners leave 0.98
    found, given = (read_particles(p, need_ctf=True) for p in (result.particles, views(particles)))
    for name in ("euler_deg", "shift_A", "optics"):
        np.testing.assert_array_equal(getattr(found.particles, name), getattr(given.particles, name))
    assert found.image_files == [str(tmp_path / "proj.mrcs")]
    np.testing.assert_array_equal(found.particles.image_section, np.arange(1, 61))
    assert {p.name for p in tmp_path.iterdir()} == {
        "proj.mrcs", "proj.star", "proj.jsonl", "proj_options.toml", "report.html"
    }  # fmt: skip


def test_project_of_one_view_is_the_sum_along_it(particles, tmp_path):
    volume, _ = read_mrc(particles / "truth.mrc")
    image, _ = read_mrc(make(particles, tmp_path / "top").images)
    expected = volume.sum(0)
    assert distance(image[0], expected) < 0.05  # interpolation at padding 2 leaves 0.03
    moved, _ = read_mrc(make(particles, tmp_path / "moved.mrc", xoff=3, yoff=-2).images)
    np.testing.assert_allclose(moved[0], np.roll(image[0], (2, -3), (0, 1)), atol=1e-4 * abs(image).max())
    side, _ = read_mrc(make(particles, tmp_path / "side", rot=90, tilt=90).images)
    assert not np.allclose(side, image, atol=0.1 * abs(image).max())


def test_project_in_random_directions_is_repeatable(particles, tmp_path):
    a, b, c = (
        make(particles, tmp_path / f"{i}", nr_uniform=8, sigma_offset=2, random_seed=s) for i, s in enumerate((1, 1, 2))
    )
    np.testing.assert_array_equal(read_mrc(a.images)[0], read_mrc(b.images)[0])
    assert (read_mrc(a.images)[0] != read_mrc(c.images)[0]).any()
    table = read_star(a.particles)["particles"]
    assert len(set(table["rlnAngleRot"])) == 8 and np.std(table["rlnOriginXAngst"]) > PIXEL_A / 2
    # the file says what was done: its views give the same images again
    again = make(particles, tmp_path / "again", ang=str(a.particles))
    np.testing.assert_allclose(
        read_mrc(again.images)[0], read_mrc(a.images)[0], atol=1e-4 * read_mrc(a.images)[0].max()
    )


def test_project_is_undone_by_reconstruct(particles, tmp_path):
    proj = make(particles, tmp_path / "proj", nr_uniform=400)
    volume = call("reconstruct", i=str(proj.particles), o=str(tmp_path / "map"), verb=0).volume
    truth, _ = read_mrc(particles / "truth.mrc")
    assert distance(volume, truth) < 0.08


def test_subtract_leaves_noise_alone(particles, tmp_path):
    proj = make(particles, tmp_path / "proj", ang=views(particles), ctf=True)
    rest = make(particles, tmp_path / "rest", ang=str(proj.particles), ctf=True, subtract_exp=True)
    images, left = read_mrc(proj.images)[0], read_mrc(rest.images)[0]
    assert abs(left).max() < 1e-5 * abs(images).max()


def test_subtract_leaves_out_a_bad_image(particles, tmp_path, capsys):
    proj = make(particles, tmp_path / "proj", ang=views(particles), ctf=True)
    images, _ = read_mrc(proj.images)
    images[4] = np.nan
    write_mrc(proj.images, images, PIXEL_A)
    rest = make(particles, tmp_path / "rest", ang=str(proj.particles), ctf=True, subtract_exp=True)
    assert rest.n_images == 59 and read_header(rest.images).nz == 59
    table, before = read_star(rest.particles)["particles"], read_star(proj.particles)["particles"]
    np.testing.assert_array_equal(table["rlnAngleRot"], np.delete(before["rlnAngleRot"], 4))
    assert table["rlnImageName"][-1].startswith("000059@")
    assert "1 particles are left out, the first is 000005@" in capsys.readouterr().err


def test_noise_has_its_spectrum(particles, tmp_path):
    clean = read_mrc(make(particles, tmp_path / "clean", ang=views(particles)).images)[0]
    white = read_mrc(make(particles, tmp_path / "white", ang=views(particles), add_noise=True, white_noise=2.5).images)[
        0
    ]
    assert np.std(white - clean) == pytest.approx(2.5, rel=0.02)
    sigma2 = np.where(np.arange(BOX // 2 + 1) < 6, 4.0, 1.0) / (2 * BOX**2)
    model = {
        f"model_optics_group_{g}": {"rlnSpectralIndex": np.arange(17), "rlnSigma2Noise": g * sigma2} for g in (1, 2)
    }
    write_star(tmp_path / "model.star", model, precise=True)
    options = {"add_noise": True, "model_noise": str(tmp_path / "model.star"), "ang": views(particles)}
    noise = read_mrc(make(particles, tmp_path / "model", **options).images)[0] - clean
    power = abs(np.fft.fft2(noise) / BOX**2) ** 2 / 2
    groups = read_star(views(particles))["particles"]["rlnOpticsGroup"]
    for g in (1, 2):
        assert power[groups == g, 2:4, 2:4].mean() == pytest.approx(g * sigma2[3], rel=0.2)  # 120 numbers each
        assert power[groups == g, 8:14, 8:14].mean() == pytest.approx(g * sigma2[12], rel=0.1)


def test_ctf_variants(particles, tmp_path):
    def band(root, **options):
        return np.fft.rfft2(read_mrc(make(particles, tmp_path / root, ang=views(particles), **options).images)[0])[
            :, 1:10, 1:10
        ]

    plain, ctf = band("plain"), band("ctf", ctf=True)
    flipped, squared = band("abs", ctf=True, ctf_phase_flip=True), band("squared", ctf=True, ctf2=True)
    ratio = (ctf / plain).real
    np.testing.assert_allclose((flipped / plain).real, abs(ratio), atol=1e-2)
    np.testing.assert_allclose((squared / plain).real, ratio**2, atol=1e-2)
    assert ratio.min() < -0.5


def test_mask_and_maxres_act_on_the_map(particles, tmp_path):
    volume, _ = read_mrc(particles / "truth.mrc")
    mask = np.zeros_like(volume)
    mask[:, :, :16] = 1
    write_mrc(tmp_path / "mask.mrc", mask, PIXEL_A)
    image, _ = read_mrc(make(particles, tmp_path / "masked", mask=str(tmp_path / "mask.mrc")).images)
    assert distance(image[0], (volume * mask).sum(0)) < 0.05
    coarse = np.fft.fft2(read_mrc(make(particles, tmp_path / "coarse", maxres=48).images)[0][0])
    k = np.fft.fftfreq(BOX) * BOX
    assert abs(coarse[np.hypot(k[:, None], k) > 4.5]).max() < 1e-5 * abs(coarse).max()  # 48 A is shell 4


def test_a_list_of_angles_alone_will_do(particles, tmp_path):
    angles = {"rlnAngleRot": [0.0, 90], "rlnAngleTilt": [0.0, 90], "rlnAnglePsi": [0.0, 10]}
    write_star(tmp_path / "angles.star", {"": angles}, version=None)
    result = make(particles, tmp_path / "proj", ang=str(tmp_path / "angles.star"))
    side, _ = read_mrc(make(particles, tmp_path / "side", rot=90, tilt=90, psi=10).images)
    np.testing.assert_array_equal(read_mrc(result.images)[0][1], side[0])
    assert not list(tmp_path.glob("*_views.star"))


@pytest.mark.parametrize(
    "change, text",
    [
        ({"i": ""}, "--i: found nothing"),
        ({"i": "nowhere.mrc"}, "--i nowhere.mrc: is not there"),
        ({"ctf": True}, "--ctf: found without --ang"),
        ({"nr_uniform": 3, "add_noise": True}, "--add_noise: found without --white_noise"),
        ({"white_noise": 1.0}, "found without --add_noise"),
    ],
)
def test_bad_input_is_refused(particles, tmp_path, change, text):
    with pytest.raises(InputError, match=text):
        make(particles, tmp_path / "proj", **change)
    assert not list(tmp_path.glob("*.mrc*"))


def test_an_odd_map_is_refused(particles, tmp_path):
    write_mrc(tmp_path / "odd.mrc", np.ones((15, 15, 15), np.float32), 2.0)
    with pytest.raises(InputError, match="15 x 15 x 15 px, expected an even cube"):
        make(particles, tmp_path / "proj", i=str(tmp_path / "odd.mrc"))
