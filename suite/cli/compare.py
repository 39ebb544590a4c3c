"""``suite compare``: the difference of two models, task by task, with its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from suite.cli.blocks import spread
from suite.cli.board import load
from suite.cli.options import BoardOptions, Metrics, Workspace, check_format
from suite.cli.output import print_json, print_table

NUMBERS = ("difference", "interval", "images", "seeds")


@spread(without=["baseline"])  # the two are the arguments
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A model, as the board names it.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    records: BoardOptions,
    metric: Metrics = None,
    workspace: Workspace = Path("runs"),
    format: Annotated[str, typer.Option("--format", metavar="NAME", help="table, markdown or json.")] = "table",
) -> None:
    """Compare two models: images paired where per-image values are kept, seeds independent."""
    from suite.boards import board
    from suite.boards import compare as compute

    check_format(format, ("table", "markdown", "json"))
    found = board(load([workspace]), **records.filters(), metrics=metric or ())
    rows = compute(found, a, b, [workspace])
    if format == "json":
        print_json(rows)
        return
    heads = ("task", "metric", a, b, "difference", "interval", "images", "seeds", "better", "board", "note")
    lines, numbers = [_line(row) for row in rows], (*NUMBERS, a, b)
    if format == "markdown":
        typer.echo(_markdown(heads, lines, numbers) + "\n")
    else:
        print_table(f"{a} and {b}", heads, lines, numbers)
    typer.echo(
        f"difference: {a} - {b}; 95 % interval of this one pair, over seeds (independent) and test images (paired)"
    )
    typer.echo(
        "board: whether the ranks separate the two, which hold for all pairs of a column at once and so ask for more"
    )


def _line(row: dict[str, Any]) -> tuple[object, ...]:
    from suite.pages import ARROWS

    section = " ".join(str(row[name]) for name in ("dataset", "budget", "precision"))
    head = (f"{row['task']} ({section})", f"{row['metric']} {ARROWS.get(row['direction'], '')}".rstrip())
    if row["difference"] is None:
        return (*head, *[None] * 8, row["note"])
    # Two digits of the half-width, so that a bound near 0 shows its side of it.
    decimals = max(0, 1 - math.floor(math.log10(row["half"]))) if row["half"] else 3
    numbers = [f"{row[name]:.{decimals}f}" for name in ("a", "b", "difference")]
    seeds = f"{len(row['seeds_a'])}, {len(row['seeds_b'])}"
    interval = "unknown" if row["half"] is None else f"{row['low']:.{decimals}f} to {row['high']:.{decimals}f}"
    better = row["better"] or ("neither" if row["direction"] else "")
    return (*head, *numbers, interval, row["images"], seeds, better, row["board"], row["note"])


def _markdown(heads: Sequence[str], lines: Sequence[Sequence[object]], numbers: Sequence[str]) -> str:
    from suite.pages import escape_markdown, markdown_rows

    align = ["---:" if head in numbers else "---" for head in heads]
    texts = [["" if cell is None else escape_markdown(str(cell)) for cell in line] for line in (heads, *lines)]
    return markdown_rows([texts[0], align, *texts[1:]])
