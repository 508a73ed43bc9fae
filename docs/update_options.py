"""Write the option tables of docs/programs/*.md: python docs/update_options.py. A test holds that they agree."""

from __future__ import annotations

import sys
from pathlib import Path

from vitreous import cli
from vitreous.programs.option_text import markdown_table

BEGIN, END = "<!-- options: made by docs/update_options.py -->", "<!-- end of options -->"


def updated(text: str, table: str) -> str:
    """A page with the table between its two markers; pages without markers stay as they are."""
    if BEGIN not in text:
        return text
    head, rest = text.split(BEGIN, 1)
    return f"{head}{BEGIN}\n\n{table}\n{END}{rest.split(END, 1)[1]}"


def main() -> int:
    """Update every page; returns how many changed."""
    n_changed = 0
    for page in sorted((Path(__file__).parent / "programs").glob("*.md")):
        if page.stem in cli.PROGRAMS:
            old = page.read_text(encoding="utf-8")
            new = updated(old, markdown_table(cli.load(page.stem).Options))
            if new != old:
                page.write_text(new, encoding="utf-8")
                print(f"{page}: options written")
                n_changed += 1
    return n_changed


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
