"""What the steps of an automatic run teach: facts for later steps, and the outcome in one line.

Each function takes the facts so far, the job's folder and the program's result; where too little came out, it says what
to change.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vitreous.engine import auto_choices as choices
from vitreous.engine import map_score
from vitreous.engine.particle_size import diameter_of_averages
from vitreous.errors import InputError
from vitreous.io.mrc import read_header, read_mrc
from vitreous.io.star import read_star, write_star
from vitreous.job.rundir import RunDir
from vitreous.programs.auto_import import PARTICLES

Facts = dict[str, Any]
FIGURE_OF_MERIT = "rlnAutopickFigureOfMerit"
FEWEST_PARTICLES = 30  # with fewer there is nothing to classify


def picks(facts: Facts, folder: str, result: Any) -> tuple[Facts, str]:
    n = int(result.counts.sum())
    if n < FEWEST_PARTICLES:
        raise InputError(
            f"{n} picks in {facts['n_micrographs']} micrographs, expected at least {FEWEST_PARTICLES}; give "
            "--particle_diameter, or a lower LoG_adjust_threshold (autopick_1) or threshold (autopick_2) with --overrides"
        )
    return {"coordinates": f"{folder}/autopick.star", "n_picks": n}, f"{n} picks, {n / len(result.counts):.0f} in a micrograph"


def images(facts: Facts, folder: str, result: Any) -> tuple[Facts, str]:
    optics = read_star(result.particles)["optics"]
    pixel_A, box = float(optics["rlnImagePixelSize"][0]), int(optics["rlnImageSize"][0])
    found = {"particles": str(result.particles), "n_particles": result.n, "pixel_A": pixel_A, "box": box, "fresh": True}
    rows = read_star(result.particles)["particles"]
    if FIGURE_OF_MERIT in rows:
        found |= {"median_fom": float(np.median(rows[FIGURE_OF_MERIT]))}
    return found, f"{result.n} particles of {box} px of {pixel_A:.4g} A"


def sifted(facts: Facts, folder: str, result: Any) -> tuple[Facts, str]:
    found = {"particles": f"{folder}/particles.star", "n_particles": result.n_after}
    return found, f"{result.n_before - result.n_after} of {result.n_before} particles are unlike the others"


def classes(facts: Facts, folder: str, result: Any) -> tuple[Facts, str]:
    run = RunDir(f"{folder}/run")
    share = result.model.class_weight
    filled = share > 0.01
    best_A = float(result.model.class_resolution_A[filled].min()) if filled.any() else np.inf
    optimiser = str(run.iteration_file(run.iterations()[-1], "optimiser.star"))
    return {"classes": optimiser}, f"{int(filled.sum())} of {len(share)} classes hold a hundredth or more; best {best_A:.1f} A"


def selection(facts: Facts, folder: str, result: Any) -> tuple[Facts, str]:
    n_chosen = int(result.chosen.sum())
    if result.n_after < FEWEST_PARTICLES:
        raise InputError(
            f"{result.n_after} of {result.n_before} particles are in good classes, expected at least {FEWEST_PARTICLES}; look at "
            f"{folder}/report.html and choose by number: give classes: 1,4,7 for this step with --overrides"
        )
    found = {"particles": f"{folder}/particles.star", "n_particles": result.n_after, "averages": f"{folder}/class_averages.star"}
    return found, f"{result.n_after} of {result.n_before} particles in {n_chosen} classes"


def sized_classes(facts: Facts, folder: str, result: Any) -> tuple[Facts, str]:
    """As ``selection``, and of picked particles the diameter as the classes show it; others may be junk for the most part."""
    found, said = selection(facts, folder, result)
    return with_diameter(facts, found, said, read_mrc(f"{folder}/class_averages.mrcs")[0])


def template_classes(facts: Facts, folder: str, result: Any) -> tuple[Facts, str]:
    """As ``sized_classes``, by the clear averages alone, and a table of these for picking."""
    found, said = selection(facts, folder, result)
    images = read_mrc(f"{folder}/class_averages.mrcs")[0]
    clear = is_clear(facts, images)
    star = read_star(found["averages"])
    name = next(name for name, block in star.items() if "rlnReferenceImage" in block)
    columns = {label: np.asarray(values)[clear] for label, values in star[name].columns.items()}
    write_star(f"{folder}/templates.star", {name: columns})
    found |= {"averages": f"{folder}/templates.star", "n_blobs": found["n_particles"]}
    return with_diameter(facts, found, f"{said}; {int(clear.sum())} of the classes are templates", images[clear])


def with_diameter(facts: Facts, found: Facts, said: str, images: np.ndarray) -> tuple[Facts, str]:
    """What was learned, with the diameter that averages show where the user gave none and the particles were picked."""
    if facts["diameter_given"] or facts["kind"] == PARTICLES:
        return found, said
    diameter = diameter_of_averages(images, facts["pixel_A"])
    return found | {"diameter_A": diameter.value}, f"{said}; now a particle of {diameter.value} A: {diameter.reason}"


def is_clear(facts: Facts, images: np.ndarray) -> np.ndarray:
    """(n,) whether class averages show a particle as clearly as the best."""
    circle_A = choices.mask_diameter(facts["diameter_A"], facts["box"] * facts["pixel_A"]).value
    return map_score.clear_averages(images, facts["pixel_A"], circle_A)


def selection_3d(facts: Facts, folder: str, result: Any) -> tuple[Facts, str]:
    found = {"particles": f"{folder}/particles.star", "n_particles": result.n_after}
    return found, f"{result.n_after} of {result.n_before} particles are of a map that shows one"


def first_map(facts: Facts, folder: str, result: Any) -> tuple[Facts, str]:
    """The class that shows a particle; where none does, the best of them and the numbers of all."""
    return _first_map(facts, folder, result.model, result.maps)


def _first_map(facts: Facts, folder: str, model: Any, maps: np.ndarray) -> tuple[Facts, str]:
    circle_A = choices.mask_diameter(facts["diameter_A"], facts["box"] * facts["pixel_A"]).value
    bodies = [map_score.body(volume, model.pixel_size_A, circle_A) for volume in maps]
    found, last = map_score.particle_classes(bodies, model.class_weight), RunDir(f"{folder}/run").iterations()[-1]
    best = found.value[0] - 1 if found.value else int(np.argmax(bodies))
    learned = {
        "map": f"{folder}/run_it{last:03d}_class{best + 1:03d}.mrc", "map_model": f"{folder}/run_it{last:03d}_model.star",
        "map_classes": found.value or list(range(1, len(bodies) + 1)), "map_reason": found.reason,
        "map_body": bodies[best], "n_maps": 1, "symmetry": "C1",
    }  # fmt: skip
    shares = ", ".join(f"{share:.0%}" for share in model.class_weight)
    return learned, f"maps of {shares} of the particles; {found.reason}"


def another_map(facts: Facts, folder: str, result: Any) -> tuple[Facts, str]:
    """As ``first_map``, where it shows a particle better than those before."""
    learned, said = first_map(facts, folder, result)
    n_maps = {"n_maps": facts["n_maps"] + 1}
    if learned["map_body"] <= facts["map_body"]:
        return n_maps, f"{said}; not better than the map before"
    return learned | n_maps, said


def symmetry(facts: Facts, folder: str, result: Any) -> tuple[Facts, str]:
    """The group and the map turned to its axes; and a larger group that the map only suggests."""
    found = {"symmetry": result.symmetry, "first_map": facts["map"], "trial_symmetry": ""}
    if result.symmetry != "C1":
        found["map"] = f"{folder}/aligned.mrc"
    if result.detection is None:
        return found, f"{result.symmetry}: its weakest copy agrees to {result.alignment.weakest:.2f}"
    rows = [(row.name, row.alignment.score, row.alignment.weakest) for row in result.detection.candidates]
    trial = choices.larger_group(result.symmetry, rows)
    weakest = max((weakest for _, _, weakest in rows), default=0.0)
    said = f"{result.symmetry}: the best group's weakest copy agrees to {weakest:.2f}, expected 0.5 or more"
    if trial.value is None:
        return found, said
    return found | {"trial_symmetry": trial.value, "trial_reason": trial.reason}, f"{said}; {trial.value} is to be tried"


def trial_map(facts: Facts, folder: str, result: Any) -> tuple[Facts, str]:
    return {"trial_map": f"{folder}/aligned.mrc"}, f"{result.symmetry}: its copies agree to {result.alignment.score:.2f}"


def trial(facts: Facts, folder: str, result: Any) -> tuple[Facts, str]:
    """Keep a larger group if the half-sets agree to finer detail with it."""
    found, _ = refinement(facts, folder, result)
    now, before = found["resolution_A"], facts["resolution_A"]
    told = f"{now:.2f} A with {facts['trial_symmetry']}, {before:.2f} A with {facts['symmetry']}"
    if now > choices.TRIAL_GAIN * before:
        return {}, f"{told}: {facts['symmetry']} stays"
    return found | {"symmetry": facts["trial_symmetry"]}, f"{told}: {facts['trial_symmetry']} is right"


def refinement(facts: Facts, folder: str, result: Any) -> tuple[Facts, str]:
    resolution_A = float(result.models[0].current_resolution_A)
    found = {
        "particles": f"{folder}/run_data.star", "map": f"{folder}/run_class001.mrc", "resolution_A": resolution_A,
        "half_map": f"{folder}/run_half1_class001_unfil.mrc", "fresh": False,
    }  # fmt: skip
    return found, f"{resolution_A:.2f} A with {facts['symmetry']}"


def map_picks(facts: Facts, folder: str, result: Any) -> tuple[Facts, str]:
    n = int(result.counts.sum())
    return {"again": {"coordinates": f"{folder}/autopick.star", "n_picks": n}}, f"{n} picks with the map"


def map_images(facts: Facts, folder: str, result: Any) -> tuple[Facts, str]:
    """Images of what the map picked, beside those that there are."""
    found, said = images(facts, folder, result)
    of_images = {"images": found["particles"], "pixel_A": found["pixel_A"], "box": found["box"]}
    return {"again": facts["again"] | of_images}, said


def map_classes(facts: Facts, folder: str, result: Any) -> tuple[Facts, str]:
    """The 3D classes that show particles, and how many these hold."""
    learned, said = _first_map(facts, folder, result.models[0], result.maps)
    good = {name: learned[f"map_{name}"] for name in ("classes", "model", "reason")}
    n = int(np.isin(result.particles.class_number, good["classes"]).sum())
    return {"again": facts["again"] | good | {"n": n}}, said


def map_selection(facts: Facts, folder: str, result: Any) -> tuple[Facts, str]:
    found, said = selection_3d(facts, folder, result)
    return {"again": facts["again"] | found}, said


def more_refined(facts: Facts, folder: str, result: Any) -> tuple[Facts, str]:
    """Keep the particles that the map picked unless the half-sets agree less far with them."""
    again = facts["again"]
    found, _ = refinement(facts, folder, result)
    now, before = found["resolution_A"], facts["resolution_A"]
    told = f"{now:.2f} A with {again['n_particles']} particles, {before:.2f} A with {facts['n_particles']}"
    if not choices.no_worse(again["n_particles"], facts["n_particles"], now, before, again["box"] * again["pixel_A"]):
        return {}, f"{told}: the former ones stay"
    return found | {name: again[name] for name in ("pixel_A", "box", "n_particles")}, f"{told}: the new ones are taken"


def resized(facts: Facts, folder: str, result: Any) -> tuple[Facts, str]:
    return {"map": f"{folder}/map.mrc"}, f"{facts['box']} px of {facts['pixel_A']:.4g} A"


def mask(facts: Facts, folder: str, result: Any) -> tuple[Facts, str]:
    name = f"{folder}/mask.mrc"
    return {"mask": name}, f"{read_header(name).nx} px"


def final(facts: Facts, folder: str, result: Any) -> tuple[Facts, str]:
    resolution_A = float(result.assessment.resolution_A)
    return {"final_A": resolution_A, "final_map": f"{folder}/postprocess.mrc"}, f"{resolution_A:.2f} A"
