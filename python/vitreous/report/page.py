"""A self-contained HTML page: text, tables, cards and figures in one file, with nothing to load from elsewhere."""

from __future__ import annotations

import base64
import io
import re
import struct
import zlib
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np

PIXELS_FOR_CONTRAST = 65_521  # of a larger image these many; about a prime, so that columns are not taken alone
STYLE = """
:root { --ink: #1d2530; --soft: #5b6673; --line: #dde3ea; --tint: #f5f7fa; --accent: #1f6f8b; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem 1.5rem 3rem; color: var(--ink); background: #fff;
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }
h1 { font-size: 1.6rem; margin: 0; line-height: 1.2; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; padding-bottom: .25rem; border-bottom: 1px solid var(--line); }
p { margin: .3rem 0 .8rem; max-width: 60rem; }
.soft, figcaption, small { color: var(--soft); }
code { font-size: .92em; overflow-wrap: anywhere; }
nav { margin: .8rem 0 0; font-size: .9rem; }
nav a { color: var(--accent); margin-right: 1.1rem; text-decoration: none; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)); gap: .6rem; margin: 1.2rem 0; }
.facts div { background: var(--tint); border-radius: 6px; padding: .5rem .7rem; }
.facts b { display: block; font-size: 1.15rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.facts span { color: var(--soft); font-size: .82rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(30rem, 100%), 1fr));
  gap: 1rem 1.5rem; }
figure { margin: 0; break-inside: avoid; } figure svg, figure img { width: 100%; height: auto; display: block; }
figcaption { font-size: .85rem; margin-top: .2rem; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(7.4rem, 1fr)); gap: .7rem; }
.card { break-inside: avoid; font-size: .78rem; line-height: 1.35; font-variant-numeric: tabular-nums; }
.card.faint { opacity: .55; } .card b { font-size: .9rem; } .card .pics { display: flex; gap: 2px; }
.card .pic { position: relative; flex: 1; background: #000; border-radius: 3px; overflow: hidden; }
.card img { width: 100%; display: block; }
.card i { position: absolute; left: 6%; bottom: 6%; height: 3px; background: #fff; opacity: .85; }
.card .share { height: 3px; background: var(--tint); margin: .25rem 0 .1rem; }
.card .share span { display: block; height: 100%; background: var(--accent); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; margin: .4rem 0 1rem; }
th { text-align: left; font-weight: 600; }
th, td { padding: .22rem .9rem .22rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; } td.n, th.n { text-align: right; } tr.chosen td { font-weight: 600; }
td a { color: var(--accent); } td.n { white-space: nowrap; }
.warning { border-left: 4px solid #d98c1f; background: #fdf6ea; padding: .5rem .8rem; margin: .8rem 0; }
details { margin: .5rem 0; } summary { cursor: pointer; color: var(--accent); }
@media print { body { max-width: none; padding: 0; font-size: 11px; } nav { display: none; }
  h2 { break-after: avoid; } }
"""


def png(image: np.ndarray) -> bytes:
    """An 8-bit grey PNG file.

    Parameters
    ----------
    image : (ny, nx) uint8
    """
    rows = np.zeros((image.shape[0], image.shape[1] + 1), np.uint8)  # each row begins with its filter type, 0 = none
    rows[:, 1:] = image

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", image.shape[1], image.shape[0], 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows.tobytes()))
        + chunk(b"IEND", b"")
    )


def grey(image: np.ndarray, low_percent: float = 0.5, high_percent: float = 99.8) -> np.ndarray:
    """uint8 image with its own contrast, between two percentiles; not-a-number and constant images become black."""
    image = np.nan_to_num(np.asarray(image, float))
    some = image.ravel()[:: max(1, image.size // PIXELS_FOR_CONTRAST)]
    low, high = np.percentile(some, [low_percent, high_percent])
    if not high > low:
        return np.zeros(image.shape, np.uint8)
    return np.rint(255 * np.clip((image - low) / (high - low), 0, 1)).astype(np.uint8)


def thumbnail(image: np.ndarray, most_px: int = 112) -> np.ndarray:
    """The image averaged over whole squares of pixels until it is at most about ``most_px`` wide."""
    factor = -(-max(image.shape) // most_px)
    if factor <= 1:
        return np.asarray(image)
    ny, nx = (n // factor * factor for n in image.shape)
    return image[:ny, :nx].reshape(ny // factor, factor, nx // factor, factor).mean(axis=(1, 3))


def image_tag(image: np.ndarray, alt: str, bar: float = 0.0, most_px: int = 112) -> str:
    """HTML of an image with a scale bar ``bar`` wide, as a fraction of the image; 0 = none."""
    data = base64.b64encode(png(grey(thumbnail(image, most_px)))).decode()
    ruler = f'<i style="width:{100 * bar:.1f}%"></i>' if bar else ""
    return f'<div class="pic"><img alt="{escape(alt, quote=True)}" src="data:image/png;base64,{data}">{ruler}</div>'


def card(pictures: Sequence[str], lines: Sequence[str], share: float | None = None, faint: bool = False) -> str:
    """Pictures (from ``image_tag``) side by side over lines of HTML and a bar for a share between 0 and 1."""
    bar = "" if share is None else f'<div class="share"><span style="width:{100 * share:.1f}%"></span></div>'
    return (
        f'<div class="card{" faint" if faint else ""}"><div class="pics">{"".join(pictures)}</div>{bar}'
        f"{'<br>'.join(lines)}</div>"
    )


def svg(figure) -> str:
    """A matplotlib figure as an <svg> element; one from ``charts`` is one already."""
    if isinstance(figure, str):
        return figure
    import matplotlib

    text = io.StringIO()
    # a fixed salt gives the same bytes for the same figure; text stays text, in the page's own font
    with matplotlib.rc_context({"svg.hashsalt": figure.get_label() or "vitreous", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def number(value: Any) -> str:
    """A table cell: floats to 4 digits, whole numbers in full, None as a dash."""
    if value is None:
        return "–"
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (float, np.floating)):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, (int, np.integer)) else str(value)


class Markup(str):
    """Text of a table cell that is HTML already."""


def link(text: str, href: str) -> Markup:
    """A link, for a table cell."""
    return Markup(f'<a href="{escape(href, quote=True)}">{escape(text)}</a>')


def cell_html(value: Any) -> str:
    """A table cell as HTML."""
    return value if isinstance(value, Markup) else escape(number(value))


def _is_number(cell: Any) -> bool:
    """Whether a cell belongs on the right: a number, written or not, or the dash of a missing one."""
    if isinstance(cell, (bool, np.bool_)):
        return False
    return cell is None or isinstance(cell, (int, float, np.number)) or bool(re.fullmatch(r"[-+\d.,]+|–", str(cell)))


class Page:
    """Collects the parts of a page in order; ``html()`` gives the whole.

    Text given to the methods is plain and is escaped here, except where a parameter's name ends with ``_html``.
    """

    def __init__(self, title: str, subtitle: str = ""):
        self.title, self.subtitle = title, subtitle
        self._parts: list[str] = []
        self._sections: list[str] = []

    def section(self, heading: str, text: str = "") -> None:
        """Begin a section; its heading is in the contents at the top."""
        self._sections.append(heading)
        self._parts.append(f'<h2 id="s{len(self._sections)}">{escape(heading)}</h2>')
        if text:
            self.text(text)

    def text(self, text: str) -> None:
        self._parts.append(f"<p>{escape(text)}</p>")

    def links(self, items: Iterable[tuple[str, str]]) -> None:
        """One line of links: (where, text)."""
        found = " · ".join(f'<a href="{escape(where, quote=True)}">{escape(text)}</a>' for where, text in items)
        self._parts.append(f"<p>{found}</p>")

    def warning(self, text: str) -> None:
        self._parts.append(f'<div class="warning">{escape(text)}</div>')

    def facts(self, facts: Iterable[tuple[str, Any]]) -> None:
        """Large numbers in boxes: (what it is, value)."""
        boxes = (f"<div><b>{escape(number(value))}</b><span>{escape(name)}</span></div>" for name, value in facts)
        self._parts.append(f'<div class="facts">{"".join(boxes)}</div>')

    def table(
        self, head: Sequence[str], rows: Iterable[Sequence[Any]], chosen: Sequence[bool] = (), fold: str = ""
    ) -> None:
        """A table; numbers are aligned right, ``chosen`` rows are bold, ``fold`` hides the table behind that word."""
        rows = [list(row) for row in rows]
        numeric = [bool(rows) and all(_is_number(row[i]) for row in rows) for i in range(len(head))]
        kind = [' class="n"' if n else "" for n in numeric]
        lines = ["<tr>" + "".join(f"<th{k}>{escape(h)}</th>" for h, k in zip(head, kind)) + "</tr>"]
        for i, row in enumerate(rows):
            cells = "".join(f"<td{k}>{cell_html(c)}</td>" for c, k in zip(row, kind))
            lines.append(f"<tr{' class=chosen' if i < len(chosen) and chosen[i] else ''}>{cells}</tr>")
        table = f'<div class="scroll"><table>{"".join(lines)}</table></div>'
        self._parts.append(f"<details><summary>{escape(fold)}</summary>{table}</details>" if fold else table)

    def figures(self, figures: Iterable[tuple[Any, str]]) -> None:
        """Figures of matplotlib or of ``charts`` side by side: (figure, caption)."""
        items = (
            f'<figure role="img" aria-label="{escape(text, quote=True)}">{svg(figure)}'
            f"<figcaption>{escape(text)}</figcaption></figure>"
            for figure, text in figures
        )
        self._parts.append(f'<div class="figures">{"".join(items)}</div>')

    def gallery(self, cards_html: Iterable[str], fold: str = "", min_rem: float = 0) -> None:
        """Cards (from ``card``) in a grid; ``min_rem`` makes them wider than usual."""
        width = f' style="grid-template-columns:repeat(auto-fill,minmax({min_rem}rem,1fr))"' if min_rem else ""
        grid = f'<div class="gallery"{width}>{"".join(cards_html)}</div>'
        self._parts.append(f"<details><summary>{escape(fold)}</summary>{grid}</details>" if fold else grid)

    def html(self) -> str:
        """The page."""
        contents = "".join(f'<a href="#s{i}">{escape(name)}</a>' for i, name in enumerate(self._sections, 1))
        return (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(self.title)}</title>'
            f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head><body>'
            f'<h1>{escape(self.title)}</h1><p class="soft">{escape(self.subtitle)}</p><nav>{contents}</nav>'
            f"{''.join(self._parts)}</body></html>\n"
        )
