"""The options of class2d for the contrast transfer do what their help says, seen from a run's results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vitreous import backend, kernels_image
from vitreous.io.mrc import read_mrc, write_mrc
from vitreous.io.particles import read_particles
from vitreous.io.star import read_star, write_star
from vitreous.model import ctf as ctf_model
from vitreous.model import views as geometry

pytestmark = pytest.mark.usefixtures("no_report")
BOX, PIXEL_A = 32, 6.0


def flipped(case, tmp_path, factor):
    """A copy of the particles whose transforms are multiplied by a function of the CTF."""
    dataset = read_particles(case.particles, need_ctf=True)
    optics = dataset.optics[0]
    kx, ky = np.meshgrid(np.arange(BOX // 2 + 1), np.fft.fftfreq(BOX, 1 / BOX))
    fx, fy = ctf_model.frequencies(kx.ravel(), ky.ravel(), BOX, optics.pixel_size_A, optics.magnification)
    parameters = geometry.build(dataset.particles, dataset.exposures, dataset.optics).ctf
    ctf = kernels_image.ctf_image(
        backend.cpu(1), fx, fy, parameters, ctf_model.even_phase(optics, fx, fy), intact_first_peak=False,
        phase_flipped=False, only_flip_phases=False, premultiplied=False,
    ).reshape(-1, BOX, BOX // 2 + 1)  # fmt: skip
    stack = read_mrc(case.stack)[0]
    images = np.fft.irfft2(np.fft.rfft2(stack) * factor(ctf), s=(BOX, BOX)).astype(np.float32)
    write_mrc(tmp_path / "flipped.mrcs", images, PIXEL_A, stack=True)
    text = Path(case.particles).read_text().replace(str(case.stack), str(tmp_path / "flipped.mrcs"))
    (tmp_path / "flipped.star").write_text(text)
    return str(tmp_path / "flipped.star")


def test_ctf_phase_flipped_is_for_flipped_images(run, case, views, tmp_path):
    """Flipped images with the option classify as the others do without; without it, averages suffer."""
    write_mrc(tmp_path / "ref.mrcs", views, PIXEL_A, stack=True)
    ref = {"ref": str(tmp_path / "ref.mrcs")}
    file = flipped(case, tmp_path, np.sign)
    plain, right = run(**ref).result, run(**ref, i=file, ctf_phase_flipped=True).result
    wrong = run(**ref, i=file).result
    for k in range(3):
        assert np.corrcoef(plain.classes[k].ravel(), right.classes[k].ravel())[0, 1] > 0.98
    assert right.model.log_likelihood > wrong.model.log_likelihood


def test_premultiplied_images_are_told_by_their_optics(run, case, views, tmp_path):
    write_mrc(tmp_path / "ref.mrcs", views, PIXEL_A, stack=True)
    file = flipped(case, tmp_path, lambda ctf: ctf)
    star = read_star(file)
    blocks = {name: dict(star[name].columns) for name in ("optics", "particles")}
    blocks["optics"]["rlnCtfDataAreCtfPremultiplied"] = np.array([1])
    write_star(file, blocks)
    result = run(i=file, ref=str(tmp_path / "ref.mrcs"), dont_check_norm=True).result
    assert (result.particles.class_number == case.truth).mean() > 0.9


@pytest.mark.parametrize("option", ["ctf_intact_first_peak", "only_flip_phases"])
def test_ctf_options_change_the_averages(run, base, option):
    result = run(**{option: True}).result
    assert not np.array_equal(result.classes, base.classes) and np.isfinite(result.classes).all()


def test_ctf_uncorrected_ref_is_for_averages_that_the_ctf_has_left_its_mark_on(run, case, views, tmp_path):
    write_mrc(tmp_path / "ref.mrcs", views, PIXEL_A, stack=True)
    plain = run(i=case.truth_file, ref=str(tmp_path / "ref.mrcs"), ctf=None, skip_align=True, iter=1).result.classes
    write_mrc(tmp_path / "uncorrected.mrcs", plain, PIXEL_A, stack=True)
    usual = {"ref": str(tmp_path / "uncorrected.mrcs")}
    told, untold = run(**usual, ctf_uncorrected_ref=True), run(**usual)
    assert told(1).model.log_likelihood > untold(1).model.log_likelihood
    # From iteration 2 on the references are corrected, whatever the first were.
    assert np.corrcoef(told(2).model.references.ravel(), untold(2).model.references.ravel())[0, 1] > 0.9
