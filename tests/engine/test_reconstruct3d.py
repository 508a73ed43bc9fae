import numpy as np
import pytest
import scipy.fft
from volume_phantom import Blobs, ctf_table, optics, random_rotations

from vitreous import backend, kernels_volume
from vitreous.engine import reconstruct3d
from vitreous.engine.slices3d import CtfChoice, ViewBatch, insert
from vitreous.model.symmetry import Symmetry
from vitreous.model.volume import VolumeLattice, interpolation_envelope

BOX, PIXEL_A = 32, 3.0


@pytest.fixture(scope="module")
def be():
    return backend.cpu(2)


def whole_transform(volume, lattice):
    """The lattice's samples of the transform of the padded, corrected map, from the padded cube itself."""
    first = lattice.side // 2 - lattice.box // 2
    cube = np.zeros((lattice.side,) * 3)
    cube[(slice(first, first + lattice.box),) * 3] = volume / interpolation_envelope(lattice.box, lattice.side)
    ft = scipy.fft.fftn(np.fft.ifftshift(cube)) / lattice.box**2
    n = lattice.nx - 1
    k = np.mgrid[-n : n + 1, -n : n + 1, : n + 1]
    return ft[tuple(a % lattice.side for a in k)] * (np.sqrt((k**2).sum(0)) <= lattice.radius)


@pytest.mark.parametrize("padding, radius", [(2, 8), (1, 8), (1.5, 6), (2, 5)])
def test_reference_transform_is_that_of_the_padded_cube(padding, radius):
    lattice = VolumeLattice(16, padding, radius)
    volume = np.random.default_rng(0).normal(size=(16,) * 3).astype(np.float32)
    ft, power = reconstruct3d.reference_transform(volume, lattice)
    expected = whole_transform(volume, lattice)
    np.testing.assert_allclose(ft, expected, atol=1e-6 * abs(expected).max())  # float32 transforms
    n = lattice.nx - 1
    k = np.mgrid[-n : n + 1, -n : n + 1, : n + 1]
    ring = (np.floor(np.sqrt((k**2).sum(0)) * 16 / lattice.side + 0.5) == 3) & (
        np.sqrt((k**2).sum(0)) <= lattice.radius
    )
    assert power[3] == pytest.approx(np.mean(abs(expected[ring]) ** 2) / 2, rel=1e-5)


def test_reference_transform_in_pieces_is_the_same(monkeypatch):
    lattice = VolumeLattice(16, 2, 7)
    volume = np.random.default_rng(0).normal(size=(16,) * 3).astype(np.float32)
    whole, _ = reconstruct3d.reference_transform(volume, lattice)
    monkeypatch.setattr(reconstruct3d, "CHUNK_BYTES", 20_000)
    np.testing.assert_array_equal(reconstruct3d.reference_transform(volume, lattice)[0], whole)
    back = reconstruct3d.inverse_transform(whole, lattice)
    monkeypatch.undo()
    np.testing.assert_array_equal(back, reconstruct3d.inverse_transform(whole, lattice))


def test_reference_transform_without_low_frequencies():
    lattice = VolumeLattice(16, 2, 8)
    volume = Blobs(reach_px=4).volume(16)
    ft, power = reconstruct3d.reference_transform(volume, lattice, low_cut_px=2)
    distance = np.stack([lattice.distance(i) for i in range(lattice.ny)])
    assert not ft[distance <= 4].any() and ft[(distance > 4) & (distance <= 16)].any()
    assert power[1] > 0  # the spectrum is that of the whole map


@pytest.mark.parametrize("padding", [1, 2])
def test_inverse_transform_undoes_the_reference_transform(padding):
    lattice = VolumeLattice(BOX, padding, BOX / 2)
    volume = Blobs().volume(BOX)
    ft, _ = reconstruct3d.reference_transform(volume, lattice)
    back = reconstruct3d.inverse_transform(ft * BOX**2, lattice) * interpolation_envelope(BOX, lattice.side)
    # the corners of Fourier space are lost; the blobs have 1e-4 of their amplitude there
    np.testing.assert_allclose(back, volume, atol=1e-3 * volume.max())


def sums_of(be, blobs, rotations, lattice):
    rng = np.random.default_rng(7)
    n = len(rotations)
    shifts_px = rng.normal(size=(n, 2))
    images = blobs.images(rotations, shifts_px, lattice.box)
    views = ViewBatch(optics(lattice.box, PIXEL_A), rotations, shifts_px * PIXEL_A, ctf_table(n))
    sums = np.zeros((1, *lattice.shape, 3), np.float32)
    insert(be, sums, images, views, lattice, PIXEL_A, CtfChoice(False))
    return sums[0]


def fidelity(volume, truth):
    """Relative error of a map inside the sphere."""
    return np.linalg.norm(volume - truth) / np.linalg.norm(truth)


def test_reconstruct_gives_back_the_map_on_its_grey_scale(be):
    blobs, lattice = Blobs(), VolumeLattice(BOX, 2, BOX / 2)
    sums = sums_of(be, blobs, random_rotations(800), lattice)
    found = reconstruct3d.reconstruct(be, sums, lattice)
    truth = blobs.volume(BOX)
    # linear interpolation: 2.5 % from the map's mean, which samples by the origin do not share, 1.8 % from the rest
    assert fidelity(found.volume, truth) < 0.04
    assert np.vdot(truth, found.volume) / np.vdot(truth, truth) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("name", ["C3", "D7", "T", "O", "I3"])
def test_reconstruct_with_symmetry_needs_fewer_views(be, name):
    blobs, lattice, symmetry = Blobs(name, n=2), VolumeLattice(BOX, 2, BOX / 2), Symmetry.parse(name)
    truth = blobs.volume(BOX)
    sums = sums_of(be, blobs, random_rotations(120 // symmetry.order + 1), lattice)
    with_it = reconstruct3d.reconstruct(be, sums.copy(), lattice, symmetry=symmetry).volume
    without = reconstruct3d.reconstruct(be, sums, lattice).volume
    assert fidelity(with_it, truth) < 0.05 and fidelity(without, truth) > 0.08
    # The places of the copies are right, and so is their height within what the lowest shells leave; without their own
    # envelope it is 5 % too low.
    assert np.vdot(truth, with_it) / np.vdot(truth, truth) == pytest.approx(1, abs=0.03)


def test_reconstruct_symmetrises_as_inserting_every_copy_does(be):
    blobs, lattice, symmetry = Blobs("D7", n=2), VolumeLattice(BOX, 2, BOX / 2), Symmetry("D7")
    rotations = random_rotations(100)
    found = reconstruct3d.reconstruct(be, sums_of(be, blobs, rotations, lattice), lattice, symmetry=symmetry).volume
    copies = (rotations[:, None] @ symmetry.rotations).reshape(-1, 3, 3)
    direct = reconstruct3d.reconstruct(be, sums_of(be, blobs, copies, lattice), lattice).volume
    assert fidelity(found, direct) < 0.05  # one interpolation more; 0.10 without its envelope at half the box


@pytest.mark.parametrize("name", ["C3", "C4", "D7", "I2"])
def test_symmetrise_in_two_steps_is_the_sum_over_the_group(be, name):
    lattice, symmetry = VolumeLattice(BOX, 1, 8), Symmetry(name)
    sums = sums_of(be, Blobs(), random_rotations(60), lattice)
    reconstruct3d.add_friedel_mates(sums)
    whole = kernels_volume.symmetrise(be, sums, symmetry.rotations.astype(np.float32), lattice.reach)
    found = reconstruct3d.symmetrise(be, sums.copy(), lattice, symmetry)
    np.testing.assert_allclose(found, whole, atol=2e-5 * abs(whole).max())  # float32 places on the lattice


def test_wiener_prior_shrinks_by_its_share(be):
    blobs, lattice = Blobs(), VolumeLattice(BOX, 2, BOX / 2)
    sums = sums_of(be, blobs, random_rotations(400), lattice)
    sums[..., 2] = np.where(
        sums[..., 2] > 0, 2.0, 0
    )  # equal weights: the prior then shrinks every sample by the same factor
    sums[..., :2] *= (sums[..., 2] > 0)[..., None]
    plain = reconstruct3d.reconstruct(be, sums.copy(), lattice)
    tau2 = np.full(lattice.n_shells, 1 / (lattice.ratio**3 * 6.0))  # 1 / (padding^3 tau2) = 6
    # the mates on kx = 0 have twice the weight: look at the weight there alone
    half = reconstruct3d.reconstruct(be, sums.copy(), lattice, tau2=tau2, minres_map=0)
    ft, ft_half = (np.fft.rfftn(v.volume) for v in (plain, half))
    ratio = np.sum(ft_half[2:5, 2:5, 4:8] * ft[2:5, 2:5, 4:8].conj()).real / np.sum(abs(ft[2:5, 2:5, 4:8]) ** 2)
    assert ratio == pytest.approx(2 / (2 + 6), rel=0.02)
    inside = half.data_vs_prior[5:15]
    np.testing.assert_allclose(inside, 2 / 6, rtol=0.1)
    assert not half.coverage[5:15].any() and plain.data_vs_prior.max() == 0


def test_wiener_prior_leaves_low_shells_alone(be):
    blobs, lattice = Blobs(), VolumeLattice(BOX, 2, BOX / 2)
    sums = sums_of(be, blobs, random_rotations(400), lattice)
    tau2 = np.full(lattice.n_shells, 1e-12)
    found = reconstruct3d.reconstruct(be, sums.copy(), lattice, tau2=tau2, minres_map=5).volume
    plain = reconstruct3d.reconstruct(be, sums, lattice).volume
    ft, ft_plain = abs(np.fft.fftn(found)), abs(np.fft.fftn(plain))
    assert ft[0, 0, 3] == pytest.approx(ft_plain[0, 0, 3], rel=0.1)
    assert ft[0, 0, 9] < 0.15 * ft_plain[0, 0, 9]  # what is left comes from the low shells, through the padding


def test_reconstruct_without_data_is_zero(be):
    lattice = VolumeLattice(16, 2, 8)
    found = reconstruct3d.reconstruct(be, np.zeros((*lattice.shape, 3), np.float32), lattice, symmetry=Symmetry("C2"))
    assert not found.volume.any() and not found.sigma2.any()


def test_soften_corners_keeps_the_sphere_and_flattens_the_rest():
    volume = np.random.default_rng(0).normal(size=(24,) * 3).astype(np.float32)
    before = volume.copy()
    reconstruct3d.soften_corners(volume)
    z, y, x = np.indices(volume.shape) - 12
    r = np.sqrt(x**2 + y**2 + z**2)
    np.testing.assert_array_equal(volume[r <= 12], before[r <= 12])
    assert np.ptp(volume[r >= 15]) < 1e-6
