"""The steps of an automatic run, as a table: what each is asked, from what is known by then, and what it teaches.

``ask`` functions give options by flag name; a ``Choice`` carries its reason, a plain value is RELION's usual one.
``learn`` functions give the facts that later steps use and the outcome in one line. Facts are:

    kind, micrographs, particles            what the run began with; the tables that are current
    n_micrographs, n_particles              their rows
    micrograph_pixel_A, micrograph_px       of the micrographs, where there are some
    pixel_A, box                            of the particles' images, A and px
    sym, diameter_given, seed               what the user asked for
    diameter_A                              of the particle
    coordinates, classes, averages          autopick.star, optimiser of the 2D classes, class_averages.star
    n_maps, map_body                        initial models made so far, and how well the best one shows a particle
    map_classes, map_model, map_reason      classes that show particles, their model file, and why they were taken
    first_map, trial_symmetry, trial_map    map whose group was sought; a larger group that is tried, and the map with it
    map, symmetry, mask, half_map           the current map, its point group, its mask, its first unfiltered half
    resolution_A, fresh                     of the last refinement; whether there are images that it did not have
    n_picks, median_fom                     of the last picking, and of the extracted particles
    n_blobs                                 particles in the good classes of the blobs
    again                                   what is known of the particles that the map picked, by name
    final_map, final_A                      what came out
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from vitreous.engine import auto_choices as choices
from vitreous.engine.auto_choices import Choice
from vitreous.engine.map_score import CLEAR_BODY
from vitreous.programs import auto_learn as learned
from vitreous.programs.auto_import import MICROGRAPHS
from vitreous.programs.options import ProgramOptions

Facts = dict[str, Any]
# As RELION's interface has them, for every classification and refinement.
OF_EVERY_RUN = {"zero_mask": True, "flatten_solvent": True, "oversampling": 1}
SCALED = {"norm": True, "scale": True}
SEARCH = {"offset_range": 5.0, "offset_step": 2.0}
PICKING = {"shrink": 0.0, "lowpass": 20.0}
IMAGES = {"norm": True, "invert_contrast": True}


@dataclass(frozen=True)
class Step:
    """One job.

    Attributes
    ----------
    name : by which it is overridden
    kind : first part of its folder's name
    program : that does it; empty for the import, which auto does itself
    ask : facts -> flag -> value or Choice
    learn : facts, folder, the program's result -> new facts, one line
    output : the flag of the output, and what follows the folder
    when : facts -> Choice of whether it is done
    """

    name: str
    kind: str
    program: str
    ask: Callable[[Facts], dict[str, Any]]
    learn: Callable[[Facts, str, Any], tuple[Facts, str]]
    output: tuple[str, str]
    when: Callable[[Facts], Choice]

    @property
    def options(self) -> type[ProgramOptions]:
        """The class of the program's options."""
        return import_module(f"vitreous.programs.{self.module}").Options

    @property
    def module(self) -> str:
        return self.program.replace("-", "_")


# ---- when a step is done ---------------------------------------------------------------------------------------------


def always(facts: Facts) -> Choice:
    return Choice(True, "")


def from_micrographs(facts: Facts) -> Choice:
    return Choice(facts["kind"] == MICROGRAPHS, "the run began with particles")


def picked_well(facts: Facts) -> Choice:
    """Whether the templates' picks go on; a run that began with particles has no others."""
    return choices.trust_templates(facts["n_picks"], facts["n_blobs"]) if facts["kind"] == MICROGRAPHS else always(facts)


def templates_picked_well(facts: Facts) -> Choice:
    found = from_micrographs(facts)
    return picked_well(facts) if found.value else found


def pick_again(facts: Facts) -> Choice:
    """Whether the map picks particles once more."""
    found = from_micrographs(facts)
    if not found.value:
        return found
    if facts["no_pick_again"]:
        return Choice(False, "no_pick_again was given")
    return choices.shows_more_than_averages(facts["resolution_A"], facts["diameter_A"])


def more_picks(facts: Facts) -> Choice:
    """Whether the map has picked clearly more than there were particles."""
    if "again" not in facts:
        return Choice(False, "the map picked none")
    return choices.clearly_more(facts["again"]["n_picks"], facts["n_particles"])


def enough_left(facts: Facts) -> Choice:
    """Whether enough of what the map picked are particles."""
    if "n" not in facts.get("again", {}):
        return Choice(False, "the map picked no others")
    return choices.enough_left(facts["again"]["n"], facts["n_particles"])


def fits_b_factor(facts: Facts) -> Choice:
    return choices.fits_b_factor(facts["final_A"], facts["box"] * facts["pixel_A"])


def no_map_yet(facts: Facts) -> Choice:
    return Choice(facts["map_body"] < CLEAR_BODY, "a map shows a particle")


def symmetry_is_open(facts: Facts) -> Choice:
    """Whether axes are looked for: the group is not known, or known and not C1."""
    if facts["sym"]:
        return Choice(facts["sym"] != "C1", "the point group is C1")
    return Choice(True, "")


def another_symmetry(facts: Facts) -> Choice:
    """Whether a larger point group than the one found is tried, which the first map may be too noisy to show."""
    if facts["sym"]:
        return Choice(False, f"the point group {facts['sym']} was given")
    return Choice(bool(facts.get("trial_symmetry")), "the first map suggests no larger point group")


def finer(facts: Facts) -> Choice:
    """Whether images with smaller pixels are extracted."""
    found = next_pixel(facts)
    return Choice(found.value is not None, found.reason)


def after_extraction(facts: Facts) -> Choice:
    """Whether there are images that have not been refined yet."""
    return Choice(bool(facts.get("fresh")), "the images did not change")


# ---- what is asked ---------------------------------------------------------------------------------------------------


def blobs(facts: Facts) -> dict[str, Any]:
    d = facts["diameter_A"]
    return {
        "i": facts["micrographs"], "LoG": True,
        "LoG_diam_min": Choice(round(choices.BLOB_MIN * d), f"{choices.BLOB_MIN:g} of the diameter of {d:.0f} A"),
        "LoG_diam_max": Choice(round(choices.BLOB_MAX * d), f"{choices.BLOB_MAX:g} of it"),
        "LoG_upper_median": Choice(choices.BLOB_UPPER, "stronger ones are ice, dirt and edges of carbon"), **PICKING,
    }  # fmt: skip


def images_for_classes(facts: Facts) -> dict[str, Any]:
    wanted_A = choices.class_pixel_A(facts["micrograph_pixel_A"])
    size, scale = choices.extraction(facts["diameter_A"], facts["micrograph_pixel_A"], wanted_A)
    found = {"i": facts["micrographs"], "coord_list": facts["coordinates"], "extract_size": size, **IMAGES}
    return found | ({"scale": scale} if scale else {})


def usual_images(facts: Facts) -> dict[str, Any]:
    """Images without the few that differ from all others, which would have the noise spectrum and the classes for themselves."""
    found = {
        "i": facts["particles"], "discard_on_stats": True,
        "discard_sigma": Choice(choices.MOST_SIGMA, "brighter, or more contrast than others: ice, dirt, edges of carbon"),
    }  # fmt: skip
    if facts.get("median_fom"):
        found |= {"select": "rlnAutopickFigureOfMerit", "maxval": Choice(round(choices.FOM_UPPER * facts["median_fom"], 3),
                  f"{choices.FOM_UPPER:g} times the median figure of merit")}  # fmt: skip
    return found


def two_d_classes(facts: Facts) -> dict[str, Any]:
    return {
        "i": facts["particles"], "K": choices.n_classes(facts["n_particles"]), "iter": 25, "tau2_fudge": 2.0,
        "particle_diameter": mask(facts), "ctf": facts["has_ctf"], "center_classes": True, "psi_step": 12.0, "pad": 2,
        "norm": Choice(False, "scaled down, carbon and ice would fit among the particles"), **OF_EVERY_RUN, **SEARCH,
    }  # fmt: skip


def good_classes(facts: Facts) -> dict[str, Any]:
    """Classes that templates are made of."""
    score = Choice(choices.TEMPLATE_SCORE, "classes that look like particles")
    return {"i": facts["classes"], "auto_select": True, "min_score": score, "recenter": True}


def all_but_junk(facts: Facts) -> dict[str, Any]:
    """Classes whose particles go on: those that may hold some, as the first maps part them again."""
    score = Choice(choices.PARTICLE_SCORE, "not sure to be junk, which has a map of its own in the next step")
    return {"i": facts["classes"], "auto_select": True, "min_score": score, "recenter": True}


def templates(facts: Facts) -> dict[str, Any]:
    d = facts["diameter_A"]
    return {
        "i": facts["micrographs"], "ref": facts["averages"], "angpix_ref": facts["pixel_A"], "invert": True, "ctf": True,
        "ang": 5.0, "threshold": Choice(choices.PICK_THRESHOLD, "low: the 2D classes part particles from the rest"),
        "min_distance": Choice(round(choices.PICK_DISTANCE * d), f"{choices.PICK_DISTANCE:g} of the diameter of {d:.0f} A"),
        "max_stddev_noise": Choice(choices.PICK_NOISE, "keeps off carbon and ice"),
        "particle_diameter": mask(facts), **PICKING,
    }  # fmt: skip


def map_templates(facts: Facts) -> dict[str, Any]:
    """Views of the map in place of class averages."""
    asked = templates(facts | {"averages": facts["map"]}) | {"sym": facts["symmetry"], "ang": 10.0}
    return asked | {"threshold": Choice(choices.MAP_THRESHOLD, "low: the 3D classes part particles from the rest")}


def images_of_map_picks(facts: Facts) -> dict[str, Any]:
    return images_for_classes(facts | {"coordinates": facts["again"]["coordinates"]})


def three_d_classes(facts: Facts) -> dict[str, Any]:
    """The map once more, and two others for what is no particle."""
    asked = refinement(facts | facts["again"] | {"particles": facts["again"]["images"]})
    halves = ("low_resol_join_halves", "auto_local_healpix_order", *SCALED)
    return {name: value for name, value in asked.items() if name not in halves} | {
        "K": Choice(3, "one for the particles, others for what is none"), "iter": 15, "tau2_fudge": 2.0,
        "norm": Choice(False, "scaled down, carbon and ice would fit among the particles"),
    }  # fmt: skip


def particles_of_3d_class(facts: Facts) -> dict[str, Any]:
    return particles_of_map(facts | {f"map_{name}": facts["again"][name] for name in ("classes", "model", "reason")})


def refinement_of_more(facts: Facts) -> dict[str, Any]:
    return refinement(facts | facts["again"])


def first_map(facts: Facts) -> dict[str, Any]:
    first, last = choices.details_of_first_map(facts["diameter_A"], facts["n_particles"])
    classes = Choice(3, "one map for the particles, others for what is none")
    if not picked_well(facts).value:
        classes = Choice(1, "the blobs' good classes hold hardly anything but particles, and few of them")
    return {
        "i": facts["particles"], "particle_diameter": mask(facts), "ctf": facts["has_ctf"], "K": classes,
        "iter": choices.n_iterations_of_first_map(facts["n_particles"]), "grad_ini_resol": first, "grad_fin_resol": last,
        "sym": Choice("C1", "the axes are found afterwards"), **OF_EVERY_RUN,
    }  # fmt: skip


def another_first_map(facts: Facts) -> dict[str, Any]:
    seed = Choice(facts["seed"] + facts["n_maps"], f"no map shows a particle clearly yet: {facts['map_body']:.1f} of {CLEAR_BODY:g}")
    return first_map(facts) | {"random_seed": seed}


def particles_of_map(facts: Facts) -> dict[str, Any]:
    listed = ",".join(map(str, sorted(facts["map_classes"])))
    return {"i": facts["map_model"], "classes": Choice(listed, facts["map_reason"])}


def symmetry(facts: Facts) -> dict[str, Any]:
    if facts["sym"]:
        return {"i": facts["map"], "sym": Choice(facts["sym"], "given"), "apply_sym": True}
    return {"i": facts["map"], "detect": Choice(True, "no --sym was given"), "apply_sym": True}


def trial_symmetry(facts: Facts) -> dict[str, Any]:
    group = Choice(facts["trial_symmetry"], facts["trial_reason"])
    return {"i": facts["first_map"], "sym": group, "apply_sym": True, "presumed": True}


def trial_refinement(facts: Facts) -> dict[str, Any]:
    asked = refinement(facts | {"map": facts["trial_map"], "symmetry": facts["trial_symmetry"]})
    return asked | {"sym": Choice(facts["trial_symmetry"], "it is right if the half-sets agree to finer detail with it")}


def refinement(facts: Facts) -> dict[str, Any]:
    """A refinement from the current map; with its mask where there is one."""
    found = {
        "i": facts["particles"], "ref": facts["map"], "trust_ref_size": True, "particle_diameter": mask(facts),
        "sym": facts["symmetry"], "ini_high": choices.first_low_pass(facts["diameter_A"]),
        "low_resol_join_halves": 40.0, "ctf": facts["has_ctf"], "pad": 2, "auto_local_healpix_order": 4,
        "healpix_order": 3 if facts["symmetry"][0] in "TOI" else 2, **OF_EVERY_RUN, **SCALED, **SEARCH,
    }  # fmt: skip
    if facts.get("mask"):
        found |= {"solvent_mask": Choice(facts["mask"], "follows the molecule"),
                  "solvent_correct_fsc": Choice(True, "there is a mask")}  # fmt: skip
    return found


def finer_images(facts: Facts) -> dict[str, Any]:
    size, scale = choices.extraction(facts["diameter_A"], facts["micrograph_pixel_A"], next_pixel(facts).value)
    found = {"i": facts["micrographs"], "reextract_data_star": facts["particles"], "extract_size": size, "recenter": True, **IMAGES}
    return found | ({"scale": scale} if scale else {})


def map_on_images_grid(facts: Facts) -> dict[str, Any]:
    return {
        "i": facts["map"], "rescale_angpix": Choice(facts["pixel_A"], "the pixel of the images"),
        "new_box": Choice(facts["box"], "the side of the images"),
    }  # fmt: skip


def molecule_mask(facts: Facts) -> dict[str, Any]:
    return {"i": facts["map"], "lowpass": 15.0, "extend_inimask": 3.0, "width_soft_edge": 6.0}


def final(facts: Facts) -> dict[str, Any]:
    none = Choice(0.0, "whether one can be fitted is known afterwards")
    return {"i": facts["half_map"], "mask": facts["mask"], "adhoc_bfac": none}


def sharpening(facts: Facts) -> dict[str, Any]:
    return {"i": facts["half_map"], "mask": facts["mask"], "auto_bfac": Choice(True, fits_b_factor(facts).reason)}


def mask(facts: Facts) -> Choice:
    """Diameter of the circular mask."""
    return choices.mask_diameter(facts["diameter_A"], facts["box"] * facts["pixel_A"])


def next_pixel(facts: Facts) -> Choice:
    return choices.finer_pixels(facts["resolution_A"], facts["pixel_A"], facts.get("micrograph_pixel_A"))


# ---- the table -------------------------------------------------------------------------------------------------------

EXTRACT_OUT, RUN_OUT = ("part_dir", "/"), ("o", "/run")

STEPS = (
    Step("autopick_1", "AutoPick", "autopick", blobs, learned.picks, ("odir", "/"), from_micrographs),
    Step("extract_1", "Extract", "extract", images_for_classes, learned.images, EXTRACT_OUT, from_micrographs),
    Step("class2d_1", "Class2D", "class2d", two_d_classes, learned.classes, RUN_OUT, from_micrographs),
    Step("select_1", "Select", "select", good_classes, learned.template_classes, ("o", "/"), from_micrographs),
    Step("autopick_2", "AutoPick", "autopick", templates, learned.picks, ("odir", "/"), from_micrographs),
    Step("extract_2", "Extract", "extract", images_for_classes, learned.images, EXTRACT_OUT, templates_picked_well),
    Step("sift", "Select", "select", usual_images, learned.sifted, ("o", "/"), picked_well),
    Step("class2d_2", "Class2D", "class2d", two_d_classes, learned.classes, RUN_OUT, picked_well),
    Step("select_2", "Select", "select", all_but_junk, learned.sized_classes, ("o", "/"), picked_well),
    Step("initial_model_1", "InitialModel", "initial-model", first_map, learned.first_map, RUN_OUT, always),
    Step("initial_model_2", "InitialModel", "initial-model", another_first_map, learned.another_map, RUN_OUT, no_map_yet),
    Step("initial_model_3", "InitialModel", "initial-model", another_first_map, learned.another_map, RUN_OUT, no_map_yet),
    Step("select_3", "Select", "select", particles_of_map, learned.selection_3d, ("o", "/"), always),
    Step("symmetry_1", "AlignSymmetry", "align-symmetry", symmetry, learned.symmetry, ("o", "/aligned.mrc"), symmetry_is_open),
    Step("refine3d_1", "Refine3D", "refine3d", refinement, learned.refinement, RUN_OUT, always),
    Step("symmetry_2", "AlignSymmetry", "align-symmetry", trial_symmetry, learned.trial_map, ("o", "/aligned.mrc"),
         another_symmetry),
    Step("refine3d_trial", "Refine3D", "refine3d", trial_refinement, learned.trial, RUN_OUT, another_symmetry),
    Step("autopick_map", "AutoPick", "autopick", map_templates, learned.map_picks, ("odir", "/"), pick_again),
    Step("extract_map", "Extract", "extract", images_of_map_picks, learned.map_images, EXTRACT_OUT, more_picks),
    Step("class3d_map", "Class3D", "class3d", three_d_classes, learned.map_classes, RUN_OUT, more_picks),
    Step("select_map", "Select", "select", particles_of_3d_class, learned.map_selection, ("o", "/"), enough_left),
    Step("refine3d_map", "Refine3D", "refine3d", refinement_of_more, learned.more_refined, RUN_OUT, enough_left),
    Step("extract_3", "Extract", "extract", finer_images, learned.images, EXTRACT_OUT, finer),
    Step("resize_1", "External", "image-handler", map_on_images_grid, learned.resized, ("o", "/map.mrc"), after_extraction),
    Step("mask_1", "MaskCreate", "mask-create", molecule_mask, learned.mask, ("o", "/mask.mrc"), always),
    Step("refine3d_2", "Refine3D", "refine3d", refinement, learned.refinement, RUN_OUT, always),
    Step("extract_4", "Extract", "extract", finer_images, learned.images, EXTRACT_OUT, finer),
    Step("resize_2", "External", "image-handler", map_on_images_grid, learned.resized, ("o", "/map.mrc"), after_extraction),
    Step("mask_2", "MaskCreate", "mask-create", molecule_mask, learned.mask, ("o", "/mask.mrc"), always),
    Step("refine3d_3", "Refine3D", "refine3d", refinement, learned.refinement, RUN_OUT, after_extraction),
    Step("postprocess", "PostProcess", "postprocess", final, learned.final, ("o", "/postprocess"), always),
    Step("sharpen", "PostProcess", "postprocess", sharpening, learned.final, ("o", "/postprocess"), fits_b_factor),
)  # fmt: skip
