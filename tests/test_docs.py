"""Pages agree with the programs."""

import importlib.util
from pathlib import Path

import pytest

from vitreous import cli
from vitreous.programs.option_text import markdown_table

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("update_options", DOCS / "update_options.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", [name for name in cli.PROGRAMS if (DOCS / "programs" / f"{name}.md").exists()])
def test_docs_option_tables_are_those_of_the_programs(tool, name):
    page = (DOCS / "programs" / f"{name}.md").read_text(encoding="utf-8")
    table = markdown_table(cli.load(name).Options)
    assert tool.updated(page, table) == page, "run: python docs/update_options.py"


def test_docs_class2d_has_the_table():
    assert "| `--psi_step` (deg) | 10 deg |" in (DOCS / "programs" / "class2d.md").read_text(encoding="utf-8")


def test_docs_a_stale_table_is_found(tool):
    page = f"a\n{tool.BEGIN}\nold\n{tool.END}\nb"
    assert tool.updated(page, "new") == f"a\n{tool.BEGIN}\n\nnew\n{tool.END}\nb"
    assert tool.updated("no markers", "new") == "no markers"


def test_docs_decisions_have_one_number_each():
    numbers = [path.name[:4] for path in (DOCS / "decisions").glob("*.md")]
    assert len(numbers) == len(set(numbers)) and all(number.isdigit() for number in numbers)
