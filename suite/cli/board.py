"""``suite board``: what the records say, as a table, a page or data."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from suite.cli.options import Paths, Workspace
from suite.errors import UserError
from suite.planning import parse_seeds

if TYPE_CHECKING:
    import pandas as pd

Folders = Annotated[
    list[Path] | None,
    typer.Argument(metavar="[FOLDER]...", help="Workspaces or folders of records [default: the workspace]."),
]
Tasks = Annotated[list[str] | None, typer.Option("--task", "-t", metavar="TASK", help="These tasks; repeatable.")]
Baselines = Annotated[
    list[str] | None, typer.Option("--baseline", "-b", metavar="MODEL", help="These models; repeatable.")
]
Datasets = Annotated[
    list[str] | None, typer.Option("--dataset", "-d", metavar="NAME", help="These datasets; repeatable.")
]
Seeds = Annotated[str | None, typer.Option("--seeds", metavar="SEEDS", help="These seeds: 0-4, 0,2,5 or 3.")]
Budget = Annotated[str | None, typer.Option("--budget", metavar="NAME", help="This budget.")]
Precision = Annotated[str | None, typer.Option("--precision", metavar="NAME", help="This precision.")]
Metrics = Annotated[
    list[str] | None,
    typer.Option(
        "--metric", "-m", metavar="METRIC", help="These metrics, or patterns as rate/*, in place of the ranked ones."
    ),
]
AllVersions = Annotated[bool, typer.Option("--all-versions", help="Also what older task and engine versions gave.")]


def board(
    folders: Folders = None,
    task: Tasks = None,
    baseline: Baselines = None,
    dataset: Datasets = None,
    seeds: Seeds = None,
    budget: Budget = None,
    precision: Precision = None,
    metric: Metrics = None,
    sort: Annotated[
        str | None, typer.Option("--sort", metavar="COLUMN", help="A task, a metric, name or overall.")
    ] = None,
    all_versions: AllVersions = False,
    path: Paths = None,
    workspace: Workspace = Path("runs"),
    format: Annotated[
        str, typer.Option("--format", metavar="NAME", help="table, markdown, csv, json, html or latex.")
    ] = "table",
) -> None:
    """Print the board: scores with intervals and rank intervals, and why a score is missing."""
    from suite.boards import board as compute
    from suite.cli.options import check_format
    from suite.pages import FORMATS, find_anchors, render

    check_format(format, FORMATS)
    found = compute(
        load(folders or [workspace]),
        datasets=dataset or (),
        tasks=task or (),
        baselines=baseline or (),
        budget=budget,
        precision=precision,
        metrics=metric or (),
        seeds=parse_seeds(seeds) if seeds is not None else (),
        sort=sort,
        all_versions=all_versions,
    )
    anchors = find_anchors(set(found["task"]), path or ())
    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else 120
    color = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    typer.echo(render(found, format, anchors=anchors, width=width, color=color), nl=False)


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
    if data.empty:
        raise UserError(f"no records in {', '.join(map(str, folders))}: `suite run` makes them")
    return data
