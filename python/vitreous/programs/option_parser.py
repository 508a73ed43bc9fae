"""Command line -> options, by RELION's rules: ``--name value``, switches have no value, numbers may be negative."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

from vitreous.errors import InputError
from vitreous.programs.options import ProgramOptions, is_switch

Options = TypeVar("Options", bound=ProgramOptions)


def is_flag(word: str) -> bool:
    """Whether a word of the command line is a flag and not a value: -1 and -0.5 are values."""
    return re.match(r"--?[A-Za-z_]", word) is not None


def parse(program: type[Options], words: Sequence[str]) -> Options:
    """Read a program's options from the words of its command line.

    ``--psi-step 6``, ``--psi_step 6`` and ``--psi_step=6`` are the same; the last of a repeated option wins.

    Raises  InputError: unknown flag (with the nearest one), missing or wrong value.
    """
    flags = program.flags()
    values: dict[str, object] = {}
    rest = list(words)
    previous = ""
    while rest:
        word = rest.pop(0)
        if program.POSITIONAL and program.POSITIONAL not in values and not is_flag(word):
            values[program.POSITIONAL] = word
            continue
        if not re.match(r"--[A-Za-z_]", word):
            raise InputError(_stray(program, word, previous))
        flag, equals, value = word[2:].partition("=")
        flag = flag.replace("-", "_")
        if flag not in flags:
            raise program.refuse_unknown(flag)
        field = program.model_fields[flags[flag]]
        if is_switch(field):
            if equals:
                todo = f"leave --{flag} out to switch it off"
                raise InputError(f"--{flag}: found the value {value!r}, expected none; {todo}")
            values[flag] = True
        elif equals:
            values[flag] = value
        elif rest and not is_flag(rest[0]):
            values[flag] = rest.pop(0)
        elif field.json_schema_extra["bare"] is not None:
            values[flag] = field.json_schema_extra["bare"]
        else:
            found = f"{rest[0]!r}" if rest else "the end of the command line"
            raise InputError(f"--{flag}: found {found}, expected a value; see vitreous {program.PROGRAM} --help")
        previous = flag
    return program.from_keywords(**values)


def _stray(program: type[ProgramOptions], word: str, previous: str) -> str:
    where = f"after --{previous}" if previous else "command line"
    name = word.lstrip("-").replace("-", "_")
    if is_flag(word) and name in program.flags():
        todo = f"write --{name}"
    elif previous and is_switch(program.model_fields[program.flags()[previous]]):
        todo = f"--{previous} takes no value: leave it out to switch it off"
    else:
        todo = f"see vitreous {program.PROGRAM} --help"
    return f"{where}: found {word!r}, expected an option that begins with --; {todo}"
