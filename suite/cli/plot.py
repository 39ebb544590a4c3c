"""``suite plot``: one metric of the board against another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from suite.cli.blocks import spread
from suite.cli.board import load
from suite.cli.options import BoardOptions, Folders, Workspace


@spread()
def plot(
    x: Annotated[str, typer.Argument(metavar="X", help="The metric of the horizontal axis.")],
    y: Annotated[str, typer.Argument(metavar="Y", help="The metric of the vertical axis.")],
    records: BoardOptions,
    folders: Folders = None,
    join: Annotated[
        list[str] | None, typer.Option("--join", metavar="MODEL", help="Join these by a line, in this order.")
    ] = None,
    workspace: Workspace = Path("runs"),
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="A .png, .svg or .pdf.")] = Path("plot.png"),
) -> None:
    """Plot a metric against another: a point per model, with both intervals."""
    from suite.boards import board
    from suite.pages import draw

    found = board(load(folders or [workspace]), **records.filters(), metrics=(x, y))
    draw(found, x, y, out, join or ())
    typer.echo(f"wrote {out}")
