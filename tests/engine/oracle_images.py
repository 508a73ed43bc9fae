"""Images and optics from their definition: transforms, masks, CTF, beam tilt. float64, for the oracles of the engine."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass
class Group:
    """Optics of one group of images."""

    box: int
    pixel_A: float
    voltage_kV: float = 300.0
    Cs_mm: float = 2.7
    amplitude_contrast: float = 0.1
    tilt_mrad: tuple = (0.0, 0.0)
    magnification: tuple = ((1.0, 0.0), (0.0, 1.0))
    premultiplied: bool = False


def half_plane(box):
    """kx, ky of the half-plane, the columns 0 .. box/2; of column 0 the half ky >= 0."""
    k = [(x, y) for y in range(-box // 2 + 1, box // 2 + 1) for x in range(box // 2 + 1) if x > 0 or y >= 0]
    return np.array(k).T


def transform(image):
    """FFT / n^2 with phases referred to the pixel n/2, as a function of (kx, ky)."""
    ft = np.fft.fft2(np.fft.ifftshift(np.asarray(image, np.float64))) / len(image) ** 2
    return lambda kx, ky: ft[np.asarray(ky) % len(image), np.asarray(kx) % len(image)]


def moved(image, shift):
    """Content moved by whole pixels (x, y); nothing comes in."""
    n, out = len(image), np.zeros_like(image)
    for y in range(n):
        for x in range(n):
            if 0 <= y - shift[1] < n and 0 <= x - shift[0] < n:
                out[y, x] = image[y - shift[1], x - shift[0]]
    return out


def disc(box, radius, edge):
    out = np.zeros((box, box))
    for y in range(box):
        for x in range(box):
            r = math.hypot(x - box // 2, y - box // 2)
            out[y, x] = (
                1 if r <= radius else 0 if r >= radius + edge else 0.5 + 0.5 * math.cos(math.pi * (r - radius) / edge)
            )
    return out


def frequency(group, kx, ky):
    return np.array(group.magnification) @ np.stack([kx, ky]) / (group.box * group.pixel_A)


def wavelength_A(group):
    volt = 1e3 * group.voltage_kV
    return 12.2643247 / math.sqrt(volt * (1 + 0.978466e-6 * volt))


def contrast(group, defocus, kx, ky):
    """CTF at pixels of a group's images, squared for premultiplied ones."""
    fx, fy = frequency(group, kx, ky)
    u, v, angle = defocus
    azimuth, f2, wave = np.arctan2(fy, fx) - math.radians(angle), fx**2 + fy**2, wavelength_A(group)
    defocus_A = u * np.cos(azimuth) ** 2 + v * np.sin(azimuth) ** 2
    gamma = (
        -math.pi * wave * defocus_A * f2
        + math.pi / 2 * group.Cs_mm * 1e7 * wave**3 * f2**2
        - math.asin(group.amplitude_contrast)
    )
    ctf = -np.sin(gamma)
    return ctf**2 if group.premultiplied else ctf


def coma(group, kx, ky):
    """Phase factor that undoes the beam tilt: an image's transform carries exp(i phase)."""
    fx, fy = frequency(group, kx, ky)
    tilt = 1e-3 * np.array(group.tilt_mrad)
    phase = (
        -2 * math.pi * group.Cs_mm * 1e7 * wavelength_A(group) ** 2 * (fx**2 + fy**2) * (tilt[0] * fx + tilt[1] * fy)
    )
    return np.exp(-1j * phase)
