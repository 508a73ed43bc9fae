"""Files of a postprocessing: its STAR, the curves for EMDB's upload, and the detector's table that it reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vitreous.errors import InputError
from vitreous.io.atomic import atomic_write
from vitreous.io.star import read_star, write_star
from vitreous.io.table import Table

INFINITE_A = 999.0  # what RELION writes for the resolution of the origin
FSC_COLUMNS = {
    "used": "rlnFourierShellCorrelationCorrected",
    "part_mask": "rlnFourierShellCorrelationParticleMaskFraction",
    "part_mass": "rlnFourierShellCorrelationParticleMolWeight",
    "unmasked": "rlnFourierShellCorrelationUnmaskedMaps",
    "masked": "rlnFourierShellCorrelationMaskedMaps",
    "randomised": "rlnCorrectedFourierShellCorrelationPhaseRandomizedMaskedMaps",
}
GUINIER_COLUMNS = {
    "original": "rlnLogAmplitudesOriginal",
    "mtf": "rlnLogAmplitudesMTFCorrected",
    "weighted": "rlnLogAmplitudesWeighted",
    "sharpened": "rlnLogAmplitudesSharpened",
}
GENERAL_LABELS = {
    "resolution_A": "rlnFinalResolution",
    "b_factor_A2": "rlnBfactorUsedForSharpening",
    "half1": "rlnUnfilteredMapHalf1",
    "half2": "rlnUnfilteredMapHalf2",
    "map": "rlnPostprocessedMap",
    "masked_map": "rlnPostprocessedMapMasked",
    "mass_kDa": "rlnMolecularWeight",
    "factor_mass": "rlnParticleBoxFractionMolecularWeight",
    "factor_mask": "rlnParticleBoxFractionSolventMask",
    "mask": "rlnMaskName",
    "random_from_A": "rlnRandomiseFrom",
    "slope_A2": "rlnFittedSlopeGuinierPlot",
    "intercept": "rlnFittedInterceptGuinierPlot",
    "determination": "rlnCorrelationFitGuinierPlot",
}


def write_postprocess_star(
    path,
    general: Mapping[str, Any],
    curves: Mapping[str, np.ndarray | None],
    log_amplitudes: Mapping[str, np.ndarray],
    n: int,
    pixel_size_A: float,
    comments: Sequence[str] = (),
) -> None:
    """Write postprocess.star.

    Parameters
    ----------
    general : a key of GENERAL_LABELS -> value; None is left out
    curves : a key of FSC_COLUMNS -> (n//2 + 1,), or None
    log_amplitudes : a key of GUINIER_COLUMNS -> (n//2 + 1,)
    n, pixel_size_A : longest side of the map, px, and its pixel
    """
    shell = np.arange(n // 2 + 1)
    resolution_A = np.append(INFINITE_A, n * pixel_size_A / shell[1:])
    table: dict[str, Any] = {
        "rlnSpectralIndex": shell,
        "rlnResolution": 1 / resolution_A,
        "rlnAngstromResolution": resolution_A,
    }
    table |= {label: curves[key] for key, label in FSC_COLUMNS.items() if curves.get(key) is not None}
    s2 = (shell / (n * pixel_size_A)) ** 2
    seen = s2 <= (0.5 / pixel_size_A) ** 2 * (1 + 1e-9)
    guinier = {"rlnResolutionSquared": s2[seen]}
    guinier |= {label: log_amplitudes[key][seen] for key, label in GUINIER_COLUMNS.items() if key in log_amplitudes}
    if general.get("intercept") is not None:
        guinier["rlnLogAmplitudesIntercept"] = np.full(seen.sum(), float(general["intercept"]))
    head = {label: _finite(general[key]) for key, label in GENERAL_LABELS.items() if general.get(key) is not None}
    write_star(path, {"general": head, "fsc": table, "guinier": guinier}, comments=comments)


def _finite(value):
    return INFINITE_A if isinstance(value, float) and np.isinf(value) else value


def write_fsc_xml(path, title: str, curve: np.ndarray, n: int, pixel_size_A: float) -> None:
    """Write an FSC curve as EMDB wants it uploaded."""
    points = "".join(
        f"  <coordinate>\n    <x>{x:g}</x>\n    <y>{y:g}</y>\n  </coordinate>\n"
        for x, y in zip(_frequencies(len(curve), n, pixel_size_A), curve)
    )
    head = f'<fsc title="{title}" xaxis="Resolution (A-1)" yaxis="Correlation Coefficient">\n'
    with atomic_write(path) as file:
        file.write(f"{head}{points}</fsc>\n".encode())


def write_fsc_dat(path, curve: np.ndarray, n: int, pixel_size_A: float) -> None:
    """Write an FSC curve as two columns, 1/A and correlation."""
    rows = zip(_frequencies(len(curve), n, pixel_size_A), curve)
    with atomic_write(path) as file:
        file.write("".join(f"{x:.6f} {y:.6f}\n" for x, y in rows).encode())


def _frequencies(n_shells: int, n: int, pixel_size_A: float) -> np.ndarray:
    return np.append(1 / INFINITE_A, np.arange(1, n_shells) / (n * pixel_size_A))


def read_mtf(path) -> tuple[np.ndarray, np.ndarray]:
    """A detector's modulation transfer function.

    Returns
    -------
    (n,) float64                     frequency, cycles per pixel of the detector, rising
    (n,) float64                     value

    Raises  InputError: not such a table, frequencies that do not rise, or a value that nothing can be divided by.
    """
    star = read_star(path)
    block = next((b for b in star.values() if "rlnMtfValue" in b), next(iter(star.values())))
    table = Table(path, block)
    labels = {"rlnResolutionInversePixel": "frequencies, cycles per pixel", "rlnMtfValue": "values of the curve"}
    for label, meaning in labels.items():
        table.require(label, meaning, "give the MTF curve of your detector as its maker or RELION's site has it")
    frequency, mtf = (table.numbers(label) for label in labels)
    for row, (step, value) in enumerate(zip(np.diff(frequency, prepend=-np.inf), mtf)):
        if not step > 0:
            raise table.bad_value("rlnResolutionInversePixel", row, "more than in the row before", "sort the rows")
        if not value > 1e-10:
            raise table.bad_value("rlnMtfValue", row, "more than 0", "end the table before that frequency")
    if frequency[-1] > 1:
        raise InputError(f"{path}: frequencies reach {frequency[-1]:g}, expected at most 0.5 cycles per pixel; divide "
                         "them by the frequency of one cycle per pixel")  # fmt: skip
    return frequency, mtf
