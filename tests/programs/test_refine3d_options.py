"""Options of refine3d and class3d: RELION's command lines work, and what cannot be done is refused in one line."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

import vitreous
from vitreous.errors import InputError
from vitreous.programs.class2d_options import Options as Class2d
from vitreous.programs.class3d_options import Options as Class3d
from vitreous.programs.option_parser import parse
from vitreous.programs.option_text import default_text, markdown_table, program_help
from vitreous.programs.options import ProgramOptions, again, kind_of
from vitreous.programs.refine3d_options import Options as Refine3d
from vitreous.programs.refine_shared_options import RefinementOptions

PROGRAMS = [Refine3d, Class3d]
NEW = ["--i", "particles.star", "--ref", "map.mrc", "--o", "Refine3D/run"]
# The commands of RELION's GUI for default jobs, with what it adds when its options are set.
COMMON = (
    "--i Extract/job005/particles.star --ref InitialModel/job006/initial_model.mrc --firstiter_cc --trust_ref_size "
    "--ini_high 60 --dont_combine_weights_via_disc --preread_images --pool 3 --pad 2 --ctf --particle_diameter 200 "
    "--flatten_solvent --zero_mask --oversampling 1 --healpix_order 2 --offset_range 5 --offset_step 2 --norm --scale "
    "--j 4 --gpu 0:1 --solvent_mask mask.mrc "
)
REFINE3D_GUI = COMMON + (
    "--o Refine3D/job012/run --auto_refine --split_random_halves --sym D2 --low_resol_join_halves 40 "
    "--auto_local_healpix_order 4 --solvent_correct_fsc --auto_ignore_angles --auto_resol_angles "
    "--pipeline_control Refine3D/job012/"
)
CLASS3D_GUI = COMMON + (
    "--o Class3D/job013/run --K 4 --tau2_fudge 4 --iter 25 --sym C1 --fast_subsets --strict_highres_exp 8 "
    "--sigma_ang 1.66667"
)


def test_refine3d_takes_the_command_of_the_gui():
    options = parse(Refine3d, REFINE3D_GUI.split())
    assert (options.sym, options.low_resol_join_halves, options.auto_local_healpix_order) == ("D2", 40.0, 4)
    assert options.solvent_correct_fsc and options.auto_ignore_angles and options.auto_resol_angles
    assert (options.ini_high, options.healpix_order, options.offset_range, options.offset_step) == (60, 2, 5, 2)
    assert options.firstiter_cc and options.trust_ref_size and options.do_norm and options.do_scale


def test_class3d_takes_the_command_of_the_gui():
    options = parse(Class3d, CLASS3D_GUI.split())
    assert (options.K, options.iter, options.tau2_fudge, options.sigma_deg) == (4, 25, 4.0, 1.66667)
    assert options.fast_subsets and options.strict_highres_exp == 8


@pytest.mark.parametrize("program", PROGRAMS)
def test_defaults_are_those_of_relions_command_line(program):
    options = parse(program, NEW)
    found = {name: getattr(options, name) for name in (
        "tau2_fudge", "healpix_order", "oversampling", "offset_range", "offset_step", "perturb", "sym", "offset", "pad",
        "adaptive_fraction", "maskedge", "incr_size", "nr_parts_sigma2noise", "min_sigma2_offset", "minres_map",
    )}  # fmt: skip
    assert list(found.values()) == [1, 2, 1, 6, 2, 0.5, "C1", 10, 2, 0.999, 5, 10, 1000, 2, 5]
    assert options.sigma_deg == 0 and options.ini_high is None and options.ref_angpix is None
    if program is Refine3d:
        assert (options.auto_iter_max, options.auto_local_healpix_order) == (999, 4)
        assert options.low_resol_join_halves is None
    else:
        assert (options.K, options.iter) == (1, 50)


@pytest.mark.parametrize(
    "name", ["--low_resol_join_halves", "--sigma_ang", "--ini_high", "--ref_angpix", "--auto_iter_max"]
)
def test_a_negative_value_means_unset_as_in_relion(name):
    options = parse(Refine3d, [*NEW, name, "-1"])
    field = Refine3d.flags()[name[2:]]
    assert getattr(options, field) == Refine3d.model_fields[field].default


@pytest.mark.parametrize(("text", "name"), [("c1", "C1"), ("i", "I2"), ("d07", "D7"), ("I3", "I3"), ("o", "O")])
def test_sym_is_written_in_one_way(text, name):
    assert parse(Refine3d, [*NEW, "--sym", text]).sym == name


@pytest.mark.parametrize(
    ("program", "words", "text"),
    [
        (Refine3d, ["--sym", "Q5"], "--sym: found Q5, which is no point group of rotations, expected Cn, Dn"),
        (Class3d, ["--sym", "C1,D2"], "--sym: found C1,D2, which is no point group"),
        (Refine3d, ["--force_converge"], "--force_converge: found without --continue, expected with it"),
        (Refine3d, ["--solvent_correct_fsc"], "--solvent_correct_fsc: found without --solvent_mask"),
        (Refine3d, ["--healpix_order", "9"], "--healpix_order: found '9', expected a whole number >= 0 and <= 8"),
        (Refine3d, ["--low_resol_join_halves", "0"], r"expected a number \(A\) > 0"),
        (Class3d, ["--ctf_intact_first_peak"], "--ctf_intact_first_peak: found without --ctf"),
        (Class3d, ["--sigma_rot", "3"], "--sigma_tilt: found --sigma_rot 3, no --sigma_tilt, .*expected 3"),
        (Class3d, ["--sigma_psi", "3"], "--sigma_rot: found no --sigma_rot, .*give --sigma_ang alone"),
        (Class3d, ["--sigma_ang", "2", "--sigma_tilt", "3"], "--sigma_tilt: .*expected 2 for all"),
        (Refine3d, ["--K", "3"], "--K: .*there is one map.*vitreous class3d"),
        (Refine3d, ["--iter", "25"], "--iter: .*converged.*--auto_iter_max"),
        (Class3d, ["--auto_refine"], "--auto_refine: .*vitreous refine3d"),
        (Class3d, ["--split_random_halves"], "vitreous refine3d"),
        (Class3d, ["--allow_coarser_sampling"], "fixed.*--healpix_order"),
        (Refine3d, ["--psi_step", "5"], "--psi_step: .*--healpix_order"),
        (Refine3d, ["--blush"], "relion_refine"),
        (Class3d, ["--helix"], "helical refinement is not in vitreous yet"),
        (Refine3d, ["--relax_sym", "C2"], "--sigma_ang 3"),
        (Class3d, ["--center_classes"], "relion_image_handler --shift_com"),
        (Refine3d, ["--low_resol_join"], "did you mean --low_resol_join_halves"),
        (Refine3d, ["--continue", "x_it003_optimiser.star"], "--i: found together with --continue"),
    ],
)
def test_parse_refuses_in_one_line(program, words, text):
    with pytest.raises(InputError, match=text) as caught:
        parse(program, NEW + words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(("missing", "words"), [("--i", NEW[2:]), ("--ref", NEW[:2] + NEW[4:]), ("--o", NEW[:4])])
def test_a_new_run_needs_particles_reference_and_output(program, missing, words):
    with pytest.raises(InputError, match=rf"{missing}: found nothing, expected a value"):
        parse(program, words)


@pytest.mark.parametrize("words", [
    ["--sigma_ang", "3"], ["--sigma_rot", "3", "--sigma_tilt", "3", "--sigma_psi", "3"],
    ["--sigma_ang", "3", "--sigma_tilt", "3"],
])  # fmt: skip
def test_one_width_for_all_angles_is_accepted(words):
    assert parse(Class3d, [*NEW, *words]).sigma_deg == 3


SAMPLING = {"rlnHealpixOrder": 3, "rlnSymmetryGroup": "d2", "rlnOffsetRange": 10.62, "rlnOffsetStep": 3.54}
OPTIMISER = {
    "rlnOutputRootName": "Refine3D/run", "rlnJoinHalvesUntilThisResolution": 40.0, "rlnDoSolventFscCorrection": 1,
    "rlnSolventMaskName": "mask.mrc", "rlnAutoLocalSearchesHealpixOrder": 5, "rlnNumberOfIterations": 999,
    "rlnDoCorrectCtf": 1, "rlnRandomSeed": 7,
}  # fmt: skip


def go_on(program, *words):
    saved = program.saved_values(OPTIMISER, {"rlnTau2FudgeFactor": 1.0}, SAMPLING, 3.54)
    return parse(program, ["--continue", "x_it003_optimiser.star", *words]).continued(saved)


def test_refine3d_continued_takes_what_the_files_hold():
    options = go_on(Refine3d, "--force_converge", "--auto_local_healpix_order", "4", "--solvent_correct_fsc")
    assert (options.healpix_order, options.sym, options.low_resol_join_halves) == (3, "D2", 40.0)
    assert (options.auto_iter_max, options.auto_local_healpix_order, options.output) == (999, 4, "Refine3D/run")
    assert options.offset_range == pytest.approx(3) and options.offset_step == pytest.approx(1)
    assert options.force_converge and options.solvent_correct_fsc and options.ref is None


@pytest.mark.parametrize("words", [
    ["--healpix_order", "2"], ["--offset_range", "5"], ["--offset_step", "2"], ["--sym", "C1"], ["--ref", "map.mrc"],
    ["--low_resol_join_halves", "30"], ["--random_seed", "3"],
])  # fmt: skip
def test_refine3d_continued_refuses_what_decided_the_run_so_far(words):
    with pytest.raises(InputError, match=f"{words[0]}: found .* with --continue, expected .* as in the run"):
        go_on(Refine3d, *words)


def test_class3d_continued_may_change_the_sampling_and_keeps_the_symmetry():
    options = go_on(Class3d, "--healpix_order", "4", "--offset_range", "3", "--sigma_ang", "2", "--iter", "40")
    assert (options.healpix_order, options.offset_range, options.sigma_deg, options.iter) == (4, 3, 2, 40)
    assert go_on(Class3d, "--sym", "d02").sym == "D2"
    with pytest.raises(InputError, match=r"--sym: found 'C1' with --continue"):
        go_on(Class3d, "--sym", "C1")


@pytest.mark.parametrize(("words", "width"), [([], 3), (["--sigma_ang", "2"], 2), (["--sigma_ang", "-1"], 0)])
def test_class3d_continued_takes_the_width_given_now_before_that_of_the_start(words, width):
    record = {"sigma_rot": 3.0, "sigma_tilt": 3.0, "sigma_psi": 3.0}
    options = parse(Class3d, ["--continue", "x_it003_optimiser.star", *words])
    assert options.continued({}, record).sigma_deg == width


OURS = {"class_start"}  # RELION has no such flag, so the other programs need no words of it


@pytest.mark.parametrize("program", [*PROGRAMS, Class2d])
def test_refused_and_accepted_options_are_disjoint_and_cover_each_other(program):
    """Every flag of one refinement program is accepted by the others or refused with what to do instead."""
    assert not set(program.REFUSED) & set(program.flags())
    known = set(program.flags()) | set(program.REFUSED)
    for other in (*PROGRAMS, Class2d):
        assert not set(other.flags()) - known - OURS
        assert not set(other.REFUSED) - known


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_option_has_words(program):
    for name, field in program.model_fields.items():
        assert kind_of(field) in (bool, int, float, str)
        assert field.description and not field.description.endswith(".")
        assert field.default is not None or field.json_schema_extra["unset"], f"{name}: None without words"
        assert default_text(field)
    text = " ".join(program_help(program, 100).split())
    table = markdown_table(program)
    for flag in program.flags():
        assert f"--{flag} " in text and table.count(f"| `--{flag}`") == 1


# Read by the options' own checks and properties.
READ_HERE = {"norm", "scale", "no_norm", "no_scale", "sigma_ang", "sigma_rot", "sigma_tilt", "sigma_psi"}


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_option_is_read_or_says_that_it_has_no_effect(program):
    if find_spec(f"vitreous.programs.{program.PROGRAM}") is None:
        pytest.skip(f"{program.PROGRAM} cannot run yet")
    folder = Path(vitreous.__file__).parent
    readers = [folder / "cli.py", *(path for path in (folder / "programs").glob("*.py") if "options" not in path.name)]
    text = "".join(path.read_text() for path in readers)
    unread = {
        name
        for name, field in program.model_fields.items()
        if not field.json_schema_extra["no_effect"] and not re.search(rf"options\.{name}\b|\"{name}\"", text)
    }
    assert unread <= READ_HERE
    assert "options.sigma_deg" in text


def test_again_changes_the_copy_alone():
    class Other(ProgramOptions):
        offset_step: float = again(RefinementOptions, "offset_step", "other words", on_continue=False)

    assert Other.model_fields["offset_step"].description == "other words"
    assert not Other.model_fields["offset_step"].json_schema_extra["on_continue"]
    assert RefinementOptions.model_fields["offset_step"].json_schema_extra["on_continue"]
    assert RefinementOptions.model_fields["offset_step"].description.startswith("search step")
    with pytest.raises(InputError, match=r"expected a number \(px\) > 0"):
        Other.from_keywords(offset_step=-2)
    with pytest.raises(ValueError, match="again: found colour"):
        again(RefinementOptions, "offset_step", colour=1)
