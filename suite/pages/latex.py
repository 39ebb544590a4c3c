"""Pages -> booktabs tables for LaTeX."""

from __future__ import annotations

from collections.abc import Sequence

from suite.pages.layout import COSTS, Entry, Line, Page, Sheet, shortened
from suite.pages.notes import FLAG

#: How much of a reason a cell shows; the footnotes give all of it.
REASON = 30

#: What LaTeX would read as a command, or may have no glyph for.
_ESCAPES = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"},
    **{"±": r"$\pm$", "↓": r"$\downarrow$", "↑": r"$\uparrow$", "°": r"$^\circ$", "·": r"$\cdot$", "…": r"\ldots{}"},
    **{"<": r"$<$", ">": r"$>$", "–": "--"},
}


def escape(text: str) -> str:
    """Returns the text with everything escaped that LaTeX would read as a command."""
    return "".join(_ESCAPES.get(character, character) for character in text)


def latex(pages: Sequence[Page]) -> str:
    """Returns one ``table`` per sheet (needs the package booktabs); a page's notes follow its last table."""
    tables = []
    for page in pages:
        for sheet in page.sheets:
            tables.append(_table(page, sheet, page.notes if sheet is page.sheets[-1] else []))
    return "\n".join(tables)


def _table(page: Page, sheet: Sheet, notes: Sequence[str]) -> str:
    empty, named = ["", ""][: 1 + sheet.overall], ["model", "overall"][: 1 + sheet.overall]
    tasks = [_spanning(head.task) for head in sheet.heads]
    metrics = [_spanning(head.measure) for head in sheet.heads]
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{escape(page.title)}, {escape(sheet.caption)}.}}",
            rf"  \begin{{tabular}}{{l{'r' * sheet.overall}{'rl' * len(sheet.heads)}}}",
            r"    \toprule",
            _row([*empty, *tasks, *([""] * len(COSTS))]),
            _row([*named, *metrics, *(escape(heading) for heading, _ in COSTS.values())]),
            r"    \midrule",
            *(_row(_cells(line, sheet.overall)) for line in sheet.lines),
            r"    \bottomrule",
            r"  \end{tabular}\par\medskip",
            *(rf"  {{\footnotesize {escape(note)}\par}}" for note in notes),
            r"\end{table}",
            "",
        ]
    )


def _spanning(text: str) -> str:
    return rf"\multicolumn{{2}}{{c}}{{{escape(text)}}}"


def _row(cells: Sequence[str]) -> str:
    return "    " + " & ".join(cells) + r" \\"


def _cells(line: Line, overall: bool) -> list[str]:
    costs = [cost.value.replace(",", "{,}") for cost in line.costs]
    return [escape(line.model), *([_dashes(line.overall)] if overall else []), *map(_cell, line.entries), *costs]


def _cell(entry: Entry) -> str:
    if entry.reason:
        return rf"\multicolumn{{2}}{{l}}{{\textit{{{escape(shortened(entry.reason, REASON))}}}}}"
    value = entry.value.removesuffix(FLAG)
    number = rf"${value} \pm {entry.half}$" if entry.half else f"${value}$" if value else ""
    return f"{number}{FLAG if value != entry.value else ''} & {_dashes(entry.rank)}"


def _dashes(text: str) -> str:
    return escape(text).replace("-", "--")
