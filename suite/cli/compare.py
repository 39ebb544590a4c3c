"""``suite compare``: the difference of two models, task by task, with its interval."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from suite.cli.blocks import spread
from suite.cli.board import load
from suite.cli.options import BoardOptions, Folders, Metrics, Workspace, check_format
from suite.cli.output import print_json, print_table


@spread(without=["baseline"])  # the two are the arguments
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A model, as the board names it.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    records: BoardOptions,
    folders: Folders = None,
    metric: Metrics = None,
    workspace: Workspace = Path("runs"),
    format: Annotated[str, typer.Option("--format", metavar="NAME", help="table, markdown or json.")] = "table",
) -> None:
    """Compare two models: images paired where per-image values are kept, seeds independent."""
    from suite import pages
    from suite.boards import board
    from suite.boards import compare as compute

    check_format(format, ("table", "markdown", "json"))
    chosen = folders or [workspace]
    found = board(load(chosen), **records.filters(), metrics=metric or ())
    rows = compute(found, a, b, chosen)
    if format == "json":
        print_json(rows)
    elif format == "markdown":
        typer.echo(pages.as_markdown(rows, a, b), nl=False)
    else:
        print_table(f"{a} and {b}", pages.heads(a, b), pages.lines(rows), (*pages.NUMBERS, a, b), names=2)
        typer.echo(pages.rules(a, b))
