"""Pages -> booktabs tables for LaTeX."""

from __future__ import annotations

from collections.abc import Sequence

from suite.pages.layout import Entry, Page, Sheet
from suite.pages.notes import COSTS_NOTE, FLAG

#: What the tables ask of a document, as its first line.
NEEDS = "% \\usepackage{booktabs,graphicx}\n"

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
    """Returns a ``table`` per sheet, one for its costs, and the notes that a reader needs first below the last."""
    tables = [NEEDS]
    for page in pages:
        notes = [note for note in page.notes if note != COSTS_NOTE]
        tables += [_scores(page, sheet, notes if sheet is page.sheets[-1] else []) for sheet in page.sheets]
        priced = [sheet for sheet in page.sheets if any(c.value for line in sheet.lines for c in line.costs)]
        tables += [_costs(page, sheet, [COSTS_NOTE] if sheet is priced[-1] else []) for sheet in priced]
    return "\n".join(tables)


def _scores(page: Page, sheet: Sheet, notes: Sequence[str]) -> str:
    empty, named = ["", ""][: 1 + sheet.overall], ["model", "overall"][: 1 + sheet.overall]
    heads = [[_spanning(head.task) for head in sheet.heads], [_spanning(head.measure) for head in sheet.heads]]
    lines = [[escape(line.model), *([_dashes(line.overall)] if sheet.overall else [])] for line in sheet.lines]
    rows = [[*names, *map(_cell, line.entries)] for names, line in zip(lines, sheet.lines, strict=True)]
    columns = f"l{'r' * sheet.overall}{'rl' * len(sheet.heads)}"
    return _table(f"{page.title}, {sheet.caption}", columns, [[*empty, *heads[0]], [*named, *heads[1]]], rows, notes)


def _costs(page: Page, sheet: Sheet, notes: Sequence[str]) -> str:
    heads = [["model", *map(escape, sheet.costs)]]
    rows = [[escape(line.model), *(c.value.replace(",", "{,}") for c in line.costs)] for line in sheet.lines]
    kept = [row for row in rows if any(row[1:])]
    return _table(f"{page.title}, {sheet.caption}: costs", "l" + "r" * len(sheet.costs), heads, kept, notes)


def _table(
    caption: str, columns: str, heads: Sequence[Sequence[str]], rows: Sequence[Sequence[str]], notes: Sequence[str]
) -> str:
    """A table that is never wider than the page: what is too wide is scaled down to it."""
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering\small",
            rf"  \caption{{{escape(caption)}.}}",
            r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"  \begin{{tabular}}{{{columns}}}",
            r"    \toprule",
            *map(_row, heads),
            r"    \midrule",
            *map(_row, rows),
            r"    \bottomrule",
            r"  \end{tabular}}\par\medskip",
            *(rf"  {{\raggedright\scriptsize {escape(note)}\par}}" for note in notes),
            r"\end{table}",
            "",
        ]
    )


def _spanning(text: str) -> str:
    return rf"\multicolumn{{2}}{{c}}{{{escape(text)}}}"


def _row(cells: Sequence[str]) -> str:
    return "    " + " & ".join(cells) + r" \\"


def _cell(entry: Entry) -> str:
    if entry.reason:
        return rf"\multicolumn{{2}}{{l}}{{\textit{{{escape(entry.why)}}}}}"
    value = entry.value.removesuffix(FLAG)
    number = rf"${value} \pm {entry.half}$" if entry.half else f"${value}$" if value else ""
    return f"{number}{FLAG if value != entry.value else ''} & {_dashes(entry.rank)}"


def _dashes(text: str) -> str:
    return escape(text).replace("-", "--")
