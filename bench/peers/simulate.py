"""Particles with known truth for side-by-side runs. Uses nothing of vitreous: what is judged makes no test of itself.

    python bench/peers/simulate.py --o set --n 2000 --box 64 --angpix 4 --views 12 --snr 0.1 --model 1u6g.pdb.xz

Atoms (from a PDB file, or a seeded random chain where there is none) are rotated, added up on a four times finer grid
and cut to the box in Fourier space, so a pose is exact and no interpolation enters. Conventions are RELION's: image
coordinates are A(rot, tilt, psi) r, the origin is the shift to apply, CTF = -sin(gamma), particles are white.
relion_reconstruct --ctf with truth.star gives the model back (correlation 0.96), and not its mirror image.
"""

from __future__ import annotations

import argparse
import gzip
import lzma
import struct
from pathlib import Path

import numpy as np

N_FINE = 4  # grid points per pixel on which atoms are added up: linear splatting then loses under 1 % at Nyquist
OPENERS = {".xz": lzma.open, ".gz": gzip.open}
VOLTAGE_KV, CS_MM, AMPLITUDE_CONTRAST = 300.0, 2.7, 0.1
B_FACTOR_A2 = 60.0  # fall-off of all images, and of the map that they show


def read_atoms(path: Path) -> np.ndarray:
    """Atom positions of a PDB file, centred.

    Returns
    -------
    (n_atoms, 3) float64      x, y, z in A
    """
    with OPENERS.get(path.suffix, open)(path, "rt") as lines:
        xyz = [[float(line[i : i + 8]) for i in (30, 38, 46)] for line in lines if line.startswith("ATOM")]
    if not xyz:
        raise SystemExit(f"{path}: no ATOM line found; give a PDB file, plain or .gz or .xz")
    return np.array(xyz) - np.mean(xyz, axis=0)


def chain_atoms(seed: int, n_atoms: int = 12000) -> np.ndarray:
    """A random chain folded into five ellipsoidal domains: an asymmetric stand-in for a protein of 150 A."""
    rng = np.random.default_rng(seed)
    centres = np.array([[-45, 0, 10], [-10, 25, -15], [5, -25, 5], [35, 5, 25], [50, -10, -25]], float)
    atoms = []
    for i_domain, centre in enumerate(centres):
        position, axes = np.zeros(3), rng.uniform(14, 26, 3)
        for _ in range(n_atoms // len(centres)):
            step = rng.normal(size=3)
            step *= 1.5 / np.linalg.norm(step)
            if np.sum(((position + step) / axes) ** 2) > 1:  # turn back at the domain's surface
                step = -1.5 * position / np.linalg.norm(position)
            position = position + step
            atoms.append(position + centre + 0 * i_domain)
    return np.array(atoms) - np.mean(atoms, axis=0)


def rotation(rot_deg: float, tilt_deg: float, psi_deg: float) -> np.ndarray:
    """Rotation matrix A of three Euler angles (Z, Y, Z), RELION's convention."""
    (ca, cb, cg), (sa, sb, sg) = (f(np.radians([rot_deg, tilt_deg, psi_deg])) for f in (np.cos, np.sin))
    return np.array([[cg * cb * ca - sg * sa, cg * cb * sa + sg * ca, -cg * sb],
                     [-sg * cb * ca - cg * sa, -sg * cb * sa + cg * ca, sg * sb],
                     [sb * ca, sb * sa, cb]])


def view_directions(n_views: int) -> np.ndarray:
    """(n_views, 2) rot and tilt, degrees: evenly spread over a half sphere, so that no two views are mirror images."""
    i = np.arange(n_views) + 0.5
    return np.stack([np.degrees(np.pi * (1 + 5**0.5) * i) % 360, np.degrees(np.arccos(1 - i / n_views))], 1)


def random_directions(rng, n: int) -> np.ndarray:
    """(n, 2) rot and tilt, degrees, all over the sphere."""
    return np.stack([rng.uniform(-180, 180, n), np.degrees(np.arccos(rng.uniform(-1, 1, n)))], 1)


def density(atoms_A: np.ndarray, box: int, pixel_size_A: float) -> np.ndarray:
    """(box, box, box) float64 map z, y, x of which the images are projections (an atom counts 1), origin at box//2."""
    n = 2 * box
    at = atoms_A[:, ::-1] * 2 / pixel_size_A
    corner = np.floor(at).astype(int)
    grid = np.zeros(n**3)
    for step in np.ndindex(2, 2, 2):
        weight = np.where(step, at - corner, 1 - (at - corner)).prod(1)
        z, y, x = ((corner + step) % n).T
        grid += np.bincount((z * n + y) * n + x, weight, n**3)
    ft = np.fft.rfftn(grid.reshape(n, n, n))
    rows = np.fft.fftfreq(box, 1 / box).astype(int)
    ft = ft[rows][:, rows][:, :, : box // 2 + 1]
    k = np.stack(np.meshgrid(rows, rows, np.arange(box // 2 + 1), indexing="ij"))
    ft /= (np.sinc(k / n) ** 2).prod(0)  # of the linear splat
    ft *= np.exp(-B_FACTOR_A2 / 4 * (k**2).sum(0) / (box * pixel_size_A) ** 2) * (-1.0) ** k.sum(0)
    return np.fft.irfftn(ft)


def frequencies(box: int, pixel_size_A: float):
    """Fourier indices and squared spatial frequency (1/A^2) and azimuth (radians) of an rfft2."""
    kx, ky = np.broadcast_arrays(np.arange(box // 2 + 1)[None], np.fft.fftfreq(box, 1 / box)[:, None])
    return kx, ky, (kx**2 + ky**2) / (box * pixel_size_A) ** 2, np.arctan2(ky, kx)


def project_ft(xy_A: np.ndarray, box: int, pixel_size_A: float) -> np.ndarray:
    """Transform of the projected atoms, origin at pixel (0, 0): (box, box//2 + 1) complex128."""
    n = box * N_FINE
    at = xy_A * N_FINE / pixel_size_A
    corner = np.floor(at).astype(int)
    frac = at - corner
    grid = np.zeros(n * n)
    for dy in (0, 1):
        for dx in (0, 1):
            weight = (frac[:, 0] if dx else 1 - frac[:, 0]) * (frac[:, 1] if dy else 1 - frac[:, 1])
            grid += np.bincount(((corner[:, 1] + dy) % n) * n + (corner[:, 0] + dx) % n, weight, n * n)
    ft = np.fft.rfft2(grid.reshape(n, n))
    rows = np.fft.fftfreq(box, 1 / box).astype(int)
    return ft[rows][:, : box // 2 + 1]


def ctf(k2_inv_A2: np.ndarray, azimuth: np.ndarray, u_A: float, v_A: float, angle_deg: float) -> np.ndarray:
    """-sin(gamma) at 300 kV, Cs 2.7 mm, 10 % amplitude contrast; positive at low frequency."""
    volt = VOLTAGE_KV * 1e3
    wavelength_A = 12.2643247 / np.sqrt(volt * (1 + 0.978466e-6 * volt))
    defocus_A = (u_A + v_A) / 2 + (u_A - v_A) / 2 * np.cos(2 * (azimuth - np.radians(angle_deg)))
    gamma = np.pi * wavelength_A * k2_inv_A2 * (CS_MM * 1e7 * wavelength_A**2 * k2_inv_A2 / 2 - defocus_A)
    return -np.sin(gamma - np.arcsin(AMPLITUDE_CONTRAST))


def simulate(n: int, box: int, pixel_size_A: float, n_views: int, snr: float, shift_sd_px: float, diameter_A: float,
             seed: int, atoms_A: np.ndarray):
    """Particle images and their truth.

    Parameters
    ----------
    n_views : fixed views; 0 = each particle its own, spread over the sphere
    snr : variance of the signal in the circle of the particle over the variance of the (white) noise
    shift_sd_px : standard deviation of the true origin per axis, px
    diameter_A : of the circle outside which mean and standard deviation are made 0 and 1

    Returns
    -------
    images : (n, box, box) float32
    truth : dict of (n,) arrays under RELION's labels, "view" (1-based), and "amplitude": of an atom in the image
    """
    rng = np.random.default_rng(seed)
    kx, ky, k2, azimuth = frequencies(box, pixel_size_A)
    view = rng.integers(0, max(n_views, 1), n)
    directions = view_directions(n_views)[view] if n_views else random_directions(rng, n)
    u_A = rng.uniform(10000, 25000, n)
    truth = {
        "rlnAngleRot": directions[:, 0], "rlnAngleTilt": directions[:, 1], "rlnAnglePsi": rng.uniform(-180, 180, n),
        "rlnOriginXAngst": rng.normal(0, shift_sd_px * pixel_size_A, n),
        "rlnOriginYAngst": rng.normal(0, shift_sd_px * pixel_size_A, n),
        "rlnDefocusU": u_A, "rlnDefocusV": u_A - rng.uniform(0, 600, n), "rlnDefocusAngle": rng.uniform(0, 180, n),
        "view": view + 1,
    }  # fmt: skip
    truth = {label: np.round(values, 6) for label, values in truth.items()}  # as written
    radius = np.hypot(*(np.mgrid[:box, :box] - box // 2))
    inside = radius < diameter_A / (2 * pixel_size_A)
    falloff = np.exp(-B_FACTOR_A2 / 4 * k2) * (-1.0) ** (kx + ky)  # the sign puts the origin in pixel box//2
    signal = np.empty((n, box, box))
    for i in range(n):
        a = rotation(*(truth[f"rlnAngle{name}"][i] for name in ("Rot", "Tilt", "Psi")))
        content_px = -np.array([truth["rlnOriginXAngst"][i], truth["rlnOriginYAngst"][i]]) / pixel_size_A
        phase = np.exp(-2j * np.pi * (kx * content_px[0] + ky * content_px[1]) / box)
        transfer = ctf(k2, azimuth, *(truth[f"rlnDefocus{name}"][i] for name in ("U", "V", "Angle")))
        signal[i] = np.fft.irfft2(project_ft(atoms_A @ a[:2].T, box, pixel_size_A) * falloff * phase * transfer,
                                  s=(box, box))
    amplitude = np.sqrt(snr / signal[:, inside].var())
    images = signal * amplitude + rng.normal(size=signal.shape)
    background = images[:, ~inside]
    images = (images - background.mean(1)[:, None, None]) / background.std(1)[:, None, None]
    truth["amplitude"] = amplitude / background.std(1)
    return images.astype(np.float32), truth


def write_stack(path: Path, images: np.ndarray, pixel_size_A: float) -> None:
    """An MRC stack (mode 2), header by hand: 1024 bytes."""
    n, ny, nx = images.shape
    side_A = [s * pixel_size_A for s in (nx, ny, n)]
    head = struct.pack("<10i6f3i3f2i", nx, ny, n, 2, 0, 0, 0, nx, ny, n, *side_A, 90, 90, 90, 1, 2, 3,
                       images.min(), images.max(), images.mean(), 0, 0)
    head += bytes(208 - len(head)) + b"MAP " + b"\x44\x44\0\0" + struct.pack("<fi", images.std(), 0)
    path.write_bytes(head + bytes(1024 - len(head)) + np.ascontiguousarray(images, "<f4").tobytes())


def write_star(path: Path, box: int, pixel_size_A: float, columns: dict) -> None:
    """An optics table of one group and a particle table, RELION 3.1's layout."""
    optics = {"rlnOpticsGroupName": "opticsGroup1", "rlnOpticsGroup": 1, "rlnMicrographOriginalPixelSize": pixel_size_A,
              "rlnVoltage": VOLTAGE_KV, "rlnSphericalAberration": CS_MM, "rlnAmplitudeContrast": AMPLITUDE_CONTRAST,
              "rlnImagePixelSize": pixel_size_A, "rlnImageSize": box, "rlnImageDimensionality": 2}
    text = []
    for name, table in (("optics", {k: [v] for k, v in optics.items()}), ("particles", columns)):
        labels = "\n".join(f"_{label} #{i}" for i, label in enumerate(table, 1))
        rows = "\n".join("\t".join(str(x) for x in row) for row in zip(*table.values()))
        text.append(f"# version 30001\n\ndata_{name}\n\nloop_\n{labels}\n{rows}\n")
    path.write_text("\n\n".join(text))


def write_set(folder: Path, box: int, pixel_size_A: float, images: np.ndarray, truth: dict) -> None:
    """particles.mrcs, particles.star (what a program may know) and truth.star (with the poses; class = view)."""
    folder.mkdir(parents=True, exist_ok=True)
    write_stack(folder / "particles.mrcs", images, pixel_size_A)
    i_images = range(len(images))
    known = {"rlnImageName": [f"{i + 1:06d}@particles.mrcs" for i in i_images],
             "rlnMicrographName": [f"micrograph_{i // 100:04d}.mrc" for i in i_images],
             "rlnOpticsGroup": [1 for _ in i_images],
             **{label: truth[label] for label in ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle")}}
    poses = {label: values for label, values in truth.items() if "Angle" in label or "Origin" in label}
    write_star(folder / "particles.star", box, pixel_size_A, known)
    write_star(folder / "truth.star", box, pixel_size_A, {**known, **poses, "rlnClassNumber": truth["view"]})


def main(arguments=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--o", type=Path, required=True, help="folder to write")
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--box", type=int, default=64)
    parser.add_argument("--angpix", type=float, default=4.0)
    parser.add_argument("--views", type=int, default=12)
    parser.add_argument("--snr", type=float, default=0.1)
    parser.add_argument("--shift_px", type=float, default=2.0)
    parser.add_argument("--diameter", type=float, default=220.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", type=Path, help="PDB file (.gz, .xz); without it a random chain")
    o = parser.parse_args(arguments)
    atoms_A = read_atoms(o.model) if o.model else chain_atoms(o.seed)
    images, truth = simulate(o.n, o.box, o.angpix, o.views, o.snr, o.shift_px, o.diameter, o.seed, atoms_A)
    write_set(o.o, o.box, o.angpix, images, truth)


if __name__ == "__main__":
    main()
