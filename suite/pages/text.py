"""Board -> text: terminal table, Markdown, CSV, JSON."""

from __future__ import annotations

import io
import json
import math
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from suite.boards import MODEL, SECTION, Row, parts, plain
from suite.pages.layout import Entry, Page, Sheet, shortened
from suite.pages.notes import COSTS_NOTE, REASON, Anchors

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

#: Width of the terminal table where there is no terminal.
WIDTH = 120

#: So many columns stand side by side on a code host's page.
ABREAST = 4

#: Columns of the board that hold places: whole numbers or nothing.
_PLACES = ["overall_best", "overall_worst", "rank_best", "rank_worst"]

#: Columns of the board that name other models: as many entries as pairs, for ``suite compare``.
_PAIRS = ["beaten_by"]


def table(
    found: Sequence[Page], width: int = WIDTH, color: bool = False, costs: bool = True, notes: bool = False
) -> str:
    """Returns the pages for a terminal.

    A table wider than ``width`` loses its costs, then stands in parts one below the other; no cell is cut or folded.
    """
    from rich.console import Console
    from rich.text import Text

    grids = [[_fitting(sheet, width, costs) for sheet in page.sheets] for page in found]
    out = io.StringIO()
    style: dict[str, Any] = {"force_terminal": color, "color_system": "standard" if color else None}
    console = Console(file=out, width=10_000, legacy_windows=False, **style)
    for page, tables in zip(found, grids, strict=True):
        console.print(Text(page.title, style="bold"))
        for sheet, (parts_of, _) in zip(page.sheets, tables, strict=True):
            console.print(Text(f"\n{sheet.caption}", style="italic"))
            for i, grid in enumerate(parts_of):
                console.print(*[""] * bool(i), grid, sep="\n")
        told = [note for note in page.notes if note != COSTS_NOTE or any(shown for _, shown in tables)]
        told += page.further if notes else _more(len(page.further))
        lines = "\n".join(textwrap.fill(note, width, subsequent_indent="  ") for note in told)
        console.print(Text(f"\n{lines}\n", style="dim"))
    return "\n".join(line.rstrip() for line in out.getvalue().rstrip().splitlines()) + "\n"


def _more(count: int) -> list[str]:
    return [f"{count} more {'note' if count == 1 else 'notes'}, on the anchors and the cells: --notes"] if count else []


def _fitting(sheet: Sheet, width: int, costs: bool) -> tuple[list[Table], bool]:
    """The sheet with its costs where they fit, and whether they do; in parts where it is too wide without them."""
    if costs and _width(whole := _grid(sheet, costs=True)) <= width:
        return [whole], True
    found: list[Table] = []
    waiting = list(range(len(sheet.heads)))
    while waiting or not found:
        taken = len(waiting)
        while taken > 1 and _width(_grid(sheet.part(waiting[:taken]), costs=False)) > width:
            taken -= 1
        found.append(_grid(sheet.part(waiting[:taken]), costs=False))
        waiting = waiting[taken:]
    return found, False


def _width(grid: Table) -> int:
    return sum((column.width or 0) + 2 for column in grid.columns) - 2 + len(grid.columns) - 1


def _grid(sheet: Sheet, costs: bool) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False)
    grid.add_column("model", vertical="bottom")
    if sheet.overall:
        grid.add_column("overall", justify="right", vertical="bottom")
    for head in sheet.heads:
        grid.add_column(Text("\n".join([*_wrapped(head.task), *head.measure_lines])), vertical="bottom")
    for heading in sheet.costs if costs else ():
        grid.add_column(Text("\n".join(heading.split())), justify="right", vertical="bottom")
    columns = [_aligned([line.entries[i] for line in sheet.lines]) for i in range(len(sheet.heads))]
    for line, *texts in zip(sheet.lines, *columns, strict=True):
        styles = ["dim" if entry.reason else "bold green" if entry.first else "" for entry in line.entries]
        cells = [Text(text, style=style) for text, style in zip(texts, styles, strict=True)]
        prices = [Text(cost.value, style="dim") for cost in line.costs] if costs else []
        grid.add_row(Text(line.model), *([line.overall or "-"] if sheet.overall else []), *cells, *prices)
    return _fixed(grid)


def _fixed(grid: Table) -> Table:
    """Gives each column the width of its widest line; rich would measure every cell again and again."""
    from rich.cells import cell_len

    for column in grid.columns:
        lines = (line for text in (column.header, *column.cells) for line in str(text).splitlines())
        column.width = max(map(cell_len, lines), default=0)
        column.no_wrap = True
    return grid


def _wrapped(name: str, limit: int = 16) -> list[str]:
    """Breaks a long task name after an underscore and before its parameters."""
    return [name] if len(name) <= limit else re.findall(r":.*|[^_:]+_?", name)


def _aligned(entries: Sequence[Entry]) -> list[str]:
    """Returns one column's cells: values, intervals and ranks stand below each other."""
    value = max((len(entry.value) for entry in entries), default=0)
    half = max((len(entry.half) + 1 for entry in entries if entry.half), default=0)
    texts = []
    for entry in entries:
        interval = f"±{entry.half}" if entry.half else ""
        text = f"{entry.value:>{value}} {interval:<{half}} {entry.rank}".rstrip()
        texts.append(shortened(entry.reason, REASON) if entry.reason else text)
    return texts


def markdown(found: Sequence[Page]) -> str:
    """Returns the pages as Markdown tables: scores with ranks, which fit a code host's page; the rest folded."""
    blocks = []
    for page in found:
        blocks.append(f"## {page.title}")
        for sheet in page.sheets:
            first, *others = _abreast(sheet)
            blocks += [f"### {sheet.caption.capitalize()}", _markdown_table(first)]
            blocks += [_folded("Further tasks", "\n\n".join(map(_markdown_table, others)))] if others else []
        blocks.append(_bullets(note for note in page.notes if note != COSTS_NOTE))
        costs = [table for sheet in page.sheets if (table := _markdown_costs(sheet))]
        blocks += [_folded("What the models cost", "\n\n".join([*costs, COSTS_NOTE]))] if costs else []
        blocks += [_folded("Notes on the anchors and the cells", _bullets(page.further))] if page.further else []
    return "\n\n".join(blocks) + "\n"


def _abreast(sheet: Sheet) -> list[Sheet]:
    """The sheet in parts that fit a page, those behind the first without the overall order."""
    columns = range(len(sheet.heads))
    first, *others = [sheet.part(columns[start : start + ABREAST]) for start in columns[::ABREAST]] or [sheet]
    return [first, *(replace(part, overall=False) for part in others)]


def _bullets(notes: Iterable[str]) -> str:
    return "\n".join(f"- {escape_markdown(note)}" for note in notes)


def _folded(summary: str, text: str) -> str:
    return f"<details>\n<summary>{summary}</summary>\n\n{text}\n\n</details>"


def _markdown_table(sheet: Sheet) -> str:
    heads = ["model", *(["overall"] if sheet.overall else [])]
    for head in sheet.heads:
        told = "<br>".join(map(escape_markdown, [*_wrapped(head.task), *head.measure_lines]))
        heads.append(told + " (rank)" * any(entry.rank for entry in sheet.column(head)))
    rows = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for line in sheet.lines:
        rows.append([escape_markdown(line.model), *([line.overall or "–"] if sheet.overall else [])])
        rows[-1] += map(_markdown_cell, line.entries)
    return markdown_rows(rows)


def _markdown_cell(entry: Entry) -> str:
    if entry.reason:
        return escape_markdown(entry.why)
    value = f"{entry.value} ± {entry.half}" if entry.half else entry.value
    return f"{value} ({entry.rank})" if entry.rank else value


def _markdown_costs(sheet: Sheet) -> str:
    """The costs as a table of their own; empty where no model has any."""
    lines = [line for line in sheet.lines if any(cost.value for cost in line.costs)]
    rows = [["model", *sheet.costs], ["---", *["---:"] * len(sheet.costs)]]
    rows += [[escape_markdown(line.model), *(cost.value for cost in line.costs)] for line in lines]
    return markdown_rows(rows) if lines else ""


def markdown_rows(rows: Iterable[Sequence[str]]) -> str:
    """Returns rows of Markdown, the second of which tells the alignment, as a pipe table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def escape_markdown(text: str) -> str:
    """Returns text that Markdown shows as it is."""
    return re.sub(r"([\\|*_`<>\[\]])", r"\\\1", text)


def csv(board: pd.DataFrame) -> str:
    """Returns the board's own rows with full precision; numbers of a list are separated by spaces."""
    flat = board.drop(columns=_PAIRS).astype(dict.fromkeys(_PLACES, "Int64"))
    for name in ("expected", "seeds", "seed_values", "keys"):
        flat[name] = [" ".join(map(str, values)) for values in flat[name]]
    for name in ("flags", "notes"):
        flat[name] = ["; ".join(values) for values in flat[name]]
    return str(flat.to_csv(index=False, lineterminator="\n"))


def as_json(rows: Sequence[Row], found: Sequence[Page], anchors: Anchors) -> str:
    """Returns the board with full precision: sections, their models, their cells; what is not there is null."""
    sections = []
    for page, (key, part) in zip(found, parts(rows, lambda row: row.section).items(), strict=True):
        models = [_json_model(cells) for cells in parts(part, lambda row: (row.class_, row.model)).values()]
        about = {**dict(zip(SECTION, key, strict=True)), "preliminary": part[0].preliminary}
        sections.append({**about, "models": models, "notes": [*page.notes, *page.further]})
    known = {task: [{"name": name, "summary": text} for name, text in pairs] for task, pairs in anchors.items()}
    content = {"sections": sections, "anchors": known}
    return json.dumps(content, indent=1, ensure_ascii=False, default=lambda scalar: scalar.item()) + "\n"


def _json_model(rows: Sequence[Row]) -> dict[str, Any]:
    records = [{name: _plain(name, value) for name, value in plain(row).items()} for row in rows]
    of_model = ["model", *MODEL, "overall", "overall_best", "overall_worst"]
    above = {*SECTION, *of_model, *_PAIRS, "preliminary", "supervised", "apart", "older"}
    cells = [{name: value for name, value in row.items() if name not in above} for row in records]
    return {**{name: records[0][name] for name in of_model}, "cells": cells}


def _plain(name: str, value: Any) -> Any:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if name in _PLACES:
        return int(value)
    return json.loads(value) if name.endswith("_params") else value
