"""What a user puts in place of an automatic run's choices, from a YAML file; and auto.yaml, which tells all of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from vitreous.errors import InputError
from vitreous.io.atomic import atomic_write
from vitreous.programs.auto_project import State
from vitreous.programs.options import ProgramOptions

CHOICES = "choices"
OWN = ("particle_diameter", "sym", "no_pick_again")  # choices that are options of auto itself
HEAD = """\
# What vitreous auto chose, and why. To change it, copy the lines to change into a file of your own, with the lines above
# them that are further to the left, and give that with --overrides; the steps from there on are done again.
"""


@dataclass(frozen=True)
class Overrides:
    """Step -> option -> value; and values of auto's own options."""

    path: str = ""
    steps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    own: Mapping[str, Any] = field(default_factory=dict)

    def of(self, step: str) -> Mapping[str, Any]:
        return self.steps.get(step, {})


def near(word: str, known: Iterable[str]) -> str:
    """What to do about an unknown word: the nearest known one, or all of them."""
    known = list(known)
    found = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {found[0]}?" if found else f"give one of {', '.join(known)}"


def read_overrides(path: str | None, options_of: Mapping[str, type[ProgramOptions]]) -> Overrides:
    """The overrides of a file; none where there is no file.

    Parameters
    ----------
    options_of : step -> options of its program

    Raises  InputError: no such file, no mapping, or a step, choice or option that does not exist.
    """
    if path is None:
        return Overrides()
    where = f"--overrides {path}"
    try:
        found = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise InputError(f"{where}: cannot be read ({error.strerror}), expected a YAML file; check the name") from None
    except yaml.YAMLError as error:
        raise InputError(f"{where}: {' '.join(str(error).split())}, expected YAML; correct it") from None
    if not isinstance(found, dict):
        raise InputError(f"{where}: found {type(found).__name__}, expected lines such as 'class2d_1: {{K: 30}}'; write it so")
    steps = {}
    for name, values in found.items():
        if name != CHOICES and name not in options_of:
            raise InputError(f"{where}: found {name!r}, expected a step or {CHOICES}; {near(str(name), [CHOICES, *options_of])}")
        if values is None:  # a step whose lines are all comments
            continue
        if not isinstance(values, dict):
            raise InputError(f"{where}: {name} is {values!r}, expected options with values; write {name}: {{option: value}}")
        steps[name] = dict(values)
    own = steps.pop(CHOICES, {})
    for word in own:
        if word not in OWN:
            raise InputError(f"{where}: {CHOICES} has {word!r}, expected one of {', '.join(OWN)}; {near(str(word), OWN)}")
    return Overrides(path, {name: checked(where, name, values, options_of[name]) for name, values in steps.items()}, own)


def checked(where: str, step: str, values: Mapping[str, Any], program: type[ProgramOptions]) -> dict[str, Any]:
    """Field name -> value of one step's options, by flag or field name."""
    flags, found = program.flags(), {}
    for word, value in values.items():
        name = flags.get(word, word if word in program.model_fields else None)
        if name is None:
            raise InputError(
                f"{where}: {step} has {word!r}, expected an option of vitreous {program.PROGRAM}; {near(str(word), flags)}"
            )
        found[name] = value
    return found


def write_choices(path: str, state: State, own: Mapping[str, Any], options_of: Mapping[str, type[ProgramOptions]]) -> None:
    """auto.yaml: the options of every step so far with their reasons, in the form that --overrides reads.

    Input files are comments: what an earlier step left is no choice, and is in another folder the next time.

    Parameters
    ----------
    own : name -> value of auto's own options
    options_of : step -> options of its program
    """
    lines = [HEAD + f"{CHOICES}:"] + [line(name, value, "") for name, value in own.items() if value is not None]
    for step, record in state.steps.items():
        lines.append(f"\n# {record.folder}{'' if record.done else ', not done yet'}{': ' + record.said if record.said else ''}")
        if step not in options_of:
            continue
        lines.append(f"{step}:")
        fields = options_of[step].model_fields
        for name, value in record.options.items():
            text = line(fields[name].alias or name, value, record.reasons.get(name, ""))
            is_file = fields[name].json_schema_extra["group"] == "input" and isinstance(value, str)
            lines.append(f"  # {text.strip()}" if is_file else text)
    with atomic_write(path) as file:
        file.write(("\n".join(lines) + "\n").encode())


def line(name: str, value: Any, reason: str) -> str:
    """One value as a line of YAML, with its reason as a comment."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6).splitlines()[0]
    return f"  {name}: {text}" + (f"  # {reason}" if reason else "")
