"""Options of a program: one declaration per option gives its flag, check, help, documentation and record.

A program's options are one frozen pydantic model. A field has the name of its flag, which is RELION's where RELION has
the option, except where that is no good name (``--i``, ``--o``, ``--continue``): there the flag is the field's alias.
"""

from __future__ import annotations

import copy
import difflib
import os
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator
from pydantic.fields import FieldInfo

from vitreous.errors import InputError

GROUPS = {
    "input": "Input",
    "output": "Output",
    "basic": "Basic",
    "sampling": "Sampling",
    "compute": "Computation",
    "expert": "Expert",
}
# Who chose the values that a continued run keeps; auto is the program that chooses the options of all steps.
GIVEN = ("user", "continued run", "auto")


def option(
    default: Any,
    help: str,
    *,
    group: str,
    flag: str | None = None,
    unit: str = "",
    metavar: str = "",
    unset: str = "",
    bare: str | None = None,
    on_continue: bool = False,
    saved: tuple[str, str] | None = None,
    saved_in_A: bool = False,
    no_effect: str = "",
    **limits: Any,
) -> Any:
    """Declare one option.

    Parameters
    ----------
    default : value where the user gives none
    help : one sentence, without the default and the unit, which are added
    group : a key of GROUPS
    flag : the flag's name where it differs from the field's
    unit : "A", "deg", "px", "GB", ...
    metavar : word for the value in the help; made from unit and type where empty
    unset : words for what None means; it also lets a negative number or the word None mean the default, as RELION does
    bare : the value of a flag that is given without one; None = the flag needs a value
    on_continue : may be changed with --continue
    saved : (file, label) that holds the value in a run's STAR files; file is optimiser, model or sampling
    saved_in_A : the label is in Angstrom, the option in pixels
    no_effect : why the option is accepted but changes nothing
    limits : ge, gt, le, lt
    """
    if group not in GROUPS:
        raise ValueError(f"option: group is {group!r}, expected one of {', '.join(GROUPS)}")
    extra = {
        "group": group,
        "unit": unit,
        "metavar": metavar,
        "unset": unset,
        "bare": bare,
        "on_continue": on_continue,
        "saved": saved,
        "saved_in_A": saved_in_A,
        "no_effect": no_effect,
    }
    return Field(default, description=help, alias=flag, json_schema_extra=extra, **limits)


def flag_of(name: str, field: FieldInfo) -> str:
    """Name of an option's flag, without the dashes."""
    return field.alias or name


def is_switch(field: FieldInfo) -> bool:
    """Whether the option is a flag without a value."""
    return field.annotation is bool


def kind_of(field: FieldInfo) -> type:
    """int, float, str or bool: the type of the option's value when it is set."""
    for kind in (bool, int, float, str):
        if field.annotation is kind or field.annotation == (kind | None):
            return kind
    raise TypeError(f"option of type {field.annotation}: expected bool, int, float, str, or one of them or None")


def limits_of(field: FieldInfo) -> str:
    """The allowed range in words, e.g. ">= 0 and <= 1"; empty where any value is allowed."""
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    found = [
        f"{sign} {getattr(limit, name):g}"
        for limit in field.metadata
        for name, sign in signs.items()
        if getattr(limit, name, None) is not None
    ]
    return " and ".join(found)


def _expected(field: FieldInfo) -> str:
    noun = {bool: "True or False", int: "a whole number", float: "a number", str: "a word or file name"}[kind_of(field)]
    unit = field.json_schema_extra["unit"]
    return " ".join(part for part in (noun, f"({unit})" if unit else "", limits_of(field)) if part)


class ProgramOptions(BaseModel):
    """Base of every program's options: checks, who chose a value, continuing a run.

    Build one with ``from_keywords`` (Python) or ``option_parser.parse`` (command line): their errors are one line.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False, protected_namespaces=()
    )
    PROGRAM: ClassVar[str] = ""
    SUMMARY: ClassVar[str] = ""
    EXAMPLES: ClassVar[tuple[str, ...]] = ()
    POSITIONAL: ClassVar[str] = ""  # the flag whose value may stand alone, as in: vitreous report FOLDER
    SHARED: ClassVar[bool] = False  # whether the processes of mpirun share its work
    REFUSED: ClassVar[Mapping[str, str]] = {}  # flag -> what to do instead: options that other programs have
    _origin: dict[str, str] = PrivateAttr(default_factory=dict)

    @field_validator("*", mode="before")
    @classmethod
    def _read_unset(cls, value: Any, info: Any) -> Any:
        if isinstance(value, os.PathLike):
            return os.fspath(value)
        field = cls.model_fields[info.field_name]
        if not field.json_schema_extra["unset"]:
            return value
        if kind_of(field) is str:
            return field.default if value in ("", "None") else value
        try:
            return field.default if value is not None and float(value) < 0 else value
        except (TypeError, ValueError):
            return value

    @classmethod
    def flags(cls) -> dict[str, str]:
        """Flag name -> field name, in the order of declaration."""
        return {flag_of(name, field): name for name, field in cls.model_fields.items()}

    @classmethod
    def nearest(cls, flag: str) -> str:
        """The flag that a mistyped one may have meant, as ``--name``; empty where nothing is near."""
        known = {name.lower(): name for name in cls.flags()}
        found = difflib.get_close_matches(flag.lower(), known, n=1, cutoff=0.6)
        return f"--{known[found[0]]}" if found else ""

    @classmethod
    def refuse_unknown(cls, flag: str) -> InputError:
        """The error for a flag that this program does not have."""
        if flag in cls.REFUSED:
            expected = f"expected one that vitreous {cls.PROGRAM} has"
            return InputError(f"--{flag}: found an option of RELION, {expected}; {cls.REFUSED[flag]}")
        near = cls.nearest(flag)
        todo = f"did you mean {near}?" if near else f"see vitreous {cls.PROGRAM} --help"
        return InputError(f"--{flag}: found an unknown option, expected one that vitreous {cls.PROGRAM} has; {todo}")

    @classmethod
    def from_keywords(cls, **values: Any) -> ProgramOptions:
        """Options from keywords, by flag name (``i=``, ``K=``) or field name; raises InputError in one line."""
        names = cls.flags()
        for key in values:
            if key not in names and key not in cls.model_fields:
                raise cls.refuse_unknown(key)
        given = {names.get(key, key): value for key, value in values.items()}
        try:
            made = cls(**given)
        except ValidationError as error:
            raise InputError(cls._explain(error)) from None
        made._origin.update(dict.fromkeys(given, "user"))
        return made

    @classmethod
    def _explain(cls, error: ValidationError) -> str:
        names = cls.flags()
        lines = []
        for item in error.errors():
            if not item["loc"]:  # a check over several options: its own text has all four parts
                lines.append(str(item["ctx"]["error"]))
                continue
            key = str(item["loc"][0])
            name = names.get(key, key)
            field = cls.model_fields[name]
            if item["type"] == "value_error":
                lines.append(f"--{flag_of(name, field)}: {item['ctx']['error']}")
                continue
            todo = f"see vitreous {cls.PROGRAM} --help"
            lines.append(f"--{flag_of(name, field)}: found {item['input']!r}, expected {_expected(field)}; {todo}")
        return " | ".join(lines)

    def origin(self, name: str) -> str:
        """Who chose an option's value: "user", "default", "continued run", "auto", or "derived: <why>"."""
        return self._origin.get(self.flags().get(name, name), "default")

    def is_given(self, name: str) -> bool:
        """Whether the user chose the value, now or when the continued run was started."""
        return self.origin(name) in GIVEN

    def derive(self, why: str, **values: Any) -> ProgramOptions:
        """A copy with values that the program worked out, e.g. ``derive("box minus edge", particle_diameter=210)``."""
        return self.replaced(values, f"derived: {why}")

    def replaced(self, values: Mapping[str, Any], origin: str) -> ProgramOptions:
        """A copy with other values, field name -> value, that come from ``origin``; raises InputError in one line."""
        try:
            made = type(self)(**{**self.model_dump(), **values})
        except ValidationError as error:
            raise InputError(self._explain(error)) from None
        made._origin.update({**self._origin, **dict.fromkeys(values, origin)})
        return made

    @classmethod
    def saved_values(cls, optimiser: Mapping, model: Mapping, sampling: Mapping, pixel_size_A: float) -> dict[str, Any]:
        """Options as the STAR files of a run hold them.

        Parameters
        ----------
        optimiser, model, sampling : label -> value of data_optimiser_general, data_model_general, data_sampling_general
        pixel_size_A : of the model; offsets are in Angstrom in the files and in pixels on the command line

        Returns
        -------
        field name -> value; labels that a file lacks are left out
        """
        files = {"optimiser": optimiser, "model": model, "sampling": sampling}
        found = {}
        for name, field in cls.model_fields.items():
            extra = field.json_schema_extra
            if not extra["saved"] or extra["saved"][1] not in files[extra["saved"][0]]:
                continue
            value = files[extra["saved"][0]][extra["saved"][1]]
            if extra["saved_in_A"]:
                value = float(value) / pixel_size_A
            elif is_switch(field):
                value = bool(int(value))
            found[name] = value
        return found

    def continued(self, saved: Mapping[str, Any], record: Mapping[str, Any] | None = None) -> ProgramOptions:
        """Options of a run that goes on: what the user gives now, else what the run's files hold, else the default.

        Parameters
        ----------
        saved : field name -> value, from ``saved_values``
        record : field name -> value that the user chose at the start, from ``option_text.read_record``: for the few
            options that RELION's files have no label for

        Raises  InputError: an option that decides what has been computed so far is given with another value.
        """
        fields = type(self).model_fields
        kept = {
            name: value
            for name, value in (record or {}).items()
            if name in fields and fields[name].json_schema_extra["group"] not in ("compute", "output", "input")
        }
        kept.update(saved)
        old = type(self).model_validate({**self.model_dump(), **kept})
        for name, field in fields.items():
            flag = flag_of(name, field)
            if flag == "continue" or field.json_schema_extra["on_continue"] or self.origin(name) != "user":
                continue
            now, then = getattr(self, name), getattr(old, name) if name in kept else field.default
            if now != then:
                todo = f"leave --{flag} out, or start a new run"
                raise InputError(f"--{flag}: found {now!r} with --continue, expected {then!r} as in the run; {todo}")
        return self.replaced({k: v for k, v in kept.items() if self.origin(k) != "user"}, "continued run")


def again(program: type[ProgramOptions], name: str, help: str = "", *, default: Any = ..., **extra: Any) -> Any:
    """An option of another program, with other words or another rule.

    Parameters
    ----------
    program, name : where it is declared, and the field's name there
    help : in place of the option's own
    default : in place of the option's own; ... keeps that
    extra : ``unset``, ``on_continue``, ``saved``, ... as of ``option``
    """
    field = copy.copy(program.model_fields[name])
    unknown = set(extra) - set(field.json_schema_extra)
    if unknown:
        raise ValueError(f"again: found {', '.join(sorted(unknown))}, expected {', '.join(field.json_schema_extra)}")
    field.description = help or field.description
    field.default = field.default if default is ... else default
    field.json_schema_extra = {**field.json_schema_extra, **extra}
    return field


# The words of --j where processes share the work.
SHARED_THREADS = "threads of each process; 0 shares the cores of a machine among those on it"


class Common(ProgramOptions):
    """Options that most programs have; each takes them to its place with ``again``."""

    pipeline_control: str | None = option(
        None, "folder for RELION_JOB_EXIT_SUCCESS, _FAILURE or _ABORTED", group="output", metavar="FOLDER", unset="none"
    )
    verb: int = option(1, "0 is silent", group="output", ge=0)
    j: int = option(0, "threads; 0 is all that the process may use", group="compute", ge=0)
