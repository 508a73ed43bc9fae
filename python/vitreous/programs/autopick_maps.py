"""Maps of figures of merit of one micrograph on the disk: SPIDER files under RELION's names, and MRC beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vitreous.errors import InputError
from vitreous.io.mrc import write_mrc
from vitreous.io.spider import read_spider, write_spider


class MapFiles:
    """Writes maps where the options ask for it, and reads them back.

    Parameters
    ----------
    prefix : start of the names: folder / micrograph _ pickname
    pixel_size_A : of the micrograph
    options : with write_fom_maps and fom_mrc
    """

    def __init__(self, prefix: str, pixel_size_A: float, options):
        self.prefix, self.pixel_size_A = prefix, pixel_size_A
        self.wanted, self.as_mrc = options.write_fom_maps, options.fom_mrc

    def write(self, name: str, image: np.ndarray, scale: float, maximum: float | None = None) -> None:
        """Write a map, e.g. write("_avgNoise", mu, size.scale); ``maximum`` is what the SPIDER header is to say."""
        if not self.wanted:
            return
        path = f"{self.prefix}{name}"
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_spider(path + ".spi", image, maximum)
        if self.as_mrc:
            write_mrc(path + ".mrc", image, self.pixel_size_A / scale, stack=False)

    def read(self, name: str, work: int) -> tuple[np.ndarray, float]:
        """(work, work) float32 map and the number in its header's maximum; InputError where it is of another run."""
        path = f"{self.prefix}{name}.spi"
        if not Path(path).exists():
            raise InputError(
                f"{path}: found no such file, expected a map of a run with --write_fom_maps and the same --odir, "
                "--pickname and "
                "references; run with --write_fom_maps first"
            )
        image, maximum = read_spider(path)
        if image.shape != (work, work):
            raise InputError(
                f"{path}: is {image.shape[1]} x {image.shape[0]} px, expected {work} x {work}; give the --lowpass "
                "and --shrink "
                "that it was written with"
            )
        return image, maximum
