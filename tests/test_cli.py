import json
import resource
import subprocess
import sys
import textwrap
from types import ModuleType

import pytest

from vitreous import __version__, cli
from vitreous.errors import InputError
from vitreous.programs.options import ProgramOptions, option


class Options(ProgramOptions):
    PROGRAM = "trial"
    SUMMARY = "a program of this test"
    n: int = option(1, "how many", group="basic", ge=1)
    gpu: str | None = option(None, "GPUs", group="compute", unset="the CPU", bare="default")
    j: int = option(1, "threads", group="compute", ge=0)
    pipeline_control: str | None = option(None, "folder", group="output", unset="none")


@pytest.fixture
def trial(monkeypatch):
    """A program named trial; its run is what a test sets as ``module.body``, its calls are ``module.calls``."""
    module = ModuleType("trial_program")
    module.Options, module.calls, module.body = Options, [], lambda: None

    def run(options, be, comm):
        module.calls.append((options, be, comm))
        return module.body()

    module.run = run
    monkeypatch.setitem(sys.modules, "trial_program", module)
    monkeypatch.setitem(cli.PROGRAMS, "trial", ("trial_program", "a program of this test"))
    return module


def raiser(error):
    def body():
        raise error

    return body


def test_main_runs_the_program_with_options_backend_and_comm(trial):
    assert cli.main(["trial", "--n", "3"]) == 0
    ((options, be, comm),) = trial.calls
    assert (options.n, be.n_threads, comm.size) == (3, 1, 1)


def test_call_from_python_returns_the_result(trial):
    trial.body = lambda: "classes"
    assert cli.call("trial", n=2, j=2) == "classes"
    assert trial.calls[0][0].n == 2 and trial.calls[0][1].n_threads == 2


def test_gpu_without_cuda_runs_on_the_cpu_and_says_so(trial, capsys):
    assert cli.main(["trial", "--gpu", "0,1"]) == 0
    assert "--gpu: running on the CPU with 1 threads: " in capsys.readouterr().out
    assert len(trial.calls) == 1


def test_user_error_is_one_line_and_exit_2(trial, capsys):
    assert cli.main(["trial", "--n", "0"]) == 2
    found = capsys.readouterr()
    assert found.err == "error: --n: found '0', expected a whole number >= 1; see vitreous trial --help\n"
    trial.body = raiser(InputError("a.star:3: found x,\n expected y; do z"))
    assert cli.main(["trial"]) == 2
    assert capsys.readouterr().err == "error: a.star:3: found x, expected y; do z\n"


def test_pydantic_error_is_one_line_and_exit_2(trial, capsys):
    trial.body = lambda: Options(n="many")
    assert cli.main(["trial"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_bug_keeps_its_traceback_and_exit_1(trial, capsys):
    trial.body = raiser(ZeroDivisionError("seven"))
    assert cli.main(["trial"]) == 1
    found = capsys.readouterr().err
    assert "Traceback" in found and "ZeroDivisionError: seven" in found


def test_ctrl_c_exits_130(trial, capsys):
    trial.body = raiser(KeyboardInterrupt())
    assert cli.main(["trial"]) == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "marker"),
    [
        (None, 0, "SUCCESS"),
        (InputError("x"), 2, "FAILURE"),
        (RuntimeError("x"), 1, "FAILURE"),
        (KeyboardInterrupt(), 130, "ABORTED"),
    ],
)
def test_pipeline_control_leaves_the_marker_of_how_it_ended(trial, tmp_path, error, code, marker):
    for stale in ("SUCCESS", "FAILURE", "ABORTED"):
        (tmp_path / f"RELION_JOB_EXIT_{stale}").touch()
    seen = []

    def body():
        seen.extend(tmp_path.iterdir())  # no stale marker while it runs
        if error:
            raise error

    trial.body = body
    assert cli.main(["trial", "--pipeline_control", f"{tmp_path}/"]) == code
    assert seen == []
    assert [path.name for path in tmp_path.iterdir()] == [f"RELION_JOB_EXIT_{marker}"]


def test_pipeline_control_marks_a_failure_before_the_run(trial, tmp_path):
    assert cli.main(["trial", f"--pipeline-control={tmp_path}", "--oops"]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["RELION_JOB_EXIT_FAILURE"]


def test_abort_request_is_answered_and_removed(trial, tmp_path):
    class Asked(KeyboardInterrupt):
        exit_code, told = 2, True

    def body():
        (tmp_path / "RELION_JOB_ABORT_NOW").touch()
        raise Asked

    trial.body = body
    assert cli.main(["trial", "--pipeline_control", str(tmp_path)]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["RELION_JOB_EXIT_ABORTED"]


def test_pipeline_control_needs_its_folder(trial, tmp_path, capsys):
    assert cli.main(["trial", "--pipeline_control", str(tmp_path / "none")]) == 2
    assert "which is no folder" in capsys.readouterr().err
    assert trial.calls == []


def test_unknown_program_names_the_nearest(capsys):
    assert cli.main(["clas2d", "--i", "x"]) == 2
    assert "did you mean vitreous class2d?" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_overall_help_lists_every_program(words, capsys):
    assert cli.main(words) == 0
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in cli.PROGRAMS)


@pytest.mark.parametrize("words", [["--version"], ["class2d", "--version"]])
def test_version(words, capsys):
    assert cli.main(words) == 0
    assert capsys.readouterr().out == f"vitreous {__version__}\n"


@pytest.mark.parametrize("name", cli.PROGRAMS)
def test_every_program_has_help_options_and_run(name, capsys):
    module = cli.load(name)
    assert name == module.Options.PROGRAM and callable(module.run)
    assert cli.main([name, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"vitreous {name}: ")


def test_json_schema_is_json(capsys):
    assert cli.main(["class2d", "--json_schema"]) == 0
    assert "psi_step" in json.loads(capsys.readouterr().out)["properties"]


def test_help_into_a_closed_pipe_is_no_error():
    text = "import sys; from vitreous.cli import main; sys.exit(main(['class2d', '--help']))"
    run = subprocess.run(["bash", "-c", f'{sys.executable} -c "{text}" | true'], capture_output=True, text=True)
    assert run.stderr == ""


def test_help_needs_no_heavy_imports():
    heavy = ("numpy", "scipy", "pydantic", "matplotlib", "rich", "mrcfile")
    text = f"""
        import sys
        from vitreous.cli import main
        main(["--help"])
        sys.exit(", ".join(name for name in {heavy} if name in sys.modules) or 0)
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(text)], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ('main(["class2d", "--help"])', ("numpy", "scipy", "matplotlib")),
        ('main(["class2d", "--mistyped", "5"])', ("numpy", "scipy", "matplotlib")),
        ('load("class2d")', ("matplotlib",)),  # a report is written at the end
    ],
)
def test_class2d_imports_only_what_it_needs(statement, heavy):
    text = f"""
        import sys
        from vitreous.cli import load, main
        sys.stderr = sys.stdout
        {statement}
        sys.exit(", ".join(name for name in {heavy} if name in sys.modules) or 0)
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(text)], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")


def test_help_is_fast():
    def cpu_s():
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    times = []
    for _ in range(3):  # processor time, and the least of three, as others may use the machine
        start = cpu_s()
        subprocess.run([sys.executable, "-m", "vitreous", "--help"], check=True, capture_output=True)
        times.append(cpu_s() - start)
    assert min(times) < 0.3, f"vitreous --help took {min(times):.2f} s"


def test_sigterm_ends_a_run_as_ctrl_c_does(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys, time
            from vitreous import cli
            from vitreous.job.job import Job
            from vitreous.programs.options import ProgramOptions

            class Options(ProgramOptions):
                PROGRAM = "trial"

            def run(options, be, comm):
                with Job("trial", "job/run"):
                    print("ready", flush=True)
                    time.sleep(60)

            cli.PROGRAMS["trial"] = ("__main__", "x")
            sys.exit(cli.main(["trial"]))
            """
        )
    )
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, script], cwd=tmp_path, stdout=pipe, stderr=pipe, text=True)
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    _, err = process.communicate(timeout=20)
    assert process.returncode == 143
    assert "Traceback" not in err and "stopped after" in err
    last = (tmp_path / "job/run.jsonl").read_text().splitlines()[-1]
    assert json.loads(last)["status"] == "interrupted"
