"""``suite board``: what the records say, as a table, a page or data."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from suite.cli.blocks import spread
from suite.cli.options import BoardOptions, Folders, Metrics, Paths, Workspace, check_format
from suite.errors import UserError, no_file

if TYPE_CHECKING:
    import pandas as pd


@spread()
def board(
    records: BoardOptions,
    folders: Folders = None,
    metric: Metrics = None,
    sort: Annotated[
        str | None,
        typer.Option("--sort", metavar="COLUMN", help="A task, a metric, a cost (parameters), name or overall."),
    ] = None,
    notes: Annotated[bool, typer.Option("--notes", help="All notes: on the anchors and on single cells.")] = False,
    all_versions: Annotated[
        bool, typer.Option("--all-versions", help="Also what older task and engine versions gave.")
    ] = False,
    path: Paths = None,
    workspace: Workspace = Path("runs"),
    format: Annotated[
        str, typer.Option("--format", metavar="NAME", help="table, markdown, csv, json, html or latex.")
    ] = "table",
) -> None:
    """Print the board: scores with intervals and rank intervals, and why a score is missing."""
    from suite.boards import board as compute
    from suite.pages import FORMATS, find_anchors, render

    check_format(format, FORMATS)
    data = load(folders or [workspace])
    found = compute(data, **records.filters(), metrics=metric or (), sort=sort, all_versions=all_versions)
    anchors = find_anchors(set(found["task"]), path or ())
    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else 120
    color = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    typer.echo(render(found, format, anchors=anchors, width=width, color=color, notes=notes), nl=False)


def load(folders: Sequence[Path]) -> pd.DataFrame:
    """Returns the records of the folders; warns of those that are corrupt.

    Raises:
        UserError: If there are none.
    """
    from suite.boards import load_records

    warnings: list[str] = []
    data = load_records(*folders, warnings=warnings)
    for line in warnings:
        typer.echo(f"warning: {line}", err=True)
    absent = [folder for folder in folders if not folder.exists()]
    if absent and len(folders) > 1:
        raise no_file(absent[0], "folder")
    if data.empty:
        told = str(no_file(absent[0], "folder")) if absent else f"no records in {', '.join(map(str, folders))}"
        raise UserError(f"{told}; `suite run` makes them")
    return data
