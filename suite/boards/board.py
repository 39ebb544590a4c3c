"""Records -> board: one row per (model, task), with its interval, its rank interval, or the reason why it has neither.

The board is computed from records and nothing else; only the footnotes quote the tasks' anchors.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from suite import records as store
from suite.boards.cells import cells
from suite.boards.frame import frame
from suite.boards.per_image import PerImage
from suite.boards.ranking import intervals, ordered, rank
from suite.boards.reference import OwnTasks, majority
from suite.boards.rows import SECTION, TASK, Row, table_of
from suite.errors import UserError, nearest
from suite.version import ENGINE_VERSION

if TYPE_CHECKING:
    from pandas import DataFrame

_log = logging.getLogger("suite")

#: Ingredient of a key -> what must agree in it, and why a record does not count that differs.
_STALE = {
    "data_hash": (SECTION, "stale: other data"),
    "budget_version": (SECTION, "stale: other version of the budget"),
    "baseline_params": ([*SECTION, "baseline"], "stale: other parameters of the model"),
    "baseline_digest": ([*SECTION, "baseline"], "stale: older source of the model"),
    "task_params": ([*SECTION, *TASK], "stale: other parameters of the task"),
    "task_digest": ([*SECTION, *TASK], "stale: other source of the task"),
}


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
    own = OwnTasks()
    data = _made_here(_chosen(data, datasets, tasks, baselines, budget, precision, seeds), own)
    if data.empty:
        raise UserError("no records to show")
    kept = PerImage(data.attrs.get("folders", ()) if folders is None else folders)
    with store.uncollected():
        rows = list(cells(current(data, all_versions), metrics, own))
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
    own = OwnTasks()
    data = _made_here(_chosen(data, datasets, tasks, baselines, budget, precision, seeds), own)
    with store.uncollected():
        rows = list(cells(current(data), ["*"], own))
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


def stale_keys(data: DataFrame) -> set[str]:
    """Returns the keys of records that no board of today counts: of older versions, other data or older sources.

    Args:
        data: From ``load_records``, which tells one's own records from those of submissions.
    """
    if data.empty:
        return set()
    kept = current(data)
    return set(data["key"]) - set(kept.loc[kept["stale"] == "", "key"])


def current(data: DataFrame, all_versions: bool = False) -> DataFrame:
    """Keeps one engine and one version of each task; adds ``older`` (how many records that left out) and ``stale``.

    Kept is what most models have by their newest records; of several, the newest. A key's ingredients that are no
    versions (sources, data) can differ as well, where something was edited between two runs. What models share is
    decided in the same way, what is a model's own by its newest record of the first folder that has any; ``stale``
    says why a record that rests on something else does not count. What another folder than the first says, or any
    submission, verified or not, decides nothing where there is anything else. So neither a record nor any number of
    models from elsewhere moves another model's row, whatever they say.
    """
    data = data.assign(foreign=(data["place"] > data["place"].min()) | (data["standing"] != ""))
    total = data.groupby(SECTION[:3])["key"].transform("size")
    if not all_versions:
        data = data[data["engine"] == _version(data, SECTION[:3], "engine")]
        data = data[data["task_version"] == _version(data, [*SECTION, "task"], "task_version")]
    data = data.assign(older=total - data.groupby(SECTION[:3])["key"].transform("size"))
    data = data.sort_values("finished", kind="stable", na_position="first")
    data = data.assign(stale="")
    for ingredient, (owner, reason) in _STALE.items():
        own = "baseline" in owner
        wanted = _own(data, owner, ingredient) if own else majority(data, owner, ingredient)
        data.loc[data[ingredient] != wanted, "stale"] = reason
    # Of several records of one cell the last counts: a current one, then one that is ok, then the newest.
    order = pd.DataFrame({"current": data["stale"] == "", "ok": data["status"] == "ok"})
    return data.loc[order.sort_values(["current", "ok"], kind="stable").index]


def _version(data: DataFrame, owner: Sequence[str], column: str) -> pd.Series[int]:
    """Returns the version that most models have as their newest, of several the newest."""
    newest = data.assign(**{column: data.groupby([*owner, "baseline"])[column].transform("max")})
    return majority(newest.sort_values(column, kind="stable"), owner, column).reindex(data.index)


def _own(data: DataFrame, owner: Sequence[str], column: str) -> pd.Series[Any]:
    """Returns what a model's newest record has, of those in the first folder that holds any of it."""
    ranked = data.sort_values(["foreign", "place"], ascending=False, kind="stable")
    return ranked.groupby(list(owner))[column].transform("last").reindex(data.index)


def _made_here(data: DataFrame, tasks: OwnTasks) -> DataFrame:
    """Leaves out what says that it was measured by a newer engine or task than this suite has."""
    newest = {name: tasks.newest(name) for name in data["task"].unique()}
    versions = [math.inf if (known := newest[name]) is None else known for name in data["task"]]
    fine = (data["engine"] <= ENGINE_VERSION) & (data["task_version"] <= pd.Series(versions, index=data.index))
    if not fine.all():
        _log.warning("%d records left out: of a newer engine or task than this suite has", (~fine).sum())
    return data[fine]
