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
    x: Annotated[str, typer.Argument(metavar="X", help="The metric or cost of the horizontal axis.")],
    y: Annotated[str, typer.Argument(metavar="Y", help="The metric or cost of the vertical axis.")],
    records: BoardOptions,
    folders: Folders = None,
    join: Annotated[
        list[str] | None, typer.Option("--join", metavar="MODEL", help="Join these by a line, in this order.")
    ] = None,
    workspace: Workspace = Path("runs"),
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="A .png, .svg or .pdf.")] = Path("plot.png"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")] = False,
) -> None:
    """Plot a metric or a cost against another: a point per model, with both intervals."""
    from suite.boards import board
    from suite.pages import AXES, draw

    metrics = [name for name in (x, y) if name not in AXES]
    found = board(load(folders or [workspace]), **records.filters(), metrics=metrics)
    draw(found, x, y, out, join or (), overwrite=overwrite)
    typer.echo(f"wrote {out}")
