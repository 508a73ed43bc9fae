import numpy as np
import pytest
import scipy.fft
from volume_phantom import Blobs, ctf_table, optics, random_rotations

from vitreous import backend
from vitreous.engine import reconstruct3d
from vitreous.engine.slices3d import CtfChoice, Grid, ViewBatch, contrast, insert, project, transforms
from vitreous.model.volume import VolumeLattice

BOX, PIXEL_A = 32, 3.0


@pytest.fixture(scope="module")
def be():
    return backend.cpu(2)


def views(n=12, box=BOX, pixel_A=PIXEL_A, shift=True, **more):
    shifts = np.random.default_rng(3).normal(size=(n, 2)) * 4 if shift else np.zeros((n, 2))
    return ViewBatch(optics(box, pixel_A, **more), random_rotations(n, seed=1), shifts, ctf_table(n))


def relative(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def reference(blobs, box=BOX):
    lattice = VolumeLattice(box, 2, box / 2)
    return reconstruct3d.reference_transform(blobs.volume(box), lattice)[0], lattice


def test_project_is_the_line_integral(be):
    blobs, v = Blobs(), views()
    ft, lattice = reference(blobs)
    found = project(be, ft, v, lattice, PIXEL_A, CtfChoice())
    assert relative(found, blobs.images(v.rotation, v.shift_A / PIXEL_A, BOX)) < 0.02  # interpolation at padding 2


def test_project_with_ctf_is_the_filtered_projection(be):
    blobs, v = Blobs(), views(shift=False)
    ft, lattice = reference(blobs)
    grid = Grid.of(v.optics, lattice, PIXEL_A)
    ctf = contrast(be, v, grid, CtfChoice(True))
    found = transforms(be, project(be, ft, v, lattice, PIXEL_A, CtfChoice(True)), v, grid)
    clean = transforms(be, blobs.images(v.rotation, v.shift_A, BOX), v, grid)
    assert relative(found, clean * ctf[:, None]) < 0.02
    squared = transforms(be, project(be, ft, v, lattice, PIXEL_A, CtfChoice(True), squared_ctf=True), v, grid)
    assert relative(squared, clean * ctf[:, None] ** 2) < 0.02


def test_project_onto_another_pixel_size_and_box(be):
    # half the pixel, in a box of 3/4 the length: the same molecule, its grey values as the map's voxel has it
    blobs, v = Blobs(reach_px=5), views(box=48, pixel_A=PIXEL_A / 2)
    ft, lattice = reference(blobs)
    found = project(be, ft, v, lattice, PIXEL_A, CtfChoice())
    fine = blobs.images(v.rotation, v.shift_A / PIXEL_A, 24)
    assert relative(found[:, ::2, ::2], fine) < 0.03


def test_insert_sees_what_project_shows(be):
    # a map, its images with everything that optics do, and back: magnification, beam tilt, CTF, other pixel
    more = {
        "magnification": ((1.02, 0.01), (-0.01, 0.97)),
        "beam_tilt_mrad": (0.4, -0.3),
        "even_zernike": (0.0, 0.0, 3.0),
    }
    blobs, v = Blobs(reach_px=7), views(n=600, box=40, pixel_A=2.6, **more)
    ft, lattice = reference(blobs)
    images = project(be, ft, v, lattice, PIXEL_A, CtfChoice(True))
    sums = np.zeros((1, *lattice.shape, 3), np.float32)
    insert(be, sums, images, v, lattice, PIXEL_A, CtfChoice(True))
    found = reconstruct3d.reconstruct(be, sums[0], lattice).volume
    assert relative(found, blobs.volume(BOX)) < 0.05  # two interpolations, 2.5 % each with the map's mean
    plain = ViewBatch(optics(40, 2.6), v.rotation, v.shift_A, v.ctf_parameters)
    sums[:] = 0
    insert(be, sums, images, plain, lattice, PIXEL_A, CtfChoice(True))
    assert relative(reconstruct3d.reconstruct(be, sums[0], lattice).volume, blobs.volume(BOX)) > 0.1


def test_insert_of_premultiplied_images_is_the_same(be):
    blobs, v = Blobs(), views(n=40)
    ft, lattice = reference(blobs)
    images = project(be, ft, v, lattice, PIXEL_A, CtfChoice(True))
    squared = project(be, ft, v, lattice, PIXEL_A, CtfChoice(True), squared_ctf=True)
    done = ViewBatch(optics(BOX, PIXEL_A, premultiplied=True), v.rotation, v.shift_A, v.ctf_parameters)
    a, b = (np.zeros((1, *lattice.shape, 3), np.float32) for _ in range(2))
    insert(be, a, images, v, lattice, PIXEL_A, CtfChoice(True))
    insert(be, b, squared, done, lattice, PIXEL_A, CtfChoice(True))
    np.testing.assert_allclose(b, a, atol=1e-5 * abs(a).max())


def test_insert_counts_weights_and_volumes(be):
    blobs, v = Blobs(), views(n=4)
    lattice = VolumeLattice(BOX, 1, 8)
    images = blobs.images(v.rotation, v.shift_A / PIXEL_A, BOX)
    sums = np.zeros((2, *lattice.shape, 3), np.float32)
    insert(be, sums, images, v, lattice, PIXEL_A, CtfChoice(), volume=[0, 1, 1, 0], weight=[1.0, 1, 3, 0])
    alone = np.zeros((1, *lattice.shape, 3), np.float32)
    for i, n_times in ((1, 1), (2, 3)):
        one = ViewBatch(v.optics, v.rotation[i : i + 1], v.shift_A[i : i + 1], v.ctf_parameters[i : i + 1])
        for _ in range(n_times):
            insert(be, alone, images[i : i + 1], one, lattice, PIXEL_A, CtfChoice())
    np.testing.assert_allclose(sums[1], alone[0], atol=1e-6 * abs(alone).max())
    assert sums[0].any()


def test_insert_less_the_projection_of_the_map_leaves_nothing(be):
    blobs, v = Blobs(), views(n=20)
    ft, lattice = reference(blobs)
    images = project(be, ft, v, lattice, PIXEL_A, CtfChoice(True))
    sums, plain = (np.zeros((1, *lattice.shape, 3), np.float32) for _ in range(2))
    insert(be, sums, images, v, lattice, PIXEL_A, CtfChoice(True), subtract_ft=ft)
    insert(be, plain, images, v, lattice, PIXEL_A, CtfChoice(True))
    assert (
        abs(sums[..., :2]).max() < 1e-4 * abs(plain[..., :2]).max()
    )  # images are float32, their transform 1e-6 of its largest
    np.testing.assert_array_equal(sums[..., 2], plain[..., 2])


def test_project_images_are_real_transforms(be):
    # the mates on the column kx = 0 are there: an image cut by its band alone keeps all of its power
    v = views(n=3, shift=False)
    ft, lattice = reference(Blobs())
    images = project(be, ft, v, lattice, PIXEL_A, CtfChoice())
    whole = scipy.fft.fft2(images)
    np.testing.assert_allclose(whole[:, 1:, 0], whole[:, :0:-1, 0].conj(), atol=1e-3 * abs(whole).max())
    assert abs(whole[:, 1:4, 0]).min() > 0
