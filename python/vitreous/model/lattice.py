"""The padded lattice in Fourier space that slices are read from and added to: its sizes, in 2D and 3D."""

from __future__ import annotations

from dataclasses import dataclass

from vitreous.model.band import round_half_up


@dataclass(frozen=True)
class PaddedLattice:
    """Half transforms of a padded box, out to radius_px of the unpadded one: columns kx = 0.., all other axes centred.

    Parameters
    ----------
    box : side of the image or map, px, even
    padding : at least 1; the padded side is box * padding, made even
    radius_px : largest radius that is kept, in samples of the unpadded box, at most box / 2
    """

    box: int
    padding: float
    radius_px: float
    RIM = 2  # columns beyond the radius: the origin's, and one that interpolation at the rim reads

    @property
    def side(self) -> int:
        """Padded box."""
        return 2 * round(self.padding * self.box / 2)

    @property
    def ratio(self) -> float:
        """Padded samples per unpadded one."""
        return self.side / self.box

    @property
    def radius(self) -> int:
        """Largest radius in padded samples."""
        return int(round_half_up(self.radius_px * self.ratio))

    @property
    def reach(self) -> float:
        """Radius for slices: what lies on the rim itself is inside at every angle, whatever its rounding."""
        return self.radius + 1e-3

    @property
    def nx(self) -> int:
        return self.radius + self.RIM

    @property
    def ny(self) -> int:
        return 2 * self.nx - 1
