"""The library face: ``run``, ``load_records``, ``board``, ``compare``; the command line calls the same."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.planning import Selection, check_seeds, parse_seeds
from suite.running import Execution, execute

if TYPE_CHECKING:
    import pandas as pd

    from suite.pages import Board, Comparison

#: A task or baseline: its name, ``name:key=value``, a file, or its class.
Chosen = str | type


def run(
    tasks: Chosen | Sequence[Chosen] | None = None,
    baselines: Chosen | Sequence[Chosen] | None = None,
    dataset: str | Sequence[str] = "digits",
    seeds: str | int | Sequence[int] = (0, 1, 2),
    budget: str = "quick",
    workspace: str | Path = "runs",
    *,
    precision: str = "float32",
    paths: Sequence[str | Path] = (),
    retry: str | Sequence[str] = (),
    data_root: str | Path | None = None,
    tracking: str | None = None,
    progress: bool = True,
    **execution: Any,
) -> pd.DataFrame:
    """Trains and scores what has no record yet, and returns the records of the whole selection.

    Args:
        tasks: Names, ``name:key=value``, files, or classes that a file holds; None for all.
        baselines: The same.
        dataset: One or more datasets.
        seeds: Training seeds, or text such as ``"0-4"``.
        budget: How much training.
        workspace: The folder of records, checkpoints, values and pictures.
        precision: ``"float32"`` or ``"bf16"``.
        paths: Further files and folders with tasks and baselines.
        retry: Which ended cells run again: ``"failed"``, ``"timeout"``.
        data_root: Where datasets lie.
        tracking: A tracking URI, ``"off"``, or None for MLflow's environment variable or the workspace's own store.
        progress: Show what goes on, on standard error.
        execution: Fields of ``Execution``: executor, workers, gpus_per_trial, timeout, ...

    Returns:
        One row per record, as of ``load_records``.

    Raises:
        UserError: For anything that the caller can mend.
    """
    chosen_tasks, task_files = _resolved("task", tasks)
    chosen_baselines, baseline_files = _resolved("baseline", baselines)
    selection = Selection(
        tasks=chosen_tasks,
        baselines=chosen_baselines,
        datasets=_several(dataset),
        seeds=_seeds(seeds),
        budget=budget,
        precision=precision,
        paths=tuple(dict.fromkeys([*(os.fspath(path) for path in paths), *task_files, *baseline_files])),
        retry=_several(retry),
        workspace=os.fspath(workspace),
        data_root=None if data_root is None else os.fspath(data_root),
    )
    from suite.boards import frame
    from suite.tracking import open_tracker

    mirror = functools.partial(open_tracker, tracking)
    outcome = execute(selection, Execution(**execution), mirror=mirror, quiet=not progress)
    return frame(outcome.records, [outcome.plan.workspace])


def load_records(*folders: str | Path) -> pd.DataFrame:
    """Returns the records below the folders (workspaces or folders of records), one row each."""
    from suite.boards import load_records

    return load_records(*folders)


def board(data: pd.DataFrame, **options: Any) -> Board:
    """Computes the board of some records; it prints itself as ``suite board`` does, ``.frame`` holds its rows.

    Args:
        data: From ``run`` or ``load_records``.
        options: As of ``suite.boards.board``: datasets, tasks, baselines, metrics, sort, ...
    """
    from suite.boards import board
    from suite.pages import Board

    return Board(board(data, **options))


def compare(data: pd.DataFrame, a: str, b: str, **options: Any) -> Comparison:
    """Compares two models, task by task; it prints itself as ``suite compare`` does, ``.frame`` holds its rows.

    Args:
        data: From ``run`` or ``load_records``; images are paired where the values beside its records are kept.
        a: A model, as the board names it.
        b: Another.
        options: As of ``suite.boards.board``.

    Raises:
        UserError: If a model has no records.
    """
    from suite.boards import board
    from suite.boards import compare as compute
    from suite.pages import Comparison

    return Comparison(compute(board(data, **options), a, b, data.attrs.get("folders", ())), a, b)


def _resolved(kind: str, value: Chosen | Sequence[Chosen] | None) -> tuple[tuple[str, ...], list[str]]:
    """Returns selectors, and the files of those that were given as classes."""
    from suite.plugins import registry

    selectors: list[str] = []
    files: list[str] = []
    for item in [value] if isinstance(value, str | type) else value or ():
        if isinstance(item, str):
            selectors.append(item)
            continue
        names, file = registry.of_class(kind, item)
        selectors += names
        files.append(file)
    return tuple(selectors), files


def _seeds(value: str | int | Sequence[int]) -> tuple[int, ...]:
    if isinstance(value, str):
        return parse_seeds(value)
    return check_seeds((value,) if isinstance(value, int) else value)


def _several(value: str | Sequence[str] | None) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)
