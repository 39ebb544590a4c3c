"""Records -> board: one row per (model, task), with its interval, its rank interval, or the reason why it has neither.

The board is computed from records and nothing else; only the footnotes quote the tasks' anchors.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from suite import records as store
from suite.boards.cells import cells
from suite.boards.per_image import PerImage
from suite.boards.ranking import intervals, ordered, rank
from suite.boards.rows import SECTION, TASK, Row, table_of
from suite.errors import UserError, nearest

if TYPE_CHECKING:
    from pandas import DataFrame

#: Ingredient of a key -> what must agree in it, and why a record does not count that differs from the newest.
_STALE = {
    "data_hash": (SECTION, "stale: other data"),
    "baseline_params": ([*SECTION, "baseline"], "stale: other parameters of the model"),
    "baseline_digest": ([*SECTION, "baseline"], "stale: older source of the model"),
    "task_params": ([*SECTION, *TASK], "stale: other parameters of the task"),
    "task_digest": ([*SECTION, *TASK], "stale: older source of the task"),
}

#: Fields of a record that become columns as they are.
_PLAIN = [
    *("key", "status", "reason", "task", "task_version", "official", "primary", "baseline", "family", "supervision"),
    *("dataset", "seed", "budget", "precision", "started", "finished"),
]
_COSTS = ["parameters", "flops_per_image", "train_seconds", "score_seconds", "peak_memory_bytes", "images_per_second"]


def load_records(*folders: str | Path, warnings: list[str] | None = None) -> DataFrame:
    """Reads all records below the folders (workspaces or folders of records); see ``frame`` for the columns.

    Args:
        folders: Where to look.
        warnings: Takes one line per corrupt record and per alarm; without it they are logged.
    """
    with store.uncollected():
        return frame(store.read_raw(folders, warnings), folders)


def frame(records: Iterable[Mapping[str, Any]], folders: Sequence[str | Path] = ()) -> DataFrame:
    """Turns records into a table with one row per record.

    Columns: the record's own plain fields; ``task_params`` and ``baseline_params`` as JSON; ``engine`` and the
    digests among the ingredients; the costs; ``metrics`` (the record's own mapping); and ``metric:<name>``, the
    value of each metric, NaN where the record has none.

    Args:
        records: As plain dicts.
        folders: Workspaces that hold the records' per-image values; the table's ``attrs`` keep them for ``board``.
    """
    rows = list(records)
    metrics = [raw.get("metrics", {}) for raw in rows]
    canonical = _Canonical()
    columns = _own(rows, canonical) | _sources(rows, canonical) | _costs(rows)
    data = pd.DataFrame(columns | {"metrics": metrics} | _values(metrics))
    data.attrs["folders"] = tuple(map(str, folders))
    return data


def _own(rows: Sequence[Mapping[str, Any]], canonical: _Canonical) -> dict[str, list[Any]]:
    """Returns the record's own fields."""
    columns: dict[str, list[Any]] = {name: [raw.get(name) for raw in rows] for name in _PLAIN}
    columns |= {name: [canonical[raw.get(name)] for raw in rows] for name in ("task_params", "baseline_params")}
    return columns | {name: [tuple(raw.get(name) or ()) for raw in rows] for name in ("flags", "notes")}


def _sources(rows: Sequence[Mapping[str, Any]], canonical: _Canonical) -> dict[str, list[Any]]:
    """Returns what stands in the record's key: the engine, and what the data and the sources were."""
    ingredients = [raw.get("ingredients") or {} for raw in rows]
    checkpoints = [found.get("checkpoint") or {} for found in ingredients]
    return {
        "engine": [found.get("engine", 0) for found in checkpoints],
        "data_hash": [found.get("dataset", "") for found in checkpoints],
        "baseline_digest": [canonical[found.get("baseline")] for found in checkpoints],
        "task_digest": [canonical[found.get("task")] for found in ingredients],
    }


def _costs(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    costs = [raw.get("cost") or {} for raw in rows]
    return {name: [cost.get(name) for cost in costs] for name in _COSTS}


def _values(metrics: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Returns ``metric:<name>`` -> the metric's value in each record, NaN where it has none."""
    values: dict[str, list[float]] = {}
    for i, measured in enumerate(metrics):
        for name, entry in measured.items():
            if name not in values:
                values[name] = [np.nan] * len(metrics)
            values[name][i] = np.nan if entry["value"] is None else entry["value"]
    return {f"metric:{name}": values[name] for name in sorted(values)}


class _Canonical:
    """Value -> its JSON with sorted keys. The same few values come again in many records, and are written once."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def __getitem__(self, value: object) -> str:
        if not value:
            return "{}"
        text = repr(value)
        if text not in self._known:
            self._known[text] = json.dumps(value, sort_keys=True)
        return self._known[text]


def board(
    records: DataFrame | Iterable[Mapping[str, Any]],
    *,
    datasets: Sequence[str] = (),
    tasks: Sequence[str] = (),
    baselines: Sequence[str] = (),
    budget: str | None = None,
    precision: str | None = None,
    metrics: Sequence[str] = (),
    seeds: Sequence[int] = (),
    sort: str | None = None,
    all_versions: bool = False,
    folders: Sequence[str | Path] | None = None,
) -> DataFrame:
    """Computes the board.

    Args:
        records: From ``load_records``, or records as plain dicts.
        datasets: What to show, as ``tasks``, ``baselines`` and ``seeds``; empty shows all there is.
        tasks: By name.
        baselines: By name, as the board shows them.
        budget: One budget.
        precision: One precision.
        metrics: Names or patterns (``rate/*``); empty shows what each task ranks.
        seeds: The seeds that count.
        sort: ``name``, ``overall``, a task or a metric; by default the overall order, else the first column.
        all_versions: Also show columns of older task versions and tables of older engines.
        folders: Workspaces that may hold the per-image values, by which models are compared; by default those that
            the records were loaded from.

    Returns:
        One row per (section, task column, model), in the order of the page; the columns are the fields of ``Row``.

    Raises:
        UserError: If a name is not among the records, or nothing is left to show.
    """
    data = records if isinstance(records, pd.DataFrame) else frame(records)
    data = _chosen(data, datasets, tasks, baselines, budget, precision, seeds)
    kept = PerImage(data.attrs.get("folders", ()) if folders is None else folders)
    with store.uncollected():
        rows = list(cells(current(data, all_versions), metrics))
        rank(rows, kept)
        return table_of(ordered(rows, sort))


def measured(
    data: DataFrame,
    *,
    datasets: Sequence[str] = (),
    tasks: Sequence[str] = (),
    baselines: Sequence[str] = (),
    budget: str | None = None,
    precision: str | None = None,
    seeds: Sequence[int] = (),
) -> list[Row]:
    """Returns a row for every metric of every task and model of the records, with its interval and without ranks.

    Args:
        data: From ``load_records``.
        datasets: Which records count, as in ``board``; so do the others.
        tasks: By name.
        baselines: By name.
        budget: One budget.
        precision: One precision.
        seeds: The seeds that count.

    Raises:
        UserError: As ``board``.
    """
    data = _chosen(data, datasets, tasks, baselines, budget, precision, seeds)
    with store.uncollected():
        rows = list(cells(current(data), ["*"]))
        intervals(rows)
    return rows


def _chosen(
    data: DataFrame,
    datasets: Sequence[str],
    tasks: Sequence[str],
    baselines: Sequence[str],
    budget: str | None,
    precision: str | None,
    seeds: Sequence[int],
) -> DataFrame:
    data = select(data, dataset=datasets, task=tasks, baseline=baselines, budget=budget, precision=precision)
    if len(seeds):
        data = data[data["seed"].isin(seeds)]
    if data.empty:
        raise UserError("no records to show")
    return data


def select(data: DataFrame, **wanted: str | Sequence[str] | None) -> DataFrame:
    """Returns the records with these values in these columns; an empty choice takes all.

    Raises:
        UserError: If a value does not occur; it names the nearest one that does.
    """
    for column, choice in wanted.items():
        names = [choice] if isinstance(choice, str) else list(choice or ())
        for name in names:
            if not (data[column] == name).any():
                raise UserError(f"no records of {column} '{name}'{nearest(name, set(data[column]))}")
        if names:
            data = data[data[column].isin(names)]
    return data


def current(data: DataFrame, all_versions: bool = False) -> DataFrame:
    """Keeps the newest engine and task versions; adds ``older`` (how many records that left out) and ``stale``.

    A key's ingredients that are no versions (sources, data) can differ as well, where something was edited
    between two runs. Then the newest record decides, and ``stale`` says why one that rests on others does not count.
    """
    total = data.groupby(SECTION[:3])["key"].transform("size")
    if not all_versions:
        data = data[data["engine"] == data.groupby(SECTION[:3])["engine"].transform("max")]
        data = data[data["task_version"] == data.groupby([*SECTION, "task"])["task_version"].transform("max")]
    data = data.assign(older=total - data.groupby(SECTION[:3])["key"].transform("size"))
    data = data.sort_values("finished", kind="stable", na_position="first")
    data = data.assign(stale="")
    for ingredient, (owner, reason) in _STALE.items():
        newest = data.groupby(owner)[ingredient].transform("last")
        data.loc[data[ingredient] != newest, "stale"] = reason
    # Of several records of one cell the last counts: a current one, then one that is ok, then the newest.
    order = pd.DataFrame({"current": data["stale"] == "", "ok": data["status"] == "ok"})
    return data.loc[order.sort_values(["current", "ok"], kind="stable").index]
