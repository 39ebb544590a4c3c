"""What a record becomes in MLflow, as plain data: names, parameters, tags, metrics, files. Imports no MLflow."""

from __future__ import annotations

import contextlib
import json
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from suite.records import Record

#: (name, value, time in ms, step). The time is the record's, so that writing it twice leaves one point.
Point = tuple[str, float, int, int]

#: MLflow's limit on the length of a name, and of a parameter's or tag's value.
NAME_LENGTH, VALUE_LENGTH = 250, 5_000

#: A curve is thinned to this many points, the last one always among them.
CURVE_POINTS = 500


def clean(name: str) -> str:
    """Returns the name in the characters that MLflow takes for metrics, parameters, tags and artifacts."""
    safe = re.sub(r"[^\w.\-/ ]", "_", name)
    return posixpath.normpath(safe).lstrip("./")[:NAME_LENGTH] or "_"


def label(record: Record) -> str:
    """Returns the task's name in MLflow."""
    return clean(record.task)


def trial_key(record: Record) -> str:
    """Returns what the records of one run share: the checkpoint key."""
    return record.checkpoint_key or record.key


def experiment(record: Record) -> str:
    """Returns the experiment: one per dataset and budget."""
    return f"{record.dataset}/{record.budget}"


#: The key of the view that opens an experiment's run table with our columns; MLflow keeps views as experiment tags.
VIEW = "suite"

#: The tag that holds it.
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"

#: What MLflow's page needs beside the columns: everything shown, newest first.
_VIEW = {
    "searchFilter": "",
    "orderByKey": "attributes.start_time",
    "orderByAsc": False,
    "startTime": "ALL",
    "lifecycleFilter": "Active",
    "modelVersionFilter": "All Runs",
    "datasetsFilter": [],
}


def experiment_tags(record: Record) -> dict[str, str]:
    """Returns what an experiment is: of the model-training kind (not of traces), with a description."""
    described = (
        f"Models on **{record.dataset}** at budget **{record.budget}**, mirrored from the suite's records: a run per "
        "model and seed. `<task>/<metric>` are scores, `se/...` their standard errors over images, `cost/...` seconds "
        "and bytes, `curve/...` the terms of training by step; `records/` holds each record as it is. Intervals over "
        "seeds and ranks are on the board (`suite board`)."
    )
    return {"mlflow.experimentKind": "custom_model_development", "mlflow.note.content": described}


def view(records: Iterable[Record], before: str = "") -> str:
    """Returns the view whose columns are the model, its seed and the ranked metric of every task.

    Args:
        records: Of the experiment; official tasks come first.
        before: The view as it was; its columns stay.
    """
    columns = ["params.`baseline`", "params.`seed`"]
    with contextlib.suppress(ValueError, KeyError, TypeError):
        columns = json.loads(before)["selectedColumns"]
    for record in sorted(records, key=lambda r: (not r.official, r.task)):
        column = f"metrics.`{clean(f'{label(record)}/{record.primary}')}`"
        if record.primary in record.metrics and column not in columns:
            columns.append(column)
    return json.dumps({**_VIEW, "selectedColumns": columns})


def run_name(record: Record) -> str:
    """Returns the run's name for people."""
    return f"{record.baseline} seed {record.seed}"


def stamp(record: Record) -> str:
    """Returns the mark of a mirrored record; of two marks the greater is the newer record."""
    return f"{record.finished} {record.status} {record.key[:32]}"


def is_mirrored(record: Record, mark: str | None) -> bool:
    """Whether a run that bears ``mark`` needs nothing from the record: it has this result, or a newer one.

    Of one key the outcome decides and not the time, which a clock may have set back: an answer stands, and anything
    else gives way to what the records say.
    """
    status, key = _read(mark)
    if key == record.key[:32]:
        return status in (record.status, "ok", "unsupported")
    return bool(key) and mark is not None and mark > stamp(record)


def _read(mark: str | None) -> tuple[str, str]:
    """Returns status and key of a mark, nothing where it is none: tags can be edited by hand."""
    found = re.fullmatch(r".* ([a-z]+) ([0-9a-f]{32})", mark or "")
    return (found[1], found[2]) if found else ("", "")


def is_shown(records: Iterable[Record], marks: Mapping[str, str], status: str) -> bool:
    """Whether a run shows all of a trial's records and has ended as they did.

    Args:
        records: Of one trial.
        marks: The run's tags.
        status: The run's.
    """
    latest = newest(records).values()
    return status == ended(marks) and all(is_mirrored(record, marks.get(mark_tag(record))) for record in latest)


def ended(marks: Mapping[str, str]) -> str:
    """Returns the status of a run that bears these tags: FAILED where a cell failed."""
    statuses = {_read(mark)[0] for tag, mark in marks.items() if tag.startswith("suite.record.")}
    return "FAILED" if statuses & {"failed", "timeout", "killed"} else "FINISHED"


def is_superseded(record: Record, mark: str | None) -> bool:
    """Whether the run shows metrics of another version of the cell, which MLflow can't take back."""
    return _read(mark)[0] == "ok" and not is_mirrored(record, mark)


def newest(records: Iterable[Record]) -> dict[str, Record]:
    """Returns the newest record of each label."""
    latest: dict[str, Record] = {}
    for record in sorted(records, key=lambda r: r.finished):
        latest[label(record)] = record
    return latest


def milliseconds(iso: str) -> int:
    """Returns an ISO time as MLflow counts it; 0 where it is none: a record from elsewhere may say anything."""
    try:
        return max(0, int(datetime.fromisoformat(iso).timestamp() * 1000))
    except (ValueError, OverflowError):
        return 0


def params(record: Record) -> dict[str, str]:
    """Returns what the trial was given."""
    given = {
        "baseline": record.baseline,
        "dataset": record.dataset,
        "seed": record.seed,
        "budget": record.budget,
        "precision": record.precision,
        **{f"params/{name}": value for name, value in record.baseline_params.items()},
    }
    return {clean(name): str(value)[:VALUE_LENGTH] for name, value in given.items()}


def trial_tags(record: Record) -> dict[str, str]:
    """Returns the tags that all records of a trial share."""
    return {
        "suite.checkpoint_key": trial_key(record),
        "suite.baseline": record.baseline,
        "suite.family": str(record.family),
        "suite.supervision": str(record.supervision),
        "suite.dataset": record.dataset,
        "suite.seed": str(record.seed),
        "suite.budget": record.budget,
        "suite.precision": record.precision,
    }


def record_tags(record: Record) -> dict[str, str]:
    """Returns the tags of one record; the last one says that everything else of it is in place."""
    name = label(record)
    commit = str(record.env.get("commit") or "unknown") + ("-dirty" if record.env.get("dirty") else "")
    tags = {
        "suite.commit": commit,
        f"suite.version.{name}": str(record.task_version),
        f"suite.key.{name}": record.key,
        f"suite.status.{name}": record.status,
        f"suite.reason.{name}": str(record.reason or ""),
        mark_tag(record): stamp(record),
    }
    return {clean(tag): value[:VALUE_LENGTH] for tag, value in tags.items()}


def mark_tag(record: Record) -> str:
    """Returns the name of the tag that holds the record's mark."""
    return clean(f"suite.record.{label(record)}")


def points(record: Record, curves: dict[str, Iterable[tuple[float, float]]]) -> Iterator[Point]:
    """Yields every number of a record: metrics, their standard errors, costs, and curves by step.

    Args:
        record: The record.
        curves: Curve name -> (step, value) pairs, from the values beside the record.
    """
    prefix, when = label(record), milliseconds(record.finished)
    for name, metric in record.metrics.items():
        for before, value in (("", metric.get("value")), ("se/", metric.get("se"))):
            if value is not None:
                yield clean(f"{before}{prefix}/{name}"), float(value), when, 0
    for name, value in record.cost.items():
        if value is not None:
            yield clean(f"cost/{prefix}/{name}"), float(value), when, 0
    for name, curve in curves.items():
        for step, value in _thin(list(curve)):
            yield clean(f"curve/{name}"), float(value), when, round(step)


def _thin(curve: list[tuple[float, float]]) -> list[tuple[float, float]]:
    stride = -(-len(curve) // CURVE_POINTS) or 1
    return curve[::-1][::stride][::-1]


def pictures(record: Record, folder: Path) -> list[Path]:
    """Returns the record's pictures that lie in ``folder``."""
    return [path for name in record.pictures if (path := folder / Path(name).name).is_file()]
