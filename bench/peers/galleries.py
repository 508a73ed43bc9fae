"""Class averages of two runs, matched pairwise and drawn side by side.

    python bench/peers/galleries.py relion/run_it025_model.star ours/run_it025_model.star --o gallery.png

A pair's score is the highest correlation over in-plane rotation, shift and mirror image, inside a disc. Classes below
--min of the particles are left out; pairs are the assignment with the largest sum of scores.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import files
import numpy as np
from judge import MIN_SHARE, soft_mask
from scipy import fft
from scipy.ndimage import affine_transform, shift
from scipy.optimize import linear_sum_assignment

STEP_DEG = 6.0


def turned(image: np.ndarray, angle_deg: float, mirror: bool) -> np.ndarray:
    """The image turned about its centre pixel, after reversing x where ``mirror``."""
    box = len(image)
    if mirror:
        image = np.roll(image[:, ::-1], 1, axis=1) if box % 2 == 0 else image[:, ::-1]
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    turn = np.array([[c, s], [-s, c]])
    centre = np.full(2, box // 2)
    return affine_transform(image, turn, centre - turn @ centre, order=3)


def standardised(images: np.ndarray) -> np.ndarray:
    """Masked to the inscribed disc, mean 0 and norm 1 each: (n, box, box) float64."""
    mask = soft_mask(images.shape[-1], images.shape[-1] / 2 - 6)
    mean = (images * mask).sum((1, 2)) / mask.sum()
    images = (images - mean[:, None, None]) * mask
    return images / np.maximum(np.linalg.norm(images, axis=(1, 2)), 1e-30)[:, None, None]


def scores(a: np.ndarray, b: np.ndarray):
    """Best correlation of every image of a with every image of b, and how b must be moved for it.

    Parameters
    ----------
    a, b : (n_a, box, box), (n_b, box, box) float64      standardised

    Returns
    -------
    best : (n_a, n_b) float64
    move : (n_a, n_b, 4) float64      angle_deg, mirror (0, 1), shift y and x in px
    """
    moves = [(angle, mirror) for mirror in (False, True) for angle in np.arange(0, 360, STEP_DEG)]
    a_ft = fft.rfft2(a)
    best, move = np.zeros((len(a), len(b))), np.zeros((len(a), len(b), 4))
    for j, image in enumerate(b):
        bank = fft.rfft2(np.stack([turned(image, *m) for m in moves])).conj()
        for i in range(len(a)):
            best[i, j], move[i, j] = best_move(a_ft[i], bank, moves)
    return best, move


def best_move(a_ft: np.ndarray, bank_ft_conj: np.ndarray, moves):
    """Highest correlation of one image with turned copies of another, and (angle_deg, mirror, shift y, shift x)."""
    box = a_ft.shape[0]
    correlation = fft.irfft2(a_ft * bank_ft_conj, s=(box, box)).reshape(len(moves), -1)
    i_move, at = np.unravel_index(correlation.argmax(), correlation.shape)
    dy, dx = ((d + box // 2) % box - box // 2 for d in divmod(int(at), box))
    return correlation[i_move, at], (*moves[i_move], dy, dx)


def refined(a: np.ndarray, b: np.ndarray, angle_deg: float, mirror: bool):
    """The same for one pair, in steps of one degree about an angle."""
    moves = [(angle_deg + d, mirror) for d in np.arange(-STEP_DEG, STEP_DEG + 1)]
    return best_move(fft.rfft2(a), fft.rfft2(np.stack([turned(b, *m) for m in moves])).conj(), moves)


def gallery(rows, path: Path, names) -> None:
    """Draw pairs, ten to a row: the first run's average above the second's as moved onto it."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    n_across = 10
    n_down = -(-len(rows) // n_across)
    figure, axes = plt.subplots(2 * n_down, n_across, figsize=(1.3 * n_across, 3.1 * n_down), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for i, row in enumerate(rows):
        for j, (image, caption) in enumerate(row):
            axis = axes[2 * (i // n_across) + j, i % n_across]
            if image is not None:
                axis.imshow(image, cmap="gray")
            axis.set_title(caption, fontsize=7, pad=2)
    figure.suptitle(f"above: {names[0]}    below: {names[1]}, moved onto it (m: mirrored)", fontsize=9)
    figure.tight_layout(rect=(0, 0, 1, 0.98))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(arguments=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("a", type=Path, help="model.star of the first run")
    parser.add_argument("b", type=Path, help="model.star of the second run")
    parser.add_argument("--o", type=Path, required=True, help="PNG to write")
    parser.add_argument("--min", type=float, default=MIN_SHARE, help="least share of the particles")
    o = parser.parse_args(arguments)
    kept = []
    for path in (o.a, o.b):
        averages, share, _ = files.class_table(path)
        order = [i for i in np.argsort(-share) if share[i] >= o.min]
        kept.append((averages[order].astype(float), share[order], [i + 1 for i in order]))
    (a, share_a, number_a), (b, share_b, number_b) = kept
    unit_a, unit_b = standardised(a), standardised(b)
    best, move = scores(unit_a, unit_b)
    pairs = list(zip(*linear_sum_assignment(-best)))
    for i, j in pairs:
        best[i, j], move[i, j] = refined(unit_a[i], unit_b[j], move[i, j, 0], bool(move[i, j, 1]))
    pairs.sort(key=lambda p: -best[p])
    rows = []
    print(f"{'class a':>7}  {'%':>5}  {'class b':>7}  {'%':>5}  correlation")
    for i, j in pairs:
        angle, mirror, dy, dx = move[i, j]
        moved = shift(turned(b[j], angle, bool(mirror)), (dy, dx), order=1)
        print(f"{number_a[i]:7}  {100 * share_a[i]:5.1f}  {number_b[j]:7}  {100 * share_b[j]:5.1f}  {best[i, j]:11.3f}")
        rows.append([(a[i], f"{number_a[i]}: {100 * share_a[i]:.1f} %"),
                     (moved, f"{number_b[j]}: {100 * share_b[j]:.1f} %{' m' if mirror else ''}, r {best[i, j]:.2f}")])
    single_a = [i for i in range(len(a)) if i not in {p[0] for p in pairs}]
    single_b = [j for j in range(len(b)) if j not in {p[1] for p in pairs}]
    rows += [[(a[i], f"{number_a[i]}: {100 * share_a[i]:.1f} %"), (None, "no partner")] for i in single_a]
    rows += [[(None, "no partner"), (b[j], f"{number_b[j]}: {100 * share_b[j]:.1f} %")] for j in single_b]
    matched = best[tuple(zip(*pairs))]
    print(f"{len(pairs)} pairs, median correlation {np.median(matched):.3f}; "
          f"without partner {len(single_a)} of {len(a)} and {len(single_b)} of {len(b)}")
    gallery(rows, o.o, (o.a.parent.name, o.b.parent.name))


if __name__ == "__main__":
    main()
