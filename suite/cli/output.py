"""Prints tables and JSON: rich in a terminal, plain columns of any width in a pipe."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import typer


def print_json(value: Any) -> None:
    """Prints a value as JSON; what JSON does not know is printed as text."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], numbers: Sequence[str] = ()
) -> None:
    """Prints a table.

    Args:
        title: Above it.
        columns: The headings; all empty for none.
        rows: One cell per column; None is shown as nothing.
        numbers: Columns to align at the right.
    """
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    typer.echo(title)
    if sys.stdout.isatty():
        _print_rich(columns, cells, numbers)
        return
    lines = [list(columns), *cells] if any(columns) else cells
    widths = [max((len(cell) for cell in column), default=0) for column in zip(*lines, strict=True)]
    for line in lines:
        fields = zip(line, widths, columns, strict=True)
        typer.echo("  ".join(c.rjust(w) if name in numbers else c.ljust(w) for c, w, name in fields).rstrip())


def print_facts(title: str, facts: Iterable[tuple[str, object]]) -> None:
    """Prints name and value pairs, one line each; empty ones are left out."""
    print_table(title, ("", ""), [(name, value) for name, value in facts if value not in (None, "", (), [], {})])


def _print_rich(columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD if any(columns) else None, pad_edge=False, show_header=any(columns))
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(markup=False, emoji=False, highlight=False).print(table)
