"""Options that 3D classification and refinement share: the first map, symmetry, orientations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import field_validator, model_validator

from vitreous.model.symmetry import Symmetry
from vitreous.programs.options import again, option
from vitreous.programs.refine_shared_options import RefinementOptions

WIDTHS = ("sigma_ang", "sigma_rot", "sigma_tilt", "sigma_psi")


def width_of(angle: str) -> Any:
    """The option for the width of one angle's prior."""
    return option(
        None,
        f"as --sigma_ang, for the {angle}; the three must be equal",
        group="sampling",
        unit="deg",
        unset="as --sigma_ang",
        on_continue=True,
        gt=0,
    )


def symmetry_name(value: str) -> str:
    """A point group's name as RELION writes it, e.g. d7 as D7; ValueError with what was found and what is expected."""
    try:
        return Symmetry.parse(value).name
    except ValueError as error:
        raise ValueError(str(error).removeprefix("--sym: ")) from None


class VolumeOptions(RefinementOptions):
    """Options of classification and refinement with 3D references."""

    NEEDS_REF: ClassVar[bool] = True  # whether a new run starts from a map

    # Input
    ref: str | None = option(
        None, "first reference: a map", group="input", metavar="FILE", unset="required for a new run"
    )
    ref_angpix: float | None = option(
        None, "pixel size of --ref", group="input", unit="A", unset="as in the file's header", gt=0
    )
    trust_ref_size: bool = option(
        False, "bring --ref to the box and pixel size of the particles where it has others", group="input"
    )
    solvent_mask: str | None = again(RefinementOptions, "solvent_mask", unset="a ball of the particle diameter")

    # Basic
    sym: str = option(
        "C1",
        "point group: C1, C4, D7, T, O, I, ... with its axes as RELION has them",
        group="basic",
        saved=("sampling", "rlnSymmetryGroup"),
    )

    # Sampling
    healpix_order: int = option(
        2,
        "angular step before oversampling: 0 is 60 degrees, 1 is 30, 2 is 15, 3 is 7.5, each order halves it",
        group="sampling",
        on_continue=True,
        ge=0,
        le=8,
        saved=("sampling", "rlnHealpixOrder"),
    )
    sigma_ang: float | None = option(
        None,
        "search around each particle's own angles only, with a prior of this standard deviation, up to 3 of them",
        group="sampling",
        unit="deg",
        unset="all orientations",
        on_continue=True,
        gt=0,
    )
    sigma_rot: float | None = width_of("first angle")
    sigma_tilt: float | None = width_of("second angle")
    sigma_psi: float | None = width_of("in-plane angle")

    @property
    def sigma_deg(self) -> float:
        """Standard deviation of the prior around each particle's own angles; 0: all orientations are searched."""
        return self.sigma_ang or self.sigma_psi or 0.0

    def continued(self, saved: Mapping[str, Any], record: Mapping[str, Any] | None = None) -> VolumeOptions:
        """As in every program; a width that is given now replaces all four of the run's start."""
        if any(self.origin(name) == "user" for name in WIDTHS):
            record = {name: value for name, value in (record or {}).items() if name not in WIDTHS}
        return super().continued(saved, record)

    @field_validator("sym")
    @classmethod
    def _read_symmetry(cls, value: str) -> str:
        return symmetry_name(value)

    @model_validator(mode="after")
    def _check_3d(self) -> VolumeOptions:
        if self.continue_from is None and self.NEEDS_REF:
            self._need("ref")
        given = {name: getattr(self, name) for name in WIDTHS[1:]}
        width = self.sigma_ang or next(filter(None, given.values()), None)
        wrong = [name for name, value in given.items() if value != width and (value or not self.sigma_ang)]
        if wrong:
            found = ", ".join(f"--{name} {value:g}" if value else f"no --{name}" for name, value in given.items())
            expected = f"expected {width:g} for all, as the search is around the whole orientation"
            raise ValueError(f"--{wrong[0]}: found {found}, {expected}; give --sigma_ang alone")
        return self
