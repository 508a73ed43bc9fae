"""What users feed in: tables of other versions, several cameras, few particles, and mistakes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vitreous.errors import InputError
from vitreous.io.mrc import read_mrc, write_mrc
from vitreous.io.star import Block, read_star, write_star

pytestmark = pytest.mark.usefixtures("no_report")
PIXEL_A = 6.0


def blocks_of(case, n=None):
    """Columns of the optics and of the (first n) particles."""
    star = read_star(case.particles)
    optics, particles = (dict(star[name].columns) for name in ("optics", "particles"))
    return optics, {label: np.array(column[:n]) for label, column in particles.items()}


def relion_3_0(case, path) -> str:
    """The particles in the dialect without optics groups: microscope in every row, origins in px."""
    optics, particles = blocks_of(case)
    n = len(particles["rlnImageName"])
    del particles["rlnOpticsGroup"]
    for label in ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast"):
        particles[label] = np.full(n, optics[label][0])
    particles["rlnMagnification"] = np.full(n, 10000.0)
    particles["rlnDetectorPixelSize"] = np.full(n, PIXEL_A)
    particles["rlnOriginX"], particles["rlnOriginY"] = np.full(n, 1.0), np.full(n, -2.0)
    write_star(path, [Block("", "loop", particles)])
    return str(path)


def test_table_without_optics_groups_is_read_as_relion_3_0(case, base, tmp_path):
    file = relion_3_0(case, tmp_path / "particles.star")
    assert "data_optics" not in Path(file).read_text()
    result = case.classify(tmp_path / "run", i=file)
    assert result.dataset.optics[0].pixel_size_A == pytest.approx(PIXEL_A)
    written = read_star(tmp_path / "run_it002_data.star")
    assert "rlnOriginXAngst" in written["particles"].columns and "rlnOriginX" not in written["particles"].columns
    first = read_star(tmp_path / "run_it000_data.star")["particles"].columns
    np.testing.assert_allclose(first["rlnOriginXAngst"], PIXEL_A)
    np.testing.assert_allclose(first["rlnOriginYAngst"], -2 * PIXEL_A)
    # The same images from origins that are 1 and 2 px off: much the same averages.
    assert result.model.average_p_max == pytest.approx(base.model.average_p_max, abs=0.15)


@pytest.fixture(scope="module")
def two_cameras(case, tmp_path_factory):
    """The second half of the particles on another camera: box 48 and pixels of 4 A."""
    folder = tmp_path_factory.mktemp("cameras")
    stack = read_mrc(case.stack)[0]
    n, box = len(stack) // 2, 48
    wide = np.zeros((len(stack) - n, box, box // 2 + 1), complex)
    ft = np.fft.rfft2(np.fft.ifftshift(stack[n:], axes=(1, 2)))
    ft[:, 16] = 0  # Nyquist has no sign; it is noise here
    wide[:, :16, :16], wide[:, -16:, :16] = ft[:, :16, :16], ft[:, 16:, :16]
    images = np.fft.fftshift(np.fft.irfft2(wide, s=(box, box)), axes=(1, 2)) * (box / 32) ** 2
    # White noise beyond the first camera's Nyquist, and the standard deviation of normalised particles.
    images += np.random.default_rng(0).normal(0, 0.3, images.shape)
    y, x = np.indices((box, box)) - box // 2
    images /= images[:, np.hypot(x, y) > 20].std()
    write_mrc(folder / "second.mrcs", images.astype(np.float32), 4.0, stack=True)
    optics, particles = blocks_of(case)
    optics = {label: np.repeat(column, 2) for label, column in optics.items()}
    optics["rlnOpticsGroup"] = np.array([1, 2])
    optics["rlnOpticsGroupName"] = np.array(["first", "second"], object)
    optics["rlnImagePixelSize"], optics["rlnImageSize"] = np.array([6.0, 4.0]), np.array([32, 48])
    particles["rlnOpticsGroup"] = np.repeat([1, 2], [n, len(stack) - n])
    own = [f"{i + 1:06d}@{folder / 'second.mrcs'}" for i in range(len(stack) - n)]
    particles["rlnImageName"] = np.array([*particles["rlnImageName"][:n], *own], object)
    write_star(folder / "particles.star", {"optics": optics, "particles": particles})
    return str(folder / "particles.star"), n


def test_particles_of_two_cameras_are_classified_together(case, two_cameras, purity, tmp_path):
    file, n = two_cameras
    result = case.classify(tmp_path / "run", i=file, iter=6, norm=True, scale=True)
    assert [optics.box for optics in result.dataset.optics] == [32, 48]
    assert result.classes.shape == (3, 32, 32)
    found = result.particles.class_number
    for part in (slice(None, n), slice(n, None)):
        assert purity(found[part], case.truth[part]) > 0.75
    # A class holds the same view from both cameras.
    same = [np.bincount(case.truth[:n][found[:n] == k], minlength=4).argmax() for k in (1, 2, 3)]
    other = [np.bincount(case.truth[n:][found[n:] == k], minlength=4).argmax() for k in (1, 2, 3)]
    assert same == other
    assert len(result.model.sigma2_noise) == 2


def test_particles_of_two_cameras_go_on_from_their_files(case, two_cameras, outputs, tmp_path):
    root = tmp_path / "run"
    case.classify(root, i=two_cameras[0])
    case.classify(tmp_path / "again", continue_from=f"{root}_it001_optimiser.star", j=2)
    assert outputs(tmp_path / "again", 2) == outputs(root, 2)


@pytest.mark.parametrize(("label", "message"), [
    ("rlnImageName", r"rlnImageName.*expected a table of particles"),
    ("rlnDefocusU", r"rlnDefocusU.*expected the defocus.*without --ctf"),
])  # fmt: skip
def test_missing_particle_column_is_named(case, tmp_path, label, message):
    file = case.variant(tmp_path / "in.star", lambda optics, particles: particles.pop(label))
    with pytest.raises(InputError, match=message):
        case.classify(tmp_path / "run", i=file)


@pytest.mark.parametrize("label", ["rlnImagePixelSize", "rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast"])
def test_missing_optics_column_is_named(case, tmp_path, label):
    file = case.variant(tmp_path / "in.star", lambda optics, particles: optics.pop(label))
    with pytest.raises(InputError, match=rf"in.star.*{label}.*expected.*; \w+"):
        case.classify(tmp_path / "run", i=file)


def test_missing_columns_that_can_be_guessed_are(case, tmp_path):
    def change(optics, particles):
        del optics["rlnImageSize"], optics["rlnImageDimensionality"], optics["rlnOpticsGroupName"]
        del particles["rlnMicrographName"], particles["rlnDefocusAngle"], particles["rlnOpticsGroup"]

    result = case.classify(tmp_path / "run", i=case.variant(tmp_path / "in.star", change))
    assert result.dataset.optics[0].box == 32


def test_optics_group_is_not_guessed_where_there_are_two(case, two_cameras, tmp_path):
    star = read_star(two_cameras[0])
    optics, particles = (dict(star[name].columns) for name in ("optics", "particles"))
    del particles["rlnOpticsGroup"]
    write_star(tmp_path / "in.star", {"optics": optics, "particles": particles})
    with pytest.raises(InputError, match=r"in.star.*rlnOpticsGroup.*expected"):
        case.classify(tmp_path / "run", i=str(tmp_path / "in.star"))


def test_run_without_ctf_needs_no_defocus(case, tmp_path):
    def change(optics, particles):
        for label in ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle"):
            del particles[label]

    result = case.classify(tmp_path / "run", i=case.variant(tmp_path / "in.star", change), ctf=None)
    assert np.isfinite(result.classes).all()


def own_stack(case, folder: Path, images, pixel_A=PIXEL_A) -> str:
    """A particle file of other images."""
    write_mrc(folder / "own.mrcs", np.asarray(images, np.float32), pixel_A, stack=True)

    def change(optics, particles):
        particles["rlnImageName"] = np.array([f"{i + 1:06d}@{folder / 'own.mrcs'}" for i in range(len(images))], object)
        optics["rlnImageSize"] = np.array([images.shape[-1]])

    return case.variant(folder / "own.star", change)


def test_odd_box_is_refused(case, tmp_path):
    file = own_stack(case, tmp_path, read_mrc(case.stack)[0][:, :31, :31])
    with pytest.raises(InputError, match=r"own.star: .*box 31, expected .*even box; extract"):
        case.classify(tmp_path / "run", i=file)


def test_box_that_the_table_has_wrong_is_refused(case, tmp_path):
    file = case.variant(tmp_path / "in.star", lambda optics, particles: optics.update(rlnImageSize=np.array([40])))
    with pytest.raises(InputError, match=r"32 x 32 px, expected 40 x 40"):
        case.classify(tmp_path / "run", i=file)


@pytest.mark.parametrize(("gain", "offset"), [(1, 10), (20, 0), (0.05, 0), (3000, 1e6)])
def test_images_that_are_not_normalised_are_refused_with_advice(case, tmp_path, gain, offset):
    file = own_stack(case, tmp_path, read_mrc(case.stack)[0] * gain + offset)
    with pytest.raises(InputError, match=r"000001@.*background .* expected 0 and 1; normalise .*--dont_check_norm"):
        case.classify(tmp_path / "run", i=file)


def test_images_that_are_not_normalised_pass_when_asked_to(case, base, tmp_path):
    file = own_stack(case, tmp_path, read_mrc(case.stack)[0] * 20)
    result = case.classify(tmp_path / "run", i=file, dont_check_norm=True)
    assert np.corrcoef(result.classes.ravel(), base.classes.ravel())[0, 1] > 0.99
    assert result.classes.std() == pytest.approx(20 * base.classes.std(), rel=0.05)


@pytest.mark.parametrize(("n", "k"), [(1, 1), (1, 3), (2, 3), (4, 10)])
def test_few_particles_are_classified(case, tmp_path, n, k):
    optics, particles = blocks_of(case, n)
    write_star(tmp_path / "few.star", {"optics": optics, "particles": particles})
    result = case.classify(tmp_path / "run", i=str(tmp_path / "few.star"), K=k, norm=True, scale=True)
    assert np.isfinite(result.classes).all() and result.classes.shape == (k, 32, 32)
    assert set(result.particles.class_number) <= set(range(1, k + 1))
    again = case.classify(tmp_path / "again", continue_from=f"{result.root}_it001_optimiser.star", j=2)
    np.testing.assert_array_equal(again.classes, result.classes)


def test_no_particle_is_refused(case, tmp_path):
    text = Path(case.particles).read_text()
    (tmp_path / "none.star").write_text(text[: text.index("000001@")].rstrip() + "\n")
    with pytest.raises(InputError, match=r"none.star.*found no row, expected at least one particle"):
        case.classify(tmp_path / "run", i=str(tmp_path / "none.star"))


def test_repeated_image_is_told_and_used(case, capfd, tmp_path):
    def change(optics, particles):
        particles["rlnImageName"] = particles["rlnImageName"].copy()
        particles["rlnImageName"][5] = particles["rlnImageName"][4]

    result = case.classify(tmp_path / "run", i=case.variant(tmp_path / "in.star", change))
    assert "occurs again" in capfd.readouterr().err
    assert result.dataset.usable.all()


def test_lines_that_end_as_on_windows_are_read(case, base, tmp_path):
    (tmp_path / "crlf.star").write_bytes(Path(case.particles).read_bytes().replace(b"\n", b"\r\n"))
    result = case.classify(tmp_path / "run", i=str(tmp_path / "crlf.star"))
    np.testing.assert_array_equal(result.classes, base.classes)


@pytest.mark.parametrize("end", [b"", b"\n\n\n", b"  \t\n#end\n"])
def test_end_of_the_table_does_not_matter(case, base, tmp_path, end):
    (tmp_path / "in.star").write_bytes(Path(case.particles).read_bytes().rstrip() + end)
    result = case.classify(tmp_path / "run", i=str(tmp_path / "in.star"))
    np.testing.assert_array_equal(result.classes, base.classes)


@pytest.mark.parametrize(("make", "message"), [
    (lambda path: None, r"in.star.*(No such file|is not there|cannot be read|no such)"),
    (lambda path: path.mkdir(), r"in.star"),
    (lambda path: path.write_bytes(b""), r"in.star"),
    (lambda path: path.write_bytes(bytes(range(256)) * 50), r"in.star"),
    (lambda path: path.write_text("data_optics\n\nloop_\n_rlnOpticsGroup #1\n1\n"), r"in.star: .*rlnImageName"),
])  # fmt: skip
def test_file_that_is_no_particle_table_is_refused(case, tmp_path, make, message):
    make(tmp_path / "in.star")
    with pytest.raises(InputError, match=message):
        case.classify(tmp_path / "run", i=str(tmp_path / "in.star"))


def test_row_cut_short_is_named_with_its_line(case, tmp_path):
    lines = Path(case.particles).read_text().rstrip().splitlines()
    lines[-3] = lines[-3][:30]
    (tmp_path / "in.star").write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=rf"in.star:{len(lines) - 2}"):
        case.classify(tmp_path / "run", i=str(tmp_path / "in.star"))


def test_names_are_relative_to_the_project_folder(case, base, monkeypatch, tmp_path):
    """As in RELION: Extract/job001/particles.star names Extract/job001/a.mrcs, and the program runs in the project."""
    job = tmp_path / "Extract" / "job001"
    job.mkdir(parents=True)
    (job / "a.mrcs").write_bytes(case.stack.read_bytes())
    text = Path(case.particles).read_text().replace(str(case.stack), "Extract/job001/a.mrcs")
    (job / "particles.star").write_text(text)
    for place in (tmp_path, tmp_path.parent):
        monkeypatch.chdir(place)
        result = case.classify(tmp_path / place.name / "run", i=str(job / "particles.star"))
        np.testing.assert_array_equal(result.classes, base.classes)


def test_names_with_blanks_and_umlauts_are_fine(case, base, tmp_path):
    folder = tmp_path / "größe_µ"
    folder.mkdir()
    (folder / "a.mrcs").write_bytes(case.stack.read_bytes())
    text = Path(case.particles).read_text().replace(str(case.stack), str(folder / "a.mrcs"))
    (folder / "in.star").write_text(text)
    result = case.classify(folder / "out put" / "run", i=str(folder / "in.star"))
    np.testing.assert_array_equal(result.classes, base.classes)
    again = case.classify(None, continue_from=f"{result.root}_it001_optimiser.star", j=2)
    np.testing.assert_array_equal(again.classes, base.classes)
