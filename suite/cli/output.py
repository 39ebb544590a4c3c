"""Prints tables and JSON: rich in a terminal, plain columns of any width in a pipe."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import typer

#: A text of a table is broken into lines where it is longer than this; what lies between two columns.
TEXT, GAP = 24, 3


def print_json(value: Any) -> None:
    """Prints a value as JSON; what JSON does not know is printed as text."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], numbers: Sequence[str] = (), names: int = 1
) -> None:
    """Prints a table.

    Args:
        title: Above it.
        columns: The headings; all empty for none.
        rows: One cell per column; None is shown as nothing.
        numbers: Columns to align at the right.
        names: How many columns, from the first, say what a row is of; a part of a wide table begins with them.
    """
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    typer.echo(title)
    if sys.stdout.isatty():
        _print_rich(columns, cells, numbers, names)
        return
    lines = [list(columns), *cells] if any(columns) else cells
    widths = [max((len(cell) for cell in column), default=0) for column in zip(*lines, strict=True)]
    for line in lines:
        fields = zip(line, widths, columns, strict=True)
        typer.echo("  ".join(c.rjust(w) if name in numbers else c.ljust(w) for c, w, name in fields).rstrip())


def print_facts(title: str, facts: Iterable[tuple[str, object]]) -> None:
    """Prints name and value pairs, one line each; empty ones are left out."""
    print_table(title, ("", ""), [(name, value) for name, value in facts if value not in (None, "", (), [], {})])


def _print_rich(columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str], names: int) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, emoji=False, highlight=False)
    headed = any(columns)
    said = [i for i in range(len(columns)) if not rows or not headed or any(row[i] for row in rows)]
    needed = [_needed([columns[i], *(row[i] for row in rows)]) for i in range(len(columns))]
    for part in _parts(said, names, needed, console.width) if headed else [said]:
        table = Table(box=box.SIMPLE_HEAD if headed else None, pad_edge=False, show_header=headed)
        for i in part:
            # without headings the cells are keys and texts, which may fold anywhere
            least = min(needed[i], console.width) if headed else None
            right = columns[i] in numbers
            table.add_column(columns[i], justify="right" if right else "left", overflow="fold", min_width=least)
        for row in rows:
            table.add_row(*(row[i] for i in part))
        console.print(table)


def _needed(cells: Sequence[str]) -> int:
    """Returns the least width of a column: of its longest word, and of so much of a text as is read with ease."""
    return max(max(map(len, cell.split()), default=0) if len(cell) > TEXT else len(cell) for cell in cells)


def _parts(said: Sequence[int], names: int, needed: Sequence[int], width: int) -> list[list[int]]:
    """Returns which columns stand beside each other: a table that is too wide is shown in parts, names in each."""
    found = [list(said[:names])]
    for i in said[names:]:
        if len(found[-1]) > names and sum(needed[j] + GAP for j in (*found[-1], i)) > width:
            found.append(list(said[:names]))
        found[-1].append(i)
    return found
