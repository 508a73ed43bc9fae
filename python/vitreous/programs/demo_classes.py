"""The quick demo: particles with known truth are made, classified, and the classes compared with the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vitreous import __version__
from vitreous.engine.judge import Score, ViewBank, judge
from vitreous.errors import InputError
from vitreous.io.atomic import atomic_write
from vitreous.io.run_files import read_iteration
from vitreous.io.star import read_star
from vitreous.job.progress import Progress, table
from vitreous.job.rundir import RunDir
from vitreous.programs import class2d, simulate
from vitreous.programs.demo_options import Options
from vitreous.report.demo import CLASS_HEAD, class_rows, demo_report, headline

# The simulated set: small enough for seconds, noisy enough that single images show nothing.
SET = {"box": 64, "angpix": 4.0, "snr": 0.1, "views": 8, "view_jitter": 4.0, "shift_std": 6.0}
N_CLASSES = 12
# What every first classification may use; the rest are class2d's own defaults.
FLAGS = {
    "tau2_fudge": 2.0, "zero_mask": True, "flatten_solvent": True, "norm": True, "scale": True, "center_classes": True,
}  # fmt: skip
EXPECTED_PURITY = 0.85  # what a run on another machine or with another seed reaches with room to spare


def classify_own(options: Options, be: Any, comm: Any) -> tuple[Path, Path]:
    """Classify the user's particles; returns the report and the class averages."""
    root = Path(options.output) / "run"
    class2d.run(own_options(options, root), be, comm)
    return RunDir(str(root)).report, _last(root)[1]


def classify_simulated(options: Options, be: Any, comm: Any, progress: Progress) -> tuple[Path, Path, Score]:
    """Make particles, classify and compare; returns the report of the run, the page beside the truth, and the score."""
    folder = Path(options.output)
    root = folder / "run"
    made = simulate.run(
        simulate.Options.from_keywords(
            o=str(folder / "particles"), n=options.n, seed=options.random_seed, verb=options.verb, **SET
        )
    )
    class2d.run(demo_options(options, made, root), be, comm)
    score, averages = compare(made, root)
    comparison = folder / "comparison.html"
    facts = {"version": __version__, "particles": options.n, "threads": be.n_threads, "seed": options.random_seed}
    with atomic_write(comparison) as file:
        page = demo_report(score, averages, made.recipe.views, made.recipe.pixel_size_A, facts)
        file.write(page.encode())
    tell(progress, score, made.recipe.views)
    return RunDir(str(root)).report, comparison, score


def demo_options(options: Options, made: simulate.Result, root: Path) -> class2d.Options:
    """Options of class2d for the simulated particles."""
    asked = class2d.Options.from_keywords(i=str(made.particles), o=str(root), **_computation(options))
    return asked.derive(
        "the demo's choice", K=options.K or N_CLASSES, iter=options.iter, ctf=True, offset_range=5.0,
        particle_diameter=made.recipe.diameter_A + 20, **FLAGS,
    )  # fmt: skip


def own_options(options: Options, root: Path) -> class2d.Options:
    """Options of class2d for a first look at the user's particles: with CTF where the file has it."""
    star = read_star(options.particles)
    block = next((b for b in star.values() if "rlnImageName" in b), None)
    if block is None:
        raise InputError(f"{options.particles}: has no column rlnImageName, expected a table of particles; give the "
                         "particles.star of an extraction")  # fmt: skip
    n_classes = options.K or int(np.clip(block.n_rows // 150, 2, 50))
    asked = class2d.Options.from_keywords(i=options.particles, o=str(root), **_computation(options))
    return asked.derive(
        "the demo's choice", K=n_classes, iter=options.iter, ctf="rlnDefocusU" in block, **FLAGS
    )  # fmt: skip


def _computation(options: Options) -> dict[str, Any]:
    return {"j": options.j, "random_seed": options.random_seed, "verb": options.verb}


def _last(root: Path) -> tuple[Path, Path]:
    """The optimiser and the class averages of the last complete iteration."""
    files = RunDir(str(root))
    numbers = files.iterations()
    if not numbers:
        raise InputError(f"{root}: found no complete iteration, expected one; run vitreous demo again")
    return files.iteration_file(numbers[-1], "optimiser.star"), files.iteration_file(numbers[-1], "classes.mrcs")


def compare(made: simulate.Result, root: Path) -> tuple[Score, np.ndarray]:
    """Judge the last iteration of a run on simulated particles.

    Returns
    -------
    Score, (K, box, box) class averages
    """
    found = read_iteration(_last(root)[0])
    model, particles, recipe = found.model, found.dataset.particles, made.recipe
    row_of = {name: row for row, name in enumerate(read_star(made.truth_file)["particles"]["rlnImageName"])}
    truth = made.truth[[row_of[found.dataset.image_name(i)] for i in range(len(particles))]]
    bank = ViewBank(simulate.nominal_views(made.source, recipe), recipe.pixel_size_A, recipe.diameter_A)
    estimated = {
        "class_number": particles.class_number, "psi_deg": particles.euler_deg[:, 2],
        "shift_A": particles.shift_A[:, :2],
    }  # fmt: skip
    true_shift_A = np.stack([truth.origin_x_A, truth.origin_y_A], axis=1)
    true = {"view": truth.view, "psi_deg": truth.psi_deg, "shift_A": true_shift_A}
    score = judge(model.references, model.class_weight, model.class_resolution_A, estimated, true, bank)
    return score, model.references


def tell(progress: Progress, score: Score, n_views: int) -> None:
    """Print how the classes compare with the truth."""
    progress.line("\nThe classes and the truth")
    for line in table([CLASS_HEAD, *class_rows(score)]):
        progress.line(line)
    progress.line()
    for line in table([(f"{name}:", value) for name, value in headline(score, n_views)]):
        progress.line(line)
    if score.purity < EXPECTED_PURITY:
        progress.warning(
            f"fewer than {100 * EXPECTED_PURITY:.0f} % of the particles are in a class of their own view, which "
            "is less than this set allows: run vitreous doctor, and report what it prints"
        )
