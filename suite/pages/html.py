"""Pages -> one self-contained HTML file: no other file, no network; headings sort on click and on Enter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from suite.pages.layout import COSTS, FLAG, Entry, Line, Page, Sheet, shortened

#: How much of a reason a cell shows; its tooltip and the footnotes give all of it.
REASON = 40

STYLE = """
:root { color-scheme: light dark; --line: light-dark(#d5d9e0, #3a3f49); --soft: light-dark(#5b6472, #a3abb8);
  --first: light-dark(#e6f4ea, #1f3527); --head: light-dark(#f4f6f9, #23272e); --mark: light-dark(#b3261e, #ff8a80); }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; padding: 0 1rem; max-width: 76rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .4rem 0; }
th, td { padding: .35rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td.why { text-align: left; }
thead th { background: var(--head); vertical-align: bottom; }
tbody th { font-weight: 500; }
tbody tr:hover { background: var(--head); }
button { all: unset; cursor: pointer; } button:focus-visible { outline: 2px solid; outline-offset: 2px; }
th[aria-sort] button::after { content: " ▾"; } th[aria-sort=descending] button::after { content: " ▴"; }
small, .why, .half { color: var(--soft); } .rank { display: inline-block; min-width: 3.2em; font-weight: 600; }
.first { background: var(--first); }
.flag { color: var(--mark); font-weight: 700; }
ul { color: var(--soft); font-size: .875rem; padding-left: 1.2rem; }
"""

SCRIPT = """
for (const button of document.querySelectorAll("thead button")) button.onclick = () => {
  const th = button.closest("th"), table = th.closest("table"), body = table.tBodies[0], i = th.cellIndex;
  const up = th.getAttribute("aria-sort") !== "ascending";
  for (const other of table.querySelectorAll("thead th")) other.removeAttribute("aria-sort");
  th.setAttribute("aria-sort", up ? "ascending" : "descending");
  const key = row => row.cells[i].dataset.v ?? "", sign = up ? 1 : -1;
  const order = (a, b) => (a === "") - (b === "") || sign * (a - b || (isNaN(a) ? a.localeCompare(b) : 0));
  body.append(...[...body.rows].sort((a, b) => order(key(a), key(b))));
};
"""


def webpage(pages: Sequence[Page]) -> str:
    """Returns the pages as one HTML document."""
    sections = "\n".join(_section(page) for page in pages)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Board: {escape(pages[0].title if len(pages) == 1 else 'latent-suite')}</title>\n"
        f"<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>Board</h1>\n{sections}\n</main>\n"
        f"<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _section(page: Page) -> str:
    tables = "\n".join(_table(sheet) for sheet in page.sheets)
    notes = "\n".join(f"<li>{escape(note)}</li>" for note in page.notes)
    return f"<section>\n<h2>{escape(page.title)}</h2>\n{tables}\n<ul>\n{notes}\n</ul>\n</section>"


def _table(sheet: Sheet) -> str:
    heads = ["model", *(["overall"] if sheet.overall else [])]
    heads += [f"{escape(head.task)}<br><small>{escape(head.measure)}</small>" for head in sheet.heads]
    heads += [f"<small>{escape(heading)}</small>" for heading, _ in COSTS.values()]
    cells = [f'<th scope="col"><button type="button">{head}</button></th>' for head in heads]
    rows = "\n".join(_row(line, sheet.overall) for line in sheet.lines)
    return (
        f'<div class="scroll" tabindex="0"><table>\n<caption>{escape(sheet.caption.capitalize())}</caption>\n'
        f"<thead><tr>{''.join(cells)}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table></div>"
    )


def _row(line: Line, overall: bool) -> str:
    cells = [f'<th scope="row" data-v="{escape(line.model)}">{escape(line.model)}</th>']
    if overall:
        cells.append(f"<td{_number(line.sort)}>{line.overall.replace('-', '–') or '–'}</td>")
    costs = (f'<td class="half"{_number(cost.sort)}>{cost.value}</td>' for cost in line.costs)
    return f"<tr>{''.join([*cells, *map(_cell, line.entries), *costs])}</tr>"


def _cell(entry: Entry) -> str:
    if entry.reason:
        return f'<td class="why" title="{escape(entry.reason)}">{escape(shortened(entry.reason, REASON))}</td>'
    value = escape(entry.value).replace(FLAG, f'<span class="flag">{FLAG}</span>')
    half = f' <span class="half">± {entry.half}</span>' if entry.half else ""
    rank = f' <span class="rank">{escape(entry.rank).replace("-", "–")}</span>' if entry.value else ""
    first = ' class="first"' if entry.first else ""
    return f"<td{first}{_number(entry.sort)}>{value}{half}{rank}</td>"


def _number(value: float) -> str:
    return "" if math.isnan(value) else f' data-v="{value!r}"'
