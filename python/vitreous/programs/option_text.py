"""Options as text: the help on the terminal, the table in the documentation, the record beside a run's files."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from vitreous.errors import InputError
from vitreous.programs.options import GIVEN, GROUPS, ProgramOptions, flag_of, is_switch, kind_of, limits_of


def default_text(field: FieldInfo) -> str:
    """An option's default in words, with its unit."""
    extra = field.json_schema_extra
    if is_switch(field):
        return "off"
    if field.default is None:
        return extra["unset"] or "none"
    value = f"{field.default:g}" if kind_of(field) is float else str(field.default)
    return f"{value} {extra['unit']}".strip()


def help_text(field: FieldInfo) -> str:
    """An option's help in one sentence, with what has no effect and why."""
    why = field.json_schema_extra["no_effect"]
    return f"{field.description}: accepted; has no effect here because {why}" if why else str(field.description)


def metavar(field: FieldInfo) -> str:
    """The word that stands for an option's value in the help."""
    if is_switch(field):
        return ""
    extra = field.json_schema_extra
    word = extra["metavar"] or extra["unit"] or {int: "N", float: "X", str: "TEXT"}[kind_of(field)]
    return f"[{word}]" if extra["bare"] is not None else word


def by_group(program: type[ProgramOptions]) -> Iterator[tuple[str, list[tuple[str, FieldInfo]]]]:
    """Title of each group with its (flag, field) pairs; empty groups are left out."""
    for group, title in GROUPS.items():
        fields = [
            (flag_of(name, field), field)
            for name, field in program.model_fields.items()
            if field.json_schema_extra["group"] == group
        ]
        if fields:
            yield title, fields


def program_help(program: type[ProgramOptions], width: int = 0) -> str:
    """The text of ``vitreous <program> --help``: options in groups, aligned, each with default, unit and range."""
    width = width or min(max(shutil.get_terminal_size((100, 24)).columns, 78), 140)
    heads = [f"  --{flag_of(n, f)} {metavar(f)}".rstrip() for n, f in program.model_fields.items()]
    column = min(max(map(len, heads)) + 2, 36)
    lines = [f"vitreous {program.PROGRAM}: {program.SUMMARY}", ""]
    lines += [f"  {example}" for example in program.EXAMPLES]
    if program.SHARED:
        lines += [f"  mpirun -n 4 vitreous {program.PROGRAM} ...   shared by four processes"]
    for title, fields in by_group(program):
        lines += ["", title]
        for flag, field in fields:
            limits = limits_of(field)
            default = default_text(field)
            default = "" if is_switch(field) else default if default.startswith("required") else f"default {default}"
            notes = "; ".join(filter(None, [default, limits]))
            body = textwrap.wrap(help_text(field) + (f" ({notes})" if notes else ""), width - column)
            head = f"  --{flag} {metavar(field)}".rstrip()
            if len(head) > column - 2:
                lines.append(head)
                head = ""
            lines += [f"{head:<{column}}{body[0]}", *(" " * column + line for line in body[1:])]
    lines += ["", "  --help, --version, --json_schema", ""]
    lines += ["- and _ are the same in option names; the last of a repeated option wins."]
    return "\n".join(lines) + "\n"


def markdown_table(program: type[ProgramOptions]) -> str:
    """The option tables of docs/programs/<program>.md."""
    lines: list[str] = []
    for title, fields in by_group(program):
        lines += [f"### {title}", "", "| option | default | range | on --continue | meaning |", "|---|---|---|---|---|"]
        for flag, field in fields:
            unit = field.json_schema_extra["unit"]
            changes = "may change" if field.json_schema_extra["on_continue"] else ""
            name = f"`--{flag}`" + (f" ({unit})" if unit else "")
            lines.append(f"| {name} | {default_text(field)} | {limits_of(field)} | {changes} | {help_text(field)} |")
        lines.append("")
    if program.REFUSED:
        lines += ["### Options of other programs", "", "These stop the program with a message.", ""]
        lines += ["| option | instead |", "|---|---|"]
        lines += [f"| `--{flag}` | {todo} |" for flag, todo in program.REFUSED.items()]
        lines.append("")
    return "\n".join(lines)


def value_rows(options: ProgramOptions) -> list[tuple[str, str, Any, str, str]]:
    """(group title, flag, value, unit, who chose it) of every option that has an effect; for the log and the report."""
    names = type(options).flags()
    return [
        (title, flag, getattr(options, names[flag]), field.json_schema_extra["unit"], options.origin(names[flag]))
        for title, fields in by_group(type(options))
        for flag, field in fields
        if not field.json_schema_extra["no_effect"]
    ]


def record(options: ProgramOptions, command: str, version: str) -> str:
    """The options of a run as TOML: value, and in a comment the unit and who chose it."""
    lines = [f"# vitreous {version} {options.PROGRAM}", f"# {command}"]
    title = ""
    for group, flag, value, unit, origin in value_rows(options):
        if group != title:
            title = group
            lines += ["", f"[{title.lower()}]"]
        note = ", ".join(filter(None, [unit, origin]))
        if value is None:  # TOML has no null
            field = type(options).model_fields[type(options).flags()[flag]]
            lines.append(f"# {flag} is not set: {default_text(field)}")
        else:
            lines.append(f"{flag} = {json.dumps(value, ensure_ascii=False)}  # {note}")
    return "\n".join(lines) + "\n"


def read_record(path: Path, program: type[ProgramOptions]) -> dict[str, Any]:
    """Field name -> value of what the user chose, from a file that ``record`` wrote.

    A line is ``name = <JSON value>  # note``: TOML that Python 3.10, which has no TOML reader, can read.
    """
    found: dict[str, Any] = {}
    names = program.flags()
    for i_line, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith(("#", "[")):
            continue
        flag, equals, rest = line.partition(" = ")
        try:
            value, end = json.JSONDecoder().raw_decode(rest)
        except json.JSONDecodeError:
            equals = ""
        if not equals:
            todo = "remove the file to continue from the STAR files alone"
            raise InputError(f"{path}:{i_line}: found {line!r}, expected name = value; {todo}")
        origin = rest[end:].lstrip(" #").split(", ")[-1].strip()
        if origin in GIVEN and flag in names:
            found[names[flag]] = value
    return found
