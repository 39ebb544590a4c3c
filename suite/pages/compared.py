"""Two models, compared -> text: a line per column of the board, the difference with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from suite.pages.layout import ARROWS
from suite.pages.text import escape_markdown, markdown_rows

#: Columns that are numbers, beside the two models'.
NUMBERS = ("difference", "interval", "images", "seeds")

#: What the columns mean; ``{a}`` and ``{b}`` are the models.
RULES = (
    "difference: {a} - {b}; 95 % interval of this one pair, over seeds (independent) and test images (paired)",
    "board: whether the ranks separate the two, which hold for all pairs of a column at once and so ask for more",
)

Rows = Sequence[Mapping[str, Any]]


def heads(a: str, b: str) -> tuple[str, ...]:
    """Returns the headings."""
    return ("task", "metric", a, b, "difference", "interval", "images", "seeds", "better", "board", "note")


def lines(rows: Rows) -> list[tuple[str, ...]]:
    """Returns a line of cells per row of ``suite.boards.compare``."""
    return [tuple("" if cell is None else str(cell) for cell in _line(row)) for row in rows]


def rules(a: str, b: str) -> str:
    """Returns what the columns mean."""
    return "\n".join(RULES).format(a=a, b=b)


def as_text(rows: Rows, a: str, b: str) -> str:
    """Returns the comparison as plain columns."""
    table = [heads(a, b), *lines(rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    right = [head in (*NUMBERS, a, b) for head in table[0]]
    texts = [
        "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True)).rstrip()
        for line in table
    ]
    return "\n".join([f"{a} and {b}", *texts, rules(a, b)]) + "\n"


def as_markdown(rows: Rows, a: str, b: str) -> str:
    """Returns the comparison as a Markdown table."""
    align = ["---:" if head in (*NUMBERS, a, b) else "---" for head in heads(a, b)]
    head, *texts = [[escape_markdown(cell) for cell in line] for line in (heads(a, b), *lines(rows))]
    return f"{markdown_rows([head, align, *texts])}\n\n{rules(a, b)}\n"


def as_html(rows: Rows, a: str, b: str) -> str:
    """Returns the comparison as an HTML table, everything escaped."""
    from html import escape

    def line(kind: str, cells: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<{kind}>{escape(cell)}</{kind}>" for cell in cells) + "</tr>"

    body = "".join(line("td", cells) for cells in lines(rows))
    told = "".join(f"<p>{escape(rule)}</p>" for rule in rules(a, b).splitlines())
    return f"<table><thead>{line('th', heads(a, b))}</thead><tbody>{body}</tbody></table>{told}"


def _line(row: Mapping[str, Any]) -> tuple[object, ...]:
    section = " ".join(str(row[name]) for name in ("dataset", "budget", "precision"))
    head = (f"{row['task']} ({section})", f"{row['metric']} {ARROWS.get(row['direction'], '')}".rstrip())
    if row["difference"] is None:
        return (*head, *[None] * 8, row["note"])
    # Two digits of the half-width, so that a bound near 0 shows its side of it.
    decimals = max(0, 1 - math.floor(math.log10(row["half"]))) if row["half"] else 3
    numbers = [f"{round(row[name], decimals) + 0.0:.{decimals}f}" for name in ("a", "b", "difference")]
    seeds = f"{len(row['seeds_a'])}, {len(row['seeds_b'])}"
    bounds = [f"{round(row[name] or 0.0, decimals) + 0.0:.{decimals}f}" for name in ("low", "high")]
    interval = "unknown" if row["half"] is None else " to ".join(bounds)
    better = row["better"] or ("neither" if row["direction"] else "")
    return (*head, *numbers, interval, row["images"], seeds, better, row["board"], row["note"])
