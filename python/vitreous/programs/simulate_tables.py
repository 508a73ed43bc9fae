"""Columns of the tables that simulate writes."""

from __future__ import annotations

from typing import Any

import numpy as np

from vitreous.engine import simulate as engine


def optics_columns(recipe: engine.Recipe) -> dict[str, Any]:
    """data_optics of simulated particles."""
    n = len(recipe.microscopes)
    return _microscope_columns(recipe) | {
        "rlnImagePixelSize": np.full(n, recipe.pixel_size_A),
        "rlnImageSize": np.full(n, recipe.box),
        "rlnImageDimensionality": np.full(n, 2),
    }


def micrograph_optics_columns(recipe: engine.Recipe) -> dict[str, Any]:
    """data_optics of simulated micrographs."""
    size = np.full(len(recipe.microscopes), recipe.pixel_size_A)
    return _microscope_columns(recipe) | {"rlnMicrographOriginalPixelSize": size, "rlnMicrographPixelSize": size}


def _microscope_columns(recipe: engine.Recipe) -> dict[str, Any]:
    n = len(recipe.microscopes)

    def of(name):
        return np.array([getattr(m, name) for m in recipe.microscopes])

    return {
        "rlnOpticsGroupName": [f"opticsGroup{i + 1}" for i in range(n)],
        "rlnOpticsGroup": np.arange(1, n + 1),
        "rlnVoltage": of("voltage_kV"),
        "rlnSphericalAberration": of("Cs_mm"),
        "rlnAmplitudeContrast": of("amplitude_contrast"),
    }


def particle_columns(names: list[str], truth: engine.Truth, recipe: engine.Recipe) -> dict[str, Any]:
    """data_particles without anything that a classification has to find."""
    return {
        "rlnImageName": names,
        "rlnMicrographName": [f"micrograph_{i + 1:05d}.mrc" for i in truth.micrograph],
    } | ctf_columns(truth, recipe)


def micrograph_columns(names: list[str], truth: engine.Truth, recipe: engine.Recipe) -> dict[str, Any]:
    """data_micrographs with the CTF that each was made with; ``truth`` has one row per micrograph."""
    columns = {"rlnMicrographName": names} | ctf_columns(truth, recipe)
    return columns | {"rlnCtfAstigmatism": columns["rlnDefocusU"] - columns["rlnDefocusV"]}


def ctf_columns(truth: engine.Truth, recipe: engine.Recipe) -> dict[str, np.ndarray]:
    """Optics group and CTF of each row."""
    columns = {
        "rlnOpticsGroup": truth.optics + 1,
        "rlnDefocusU": truth.defocus_u_A,
        "rlnDefocusV": truth.defocus_v_A,
        "rlnDefocusAngle": truth.defocus_angle_deg,
    }
    for label, name in (("rlnPhaseShift", "phase_shift_deg"), ("rlnCtfBfactor", "b_factor_A2")):
        values = np.array([getattr(m, name) for m in recipe.microscopes])[truth.optics]
        if values.any():
            columns[label] = values
    return columns


def truth_columns(truth: engine.Truth, recipe: engine.Recipe) -> dict[str, np.ndarray]:
    """Columns that only the truth has; rlnClassNumber is the view or state, from 1, or 0 where views are free."""
    columns = {
        "rlnAngleRot": truth.rot_deg,
        "rlnAngleTilt": truth.tilt_deg,
        "rlnAnglePsi": truth.psi_deg,
        "rlnOriginXAngst": truth.origin_x_A,
        "rlnOriginYAngst": truth.origin_y_A,
        "rlnClassNumber": (truth.state if recipe.views is None and len(recipe.shares) > 1 else truth.view) + 1,
    }
    if recipe.scale_std:
        columns["rlnGroupScaleCorrection"] = truth.scale
    return columns


def report_facts(n_particles: int, truth: engine.Truth, recipe: engine.Recipe) -> list[tuple[str, Any]]:
    """What the report tells first; ``truth`` has the defoci."""
    mean_A = (truth.defocus_u_A + truth.defocus_v_A) / 2
    return [
        ("particles", n_particles),
        ("states", len(recipe.shares)),
        ("signal over noise", recipe.snr),
        ("defocus, Å", f"{mean_A.min():.0f} to {mean_A.max():.0f}"),
    ]
