"""Options that several commands share, and the selection they add up to."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from suite.errors import unknown
from suite.planning import Selection, parse_seeds

Tasks = Annotated[
    list[str] | None,
    typer.Option("--task", "-t", metavar="TASK", help="Task: NAME or NAME:key=value; repeatable [default: all]."),
]
Baselines = Annotated[
    list[str] | None,
    typer.Option(
        "--baseline",
        "-b",
        metavar="MODEL",
        help="Baseline: NAME, NAME:key=value or FILE.py; repeatable [default: all].",
    ),
]
Datasets = Annotated[
    list[str] | None, typer.Option("--dataset", "-d", metavar="NAME", help="Dataset; repeatable [default: digits].")
]
Seeds = Annotated[str | None, typer.Option("--seeds", metavar="SEEDS", help="0-4, 0,2,5 or 3 [default: 0-2].")]
Budget = Annotated[
    str | None, typer.Option("--budget", metavar="NAME", help="smoke, quick, standard or long [default: quick].")
]
Precision = Annotated[
    str | None, typer.Option("--precision", metavar="NAME", help="float32 or bf16 [default: float32].")
]
SelectionFile = Annotated[
    Path | None, typer.Option("--file", metavar="YAML", help="Read the selection from a file; options override it.")
]
Workspace = Annotated[
    Path,
    typer.Option(
        "--workspace", "-w", envvar="SUITE_WORKSPACE", metavar="FOLDER", help="Where records and checkpoints are kept."
    ),
]
DataRoot = Annotated[
    str | None,
    typer.Option(
        "--data-root", metavar="FOLDER", help="Where datasets lie [default: SUITE_DATA or ~/.cache/latent-suite]."
    ),
]
Paths = Annotated[
    list[str] | None,
    typer.Option("--path", metavar="PATH", help="File or folder with further tasks and baselines; repeatable."),
]
Retry = Annotated[
    list[str] | None,
    typer.Option("--retry", metavar="STATE", help="Run ended cells again: failed, timeout; repeatable."),
]
Format = Annotated[str, typer.Option("--format", metavar="NAME", help="table or json.")]


def selection(
    file: Path | None = None,
    *,
    tasks: Sequence[str] | None = None,
    baselines: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
    seeds: str | None = None,
    budget: str | None = None,
    precision: str | None = None,
    paths: Sequence[str] | None = None,
    retry: Sequence[str] | None = None,
    workspace: Path = Path("runs"),
    data_root: str | None = None,
) -> Selection:
    """Returns the selection of a file, or of nothing, under the options that were given."""
    base = Selection.from_file(file) if file else Selection()
    given: dict[str, Any] = {
        "tasks": tuple(tasks or ()),
        "baselines": tuple(baselines or ()),
        "datasets": tuple(datasets or ()),
        "seeds": parse_seeds(seeds) if seeds is not None else (),
        "budget": budget,
        "precision": precision,
        "paths": tuple(paths or ()),
        "retry": tuple(retry or ()),
        "data_root": data_root,
    }
    return dataclasses.replace(
        base, workspace=str(workspace), **{name: value for name, value in given.items() if value not in (None, ())}
    )


def check_format(name: str, choices: Sequence[str] = ("table", "json")) -> str:
    """Returns the name of a format.

    Raises:
        UserError: If it is not one of ``choices``; names the nearest.
    """
    if name not in choices:
        raise unknown("format", name, choices)
    return name
