"""Every equation that code cites is on the page, and the page has none that nothing cites."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
CODE = [path for folder in ("csrc", "cuda", "python") for suffix in ("hpp", "cpp", "cu", "cuh", "py")
        for path in (ROOT / folder).rglob(f"*.{suffix}")]


def cited():
    """Anchor -> a file that cites it; "equations.md#a, #b" cites two."""
    found = {}
    for path in CODE:
        for run in re.findall(r"equations\.md((?:(?:, )?#[a-z0-9-]+)+)", path.read_text(encoding="utf-8")):
            found |= dict.fromkeys(re.findall(r"#([a-z0-9-]+)", run), path.name)
    return found


def headings():
    return set(re.findall(r"^## (\S+)$", (ROOT / "docs" / "equations.md").read_text(encoding="utf-8"), re.M))


def test_equations_cited_exist():
    assert len(CODE) > 20
    assert {anchor: file for anchor, file in cited().items() if anchor not in headings()} == {}


def test_equations_are_cited():
    assert headings() - set(cited()) == set()
