"""``suite plot``: one metric of the board against another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from suite.cli import board as shared
from suite.cli.options import Workspace
from suite.planning import parse_seeds


def plot(
    x: Annotated[str, typer.Argument(metavar="X", help="The metric of the horizontal axis.")],
    y: Annotated[str, typer.Argument(metavar="Y", help="The metric of the vertical axis.")],
    folders: shared.Folders = None,
    task: shared.Tasks = None,
    baseline: shared.Baselines = None,
    dataset: shared.Datasets = None,
    seeds: shared.Seeds = None,
    budget: shared.Budget = None,
    precision: shared.Precision = None,
    join: Annotated[
        list[str] | None, typer.Option("--join", metavar="MODEL", help="Join these by a line, in this order.")
    ] = None,
    workspace: Workspace = Path("runs"),
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="A .png, .svg or .pdf.")] = Path("plot.png"),
) -> None:
    """Plot a metric against another: a point per model, with both intervals."""
    from suite.boards import board
    from suite.pages import draw

    found = board(
        shared.load(folders or [workspace]),
        datasets=dataset or (),
        tasks=task or (),
        baselines=baseline or (),
        budget=budget,
        precision=precision,
        metrics=(x, y),
        seeds=parse_seeds(seeds) if seeds is not None else (),
    )
    draw(found, x, y, out, join or ())
    typer.echo(f"wrote {out}")
