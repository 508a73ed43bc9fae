"""How good a 2D classification is, or a list of places, held against the truth. Arrays in, figures out.

A class average has no orientation of its own. So in-plane angles and origins are compared within a class and a true
view: there truth minus estimate is one constant turn and one constant shift, and the scatter about them is the error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from scipy.ndimage import rotate
from scipy.spatial import cKDTree

from vitreous.model.rotation import wrap_deg

MIN_MEMBERS = 10  # a median over fewer particles follows them, and their error would look smaller than it is
COARSE_DEG, FINE_DEG = 6.0, 1.0  # steps of the search for the turn of an average
FINER = 4  # and for its shift, per pixel


@dataclass(frozen=True)
class ClassScore:
    """One class against the truth."""

    class_number: int
    share: float  # of the particles
    n_particles: int
    view: int  # index of the nearest true view
    correlation: float  # with that view, turned and shifted onto the average; -1..1
    purity: float  # share of the class's particles that belong to the view most frequent in it
    turn_deg: float  # of the view onto the average


@dataclass(frozen=True)
class Score:
    """A whole classification against the truth."""

    classes: list[ClassScore]  # occupied ones, largest first
    matched: np.ndarray  # (n_occupied, box, box) nearest true view of each, turned and shifted onto it
    purity: float  # over all particles
    n_views_found: int  # views that are the most frequent one of an occupied class
    angle_error_deg: float  # medians over particles; NaN where no group is large enough
    shift_error_A: float


def circular_median_deg(angle_deg: np.ndarray) -> float:
    """The angle of the set with the least summed distance to (at most 500 of) the others."""
    some = angle_deg[:: max(len(angle_deg) // 500, 1)]
    return float(some[np.abs(wrap_deg(some[:, None] - some)).sum(axis=1).argmin()])


def purity(class_number: np.ndarray, view: np.ndarray) -> float:
    """Share of particles whose view is the most frequent one of their class."""
    return sum(np.bincount(view[class_number == c]).max() for c in np.unique(class_number)) / len(view)


def pose_errors(class_number, view, psi_deg, true_psi_deg, shift_A, true_shift_A):
    """Absolute errors within each class and view that holds at least MIN_MEMBERS particles.

    Parameters
    ----------
    class_number, view : (n,) int
    psi_deg, true_psi_deg : (n,) float64
    shift_A, true_shift_A : (n, 2) float64      x, y shift to apply to the image

    Returns
    -------
    angle_deg : (m,) float64        of the particles that could be judged
    shift_error_A : (m,) float64    length of the error
    turn_deg : dict (class, view) -> float    true psi minus psi: the view's in-plane angle in the class average
    """
    c, s = np.cos(np.radians(psi_deg)), np.sin(np.radians(psi_deg))
    dx, dy = (np.asarray(shift_A) - true_shift_A).T
    in_class = np.stack([c * dx - s * dy, s * dx + c * dy], axis=1)  # transpose of A(0, 0, psi) = [c s; -s c]
    angle, shift, turn = [np.zeros(0)], [np.zeros(0)], {}
    for pair in sorted(set(zip(class_number.tolist(), view.tolist()))):
        member = (class_number == pair[0]) & (view == pair[1])
        if member.sum() < MIN_MEMBERS:
            continue
        difference = wrap_deg(np.asarray(true_psi_deg)[member] - np.asarray(psi_deg)[member])
        turn[pair] = circular_median_deg(difference)
        angle.append(np.abs(wrap_deg(difference - turn[pair])))
        shift.append(np.linalg.norm(in_class[member] - np.median(in_class[member], axis=0), axis=1))
    return np.concatenate(angle), np.concatenate(shift), turn


class ViewBank:
    """True views, ready to be turned and shifted onto class averages.

    Parameters
    ----------
    views : (n_views, box, box) float32     CTF-free, centred
    pixel_size_A : of views and averages
    diameter_A : of the circle in which images are compared
    """

    def __init__(self, views: np.ndarray, pixel_size_A: float, diameter_A: float):
        self.views, self.pixel_size_A = np.asarray(views, np.float32), pixel_size_A
        self.box = views.shape[-1]
        axis = (np.arange(self.box) - self.box // 2) * pixel_size_A
        self.mask = (axis**2 + axis[:, None] ** 2 <= (diameter_A / 2) ** 2).astype(np.float32)
        fx, fy = np.fft.rfftfreq(self.box, pixel_size_A), np.fft.fftfreq(self.box, pixel_size_A)[:, None]
        self._frequency = np.hypot(fx, fy)
        self._angles = np.arange(0, 360, COARSE_DEG)
        self._coarse = [scipy.fft.rfft2(self._turned(v, self._angles)) for v in self.views]

    def _turned(self, view, angles_deg):
        return np.stack([rotate(view, a, reshape=False, order=3, prefilter=True) for a in angles_deg])

    def match(self, average: np.ndarray, resolution_A: float) -> tuple[int, float, float, np.ndarray]:
        """The view nearest to an average, both low-passed to the average's resolution.

        Returns
        -------
        view index, correlation, turn (deg), (box, box) float32 the view moved onto the average
        """
        keep = ((self._frequency > 0) & (self._frequency <= 1 / max(resolution_A, 2 * self.pixel_size_A))).astype(float)
        ft = scipy.fft.rfft2(np.asarray(average, np.float32) * self.mask) * keep
        best = max((self._peak(ft, coarse * keep, 1), i) for i, coarse in enumerate(self._coarse))
        view, turn = best[1], self._angles[best[0][1]]
        angles = turn + np.arange(-COARSE_DEG, COARSE_DEG + FINE_DEG / 2, FINE_DEG)
        turned = scipy.fft.rfft2(self._turned(self.views[view], angles)) * keep
        _, i_angle, shift_yx_px = self._peak(ft, turned, FINER)
        moved = scipy.fft.irfft2(turned[i_angle] * self._ramp(shift_yx_px), s=(self.box, self.box))
        average = scipy.fft.irfft2(ft, s=(self.box, self.box))
        inside = self.mask > 0
        correlation = np.corrcoef(average[inside], moved[inside])[0, 1]
        return view, float(correlation), float(wrap_deg(angles[i_angle])), moved.astype(np.float32)

    def _ramp(self, shift_yx_px):
        """Phases that move the content by a shift."""
        kx, ky = np.fft.rfftfreq(self.box), np.fft.fftfreq(self.box)[:, None]
        return np.exp(-2j * np.pi * (ky * shift_yx_px[0] + kx * shift_yx_px[1]))

    def _peak(self, ft, turned, finer):
        """Height of the best normalised correlation, its angle's index, and its shift (y, x) in pixels.

        ``finer`` is how many points per pixel the correlation is computed at.
        """
        half, size = self.box // 2, self.box * finer
        product = ft * turned.conj()
        if finer > 1:
            padded = np.zeros((len(turned), size, size // 2 + 1), product.dtype)
            padded[:, :half, :half], padded[:, -half:, :half] = product[:, :half, :half], product[:, half:, :half]
            product = padded
        maps = scipy.fft.irfft2(product, s=(size, size)).reshape(len(turned), -1) * finer**2
        norm = np.sqrt(np.sum(np.abs(turned) ** 2, axis=(1, 2)))
        height = maps.max(axis=1) / np.maximum(norm, 1e-30)
        i = int(height.argmax())
        y, x = np.unravel_index(maps[i].argmax(), (size, size))
        return float(height[i]), i, (y / finer, x / finer)


def judge(averages, share, resolution_A, columns, truth, bank: ViewBank, min_share: float = 0.02) -> Score:
    """Compare a classification with the truth.

    Parameters
    ----------
    averages : (K, box, box) float32
    share : (K,) float64                    of the particles
    resolution_A : (K,) float64             of each average
    columns : estimated class_number (n,) from 1, psi_deg (n,), shift_A (n, 2)
    truth : true view (n,) from 0, psi_deg (n,), shift_A (n, 2)
    bank : the true views
    min_share : classes with less are left out as empty

    Returns
    -------
    Score
    """
    class_number, view = np.asarray(columns["class_number"]), np.asarray(truth["view"])
    occupied = [int(k) for k in np.argsort(-np.asarray(share), kind="stable")
                if share[k] >= min_share and np.any(class_number == k + 1)]
    classes, matched, found = [], [], set()
    for k in occupied:
        nearest, correlation, turn, moved = bank.match(averages[k], float(resolution_A[k]))
        members = np.bincount(view[class_number == k + 1], minlength=len(bank.views))
        found.add(int(members.argmax()))
        matched.append(moved)
        classes.append(ClassScore(k + 1, float(share[k]), int(members.sum()), nearest, correlation,
                                  float(members.max() / members.sum()), turn))
    angle, shift, _ = pose_errors(class_number, view, columns["psi_deg"], truth["psi_deg"], columns["shift_A"],
                                  truth["shift_A"])
    return Score(classes, np.array(matched).reshape(-1, bank.box, bank.box), purity(class_number, view), len(found),
                 float(np.median(angle)) if len(angle) else np.nan, float(np.median(shift)) if len(shift) else np.nan)


def n_matched(found: np.ndarray, true: np.ndarray, near: float) -> int:
    """Number of pairs of mutually nearest places that are no farther apart than ``near``.

    Parameters
    ----------
    found : (n, 2) places
    true : (m, 2) places in the same unit
    """
    if not len(found) or not len(true):
        return 0
    distance, nearest = cKDTree(true).query(found)
    of_true = cKDTree(found).query(true)[1]
    return int(np.count_nonzero((of_true[nearest] == np.arange(len(found))) & (distance <= near)))
