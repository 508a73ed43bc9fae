import inspect
import json
import re
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

import vitreous
from vitreous.errors import InputError
from vitreous.programs.class2d_options import Options
from vitreous.programs.gradient_options import GradientFlags
from vitreous.programs.option_parser import parse
from vitreous.programs.option_text import (
    default_text,
    help_text,
    markdown_table,
    program_help,
    read_record,
    record,
    value_rows,
)
from vitreous.programs.options import GROUPS, ProgramOptions, kind_of, limits_of, option

NEW = ["--i", "particles.star", "--o", "Class2D/run"]

# The command of RELION's GUI for a default EM job, as refine.md 8.10 has it, and one that uses what users add by hand.
GUI_LINES = [
    "--o Class2D/job012/run --iter 25 --i Extract/job005/particles.star --dont_combine_weights_via_disc "
    "--preread_images --pool 3 --pad 2 --ctf --tau2_fudge 2 --particle_diameter 200 --K 50 --flatten_solvent "
    "--zero_mask --center_classes --oversampling 1 --psi_step 12 --offset_range 5 --offset_step 2 --norm --scale "
    "--j 4 --gpu --pipeline_control Class2D/job012/",
    "--o run --i a.star --ctf --ctf_intact_first_peak --no_parallel_disc_io --scratch_dir /tmp/x --keep_free_scratch 5 "
    "--gpu 0,1:2 --strict_highres_exp 8 --skip_align --allow_coarser_sampling --random_seed 42 --dont_check_norm "
    "--no_norm --maxsig 500 --offset -1 --ini_high -1 --solvent_mask None --coarse_size -1 --fast_subsets "
    "--sym c1 --verb 0",
]


class Small(ProgramOptions):
    PROGRAM = "small"
    SUMMARY = "a program of this test"
    REFUSED = {"turbo": "there is none"}  # noqa: RUF012 - a class variable, as the base class declares
    n_items: int = option(3, "how many", group="basic", ge=1, le=9)
    width: float | None = option(None, "how wide", group="basic", unit="A", unset="as wide as the box", gt=0)
    fast: bool = option(False, "hurry", group="expert")
    name: str | None = option(None, "a name", group="input", unset="no name", flag="called", bare="anyone")


@pytest.mark.parametrize("line", GUI_LINES)
def test_parse_takes_relion_command_lines(line):
    options = parse(Options, line.split())
    assert options.particles and options.output
    assert options.ctf


def test_parse_reads_values_of_a_relion_command_line():
    options = parse(Options, GUI_LINES[0].split())
    assert (options.K, options.iter, options.psi_step, options.offset_range) == (50, 25, 12.0, 5.0)
    assert options.gpu == "default"
    assert options.do_norm and options.do_scale
    assert parse(Options, GUI_LINES[1].split()).gpu == "0,1:2"


@pytest.mark.parametrize("words", [["--psi-step", "7"], ["--psi_step", "7"], ["--psi_step=7"], ["--psi-step=7.0"]])
def test_parse_dash_underscore_and_equals_are_the_same(words):
    assert parse(Options, NEW + words).psi_step == 7


def test_parse_last_of_a_repeated_option_wins():
    assert parse(Options, [*NEW, "--K", "5", "--K", "7"]).K == 7


def test_parse_negative_number_is_a_value_and_means_unset_where_relion_has_it_so():
    options = parse(Options, [*NEW, "--ini_high", "-1", "--offset", "-1", "--iter", "-1", "--particle_diameter", "-1"])
    assert options.ini_high is None and options.particle_diameter is None
    assert (options.offset, options.iter) == (10, 50)
    with pytest.raises(InputError, match=r"--maskedge: found '-2', expected a number \(px\) >= 0"):
        parse(Options, [*NEW, "--maskedge", "-2"])


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--psi_stp", "5"], "--psi_stp: found an unknown option.*did you mean --psi_step"),
        (["--k", "5"], "did you mean --K"),
        (["--qqqq"], "see vitreous class2d --help"),
        (["--iter"], "--iter: found the end of the command line, expected a value"),
        (["--iter", "--ctf"], "--iter: found '--ctf', expected a value"),
        (["--iter", "many"], "--iter: found 'many', expected a whole number >= 0; see"),
        (["--iter", "2.5"], "--iter: found '2.5', expected a whole number"),
        (["--tau2_fudge", "nan"], "--tau2_fudge: found 'nan', expected a number > 0"),
        (["--adaptive_fraction", "1.5"], "expected a number > 0 and <= 1"),
        (["--ctf", "yes"], "after --ctf: found 'yes'.*--ctf takes no value"),
        (["--ctf=1"], "--ctf: found the value '1', expected none"),
        (["-K", "5"], "found '-K'.*write --K"),
        (["extra"], "after --o: found 'extra', expected an option"),
        (["--grad_em_iters", "2"], "--grad_em_iters: found without --grad, expected with it; add --grad"),
        (["--helix"], "helical classification is not in vitreous yet"),
        (["--auto_refine"], "3D refinement"),
        (["--sym", "D2"], "--sym: found 'D2', expected C1"),
        (["--only_flip_phases"], "--only_flip_phases: found without --ctf"),
        (["--keep_scratch"], "--keep_scratch: found without --scratch_dir"),
        (["--continue", "x_it001_optimiser.star"], "--i: found together with --continue"),
    ],
)
def test_parse_refuses_in_one_line(words, text):
    with pytest.raises(InputError, match=text) as caught:
        parse(Options, NEW + words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("missing", "words"), [("--i", ["--o", "x"]), ("--o", ["--i", "x"]), ("--i", [])])
def test_parse_a_new_run_needs_input_and_output(missing, words):
    with pytest.raises(InputError, match=rf"{missing}: found nothing, expected a value"):
        parse(Options, words)


def test_parse_names_every_wrong_option():
    with pytest.raises(InputError, match=r"--K: found '0'.*--iter: found 'x'"):
        parse(Options, [*NEW, "--iter", "x", "--K", "0"])


def test_keywords_take_flags_fields_and_paths(tmp_path):
    options = Options.from_keywords(i=tmp_path / "a.star", output="run", K=4, ctf=True)
    assert options.particles == str(tmp_path / "a.star")
    assert (options.origin("i"), options.origin("particles"), options.origin("iter")) == ("user", "user", "default")
    with pytest.raises(InputError, match=r"--iters: .*did you mean --iter\?"):
        Options.from_keywords(i="a", o="b", iters=3)


def test_options_are_frozen():
    with pytest.raises(ValidationError):
        Small().n_items = 4


def test_derive_checks_and_tells_who_chose():
    options = Small.from_keywords(n_items=2).derive("box less edge", width=80.0)
    assert (options.width, options.origin("width")) == (80.0, "derived: box less edge")
    assert options.origin("n_items") == "user" and options.is_given("n_items") and not options.is_given("width")
    with pytest.raises(InputError, match=r"--width: found 0\.0"):
        options.derive("nonsense", width=0.0)


def test_bare_flag_takes_its_own_value_and_none_is_unset():
    assert parse(Small, ["--called"]).name == "anyone"
    assert parse(Small, ["--called", "--fast"]).name == "anyone"
    assert parse(Small, ["--called", "me"]).name == "me"
    assert parse(Small, ["--called", "None"]).name is None


SAVED = Options.saved_values(
    {
        "rlnOutputRootName": "Class2D/run",
        "rlnNumberOfIterations": 25,
        "rlnDoCorrectCtf": 1,
        "rlnDoZeroMask": "0",
        "rlnHighresLimitExpectation": -1.0,
        "rlnTauSpectrumName": "None",
        "rlnRandomSeed": 1234,
    },
    {"rlnNrClasses": 50, "rlnTau2FudgeFactor": 2.0},
    {"rlnPsiStep": 12.0, "rlnOffsetRange": 17.7, "rlnOffsetStep": 7.08},
    3.54,
)


def test_continued_takes_what_the_files_hold():
    options = parse(Options, ["--continue", "Class2D/run_it010_optimiser.star"]).continued(SAVED)
    assert (options.K, options.iter, options.ctf, options.zero_mask) == (50, 25, True, False)
    assert (options.output, options.random_seed) == ("Class2D/run", 1234)
    assert options.strict_highres_exp is None and options.tau is None
    assert options.offset_range == pytest.approx(5.0, rel=1e-12)  # Angstrom in the file, pixels on the command line
    assert options.origin("K") == "continued run"


def test_continued_takes_what_the_user_changes():
    words = ["--continue", "x_it010_optimiser.star", "--iter", "40", "--o", "Class2D/run_ct10", "--K", "50", "--j", "3"]
    options = parse(Options, words).continued(SAVED)
    assert (options.iter, options.output, options.j) == (40, "Class2D/run_ct10", 3)
    assert options.origin("iter") == "user"


@pytest.mark.parametrize("words", [["--K", "20"], ["--zero_mask"], ["--random_seed", "3"], ["--ref", "map.mrc"]])
def test_continued_refuses_what_decided_the_run_so_far(words):
    options = parse(Options, ["--continue", "x_it010_optimiser.star", *words])
    with pytest.raises(InputError, match=f"{words[0]}: found .* with --continue, expected .* as in the run"):
        options.continued(SAVED)


def test_continued_takes_from_the_record_what_the_files_lack(tmp_path):
    first = parse(Options, [*NEW, "--minres_map", "3", "--K", "9", "--j", "2"])
    (tmp_path / "o.toml").write_text(record(first, "vitreous class2d ...", "0"))
    kept = read_record(tmp_path / "o.toml", Options)
    options = parse(Options, ["--continue", "x_it010_optimiser.star"]).continued(SAVED, kept)
    assert options.minres_map == 3
    assert options.K == 50  # the run's files come before the record
    assert options.j == 0 and options.particles is None  # how to compute is chosen anew


def test_record_is_toml_with_values_units_and_who_chose(tmp_path):
    options = parse(Options, [*NEW, "--psi_step", "6", "--solvent_mask", 'a "b" \\ ü #.mrc'])
    options = options.derive("clock", random_seed=7)
    text = record(options, "vitreous class2d --psi_step 6", "1.2.3")
    assert "psi_step = 6.0  # deg, user" in text
    assert "random_seed = 7  # derived: clock" in text
    assert "# ini_high is not set: off" in text
    (tmp_path / "o.toml").write_text(text, encoding="utf-8")
    chosen = read_record(tmp_path / "o.toml", Options)
    assert chosen == {
        "particles": "particles.star",
        "output": "Class2D/run",
        "psi_step": 6.0,
        "solvent_mask": 'a "b" \\ ü #.mrc',
    }
    if sys.version_info >= (3, 11):
        import tomllib

        assert tomllib.loads(text)["sampling"]["psi_step"] == 6.0


def test_read_record_names_the_bad_line(tmp_path):
    (tmp_path / "o.toml").write_text("[basic]\nK = many  # user\n")
    with pytest.raises(InputError, match=r"o\.toml:2: found 'K = many"):
        read_record(tmp_path / "o.toml", Options)


def test_value_rows_leave_out_what_has_no_effect():
    flags = {flag for _, flag, *_ in value_rows(Options.from_keywords(i="a", o="b"))}
    assert "K" in flags and "pool" not in flags


@pytest.mark.parametrize("width", [78, 100, 140])
def test_help_is_aligned_and_fits(width):
    lines = program_help(Options, width).splitlines()
    body = [line for line in lines if line and not line.startswith("  vitreous") and "--norm --scale" not in line]
    assert max(map(len, body)) <= width
    starts = {len(line) - len(line.lstrip()) for line in body if line.startswith("   ")}
    assert len(starts) == 1  # all continuation lines begin in one column


def test_help_has_every_option_with_default_unit_and_range():
    text = " ".join(program_help(Options, 100).split())
    for flag in Options.flags():
        assert f"--{flag} " in text
    assert "--psi_step deg in-plane angular step before oversampling (default 10 deg; > 0 and <= 360)" in text
    for title in GROUPS.values():
        assert title in text


def test_every_option_has_kind_help_group_and_says_what_unset_means():
    for name, field in Options.model_fields.items():
        assert kind_of(field) in (bool, int, float, str)
        assert field.description and not field.description.endswith(".")
        assert field.default is not None or field.json_schema_extra["unset"], f"{name}: None without words"
        assert default_text(field)
        assert isinstance(limits_of(field), str)
        saved = field.json_schema_extra["saved"]
        assert saved is None or (saved[0] in ("optimiser", "model", "sampling") and saved[1].startswith("rln"))


def test_what_has_no_effect_says_why():
    silent = [field for field in Options.model_fields.values() if field.json_schema_extra["no_effect"]]
    assert len(silent) >= 5
    assert all("accepted; has no effect here because" in help_text(field) for field in silent)


# Read by the checks of the options themselves: sym is C1 or refused, the others through do_norm and do_scale.
READ_HERE = {"sym", "norm", "scale", "no_norm", "no_scale"}


def test_every_option_is_read_or_says_that_it_has_no_effect():
    folder = Path(vitreous.__file__).parent
    # The other modules read options of other programs.
    readers = ("cli.py", "programs/class2d.py", "programs/class2d_course.py", "programs/launch.py", "programs/refine_common.py")
    text = "".join((folder / name).read_text() for name in readers)
    steering = inspect.getsource(GradientFlags.steering)
    unread = {
        name
        for name, field in Options.model_fields.items()
        if not field.json_schema_extra["no_effect"]
        and not re.search(rf"options\.{name}\b|options, \"{name}\"", text)
        and not re.search(rf"self\.{name}\b", steering)
    }
    assert unread == READ_HERE
    assert "options.do_norm" in text and "options.do_scale" in text


def test_refused_and_accepted_options_are_disjoint():
    assert not set(Options.REFUSED) & set(Options.flags())


def test_schema_has_every_flag():
    schema = json.loads(json.dumps(Options.model_json_schema(by_alias=True)))
    assert set(schema["properties"]) == set(Options.flags())
    assert schema["additionalProperties"] is False
    assert schema["properties"]["psi_step"]["unit"] == "deg"


def test_markdown_table_has_every_flag_once():
    table = markdown_table(Options)
    for flag in [*Options.flags(), *Options.REFUSED]:
        assert table.count(f"| `--{flag}`") == 1


def test_option_refuses_an_unknown_group():
    with pytest.raises(ValueError, match="group is 'cosmic'"):
        option(1, "x", group="cosmic")
