"""Definitions in float64 numpy, slow and obvious: the only second copy of a formula."""

import numpy as np


def ctf(fx_inv_A, fy_inv_A, parameters, even_phase_rad=0.0, intact_first_peak=False, phase_flipped=False,
        only_flip_phases=False, premultiplied=False):
    """CTF by the definition: defocus matrix, wavelength, spherical aberration, amplitude contrast."""
    rows = []
    for u, v, angle, kV, cs, q0, shift, b, scale in np.asarray(parameters, float):
        wavelength = 12.2643247 / np.sqrt(1e3 * kV * (1 + 0.978466e-6 * 1e3 * kV))
        c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
        q = np.array([[c, s], [-s, c]])
        a = q.T @ np.diag([-u, -v]) @ q
        k = np.stack([np.asarray(fx_inv_A, float), np.asarray(fy_inv_A, float)])
        k2 = (k * k).sum(0)
        gamma = np.pi * wavelength * np.einsum("ik,ij,jk->k", k, a, k)
        gamma += np.pi / 2 * cs * 1e7 * wavelength**3 * k2**2
        gamma += even_phase_rad - np.deg2rad(shift) - np.arctan(q0 / np.sqrt(1 - q0**2))
        value = np.where(intact_first_peak & (np.abs(gamma) < np.pi / 2), 1.0, -np.sin(gamma))
        value = value * np.exp(-b / 4 * k2) * scale
        value = np.abs(value) if phase_flipped else value
        value = np.where(value < 0, -1.0, 1.0) if only_flip_phases else value
        rows.append(value**2 if premultiplied else value)
    return np.array(rows)


def shift_with_zeros(image, sx, sy):
    """Content moved by (+sx, +sy) whole pixels, zeros moved in."""
    n = len(image)
    out = np.zeros((n, n))
    for y in range(n):
        for x in range(n):
            if 0 <= y - sy < n and 0 <= x - sx < n:
                out[y, x] = image[y - sy, x - sx]
    return out


def prepared(images, gain, shift_px, mask, noise=None):
    """Images with gain and integer shift, and their masked copies."""
    mask = np.asarray(mask, float)
    plain = np.stack([g * shift_with_zeros(x, *s) for x, g, s in zip(images, gain, shift_px)])
    if noise is None:
        weight = (1 - mask).sum()
        mean = ((1 - mask) * plain).sum((1, 2)) / weight if weight > 0 else np.zeros(len(plain))
        noise = np.broadcast_to(mean[:, None, None], plain.shape)
    return plain, mask * plain + (1 - mask) * noise


def band_coefficients(image, kx, ky, shift_px):
    """Sum over pixels of image exp(-2 pi i k (x - n/2 + s) / n) / n^2: centred at pixel n/2, shifted by s."""
    n = len(image)
    x = np.arange(n) - n // 2
    ex = np.exp(-2j * np.pi * np.outer(np.asarray(kx, float), x + float(shift_px[0])) / n)
    ey = np.exp(-2j * np.pi * np.outer(np.asarray(ky, float), x + float(shift_px[1])) / n)
    return np.einsum("ky,yx,kx->k", ey, np.asarray(image, float), ex) / n**2


def half_plane_shells(box):
    """Rounded distance of each pixel of a half-plane transform; -1 in the redundant half of its first column."""
    ky = np.fft.fftfreq(box, 1 / box)
    shell = np.floor(np.hypot(ky[:, None], np.arange(box // 2 + 1)) + 0.5).astype(np.int32)
    shell[box // 2 + 1 :, 0] = -1
    return shell


def shell_power(ft, shell_of, n_shells):
    """Sum of |FT / n^2|^2 over the pixels of each shell."""
    power = np.abs(np.asarray(ft, complex) / ft.shape[1] ** 2) ** 2
    return np.array([[p[shell_of == s].sum() for s in range(n_shells)] for p in power])


def philox4x32(counter, key):
    """Ten rounds of Philox4x32 in Python integers: four words from four counter words and two key words."""
    c, k, mask = list(counter), list(key), 0xFFFFFFFF
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & mask, (a >> 32) ^ c[3] ^ k[1], a & mask]
        k = [(k[0] + 0x9E3779B9) & mask, (k[1] + 0xBB67AE85) & mask]
    return c


def normal_pair(a, b):
    """Box-Muller from two 32-bit words: the top 24 bits of each."""
    radius = np.sqrt(-2 * np.log(((a >> 8) + 1) / 2**24))
    angle = 2 * np.pi * ((b >> 8) / 2**24 - 0.5)
    return radius * np.cos(angle) + 1j * radius * np.sin(angle)


def coloured_noise(seed, particle, sigma, shell_of, box):
    """Hermitian noise transform whose pixel p takes words 2 (p mod 2), +1 of the block with counter p//2."""
    n_x = box // 2 + 1
    ft = np.zeros((box, n_x), complex)
    for p in range(box * n_x):
        counter = [p // 2, 1, particle & 0xFFFFFFFF, particle >> 32]
        words = philox4x32(counter, [seed & 0xFFFFFFFF, seed >> 32])
        shell = shell_of.flat[p]
        amplitude = sigma[shell] if 0 <= shell < len(sigma) else 0.0
        ft.flat[p] = box**2 * amplitude * normal_pair(*words[2 * (p % 2) : 2 * (p % 2) + 2])
    for column in (0, n_x - 1):
        for row in (0, box // 2):
            ft[row, column] = np.sqrt(2) * ft[row, column].real
        for row in range(1, box // 2):
            ft[box - row, column] = np.conj(ft[row, column])
    return ft
