"""Operations on images: a file at a time, image by image, so that a stack may be larger than the memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vitreous.engine import filters, fsc, image_ops
from vitreous.errors import InputError
from vitreous.io.atomic import atomic_write
from vitreous.io.mrc import STACK_SUFFIXES, StackReader, StackWriter, write_mrc
from vitreous.io.star import StarFile, read_star, write_star
from vitreous.io.table import Table, beside, exists
from vitreous.job.progress import Progress
from vitreous.programs import image_steps
from vitreous.programs.image_handler_options import Options
from vitreous.report.page import png

IMAGE_COLUMNS = ("rlnImageName", "rlnMicrographName", "rlnReferenceImage")
AVERAGES = ("average", "avg_ampl", "avg_ampl2")
FRAMES = ("avg_bin", "avg_first", "avg_last")
SUFFIXES = (".mrc", ".mrcs", ".map", ".st", ".png", ".star", ".rec", ".ali")


@dataclass(frozen=True)
class Source:
    """A file of the input: which of its sections, and whether they are images or one map."""

    path: str
    sections: tuple[int, ...]
    is_map: bool

    def name(self, i: int) -> str:
        """Of the i-th image, from 0."""
        many = not self.is_map and Path(self.path).suffix in STACK_SUFFIXES
        return f"{self.sections[i]:06d}@{self.path}" if many else self.path


@dataclass
class Result:
    """What was written, and what was printed: one row per image."""

    files: list[Path] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)


def run(options: Options, be: Any = None, comm: Any = None) -> Result:
    """Do what the options ask for; ``be`` and ``comm`` are those of every program and not needed here."""
    if options.images is None:
        raise InputError("--i: found no image, expected an MRC or STAR file; give it")
    star = read_star(options.images) if options.images.endswith(".star") else None
    sources = sources_of(options, star)
    if options.stats or options.com or options.power or options.fsc:
        return inform(options, sources)
    if options.output is None:
        raise InputError(
            "--o: found none, expected where to write; give --o, or ask for --stats, --com, --fsc or --power"
        )
    if any(getattr(options, name) for name in AVERAGES):
        return average(options, sources)
    if any(getattr(options, name) is not None for name in FRAMES):
        return average_frames(options, sources)
    return transform(options, sources, star)


def sources_of(options: Options, star: StarFile | None) -> list[Source]:
    """The files of the input, in the order in which they are first named."""
    if star is None:
        section, _, path = options.images.rpartition("@")
        return [_source(path, [int(section)] if section.isdigit() else None, "--i")]
    table, label = _image_table(options, star)
    wanted: dict[str, list[int] | None] = {}
    for name in table.strings(label):
        section, _, path = beside(options.images, name).rpartition("@")
        if section.isdigit():
            wanted.setdefault(path, [])
            if wanted[path] is not None:
                wanted[path].append(int(section))
        else:
            wanted[path] = None
    return [_source(path, sections, options.images) for path, sections in wanted.items()]


def _image_table(options: Options, star: StarFile) -> tuple[Table, str]:
    for label in IMAGE_COLUMNS:
        for block in star.values():
            if label in block:
                return Table(options.images, block), label
    raise InputError(f"{options.images}: has none of the columns {', '.join(IMAGE_COLUMNS)}, expected names of images; "
                     "give a STAR file of particles or micrographs")  # fmt: skip


def _source(path: str, sections: list[int] | None, where: str) -> Source:
    plain, colon, forced = path.rpartition(":")
    if colon and forced in ("mrc", "mrcs"):
        path = plain
    else:
        forced = ""
    if not exists(path):
        raise InputError(f"{where}: {path} is not there, expected an MRC file; run where the name starts from")
    with StackReader(path) as reader:
        reader.require_whole()
        n = reader.n_sections
    suffixes = [s for s in Path(path).suffixes if s not in (".gz", ".bz2", ".xz")]
    is_stack = forced == "mrcs" or (forced != "mrc" and suffixes[-1:] and suffixes[-1] in STACK_SUFFIXES)
    is_map = not is_stack and n > 1
    if sections is not None and is_map:
        raise InputError(
            f"{where}: {sections[0]:06d}@{path} names a section of a map, expected a stack; write {path}:mrcs"
        )
    bad = [s for s in sections or [] if not 1 <= s <= n]
    if bad:
        raise InputError(f"{where}: {bad[0]:06d}@{path} is not there, expected sections 1 to {n}; correct the name")
    return Source(path, tuple(sections if sections is not None else range(1, n + 1)), is_map)


class Opened:
    """A source that is being read: shape and pixel size of its images, and the images."""

    def __init__(self, source: Source, options: Options):
        self.source, self.options = source, options

    def __enter__(self) -> Opened:
        self.reader = StackReader(self.source.path)
        self.shape = self.reader.shape
        if self.source.is_map:
            self.shape = (self.reader.n_sections, *self.shape)
        self.header_A = self.reader.pixel_size_A
        self.pixel_size_A = float(self.options.angpix or self.header_A)
        return self

    def __exit__(self, *_) -> None:
        self.reader.close()

    def images(self, sections: tuple[int, ...] | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """Each image or map with its number, from 0."""
        sections = self.source.sections if sections is None else sections
        if self.source.is_map:
            yield 0, self.reader.read(np.array(sections))
            return
        for i, section in enumerate(sections):
            image = self.reader.read([section])[0]
            if not self.options.remove_nan and not np.isfinite(image).all():
                raise InputError(f"{section:06d}@{self.source.path}: holds NaN or infinity, expected numbers; give "
                                 "--remove_nan to replace them")  # fmt: skip
            yield i, image


def inform(options: Options, sources: list[Source]) -> Result:
    """Print what is known of each image, after what else was asked for was done to it."""
    result = Result()
    for source in sources:
        with Opened(source, options) as opened:
            steps = image_steps.build(options, opened.shape, opened.pixel_size_A)
            other = image_steps.operand(options.fsc, "fsc", steps.shape) if options.fsc else None
            for i, image in opened.images():
                image = steps(image, i)
                row = {"name": source.name(i), **statistics(image)} if options.stats else {"name": source.name(i)}
                if options.stats:
                    _print(stats_line(row, image.shape, opened.pixel_size_A or 1.0))
                if options.com:
                    row["com_px"] = image_ops.centre_of_mass(image)
                    axes = " ".join(f"{axis} {value:g}" for axis, value in zip("xyz", row["com_px"]))
                    _print(f"{row['name']} : center of mass (relative to XmippOrigin) {axes}")
                if options.power:
                    row["power"] = image_ops.power_spectrum(image)
                if other is not None:
                    row["fsc"] = fsc.fourier_shell_correlation(image, other)
                result.rows.append(row)
                for key, label in (("power", "rlnReferenceSpectralPower"), ("fsc", "rlnFourierShellCorrelation")):
                    if key in row:
                        result.files += tell_curve(options, key, label, row[key], image.shape, steps.pixel_size_A)
    return result


def statistics(image: np.ndarray) -> dict[str, float]:
    """Mean, population standard deviation, least and largest value."""
    return {
        "mean": float(image.mean(dtype=np.float64)), "std": float(image.std(dtype=np.float64)),
        "min": float(image.min()), "max": float(image.max()),
    }  # fmt: skip


def stats_line(row: dict[str, Any], shape: tuple[int, ...], pixel_size_A: float) -> str:
    """The line that relion_image_handler --stats prints."""
    size = " x ".join(str(n) for n in (*shape[::-1], 1, 1)[:4])
    values = f"avg= {row['mean']:g} stddev= {row['std']:g} minval= {row['min']:g} maxval= {row['max']:g}"
    return f"{row['name']} : (x,y,z,n)= {size} ; {values}; angpix = {pixel_size_A:g}"


def tell_curve(options: Options, name: str, label: str, curve: np.ndarray, shape, pixel_size_A: float) -> list[Path]:
    """Print a curve over shells as a STAR table, or write it where --o is a STAR file."""
    n = max(shape)
    if not pixel_size_A > 0:
        raise InputError(f"--{name}: the image has no pixel size in its header, expected one; give --angpix")
    resolution_A = np.append(999.0, n * pixel_size_A / np.arange(1, len(curve)))
    columns = {
        "rlnSpectralIndex": np.arange(len(curve)), "rlnResolution": 1 / resolution_A,
        "rlnAngstromResolution": resolution_A, label: curve,
    }  # fmt: skip
    if options.output and options.output.endswith(".star"):
        write_star(options.output, {name: columns})
        return [Path(options.output)]
    _print(f"data_{name}\n\nloop_")
    for i, column in enumerate(columns, 1):
        _print(f"_{column} #{i}")
    for shell, s, d, value in zip(*columns.values()):
        _print(f"{shell:12d} {s:12.6f} {d:12.6f} {value:12.6g}")
    _print("")
    return []


def _print(text: str) -> None:
    print(text, file=sys.stdout)


def output_path(options: Options, source: Source) -> Path:
    """--o as a file name: the input's suffix is added where it has none."""
    name = str(options.output)
    if Path(name).suffix.lower() in SUFFIXES:
        return Path(name)
    return Path(name + (".mrc" if source.is_map or len(source.sections) == 1 else ".mrcs"))


def header_pixel(options: Options, opened: Opened, steps: image_steps.Pipeline) -> float:
    """The pixel size to write: forced, or that of the resampled image, or the header's."""
    if options.force_header_angpix is not None:
        return options.force_header_angpix
    return (steps.pixel_size_A if options.rescale_angpix else opened.header_A or opened.pixel_size_A) or 1.0


def average(options: Options, sources: list[Source]) -> Result:
    """The mean of all images, or of their amplitudes or powers, over all files."""
    total = squares = None
    n_images, pixel_size_A = 0, 1.0
    for source in sources:
        with Opened(source, options) as opened:
            steps = image_steps.build(options, opened.shape, opened.pixel_size_A)
            pixel_size_A = header_pixel(options, opened, steps)
            for i, image in opened.images():
                values = averaged_values(options, steps(image, i)).astype(np.float64)
                if total is None:
                    total, squares = np.zeros_like(values), np.zeros_like(values)
                if values.shape != total.shape:
                    raise InputError(f"{source.path}: images are {values.shape[::-1]} px, expected {total.shape[::-1]} "
                                     "as the first; average images of one size")  # fmt: skip
                total += values
                squares += values * values
                n_images += 1
    mean = total / n_images
    path = output_path(options, sources[0])
    files = [path]
    write_mrc(path, mean, pixel_size_A, _dtype(options), stack=mean.ndim == 2)
    if options.average:
        files.append(path.with_name(f"{path.stem}_sigma{path.suffix}"))
        sigma = np.sqrt(np.maximum(squares / n_images - mean * mean, 0))
        write_mrc(files[1], sigma, pixel_size_A, _dtype(options), stack=mean.ndim == 2)
    Progress(options.verb).line(f" Written out the average of {n_images} images: {path}")
    return Result(files)


def averaged_values(options: Options, image: np.ndarray) -> np.ndarray:
    """What is averaged of an image: itself, its amplitudes or its power, of the half transform divided by its size."""
    if options.average:
        return image
    amplitude = np.abs(filters.forward(image))
    return amplitude if options.avg_ampl else np.square(amplitude)


def average_frames(options: Options, sources: list[Source]) -> Result:
    """Means over consecutive images of one stack: of each bin, or of the range asked for."""
    if len(sources) > 1 or sources[0].is_map:
        raise InputError(f"--i {options.images}: found several files or a map, expected one stack for --avg_bin, "
                         "--avg_first and --avg_last; give an .mrcs")  # fmt: skip
    source = sources[0]
    first, last = (options.avg_first or 1), (options.avg_last or len(source.sections))
    if not first <= last <= len(source.sections):
        raise InputError(f"--avg_first: found images {first} to {last}, expected a range within 1 to "
                         f"{len(source.sections)}; correct it")  # fmt: skip
    chosen = source.sections[first - 1 : last]
    size = options.avg_bin or len(chosen)
    n_bins = len(chosen) // size  # a last bin that is not full is left out
    if not n_bins:
        raise InputError(f"--avg_bin: found {size}, expected at most the {len(chosen)} images of the stack; give less")
    path = output_path(options, source)
    with Opened(source, options) as opened:
        steps = image_steps.build(options, opened.shape, opened.pixel_size_A)
        pixel_size_A = header_pixel(options, opened, steps)
        with StackWriter(path, n_bins, steps.shape, pixel_size_A, _dtype(options)) as writer:
            total = np.zeros(steps.shape)
            for i, image in opened.images(chosen[: n_bins * size]):
                total += steps(image, i)
                if (i + 1) % size == 0:
                    writer.write((total / size).astype(np.float32))
                    total[:] = 0
    Progress(options.verb).line(f" Written out: {path}")
    return Result([path])


def _dtype(options: Options) -> type:
    return np.float16 if options.float16 else np.float32


def transform(options: Options, sources: list[Source], star: StarFile | None) -> Result:
    """Write every image after all steps, and for a STAR file a new one that names them."""
    progress, result = Progress(options.verb), Result()
    if options.output.lower().endswith(".png"):
        return picture(options, sources)
    one_file = star is None or Path(options.output).suffix.lower() in SUFFIXES
    if star is not None and one_file:
        return gather(options, sources, star, progress)
    pixels, boxes = {}, {}
    for source in sources:
        if star is None:
            path = output_path(options, source)
        else:  # all of the file, so that sections keep their numbers
            path = with_text(source.path, options.output)
            source = _source(source.path, None, options.images)
        with Opened(source, options) as opened:
            steps = image_steps.build(options, opened.shape, opened.pixel_size_A)
            pixel_size_A = header_pixel(options, opened, steps)
            write_all(options, opened, steps, path, pixel_size_A, progress)
        pixels[source.path], boxes[source.path] = pixel_size_A, steps.shape[-1]
        result.files.append(path)
        progress.line(f" Written out: {path}")
    if star is not None:
        renamed = [_renamed(name, options) for name in _image_table(options, star)[0].strings(_label(options, star))]
        result.files.append(write_star_beside(options, star, renamed, pixels, boxes, progress))
    return result


def write_all(options, opened: Opened, steps: image_steps.Pipeline, path: Path, pixel_size_A: float, progress) -> None:
    """All images of a file, one after the other."""
    is_map = opened.source.is_map
    n = steps.shape[0] if is_map else len(opened.source.sections)
    stack = not is_map and (n > 1 or path.suffix in STACK_SUFFIXES)
    with (
        progress.bar(f"{opened.source.path} -> {path}", n, "sections") as bar,
        StackWriter(path, n, steps.shape[-2:], pixel_size_A, _dtype(options), stack or not is_map) as writer,
    ):
        for i, image in opened.images():
            image = steps(image, i)
            writer.write(image)
            bar.advance(len(image) if is_map else 1)


def with_text(path: str, text: str) -> Path:
    """A name with a text before its suffix: stack.mrcs and lp -> stack_lp.mrcs."""
    found = Path(path)
    return found.with_name(f"{found.stem}_{text}{found.suffix}")


def _label(options: Options, star: StarFile) -> str:
    return _image_table(options, star)[1]


def _renamed(name: str, options: Options) -> str:
    section, at, path = beside(options.images, name).rpartition("@")
    return f"{section}{at}{with_text(path, options.output)}"


def gather(options: Options, sources: list[Source], star: StarFile, progress: Progress) -> Result:
    """All images of a STAR file into one stack, in the order of its rows, and a STAR file that names them."""
    table, label = _image_table(options, star)
    names = [beside(options.images, name) for name in table.strings(label)]
    if any(source.is_map for source in sources):
        raise InputError(f"{options.images}: names maps, expected images for one stack; give --o without a suffix")
    path, readers = Path(options.output), _Readers(options, sources)
    try:
        first, *_ = sources
        shape, pixel_size_A = readers.steps(first.path).shape, readers.pixels[first.path]
        with (
            progress.bar(f"{options.images} -> {path}", len(names), "images") as bar,
            StackWriter(path, len(names), shape, pixel_size_A, _dtype(options)) as writer,
        ):
            for i, name in enumerate(names):
                section, _, file = name.rpartition("@")
                steps = readers.steps(file)
                if steps.shape != shape:
                    words = [" x ".join(map(str, s[::-1])) for s in (steps.shape, shape)]
                    raise InputError(
                        f"{file}: images come out with {words[0]} px, expected {words[1]} as of {first.path}; "
                        "give --new_box, or --o without a suffix"
                    )
                writer.write(steps(readers.image(file, int(section) if section.isdigit() else 1), i))
                bar.advance()
    finally:
        readers.close()
    progress.line(f" Written out: {path}")
    renamed = [f"{i:06d}@{path}" for i in range(1, len(names) + 1)]
    star_path = path.with_suffix(".star")
    written = write_star_beside(options, star, renamed, readers.pixels, readers.boxes, progress, star_path)
    return Result([path, written])


class _Readers:
    """Files that are read in any order: the last few stay open, each with its steps.

    Attributes
    ----------
    pixels, boxes : file -> pixel size, A, and side, px, of what comes out, for files that have been opened
    """

    MOST = 32  # a set of particles may lie in thousands of stacks, and a process may open about a thousand files

    def __init__(self, options: Options, sources: list[Source]):
        self.options, self.sources = options, {source.path: source for source in sources}
        self.pixels: dict[str, float] = {}
        self.boxes: dict[str, int] = {}
        self._open: dict[str, tuple[Opened, image_steps.Pipeline]] = {}

    def steps(self, path: str) -> image_steps.Pipeline:
        if path not in self._open:
            while len(self._open) >= self.MOST:
                self._open.pop(next(iter(self._open)))[0].reader.close()
            opened = Opened(self.sources[path], self.options).__enter__()
            steps = image_steps.build(self.options, opened.shape, opened.pixel_size_A)
            self.pixels[path] = header_pixel(self.options, opened, steps)
            self.boxes[path] = steps.shape[-1]
            self._open[path] = (opened, steps)
        return self._open[path][1]

    def image(self, path: str, section: int) -> np.ndarray:
        self.steps(path)
        return next(self._open[path][0].images((section,)))[1]

    def close(self) -> None:
        for opened, _ in self._open.values():
            opened.reader.close()


def write_star_beside(
    options: Options, star: StarFile, names: list[str], pixels: dict[str, float], boxes: dict[str, int],
    progress: Progress, path: Path | None = None,
) -> Path:  # fmt: skip
    """The input's STAR file with new names, and with the new pixel size and box in its optics groups."""
    path = path or with_text(options.images, options.output)
    table, label = _image_table(options, star)
    before = table.strings(label)
    table.block[label] = names
    optics = star.get("optics")
    changed = (
        options.rescale_angpix is not None or options.new_box is not None or options.force_header_angpix is not None
    )
    if changed and optics is not None and "rlnOpticsGroup" in optics and "rlnOpticsGroup" in table.block:
        group_of = dict(zip(table.block["rlnOpticsGroup"].tolist(), before))
        for row, group in enumerate(optics["rlnOpticsGroup"].tolist()):
            if group not in group_of:
                continue
            file = beside(options.images, group_of[group]).rpartition("@")[2]
            for column, values in (("rlnImagePixelSize", pixels), ("rlnImageSize", boxes)):
                if column in optics:
                    optics[column][row] = values[file]
    write_star(path, star, allow_nan=True)
    moved = [name for name in image_steps.MOVES if getattr(options, name)]
    if moved:
        progress.warning(f"{path}: angles, origins and defocus angles are those of the images before --{moved[0]}")
    progress.line(f" Written out new STAR file: {path}")
    return path


def picture(options: Options, sources: list[Source]) -> Result:
    """One image as a grey PNG."""
    source = sources[0]
    if len(sources) > 1 or source.is_map or len(source.sections) > 1:
        raise InputError(f"--o {options.output}: found {options.images}, which holds several images, expected one "
                         "for a .png; name one section, as 000001@stack.mrcs")  # fmt: skip
    with Opened(source, options) as opened:
        steps = image_steps.build(options, opened.shape, opened.pixel_size_A)
        _, image = next(opened.images())
        image = steps(image, 0)
    low, high = grey_limits(options, image)
    grey = np.rint(255 * np.clip((image - low) / (high - low), 0, 1)).astype(np.uint8)
    path = Path(options.output)
    with atomic_write(path) as file:
        file.write(png(grey))
    Progress(options.verb).line(f" Written out: {path}")
    return Result([path])


def grey_limits(options: Options, image: np.ndarray) -> tuple[float, float]:
    """Grey values of black and white: given, by --sigma_contrast within the image's own, or the image's own."""
    low, high = float(image.min()), float(image.max())
    if options.black != 0 or options.white != 0:
        low, high = options.black, options.white
    elif options.sigma_contrast > 0:
        mean, reach = float(image.mean()), options.sigma_contrast * float(image.std())
        low, high = max(low, mean - reach), min(high, mean + reach)
    return (low, high) if high > low else (low, low + 1)
