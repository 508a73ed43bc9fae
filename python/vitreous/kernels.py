"""One thin function per kernel: checks shapes, makes the output, calls the backend's module. It knows no particles."""

from __future__ import annotations

import numpy as np


def _check(kernel: str, **arrays: tuple) -> None:
    """Hold each named array to a shape, given as ``name=(array, shape)``; None in a shape stands for "any"."""
    for name, (array, want) in arrays.items():
        got = tuple(array.shape)
        if len(got) != len(want) or any(w is not None and g != w for g, w in zip(got, want)):
            text = ", ".join("any" if w is None else str(w) for w in want)
            raise ValueError(f"{kernel}: {name} has shape {got}, expected ({text})")


def shift_phases(be, kx, ky, shifts_px, box, out=None):
    """Phase factors that move an image's content by +shift.

    Parameters
    ----------
    kx, ky : (n_k,) float32          integer Fourier indices
    shifts_px : (n_t, 2) float32     x, y in pixels; the content moves by +shift
    box : int                        side of the transformed image, px

    Returns
    -------
    (n_t, 2, n_k) float32            real plane, imaginary plane

    Raises  ValueError: shapes disagree.     Source: docs/equations.md#shift     Cost: O(n_t n_k)
    """
    out = be.empty((len(shifts_px), 2, len(kx)), np.float32) if out is None else out
    _check("shift_phases", ky=(ky, kx.shape), shifts_px=(shifts_px, (None, 2)), out=(out, (len(shifts_px), 2, len(kx))))
    be.lib.shift_phases(kx, ky, shifts_px, float(box), out)
    return out


def project(be, reference_ft, class_of, matrix, kx, ky, radius, out=None):
    """Central slices of 2D reference transforms, bilinear.

    Parameters
    ----------
    reference_ft : (n_class, ny, nx) complex64   padded half transform: columns kx = 0.., row ky + ny//2 (ny odd)
    class_of : (n_row,) int32                    which reference; rows of one class contiguous
    matrix : (n_row, 2, 2) float32               image frequency -> frequency in samples of the padded transform
    kx, ky : (n_k,) float32                      Fourier indices of the image
    radius : float                               nothing is read beyond this, padded samples; below nx - 1

    Returns
    -------
    (n_row, 2, n_k) float32                      real plane, imaginary plane

    Raises  ValueError: shapes disagree, or the radius reaches the edge of the transform.
    Source: docs/equations.md#slice     Cost: O(n_row n_k)
    """
    n_row, n_k = len(class_of), len(kx)
    out = be.empty((n_row, 2, n_k), np.float32) if out is None else out
    _check("project", matrix=(matrix, (n_row, 2, 2)), ky=(ky, (n_k,)), out=(out, (n_row, 2, n_k)))
    _check_radius("project", reference_ft.shape, class_of, radius)
    be.lib.project(reference_ft, class_of, matrix, kx, ky, float(radius), out)
    return out


def _check_radius(kernel, shape, class_of, radius):
    n_class, ny, nx = shape
    if ny % 2 == 0 or radius + 1 > nx - 1 or radius + 1 > ny // 2:
        raise ValueError(
            f"{kernel}: radius {radius} needs a transform of at least ({2 * int(radius + 1) + 1}, {int(radius) + 2}), "
            f"with an odd number of rows; got ({ny}, {nx})"
        )
    if len(class_of) and not (int(np.min(class_of)) >= 0 and int(np.max(class_of)) < n_class):
        raise ValueError(f"{kernel}: class_of reaches {int(np.max(class_of))}, expected 0 to {n_class - 1}")


def backproject(be, rows, row_weights, class_of, matrix, kx, ky, radius, data, weight):
    """Add rows to the transforms they were cut from: the adjoint of ``project``.

    Parameters
    ----------
    rows : (n_row, 2, n_k) float32, row_weights : (n_row, n_k) float32
    class_of, matrix, kx, ky, radius : as in ``project``
    data : (n_class, ny, nx, 2) float64, weight : (n_class, ny, nx) float64   added to, in place

    Raises  ValueError: shapes disagree, or rows of one class are not contiguous.     Source: docs/equations.md#slice
    """
    n_row, n_k = len(class_of), len(kx)
    _check(
        "backproject",
        rows=(rows, (n_row, 2, n_k)),
        row_weights=(row_weights, (n_row, n_k)),
        matrix=(matrix, (n_row, 2, 2)),
        ky=(ky, (n_k,)),
        data=(data, (*weight.shape, 2)),
    )
    _check_radius("backproject", weight.shape, class_of, radius)
    if len(np.unique(class_of)) != 1 + np.count_nonzero(np.diff(class_of)):
        raise ValueError(
            "backproject: rows of one class are not contiguous, expected class_of in runs: sort the rows by class"
        )
    be.lib.backproject(rows, row_weights, class_of, matrix, kx, ky, float(radius), data, weight)


def score_coarse(
    be,
    bank,
    row_class,
    pose_prior,
    shift_prior,
    images,
    ctf,
    half_inv_var,
    phases,
    only_class=None,
    *,
    fraction=0.999,
    max_count=0,
    correlation=False,
):
    """Significant (pose, shift) samples of every image on the coarse grid.

    Parameters
    ----------
    bank : (n_row, 2, n_k) float32           slices, real and imaginary plane; rows of one class contiguous
    row_class : (n_row,) int32
    pose_prior : (n_pose,) float32           log prior; n_pose is n_row, or 2 n_row where pose p >= n_row is the slice of row
                                             p - n_row turned by 180 degrees; -inf: not sampled
    shift_prior : (n_img, n_class, n_shift) float32    log prior of the shift
    images : (n_img, 2, n_band) float32      Fourier bands, n_band >= n_k
    ctf : (n_img, n_band) float32            CTF times scale
    half_inv_var : (n_k,) float32            1 / (2 sigma^2), 0 = pixel not used
    phases : (n_shift, 2, n_k) float32       from ``shift_phases``
    only_class : (n_img,) int32 or None      the one class allowed; -1 for any
    fraction : float                         of the posterior mass that the significant samples hold
    max_count : int                          at most so many samples per image; 0 = no limit
    correlation : bool                       normalised cross-correlation, and only the best sample

    Returns
    -------
    start : (n_img + 1,) int64, pose : (n,) int32, shift : (n,) int32     samples of image i are start[i]:start[i+1]
    best : (n_img,) float32                                               largest log w; -inf where nothing is finite

    Raises  ValueError: shapes disagree.     Source: docs/equations.md#score
    Cost: 4 n_row n_shift n_img n_k flop for up to 2 n_row poses
    """
    n_k, n_img = len(half_inv_var), len(images)
    only_class = be.to_device(np.full(n_img, -1, np.int32)) if only_class is None else only_class
    _check_scores(be, "score_coarse", bank, row_class, pose_prior, shift_prior, images, ctf, n_k, phases)
    _check("score_coarse", only_class=(only_class, (n_img,)))
    return be.lib.score_coarse(
        bank,
        row_class,
        pose_prior,
        shift_prior,
        images,
        ctf,
        half_inv_var,
        phases,
        only_class,
        float(fraction),
        int(max_count),
        bool(correlation),
    )


def _check_scores(be, kernel, bank, row_class, pose_prior, shift_prior, images, ctf, n_k, phases):
    n_row, n_img = len(bank), len(images)
    _check(
        kernel,
        bank=(bank, (n_row, 2, n_k)),
        row_class=(row_class, (n_row,)),
        shift_prior=(shift_prior, (n_img, None, len(phases))),
        phases=(phases, (None, 2, n_k)),
        ctf=(ctf, (n_img, images.shape[-1])),
        images=(images, (n_img, 2, None)),
    )
    if len(pose_prior) not in (n_row, 2 * n_row):
        raise ValueError(
            f"{kernel}: pose_prior has {len(pose_prior)} poses, expected {n_row} (one a row) or {2 * n_row} (with turned rows)"
        )
    if images.shape[-1] < n_k:
        raise ValueError(f"{kernel}: images hold {images.shape[-1]} Fourier pixels, expected at least {n_k}")
    last_class = int(be.to_host(row_class).max(initial=-1))
    if last_class >= shift_prior.shape[1]:
        raise ValueError(f"{kernel}: row_class reaches {last_class}, shift_prior has {shift_prior.shape[1]} classes")


def score_fine(
    be,
    bank,
    row_class,
    pose_prior,
    shift_prior,
    images,
    ctf,
    half_inv_var,
    phases,
    pose_children,
    samples,
    *,
    n_per_shift,
    sample_prior=None,
    pose_key=None,
    n_whole=None,
    fraction=0.999,
    correlation=False,
):
    """Posterior of every image over the children of its significant coarse samples.

    Parameters
    ----------
    bank, row_class, pose_prior, shift_prior, images, ctf, half_inv_var, phases : as in ``score_coarse``, on the fine grid
    pose_children : (n_pose_coarse, n_child) int32    fine poses of each coarse pose, all of one class
    samples : (start, pose, shift)                    coarse samples, as ``score_coarse`` gives them
    sample_prior : (n_sample,) float32 or None        log prior of each coarse sample, which its children inherit
    pose_key : (n_pose_coarse,) int32 or None         number of each coarse pose wherever it is searched, by which the draws of
                                                      flat posteriors know it; None = its own
    n_whole : (n_img,) int64 or None                  samples of each image, of which these are a part; None = these are all
    n_per_shift : int                                 coarse shift t has the fine shifts t * n_per_shift + 0, 1, ...
    fraction : float                                  of the posterior mass that the kept points hold

    Returns
    -------
    start : (n_img + 1,) int64, pose, shift : (n,) int32, weight : (n,) float32    kept points; weights of an image sum to 1
    best_pose, best_shift : (n_img,) int32             -1 where the image has no sample
    p_max : (n_img,) float32                           largest weight over the sum of all
    log_evidence : (n_img,) float32                    log of the sum of all w (the correlation, in that mode)

    Raises  ValueError: shapes or indices disagree.     Source: docs/equations.md#score
    """
    start, pose, shift = samples[:3]
    sample_prior = be.to_device(np.zeros(0, np.float32)) if sample_prior is None else sample_prior
    pose_key = be.to_device(np.zeros(0, np.int32)) if pose_key is None else pose_key
    n_whole = be.to_device(np.zeros(0, np.int64)) if n_whole is None else n_whole
    _check_scores(be, "score_fine", bank, row_class, pose_prior, shift_prior, images, ctf, len(half_inv_var), phases)
    _check("score_fine", start=(start, (len(images) + 1,)), shift=(shift, pose.shape))
    _check_samples(pose, shift, sample_prior, pose_children, len(pose_prior), len(phases), n_per_shift)
    for name, found, expected in (("pose_key", len(pose_key), len(pose_children)), ("n_whole", len(n_whole), len(images))):
        if found not in (0, expected):
            raise ValueError(f"score_fine: {name} has {found} values, expected {expected}")
    return be.lib.score_fine(
        bank, row_class, pose_prior, shift_prior, images, ctf, half_inv_var, phases, pose_children,
        start, pose, shift, sample_prior, pose_key, n_whole, int(n_per_shift), float(fraction), bool(correlation),
    )  # fmt: skip


def _check_samples(pose, shift, sample_prior, pose_children, n_pose, n_shift, n_per_shift):
    if len(sample_prior) not in (0, len(pose)):
        raise ValueError(f"score_fine: sample_prior has {len(sample_prior)} values, expected {len(pose)}, one a sample")
    if n_shift % n_per_shift or (len(shift) and int(shift.max()) >= n_shift // n_per_shift):
        raise ValueError(
            f"score_fine: {n_shift} fine shifts, {n_per_shift} per coarse shift, but coarse shift {shift.max()} is asked for"
        )
    if len(pose) and int(pose.max()) >= len(pose_children):
        raise ValueError(
            f"score_fine: coarse pose {int(pose.max())}, expected below {len(pose_children)}, the rows of pose_children"
        )
    if pose_children.size and int(pose_children.max()) >= n_pose:
        raise ValueError(f"score_fine: fine pose {int(pose_children.max())}, expected below {n_pose}")


def weighted_sums(
    be, bank, row_class, unmasked, masked, ctf, half_inv_var, phases, shifts_px, shell, scale_shells, posterior,
    *, premultiplied, data, weight,
):  # fmt: skip
    """Posterior sums for the maximisation step.

    Parameters
    ----------
    bank, row_class, phases : as in ``score_fine``
    unmasked, masked : (n_img, 2, n_band) float32     Fourier bands of the same images
    ctf : (n_img, n_band) float32                     CTF times scale; CTF^2 times scale for premultiplied images
    half_inv_var : (n_k,) float32                     1 / (2 sigma^2), with the origin
    shifts_px : (n_shift, 2) float32                  the shifts of the phases
    shell : (n_k,) int32                              non-decreasing shell of each pixel
    scale_shells : (n_class, n_shell) uint8           shells that count for the scale of a class
    posterior : (start, pose, shift, weight)          kept points, as ``score_fine`` gives them
    data : (n_row, 2, n_k) float32, weight : (n_row, n_k) float32     added to, in place

    Returns
    -------
    cross, model : (n_img, n_shell) float64           sum w Re(conj(S X) ctf A), sum w |ctf A|^2 per shell
    scale_cross, scale_model : (n_img,) float64       the same over the shells that count for the scale
    moments : (n_img, n_class, 4) float64             sums of w, w s_x, w s_y, w |s|^2 over the points of each class, s in px

    Raises  ValueError: shapes disagree.     Source: docs/equations.md#sums
    """
    start, pose, shift, point_weight = posterior[:4]
    n_row, n_k, n_img, (n_class, n_shell) = len(bank), len(half_inv_var), len(masked), scale_shells.shape
    _check(
        "weighted_sums",
        bank=(bank, (n_row, 2, n_k)),
        row_class=(row_class, (n_row,)),
        unmasked=(unmasked, masked.shape),
        masked=(masked, (n_img, 2, None)),
        ctf=(ctf, (n_img, masked.shape[-1])),
        phases=(phases, (None, 2, n_k)),
        shifts_px=(shifts_px, (len(phases), 2)),
        shell=(shell, (n_k,)),
        start=(start, (n_img + 1,)),
        shift=(shift, pose.shape),
        point_weight=(point_weight, pose.shape),
        data=(data, (n_row, 2, n_k)),
        weight=(weight, (n_row, n_k)),
    )
    if n_k and (np.any(np.diff(shell) < 0) or int(shell[-1]) >= n_shell or masked.shape[-1] < n_k):
        raise ValueError(
            f"weighted_sums: shells must not decrease and stay below {n_shell}; got up to {int(shell.max())}"
        )
    shapes = (n_img, n_shell), (n_img, n_shell), (n_img,), (n_img,), (n_img, n_class, 4)
    out = tuple(be.empty(shape, np.float64) for shape in shapes)
    be.lib.weighted_sums(
        bank, row_class, unmasked, masked, ctf, half_inv_var, phases, shifts_px, shell, scale_shells,
        start, pose, shift, point_weight, bool(premultiplied), data, weight, *out,
    )  # fmt: skip
    return out
