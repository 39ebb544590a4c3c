"""Records -> table: one row per record, its fields and metrics as columns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from suite import records as store
from suite.plugins import digest, tuned_trials

if TYPE_CHECKING:
    from pandas import DataFrame

#: Flag on a record of a model from outside that had not passed `suite check` when it was run.
UNCHECKED = "not checked"

#: Fields of a record that become columns as they are.
_PLAIN = [
    *("key", "status", "reason", "task", "task_version", "official", "primary", "baseline", "family", "supervision"),
    *("dataset", "seed", "budget", "precision", "started", "finished"),
]
_COSTS = [
    *("parameters", "flops_per_image", "train_seconds", "score_seconds", "peak_memory_bytes", "images_per_second"),
    *("training_images", *store.SEARCH_COSTS.values()),
]


def load_records(*folders: str | Path, warnings: list[str] | None = None) -> DataFrame:
    """Reads all records below the folders (workspaces or folders of records); see ``frame`` for the columns.

    Args:
        folders: Where to look.
        warnings: Takes one line per corrupt record and per alarm; without it they are logged.
    """
    with store.uncollected():
        places: dict[str, int] = {}
        raws = store.read_raw(folders, warnings, places=places)
        return frame(raws, folders, _standings(folders, places), places)


def _standings(folders: Sequence[str | Path], places: Mapping[str, int]) -> dict[str, str]:
    """How records stand, by the folder in which they lie: what another says of them counts for nothing."""
    found: dict[str, str] = {}
    for place, folder in enumerate(folders):
        told = store.read_standings(folder)
        found |= {key: standing for key, standing in told.items() if places.get(key) == place}
    return found


def frame(
    records: Iterable[Mapping[str, Any]],
    folders: Sequence[str | Path] = (),
    standings: Mapping[str, str] | None = None,
    places: Mapping[str, int] | None = None,
) -> DataFrame:
    """Turns records into a table with one row per record.

    Columns: the record's own plain fields; ``task_params`` and ``baseline_params`` as JSON; ``engine`` and the
    digests among the ingredients; the costs; ``metrics`` (the record's own mapping); and ``metric:<name>``, the
    value of each metric, NaN where the record has none.

    Args:
        records: As plain dicts.
        folders: Workspaces that hold the records' per-image values; the table's ``attrs`` keep them for ``board``.
        standings: Key -> how a record of a submission stands: ``verified``, ``claimed`` or ``given weights``.
        places: Key -> the first of the folders that holds the record; the first folder for all by default.
    """
    rows = list(records)
    metrics = [raw.get("metrics", {}) for raw in rows]
    canonical = _Canonical()
    columns = _own(rows, canonical) | _sources(rows, canonical) | _costs(rows)
    data = pd.DataFrame(columns | {"metrics": metrics} | _values(metrics))
    data["standing"] = [(standings or {}).get(key, "") for key in data["key"]]
    data["tuned"] = [tuned_trials(raw.get("baseline_params") or {}) for raw in rows]
    data["place"] = [(places or {}).get(key, 0) for key in data["key"]]
    untried = dict(enumerate(map(store.read_untried, folders)))
    data["untried"] = [key in untried.get(place, ()) for key, place in zip(data["key"], data["place"], strict=True)]
    unchecked = _unchecked(rows, folders, data["place"], data["standing"])
    data["flags"] = list(map(_flagged, data["flags"], data["standing"], unchecked, data["tuned"]))
    data.attrs["folders"] = tuple(map(str, folders))
    return data


def _flagged(flags: tuple[str, ...], standing: str, unchecked: bool, trials: int) -> tuple[str, ...]:
    """Returns a record's flags, with those that are about it and that it does not set itself."""
    marks = [standing] if standing in (store.CLAIMED, store.GIVEN) else []
    marks += [f"tuned ({trials} {'trial' if trials == 1 else 'trials'})"] if trials else []
    return (*flags, *marks, *([UNCHECKED] if unchecked else []))


def _unchecked(
    rows: Sequence[Mapping[str, Any]], folders: Sequence[str | Path], places: Iterable[int], standings: Iterable[str]
) -> Iterator[bool]:
    """Yields whether a record's model is from outside and has not passed the check, then or since.

    A submission's record is not asked: the workspace knows what it has checked itself.
    """
    passed: dict[tuple[str, int], bool] = {}
    for raw, place, standing in zip(rows, places, standings, strict=True):
        check = (raw.get("env") or {}).get("check")
        if not standing and (not isinstance(check, dict) or check.get("passed") is True):
            yield False
            continue
        source = digest((raw.get("ingredients") or {}).get("checkpoint", {}).get("baseline")), place
        if source not in passed:
            passed[source] = any(store.check_stamp(folder, source[0]).get("passed") for folder in folders[place:][:1])
        yield not passed[source]


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
        "budget_version": [found.get("budget_version", 1) for found in checkpoints],
        "data_hash": [found.get("dataset", "") for found in checkpoints],
        "source": [_files(found.get("baseline")) for found in checkpoints],
        "baseline_digest": [canonical[found.get("baseline")] for found in checkpoints],
        "task_digest": [canonical[found.get("task")] for found in ingredients],
    }


def _files(baseline: Any) -> str:
    """A hash of the files that a model is written in, whichever of their classes it is."""
    files = {name: told for name, told in baseline.items() if name != "class"} if isinstance(baseline, dict) else {}
    return digest(files)[:16] if files else ""


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
