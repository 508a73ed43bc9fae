"""The one table of STAR labels: what type each has, and for those that the model holds, their unit and field.

``labels.tsv`` beside this file lists every label of RELION 2 to 5 with its type. FIELDS adds what this program maps.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

TYPES = ("double", "int", "bool", "string", "double_vector", "int_vector", "unknown")


@dataclass(frozen=True)
class Field:
    """Where a label goes in the model: ``table.field``, and the unit that the file has."""

    field: str
    unit: str = ""


# label -> model field and unit in the file. Columns of Dataset are "particles.*", optics groups "optics.*".
FIELDS = {
    "rlnOpticsGroup": Field("optics.number"),
    "rlnOpticsGroupName": Field("optics.name"),
    "rlnVoltage": Field("optics.voltage_kV", "kV"),
    "rlnSphericalAberration": Field("optics.Cs_mm", "mm"),
    "rlnAmplitudeContrast": Field("optics.amplitude_contrast"),
    "rlnImagePixelSize": Field("optics.pixel_size_A", "A"),
    "rlnImageSize": Field("optics.box", "px"),
    "rlnBeamTiltX": Field("optics.beam_tilt_mrad[0]", "mrad"),
    "rlnBeamTiltY": Field("optics.beam_tilt_mrad[1]", "mrad"),
    "rlnOddZernike": Field("optics.odd_zernike", "rad"),
    "rlnEvenZernike": Field("optics.even_zernike", "rad"),
    "rlnMagMat00": Field("optics.magnification[0,0]"),
    "rlnMagMat01": Field("optics.magnification[0,1]"),
    "rlnMagMat10": Field("optics.magnification[1,0]"),
    "rlnMagMat11": Field("optics.magnification[1,1]"),
    "rlnMtfFileName": Field("optics.mtf_file"),
    "rlnCtfDataAreCtfPremultiplied": Field("optics.premultiplied"),
    "rlnCtfDataArePhaseFlipped": Field("optics.phase_flipped"),
    "rlnCtfDataAreCtfCorrected": Field("optics.ctf_corrected"),
    "rlnDefocusU": Field("exposures.defocus_u_A", "A"),
    "rlnDefocusV": Field("exposures.defocus_v_A", "A"),
    "rlnDefocusAngle": Field("exposures.defocus_angle_deg", "deg"),
    "rlnCtfBfactor": Field("exposures.b_factor_A2", "A^2"),
    "rlnCtfScalefactor": Field("exposures.ctf_scale"),
    "rlnPhaseShift": Field("exposures.phase_shift_deg", "deg"),
    "rlnMicrographName": Field("sources.name"),
    "rlnImageName": Field("particles.image"),
    "rlnAngleRot": Field("particles.euler_deg[0]", "deg"),
    "rlnAngleTilt": Field("particles.euler_deg[1]", "deg"),
    "rlnAnglePsi": Field("particles.euler_deg[2]", "deg"),
    "rlnOriginXAngst": Field("particles.shift_A[0]", "A"),
    "rlnOriginYAngst": Field("particles.shift_A[1]", "A"),
    "rlnOriginZAngst": Field("particles.shift_A[2]", "A"),
    "rlnOriginX": Field("particles.shift_A[0]", "px"),
    "rlnOriginY": Field("particles.shift_A[1]", "px"),
    "rlnOriginZ": Field("particles.shift_A[2]", "px"),
    "rlnCoordinateX": Field("particles.position_A[0]", "micrograph px"),
    "rlnCoordinateY": Field("particles.position_A[1]", "micrograph px"),
    "rlnCoordinateZ": Field("particles.position_A[2]", "micrograph px"),
    "rlnClassNumber": Field("particles.class_number"),
    "rlnRandomSubset": Field("particles.half"),
    "rlnGroupName": Field("particles.group"),
    "rlnGroupNumber": Field("particles.group"),
    "rlnNormCorrection": Field("particles.norm"),
    "rlnLogLikeliContribution": Field("particles.log_likelihood"),
    "rlnMaxValueProbDistribution": Field("particles.p_max"),
    "rlnNrOfSignificantSamples": Field("particles.n_significant"),
}

# Other spellings found in files -> the label above or in labels.tsv.
SPELLINGS = {
    "rlnKullbackLeibnerDivergence": "rlnKullbackLeiblerDivergence",
    "rlnMagMatrix_00": "rlnMagMat00",
    "rlnMagMatrix_01": "rlnMagMat01",
    "rlnMagMatrix_10": "rlnMagMat10",
    "rlnMagMatrix_11": "rlnMagMat11",
    "rlnTomogramHProjectionalf2": "rlnTomogramProjectionHalf2",
}


@cache
def label_types() -> dict[str, str]:
    """Every known label -> "double", "int", "bool", "string", "double_vector", "int_vector" or "unknown"."""
    text = files("vitreous.io").joinpath("labels.tsv").read_text(encoding="ascii")
    return dict(line.split("\t") for line in text.splitlines())


def label_type(label: str) -> str | None:
    """Type of a label (without its leading underscore), None for one that is not known."""
    types = label_types()
    return types.get(label) or types.get(SPELLINGS.get(label, ""))


def nearest_label(label: str, present) -> str | None:
    """The label among ``present`` that ``label`` was probably meant to be, None where nothing comes near.

    Another spelling or another unit of the same field (rlnOriginX for rlnOriginXAngst) comes first, then likeness.
    """
    present = list(present)
    field = FIELDS.get(label)
    for other in present:
        same_field = field is not None and FIELDS.get(other) is not None and FIELDS[other].field == field.field
        if SPELLINGS.get(other) == label or SPELLINGS.get(label) == other or same_field:
            return other
    folded = {other.lower(): other for other in present}
    near = difflib.get_close_matches(label.lower(), folded, n=1, cutoff=0.75)
    return folded[near[0]] if near else None
