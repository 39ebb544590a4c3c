"""Seeds -> results: one row per (section, task column, model), with a value and its moments, or why it has none."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np

from suite.boards import statistics
from suite.errors import UserError, nearest

if TYPE_CHECKING:
    import pandas as pd

#: What has a table of its own: numbers that differ in one of these are never compared.
SECTION = ["dataset", "budget", "precision", "engine"]

#: What has a column of its own within a section, with the metric. A task's name tells its parameters, where they
#: are not its own, as ``linear_probe:arms=True``; so does a baseline's.
TASK = ["task", "task_version"]

#: Under this many seeds a board is preliminary and nothing is ranked.
MIN_SEEDS = 3

#: The state of a seed without a record.
NOT_RUN = "not run"

#: What a row says of its model, as the model's newest record has it.
MODEL = [
    *("baseline_params", "family", "supervision", "parameters", "flops_per_image", "train_seconds"),
    "images_per_second",
]

#: What is needed of each record.
_NEEDED = [
    *("key", "status", "reason", "stale", "task", "task_version", "task_params", "official", "primary", "baseline"),
    *("seed", "metrics", "flags", "notes", *MODEL),
]


def rows_of(data: pd.DataFrame, columns: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Returns the rows as dicts, columns by name; far faster than pandas' own ``to_dict``."""
    names = list(columns or data.columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*(data[name].tolist() for name in names), strict=True)]


def results(data: pd.DataFrame, metrics: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yields one row per (section, task column, model), also where the model has no record for the column.

    Args:
        data: Records as ``leaderboard.current`` leaves them.
        metrics: Names or patterns; empty takes what each task ranks.

    Raises:
        UserError: If a metric does not occur.
    """
    values = [name for name in data.columns if name.startswith("metric:") and data[name].notna().any()]
    _check(metrics, [name.removeprefix("metric:") for name in values])
    for section, part in data.groupby(SECTION, sort=True):
        records = rows_of(part, _NEEDED)
        models = {row["baseline"]: row for row in records}
        columns: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
        for row in sorted(records, key=lambda row: [row[name] for name in TASK]):
            columns.setdefault(tuple(row[name] for name in TASK), []).append(row)
        seeds = [tuple(sorted({row["seed"] for row in rows})) for rows in columns.values()]
        shared = dict(zip(SECTION, section, strict=True)) | {
            "preliminary": min(map(len, seeds)) < MIN_SEEDS,
            "older": int(part["older"].iloc[0]),
        }
        for (task, rows), expected in zip(columns.items(), seeds, strict=True):
            place = shared | dict(zip(TASK, task, strict=True)) | {"expected": expected}
            yield from _column(place, rows, models, metrics)


def _check(patterns: Sequence[str], names: Sequence[str]) -> None:
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UserError(f"no records of metric '{pattern}'{nearest(pattern, names)}")


def _column(
    place: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    models: Mapping[str, Mapping[str, Any]],
    patterns: Sequence[str],
) -> Iterator[dict[str, Any]]:
    """Yields the rows of one task: a cell per model and metric."""
    found: dict[str, dict[int, Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["baseline"], {})[row["seed"]] = row
    official = ":" not in place["task"] and any(row["official"] for row in rows)
    for metric, unit, direction in _metrics(rows, patterns):
        ranked = metric == rows[-1]["primary"]
        about = {"metric": metric, "unit": unit, "direction": direction, "official": ranked and official}
        about |= {"floor": _floor(rows) if ranked else np.nan, "task_params": rows[-1]["task_params"]}
        for model, row in models.items():
            identity = {"model": model, **{name: row[name] for name in MODEL}}
            identity["supervised"] = row["supervision"] not in (None, "none")
            yield {**place, **about, **identity, **_cell(found.get(model, {}), metric, place["expected"])}


def _cell(rows: Mapping[int, Mapping[str, Any]], metric: str, expected: Sequence[int]) -> dict[str, Any]:
    """Condenses one cell's seeds into a value with its moments, and what is missing into one reason."""
    states = {seed: _state(rows[seed], metric) if seed in rows else NOT_RUN for seed in expected}
    seeds = tuple(seed for seed, state in states.items() if not state)
    entries = [rows[seed]["metrics"][metric] for seed in seeds]
    cell: dict[str, Any] = {
        "status": "ok" if len(seeds) == len(expected) else "partial",
        "reason": "",
        "value": np.nan,
        "seeds": seeds,
        "seed_values": tuple(entry["value"] for entry in entries),
        "images": min((entry["n"] for entry in entries if entry.get("n")), default=0),
        "flags": tuple(sorted({flag for seed in seeds for flag in rows[seed]["flags"]})),
        "notes": tuple(sorted({note for seed in seeds for note in rows[seed]["notes"]})),
        "records": len(rows),
        "keys": tuple(rows[seed]["key"] for seed in seeds),
        "seed_variance": np.nan,
        "image_quantile": np.nan,
    }
    missing = {seed: state for seed, state in states.items() if state}
    if missing:
        cell["reason"] = _why(missing, every=not seeds)
    if not seeds:
        tried = [state for state in missing.values() if state != NOT_RUN] or [NOT_RUN]
        cell["status"] = Counter(tried).most_common(1)[0][0].partition(":")[0]
        return cell
    m = statistics.moments(cell["seed_values"], [entry.get("se") for entry in entries], cell["images"] or None)
    return cell | {"value": m.mean, "seed_variance": m.seed_variance, "image_quantile": m.image_quantile}


def _state(row: Mapping[str, Any], metric: str) -> str:
    """Why a record has no number to show; empty where it has one."""
    if row["stale"]:
        return str(row["stale"])
    if row["status"] != "ok":
        return f"{row['status']}: {row['reason']}" if row["reason"] else str(row["status"])
    value = row["metrics"].get(metric, {}).get("value")
    if value is None:
        return "not measured"
    return "" if math.isfinite(value) else f"not finite: {value}"


def _why(missing: Mapping[int, str], every: bool) -> str:
    if every and len(set(missing.values())) == 1:
        return next(iter(missing.values()))
    seeds: dict[str, list[str]] = {}
    for seed, state in sorted(missing.items(), key=lambda item: item[1] == NOT_RUN):
        seeds.setdefault(state, []).append(str(seed))
    return "; ".join(f"{state} (seed {', '.join(which)})" for state, which in seeds.items())


def _metrics(rows: Sequence[Mapping[str, Any]], patterns: Sequence[str]) -> list[tuple[str, str, str]]:
    """Returns (name, unit, direction) of the metrics to show of one task."""
    declared: dict[str, tuple[str, str, str]] = {}
    for row in rows:
        for name in row["metrics"].keys() - declared.keys():
            entry = row["metrics"][name]
            declared[name] = (name, entry.get("unit", ""), entry.get("direction", ""))
    if not patterns:
        primary = rows[-1]["primary"] or ""
        return [declared.get(primary, (primary, "", ""))]
    return [declared[name] for pattern in patterns for name in sorted(declared) if fnmatchcase(name, pattern)]


def _floor(rows: Sequence[Mapping[str, Any]]) -> float:
    """Returns the mean of the metric ``floor``, which a task reports where its floor is a number on the same images."""
    entries = [row["metrics"]["floor"]["value"] for row in rows if "floor" in row["metrics"]]
    return float(np.mean(entries)) if entries else np.nan
