"""The model of an iteration, root_itNNN_model.star, from and to a Model.

The tables carry all digits of every number, so that a run that continues starts from the same model.
"""

from __future__ import annotations

import numpy as np

from vitreous.errors import InputError
from vitreous.io.star import Block
from vitreous.io.table import Row, Table
from vitreous.model.state import Model

NO_RESOLUTION_A = 999.0  # RELION's stand-in for "none yet", which STAR numbers cannot say
# RELION 3.1 keeps one noise spectrum per image group, later versions one per optics group. Both are written, the former
# up to this many rows (8 MB of text), beyond which RELION 3.1 cannot continue the run but reads all else.
MAX_ROWS_OF_GROUP_NOISE = 200_000
# RELION 3.1 writes 0 where no particle was moved; later versions stop at this, the default of --min_sigma2_offset.
LEAST_SIGMA_OFFSET_A = 2**0.5
DIRECTION_WEIGHT = "rlnOrientationDistribution"
# Weights in RELION's list of directions, by which it continues a run, and in ours, where that is another.
WEIGHTS, OWN_WEIGHTS = "model_pdf_orient_class", "vitreous_pdf_orient_class"
SIGMA_PRIORS = ("rlnSigmaPriorRotAngle", "rlnSigmaPriorTiltAngle", "rlnSigmaPriorPsiAngle")


def general_columns(model: Model, sigma_deg: float = 0.0) -> dict[str, object]:
    """label -> value of data_model_general, in RELION's order; sigma_deg as of ``Sampling``."""
    return {
        "rlnReferenceDimensionality": model.references.ndim - 1,
        "rlnDataDimensionality": 2,
        "rlnOriginalImageSize": model.box,
        "rlnCurrentResolution": _finite_resolution(model.current_resolution_A),
        "rlnCurrentImageSize": model.current_size_px,
        "rlnPaddingFactor": float(model.padding),
        "rlnIsHelix": 0,
        "rlnFourierSpaceInterpolator": 1,
        "rlnMinRadiusNnInterpolation": 10,
        "rlnPixelSize": float(model.pixel_size_A),
        "rlnNrClasses": model.n_classes,
        "rlnNrBodies": 1,
        "rlnNrGroups": len(model.group_names),
        "rlnNrOpticsGroups": len(model.sigma2_noise),
        "rlnTau2FudgeFactor": float(model.tau2_fudge),
        "rlnNormCorrectionAverage": float(model.average_norm),
        "rlnSigmaOffsetsAngst": float(model.sigma_offset_A),
        "rlnOrientationalPriorMode": int(sigma_deg > 0),
        **{label: float(sigma_deg) for label in SIGMA_PRIORS},
        "rlnLogLikelihood": float(model.log_likelihood),
        "rlnAveragePmax": float(model.average_p_max),
    }


def _finite_resolution(values):
    return np.where(np.isfinite(values), values, NO_RESOLUTION_A)


def _infinite_resolution(values):
    values = np.asarray(values, float)
    return np.where(np.isfinite(values) & (values > 0) & (values < NO_RESOLUTION_A), values, np.inf)


def model_blocks(
    model: Model, image_names: list[str], optics_of_group, *, sigma_deg: float = 0.0, fsc=None, direction_weights=None,
    own_weights=None
) -> list[Block]:
    """All blocks of model.star.

    Parameters
    ----------
    image_names : file of each class's reference, as ``000001@root_itNNN_classes.mrcs``
    optics_of_group : (n_groups,) int   optics group whose noise spectrum stands for each intensity-scale group
    sigma_deg : width of the prior in local searches; 0: none
    fsc : (S,) of the half-sets, or None
    direction_weights : (K, n_dir) share of each class and direction of RELION's list, or None in 2D
    own_weights : (K, n) the same for our own list where that is another, or None
    """
    general = general_columns(model, sigma_deg)
    blocks = [
        Block("model_general", "list", {label: np.array([v]) for label, v in general.items()}),
        Block("model_classes", "loop", _class_columns(model, image_names)),
    ]
    blocks += [Block(f"model_class_{k + 1}", "loop", _shell_columns(model, k, fsc)) for k in range(model.n_classes)]
    groups = {
        "rlnGroupNumber": 1 + np.arange(len(model.group_names)),
        "rlnGroupName": np.array(model.group_names, object),
        "rlnGroupNrParticles": np.asarray(model.group_counts, np.int64),
        "rlnGroupScaleCorrection": np.asarray(model.group_scale, np.float64),
    }
    blocks.append(Block("model_groups", "loop", groups))
    noise = [_noise_columns(model, spectrum) for spectrum in model.sigma2_noise]
    blocks += [Block(f"model_optics_group_{g + 1}", "loop", columns) for g, columns in enumerate(noise)]
    if len(model.group_names) * model.n_shells <= MAX_ROWS_OF_GROUP_NOISE:
        blocks += [Block(f"model_group_{m + 1}", "loop", noise[g]) for m, g in enumerate(optics_of_group)]
    for name, of_classes in ((WEIGHTS, direction_weights), (OWN_WEIGHTS, own_weights)):
        for k, weights in enumerate(() if of_classes is None else of_classes):
            blocks.append(Block(f"{name}_{k + 1}", "loop", {DIRECTION_WEIGHT: np.asarray(weights, float)}))
    for block in blocks:
        block.precise = True
    return blocks


def _class_columns(model: Model, image_names: list[str]) -> dict[str, np.ndarray]:
    columns = {
        "rlnReferenceImage": np.array(image_names, object),
        "rlnClassDistribution": model.class_weight,
        "rlnAccuracyRotations": model.accuracy_rotation_deg,
        "rlnAccuracyTranslationsAngst": model.accuracy_shift_A,
        "rlnEstimatedResolution": _finite_resolution(model.class_resolution_A),
        "rlnOverallFourierCompleteness": model.class_coverage,
    }
    if model.references.ndim == 3:
        # In A, as RELION accumulates it; the label's help says px.
        columns["rlnClassPriorOffsetX"] = model.class_offset_A[:, 0]
        columns["rlnClassPriorOffsetY"] = model.class_offset_A[:, 1]
    return {label: column if column.dtype == object else np.asarray(column, float) for label, column in columns.items()}


def _shells(model: Model) -> dict[str, np.ndarray]:
    i = np.arange(model.n_shells)
    length_A = model.box * model.pixel_size_A
    return {
        "rlnSpectralIndex": i,
        "rlnResolution": i / length_A,
        "rlnAngstromResolution": np.where(i > 0, length_A / np.maximum(i, 1), NO_RESOLUTION_A),
    }


def _shell_columns(model: Model, k: int, fsc) -> dict[str, np.ndarray]:
    zeros = np.zeros(model.n_shells)
    return _shells(model) | {
        "rlnSsnrMap": np.asarray(model.data_vs_prior[k], float),
        "rlnGoldStandardFsc": zeros if fsc is None else np.asarray(fsc, float),
        "rlnFourierCompleteness": np.asarray(model.fourier_coverage[k], float),
        "rlnReferenceSigma2": np.asarray(model.sigma2_reference[k], float),
        "rlnReferenceTau2": np.asarray(model.tau2[k], float),
        "rlnSpectralOrientabilityContribution": zeros,
    }


def _noise_columns(model: Model, spectrum) -> dict[str, np.ndarray]:
    """Shells with a positive variance; RELION takes a missing shell to have its predecessor's."""
    shells = _shells(model)
    kept = np.flatnonzero(np.asarray(spectrum) > 0)
    return {
        "rlnSpectralIndex": shells["rlnSpectralIndex"][kept],
        "rlnResolution": shells["rlnResolution"][kept],
        "rlnSigma2Noise": np.asarray(spectrum, float)[kept],
    }


def read_model(star, references: np.ndarray, group_names: list[str], group_counts, optics_of_group) -> Model:
    """The Model of a model.star.

    Parameters
    ----------
    star : StarFile of RELION 3.0 or later
    references : (K, box, box) float32, the images that ``reference_names`` names
    group_names, group_counts : intensity-scale groups of the particles; the file's scales are put in their order
    optics_of_group : (n_groups,) int   optics group of each of them

    Raises  InputError: a table or column is missing, or sizes disagree.
    """
    path = star.path
    general = Row(path, star["model_general"])
    classes = Table(path, star["model_classes"])
    box, n_classes = general.integer("rlnOriginalImageSize", references.shape[-1]), len(classes)
    pixel_size_A = general.number("rlnPixelSize", 0.0)
    if references.shape[0] != n_classes or references.shape[-1] != box or pixel_size_A <= 0:
        found = f"{n_classes} classes of box {box}, pixel {pixel_size_A:g} A; references are {references.shape}"
        raise InputError(f"{path}: found {found}, expected them to agree; restore the files of one iteration")
    n_shells = box // 2 + 1

    def column(label, old, factor, default):
        if label in classes or old not in classes:
            return classes.numbers(label, default)
        return classes.numbers(old) * factor

    shells = [Table(path, star[f"model_class_{k + 1}"]) for k in range(n_classes)]

    def spectra(label):
        return np.stack([_on_shells(table, label, n_shells) for table in shells])

    model = Model(
        pixel_size_A=pixel_size_A,
        references=references,
        class_weight=classes.numbers("rlnClassDistribution", 1.0 / n_classes),
        sigma2_noise=_noise(star, n_shells, group_counts, optics_of_group),
        tau2=spectra("rlnReferenceTau2"),
        data_vs_prior=spectra("rlnSsnrMap"),
        sigma2_reference=spectra("rlnReferenceSigma2"),
        fourier_coverage=spectra("rlnFourierCompleteness"),
        class_offset_A=np.column_stack([classes.numbers(f"rlnClassPriorOffset{axis}", 0.0) for axis in "XY"]),
        accuracy_rotation_deg=classes.numbers("rlnAccuracyRotations", 999.0),
        accuracy_shift_A=column("rlnAccuracyTranslationsAngst", "rlnAccuracyTranslations", pixel_size_A, 999.0),
        class_resolution_A=_infinite_resolution(classes.numbers("rlnEstimatedResolution", NO_RESOLUTION_A)),
        class_coverage=classes.numbers("rlnOverallFourierCompleteness", 0.0),
        group_names=list(group_names),
        group_counts=np.asarray(group_counts, np.int64),
        group_scale=_group_scales(star, group_names),
    )
    return _with_general(model, general)


def _with_general(model: Model, general: Row) -> Model:
    if "rlnSigmaOffsetsAngst" in general or "rlnSigmaOffsets" not in general:
        model.sigma_offset_A = general.number("rlnSigmaOffsetsAngst", model.sigma_offset_A)
    else:
        model.sigma_offset_A = general.number("rlnSigmaOffsets", 0.0) * model.pixel_size_A
    model.sigma_offset_A = model.sigma_offset_A or LEAST_SIGMA_OFFSET_A
    model.average_norm = general.number("rlnNormCorrectionAverage", 1.0)
    model.average_p_max = general.number("rlnAveragePmax", 0.0)
    model.log_likelihood = general.number("rlnLogLikelihood", 0.0)
    model.current_resolution_A = float(_infinite_resolution(general.number("rlnCurrentResolution", np.inf)))
    model.current_size_px = general.integer("rlnCurrentImageSize", 0)
    model.tau2_fudge = general.number("rlnTau2FudgeFactor", 1.0)
    model.padding = general.number("rlnPaddingFactor", 2.0)
    return model


def reference_names(star) -> list[str]:
    """Reference of each class, as the model.star names it."""
    classes = Table(star.path, star["model_classes"])
    classes.require("rlnReferenceImage", "the image of every class", "give the model.star of a classification")
    return classes.strings("rlnReferenceImage")


def reference_dimensions(star) -> int:
    """2 or 3."""
    return Row(star.path, star["model_general"]).integer("rlnReferenceDimensionality", 2)


def read_fsc(star, n_shells: int) -> np.ndarray | None:
    """(S,) FSC of the half-sets; None where there are none yet, of which RELION writes zeros."""
    curve = _on_shells(Table(star.path, star["model_class_1"]), "rlnGoldStandardFsc", n_shells)
    return curve if curve.any() else None


def read_direction_weights(star, n_classes: int, name: str = WEIGHTS) -> np.ndarray | None:
    """(K, n_dir) share of each class and direction from blocks of that name; None where the file has none."""
    names = [f"{name}_{k + 1}" for k in range(n_classes)]
    if any(name not in star for name in names):
        return None
    weights = [Table(star.path, star[name]).numbers(DIRECTION_WEIGHT, 0.0) for name in names]
    if len({len(w) for w in weights}) > 1:
        found = ", ".join(str(len(w)) for w in weights)
        raise InputError(f"{star.path}: classes have {found} directions, expected one number; restore the file")
    return np.stack(weights) if len(weights[0]) else None


def read_prior_width(star) -> float:
    """Width of the prior around each particle's own orientation, degrees; 0: the whole sphere is searched."""
    row = Row(star.path, star["model_general"])
    sigmas = [row.number(label, 0.0) for label in SIGMA_PRIORS]
    if row.integer("rlnOrientationalPriorMode", 0) == 0:
        return 0.0
    if max(sigmas) - min(sigmas) > 1e-3 * max(sigmas):
        raise InputError(
            f"{star.path}: the priors of rot, tilt and psi have widths {', '.join(f'{s:g}' for s in sigmas)} degrees, "
            "expected one width for all; start a new run from the particles with --sigma_ang"
        )
    return sigmas[0]


def read_group_counts(star, group_names: list[str]) -> np.ndarray:
    """(n_groups,) int64: particles of each named group in this model; a group that the file does not know has 0."""
    if "model_groups" not in star:
        return np.zeros(len(group_names), np.int64)
    groups = Table(star.path, star["model_groups"])
    counts = dict(zip(groups.strings("rlnGroupName"), groups.integers("rlnGroupNrParticles", 0).tolist()))
    return np.array([counts.get(name, 0) for name in group_names], np.int64)


def _on_shells(table: Table, label: str, n_shells: int, fill: float = 0.0) -> np.ndarray:
    """A column placed by rlnSpectralIndex; absent shells have ``fill``, an absent column zeros."""
    out = np.full(n_shells, fill)
    index = table.integers("rlnSpectralIndex") if "rlnSpectralIndex" in table else np.arange(len(table))
    kept = (index >= 0) & (index < n_shells)
    out[index[kept]] = table.numbers(label, 0.0)[kept]
    return out


def _spectrum(table: Table, n_shells: int) -> np.ndarray:
    """A noise spectrum; shells that are absent or not positive take the previous shell's value, else the next's."""
    values = _on_shells(table, "rlnSigma2Noise", n_shells)
    known = np.flatnonzero(values > 0)
    if not len(known):
        raise InputError(f"{table.where()}: no rlnSigma2Noise is positive, expected a noise spectrum; restore the file")
    last = np.maximum.accumulate(np.where(values > 0, np.arange(n_shells), known[0]))
    return values[last]


def _noise(star, n_shells: int, group_counts, optics_of_group) -> np.ndarray:
    """(n_optics, n_shells); from the spectra of image groups where the file is of RELION 3.1 or older."""
    names = [f"model_optics_group_{g + 1}" for g in range(len(star))]
    found = [_spectrum(Table(star.path, star[name]), n_shells) for name in names if name in star]
    if found:
        return np.stack(found)
    by_group = np.stack(
        [_spectrum(Table(star.path, star[f"model_group_{m + 1}"]), n_shells) for m in range(len(optics_of_group))]
    )
    weight = np.maximum(np.asarray(group_counts, float), 1e-6)
    n_optics = int(np.max(optics_of_group)) + 1
    noise = np.empty((n_optics, n_shells))
    for g in range(n_optics):
        mine = np.asarray(optics_of_group) == g
        noise[g] = np.average(
            by_group[mine] if mine.any() else by_group, axis=0, weights=weight[mine] if mine.any() else weight
        )
    return noise


def _group_scales(star, group_names: list[str]) -> np.ndarray:
    """Scale of each named group; a group that the file does not know has 1."""
    if "model_groups" not in star:
        return np.ones(len(group_names))
    groups = Table(star.path, star["model_groups"])
    scales = dict(zip(groups.strings("rlnGroupName"), groups.numbers("rlnGroupScaleCorrection", 1.0).tolist()))
    return np.array([scales.get(name, 1.0) for name in group_names])
