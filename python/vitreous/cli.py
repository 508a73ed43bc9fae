"""``vitreous <program> [options]``: finds the program, reads its options, runs it, and says how it ended.

Under mpirun the processes share the work of a program that can be shared; of any other, rank 0 does all.

Exit codes: 0 done, 1 a fault of ours (with traceback), 2 a fault in the input or a stop that the pipeline asked for,
130 Ctrl-C, 143 SIGTERM.
"""

from __future__ import annotations

import difflib
import os
import platform
import signal
import sys
import threading
import time
import traceback
from contextlib import nullcontext, redirect_stdout, suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from vitreous.errors import InputError

# Program -> module and one line for the help. The modules are imported when they are called.
PROGRAMS = {
    "align-symmetry": ("vitreous.programs.align_symmetry", "the axes of a point group in a map; which group it has"),
    "auto": ("vitreous.programs.auto", "all steps from micrographs or particles to a map, with the choices made"),
    "autopick": ("vitreous.programs.autopick", "finds particles in micrographs, as blobs or by templates"),
    "class2d": ("vitreous.programs.class2d", "2D classification of particle images"),
    "extract": ("vitreous.programs.extract", "particles cut out of micrographs; refined particles again"),
    "image-handler": ("vitreous.programs.image_handler", "arithmetic, filters and sizes of images, stacks and maps"),
    "import": ("vitreous.programs.import_", "micrographs with a CTF table of any program, and coordinates"),
    "mask-create": ("vitreous.programs.mask_create", "a soft mask from a map, or a ball or shell"),
    "postprocess": ("vitreous.programs.postprocess", "resolution of two half maps, and their sharpened average"),
    "reconstruct": ("vitreous.programs.reconstruct", "a map from particle images with known orientations"),
    "star-downgrade": ("vitreous.programs.star_downgrade", "a STAR file for Warp and M, or as RELION 3.0 wrote it"),
    "manual-pick": ("vitreous.programs.manual_pick", "picks made in any viewer, in and out"),
    "select": ("vitreous.programs.select", "particles of chosen classes; micrographs; split, regroup, re-centre averages"),
    "star-handler": ("vitreous.programs.star_handler", "one operation on a STAR file: select, combine, split, centre"),
    "symmetry-expand": ("vitreous.programs.symmetry_expand", "particles once per equivalent orientation of a symmetry"),
    "project": ("vitreous.programs.project", "projections of a map"),
    "simulate": ("vitreous.programs.simulate", "particle images or micrographs with known truth"),
    "class3d": ("vitreous.programs.class3d", "3D classification of particle images"),
    "initial-model": ("vitreous.programs.initial_model", "3D initial models from particle images alone"),
    "refine3d": ("vitreous.programs.refine3d", "3D refinement of one map from two independent half-sets"),
    "report": ("vitreous.programs.report", "all jobs of a project folder: how they ended, what they cost and found"),
    "demo": ("vitreous.programs.demo", "a run on self-made data, compared with the truth"),
    "doctor": ("vitreous.programs.doctor", "what this installation and machine can do, and how to get what is missing"),
}
MARKER = "RELION_JOB_EXIT_"
ABORT_REQUEST = "RELION_JOB_ABORT_NOW"
BOUND_BY_OPEN_MPI = "OMPI_MCA_orte_bound_at_launch"  # a variable that mpirun sets


class Terminated(KeyboardInterrupt):
    """SIGTERM, e.g. the time limit of a queue: ends the run as Ctrl-C does, with its log closed."""

    exit_code = 143


def overall_help() -> str:
    """The text of ``vitreous --help``."""
    width = max(map(len, PROGRAMS)) + 2
    lines = ["vitreous: single-particle cryo-EM and cryo-ET in one engine", "", "  vitreous <program> [options]", ""]
    lines += [f"  {name:<{width}}{summary}" for name, (_, summary) in PROGRAMS.items()]
    lines += ["", "  vitreous <program> --help    options of a program", "  vitreous --version"]
    return "\n".join(lines) + "\n"


def load(name: str) -> ModuleType:
    """The module of a program; raises InputError with the nearest name where there is none."""
    return import_module(module_name(name))


def load_options(name: str) -> Any:
    """The class of a program's options; where they have a module of their own, the program need not be imported."""
    apart = module_name(name) + "_options"
    return (import_module(apart) if find_spec(apart) else load(name)).Options


def module_name(name: str) -> str:
    """Where a program is; raises InputError with the nearest name where there is none."""
    key = name.lower().replace("_", "-")
    if key not in PROGRAMS:
        near = difflib.get_close_matches(key.removeprefix("relion-"), PROGRAMS, n=1, cutoff=0.6)
        todo = f"did you mean vitreous {near[0]}?" if near else "see vitreous --help"
        raise InputError(f"vitreous {name}: found no such program, expected one of {', '.join(PROGRAMS)}; {todo}")
    return PROGRAMS[key][0]


def make_backend(options: Any, comm: Any) -> Any:
    """The device that the options ask for, or the CPU with a line that says so."""
    from vitreous import backend

    try:
        be = backend.cpu(getattr(options, "j", 0) or comm.n_threads)
    except RuntimeError as error:
        raise InputError(f"backend: {error}") from None
    tells = comm.rank == 0 and getattr(options, "verb", 1)
    if getattr(options, "gpu", None) is not None and tells:
        try:
            backend.cuda()
            why = "not all of this program's steps are written for GPUs yet"
        except RuntimeError as error:
            why = str(error)
        print(f" --gpu: running on the CPU with {be.n_threads} threads: {why}", flush=True)
    if comm.size > 1 and tells:
        print(f" {comm.size} processes, {comm.node_size} on this machine, {threads_text(be.n_threads, comm)}", flush=True)
    return be


def threads_text(n_threads: int, comm: Any) -> str:
    """How many threads each process has, and whether the launcher keeps them from more."""
    bound = BOUND_BY_OPEN_MPI in os.environ and n_threads * comm.node_size < (os.cpu_count() or 1)
    why = " (mpirun binds them to these cores; --bind-to none gives them all)" if bound else ""
    return f"with {n_threads} thread{'s' if n_threads > 1 else ''} each{why}"


def call(name: str, **keywords: Any) -> Any:
    """Run a program from Python: call("class2d", i="particles.star", o="Class2D/run", K=50); returns its result.

    In a script under mpirun all processes call it and share the work; an error of one of them ends them all.
    """
    from vitreous.comm import launched

    comm = launched()
    try:
        return run_shared(name, load_options(name).from_keywords(**keywords), comm)
    except BaseException as error:
        if comm.size > 1:
            comm.stop(tell(error, comm))
        raise


def run_shared(name: str, options: Any, comm: Any) -> Any:
    """The result of a program, on all processes that have a part in it; None on those that have none."""
    from vitreous.comm import LocalComm

    program, result = load(name), None
    if options.SHARED or comm.size == 1:
        result = program.run(options, make_backend(options, comm), comm)
    elif comm.rank == 0:
        print(f" vitreous {name} runs on one process: {comm.size - 1} have nothing to do", flush=True)
        result = program.run(options, make_backend(options, LocalComm()), LocalComm())
    comm.gather([])  # nobody leaves before rank 0 has written everything
    return result


def run_program(name: str, words: list[str], comm: Any) -> None:
    """Read a program's options from the words of its command line and run it, or print its help."""
    program = load_options(name)
    from vitreous.programs import option_parser, option_text

    if {"--help", "-h"} & set(words):
        print(option_text.program_help(program), end="")
    elif {"--json_schema", "--json-schema"} & set(words):
        import json

        print(json.dumps(program.model_json_schema(by_alias=True), indent=1))
    else:
        run_shared(name, option_parser.parse(program, words), comm)


def control_folder(words: list[str]) -> Path | None:
    """The folder for exit markers, from the raw words, so that an error in other options leaves its marker too."""
    names = ("--pipeline_control", "--pipeline-control")
    folder = None
    for i, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag in names and (equals or i + 1 < len(words)):
            folder = value if equals else words[i + 1]
    if not folder:
        return None
    if not Path(folder).is_dir():
        raise InputError(f"--pipeline_control: found {folder!r}, which is no folder, expected a job's folder; make it")
    return Path(folder)


def mark(folder: Path | None, ending: str) -> None:
    """Leave the marker of how the job ended, and none other; the request to stop is answered by ABORTED."""
    failed = folder is not None and (folder / (MARKER + "FAILURE")).exists()
    if folder is None or (ending == "ABORTED" and failed):  # another process failed, and its launcher ends this one
        return
    for old in folder.glob(MARKER + "*"):
        old.unlink(missing_ok=True)
    if ending:
        (folder / (MARKER + ending)).touch()
    if ending == "ABORTED":
        (folder / ABORT_REQUEST).unlink(missing_ok=True)


def _is_user_error(error: Exception) -> bool:
    pydantic = sys.modules.get("pydantic")  # not imported just to ask
    return isinstance(error, InputError) or (pydantic is not None and isinstance(error, pydantic.ValidationError))


def _terminate(signum: int, frame: object) -> None:
    raise Terminated


def tell(error: BaseException, comm: Any) -> int:
    """Say why the program ends, once however many processes have found it; returns the exit code."""
    from vitreous.comm import GRACE_S

    if comm.rank:
        with suppress(ValueError):  # not in the main thread: a call from Python
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        time.sleep(GRACE_S)  # rank 0 ends us here if it knows of the error too
    where = f"process {comm.rank} of {comm.size} on {platform.node()}: " if comm.rank else ""
    if isinstance(error, KeyboardInterrupt):
        if comm.rank == 0 and not getattr(error, "told", False):
            print("\nstopped before a run began", file=sys.stderr)
        return getattr(error, "exit_code", 130)
    if _is_user_error(error):
        print(f"error: {where}{' '.join(str(error).split())}", file=sys.stderr)
    else:
        print(where + "".join(traceback.format_exception(error)), file=sys.stderr, end="")
    if comm.rank and hasattr(error, "tell_todo"):
        error.tell_todo()
    return 2 if _is_user_error(error) else 1


def run_words(words: list[str], folder: Path | None, comm: Any) -> None:
    """Do what a command line asks for."""
    if not words or words[0] in ("--help", "-h", "help"):
        print(overall_help(), end="")
    elif words[0] == "--version" or "--version" in words[1:]:
        from vitreous import __version__

        print(f"vitreous {__version__}")
    else:
        alone = comm.rank == 0
        mark(folder if alone else None, "")
        run_program(words[0], words[1:], comm)
        sys.stdout.flush()
        mark(folder if alone else None, "SUCCESS")


def main(argv: list[str] | None = None) -> int:
    """The console script; returns the exit code."""
    from vitreous.comm import LocalComm, launched

    words = list(sys.argv[1:] if argv is None else argv)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)
    folder, comm = None, LocalComm()
    try:
        comm = launched()
        folder = control_folder(words)
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere) if comm.rank else nullcontext():
            run_words(words, folder, comm)  # rank 0 alone speaks
        return 0
    except BrokenPipeError:  # the reader of our output has gone, as in: vitreous class2d --help | head -3
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code, ending = 1, "FAILURE"
    except (KeyboardInterrupt, Exception) as error:
        code = tell(error, comm)
        ending = "ABORTED" if isinstance(error, KeyboardInterrupt) else "FAILURE"
    mark(folder, ending)
    if comm.size > 1 and code == Terminated.exit_code:  # the launcher ends all, and need not be told to
        sys.stderr.flush()
        os._exit(code)
    comm.stop(code)  # the others wait for a process that will not come
    return code


if __name__ == "__main__":
    sys.exit(main())
