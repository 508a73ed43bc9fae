"""What an installation must have, whatever is tested otherwise."""

import re
import subprocess
import sys
from importlib.metadata import metadata, requires
from pathlib import Path

import pytest

import vitreous

ROOT = Path(__file__).parents[1]
PACKAGE_OF = {"yaml": "pyyaml"}  # where a module has another name than its package


def test_version_is_written_once():
    text = (ROOT / "pyproject.toml").read_text()
    assert re.search(r'^version = "([^"]+)"', text, re.M).group(1) == vitreous.__version__
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M).group(1)
    assert newest in ("Unreleased", vitreous.__version__)


def test_console_script_and_module_are_the_same():
    run = subprocess.run([sys.executable, "-m", "vitreous", "--version"], capture_output=True, text=True, check=True)
    assert run.stdout == f"vitreous {vitreous.__version__}\n"


def test_every_third_party_import_is_a_dependency():
    wanted = {re.match(r"[\w-]+", line).group(0).lower().replace("-", "_") for line in requires("vitreous") or []}
    found = set()
    for path in sorted((ROOT / "python" / "vitreous").rglob("*.py")):
        found |= set(re.findall(r"^\s*(?:from|import) (\w+)", path.read_text(), re.M))
    ours = set(sys.stdlib_module_names) | {"vitreous", "__future__"}
    assert {PACKAGE_OF.get(name, name) for name in found - ours} <= wanted


def test_licence_is_bsd_and_no_source_is_too_long():
    assert "BSD" in (metadata("vitreous").get("License-Expression") or metadata("vitreous").get("License") or "")
    long = [
        f"{path.relative_to(ROOT)}: {n} lines"
        for folder in ("python", "csrc", "cuda")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in (".py", ".cpp", ".hpp", ".cu", ".cuh")
        and (n := len(path.read_text().splitlines())) > 550  # 500 and a margin for a last addition
    ]
    assert long == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_documents_link_to_files_that_exist(name):
    for target in re.findall(r"\]\(([^)#:]+)[^):]*\)", (ROOT / name).read_text()):
        assert (ROOT / target).exists(), f"{name} links to {target}"


def test_ci_runs_the_commands_of_the_readme():
    readme, script = (ROOT / "README.md").read_text(), (ROOT / ".ci/run").read_text()
    for command in ("pip install '.[test]'", "pytest"):
        assert command in readme and command in script
