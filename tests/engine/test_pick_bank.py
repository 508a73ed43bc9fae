import numpy as np
import pytest

from vitreous import backend
from vitreous.engine import pick_bank
from vitreous.engine.pick_references import centre_of_inverse, masked
from vitreous.engine.pick_size import work_size


@pytest.fixture(scope="module")
def be():
    return backend.cpu(2)


def references(n=2, box=24, seed=0):
    rng = np.random.default_rng(seed)
    x = np.arange(box) - box // 2
    r2 = x[:, None] ** 2 + x**2
    smooth = np.fft.ifft2(np.fft.fft2(rng.normal(size=(n, box, box))) * np.exp(-0.05 * np.fft.ifftshift(r2))).real
    return masked((smooth * np.exp(-r2 / 60)).astype(np.float32), 4.0, 80.0, 0)


def templates(bank):
    """All templates, those that are half turns of others last."""
    phase = np.where(np.arange(len(bank.basis)) < bank.n_even, 1, 1j)
    found = np.einsum("tj,jyx->tyx", bank.coefficients * phase, bank.basis)
    return np.concatenate([found, found.conj()]) if bank.turns else found


@pytest.mark.parametrize(("step_deg", "n"), [(90, 4), (360, 1), (120, 3), (10, 36)])
def test_bank_has_every_angle(be, step_deg, n):
    refs = references()
    bank = pick_bank.make_bank(be, refs, SIZE, step_deg=step_deg, error=0)
    found, turn = templates(bank), len(bank.psi_deg)
    assert len(bank.angles_deg) == n and np.allclose(np.sort(bank.angles_deg), np.arange(n) * 360 / n)
    slicer = pick_bank.Slicer(be, refs, SIZE, 2.0, bank.angles_deg)
    whole = slicer.grid(slice(None)).reshape(2, n, *found.shape[1:])
    found = found.reshape(-1, 2, turn, *found.shape[1:]).swapaxes(0, 1).reshape(whole.shape)
    np.testing.assert_allclose(found, whole, atol=1e-5 * abs(whole).max())  # float32 products


SIZE = work_size(96, 96, 4.0, lowpass_A=12.0, shrink=0)
LARGE = work_size(480, 480, 4.0, lowpass_A=12.0, shrink=0)


@pytest.mark.parametrize("error", [0.003, 0.01, 0.05])
@pytest.mark.parametrize("size", [SIZE, LARGE])
def test_bank_makes_every_template_within_its_error(be, error, size):
    whole = templates(pick_bank.make_bank(be, references(), size, step_deg=10, error=0))
    bank = pick_bank.make_bank(be, references(), size, step_deg=10, error=error)
    weight = np.where(np.arange(whole.shape[2]) > 0, 2.0, 1.0)
    norm2 = (np.abs(whole) ** 2 * weight).sum((1, 2))
    lost = np.sqrt((np.abs(templates(bank) - whole) ** 2 * weight).sum((1, 2)) / norm2)
    assert lost.max() <= 1.05 * error + 1e-5  # the float32 of basis and coefficients
    assert bank.error <= error and len(bank.basis) < len(whole)


def test_bank_turns_as_the_conventions_say(be):
    refs = references(1)
    bank = pick_bank.make_bank(be, refs, SIZE, step_deg=90, error=0)
    first, turned = (centre_of_inverse(t, 20, SIZE.full) for t in templates(bank)[:2])
    # T(c kx - s ky, s kx + c ky) at 90 degrees is T(-ky, kx): the image f(-y, x)
    np.testing.assert_allclose(
        turned[1:, 1:], np.rot90(first[1:, 1:], 1), atol=2e-3 * abs(first).max()
    )  # bilinear in the padded transform


def test_bank_of_more_angles_needs_no_more_basis_images(be):
    few, many = (len(pick_bank.make_bank(be, references(), SIZE, step_deg=step, error=0.03).basis) for step in (5, 2))
    assert many <= few + 4


def test_angles_divide_the_circle():
    assert len(pick_bank.angles_deg(7)) == 51
    assert pick_bank.angles_deg(360).tolist() == [0]
