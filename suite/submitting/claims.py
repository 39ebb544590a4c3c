"""What a submission's records say, held against its source and the suite's own tasks; nothing is run."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from suite import data, records
from suite.plugins import TUNED, Entry, identity, label, registry
from suite.submitting.folder import Submission
from suite.training import BUDGET_VERSIONS
from suite.version import ENGINE_VERSION

#: Statuses that answer what a cell asked.
ANSWERED = ("ok", "unsupported")

#: How far the mean of per-image values may lie from the score, and their standard error from its: relatively, at all.
CLOSE, CLOSE_ERROR = (1e-4, 1e-4), (1e-2, 1e-3)


def objections(submission: Submission) -> list[str]:
    """Returns a sentence for everything that does not fit; none where the records are what such a source can leave."""
    tasks = registry.discover("task")
    found: list[str] = []
    for raw in submission.records.values():
        found += [f"{title(raw)}: {reason}." for reason in _of_record(submission, raw, tasks)]
    return [*found, *_missing(submission.records.values(), tasks)]


def title(raw: Mapping[str, Any]) -> str:
    """Returns a cell as people call it."""
    return f"{raw['task']} of {raw['baseline']} on {raw['dataset']}, seed {raw['seed']}"


def _of_record(submission: Submission, raw: Mapping[str, Any], tasks: Mapping[str, Entry]) -> Iterator[str]:
    source = submission.sources.get(raw["baseline"].partition(":")[0])
    if source is None:
        yield f"the source holds no model of this name, but {', '.join(submission.sources)}"
        return
    checkpoint = raw["ingredients"].get("checkpoint", {})
    if checkpoint.get("baseline") != identity(source.attribute, source.files):
        yield "it was measured with another source than the one in the folder"
    if label(source, raw["baseline_params"]) != raw["baseline"]:
        yield "its name is not that of its parameters"
    if TUNED in raw["baseline_params"]:
        yield "it comes of a search: write the parameters that it found into the file, as their defaults"
    for name in ("family", "supervision"):
        if raw[name] != source.static[name]:
            yield f"it says {name} {raw[name]!r}, the source says {source.static[name]!r}"
    if checkpoint.get("engine") != ENGINE_VERSION:
        yield f"it was measured by engine {checkpoint.get('engine')}, this suite has {ENGINE_VERSION}: run it again"
    if checkpoint.get("budget_version") != BUDGET_VERSIONS.get(raw["budget"]):
        yield "it was trained by another version of its budget than this suite has: run it again"
    if _data_here(raw["dataset"]) not in ("", checkpoint.get("dataset")):
        yield f"it was measured on other data than {raw['dataset']} is here"
    if raw["status"] not in ANSWERED:
        yield f"it ended as {raw['status']}: run it again, or mend the model"
    if raw["flags"]:
        yield f"it is flagged '{raw['flags'][0]}'"
    yield from _task(raw, tasks.get(raw["task"].partition(":")[0]))
    yield from _values(submission.folder, raw)


@functools.cache
def _data_here(name: str) -> str:
    """Returns the hash of a dataset where it is on this machine, else nothing."""
    return data.content_hash(name) if data.on_disk(name) else ""


def _task(raw: Mapping[str, Any], entry: Entry | None) -> Iterator[str]:
    if entry is None:
        yield "the suite has no task of this name"
        return
    source, params = registry.source(entry), raw["task_params"]
    if raw["task_version"] != entry.static["version"]:
        yield f"version {raw['task_version']} of the task, this suite has {entry.static['version']}: run it again"
    elif raw["ingredients"].get("task") != identity(source.attribute, source.files):
        yield "it was measured by another source of the task than this suite has"
    if label(source, params) != raw["task"]:
        yield "the task's name is not that of its parameters"
    if raw["primary"] != entry.static["primary"]:
        yield f"the task ranks by {entry.static['primary']}, not by {raw['primary']}"
    if raw["status"] == "ok" and raw["primary"] not in raw["metrics"]:
        yield f"it lacks {raw['primary']}, which the task ranks by"
    for name, metric in raw["metrics"].items():
        declared = next((about for about in entry.facts.metrics if fnmatchcase(name, about[0])), None)
        if declared and (metric["unit"], metric["direction"]) != declared[1:]:
            yield f"{name} has another unit or direction than the task gives it"


def _values(folder: Path, raw: Mapping[str, Any]) -> Iterator[str]:
    """Per-image values must be those behind the score, in nats or as hits of 0 and 1 scored in per cent."""
    metric = raw["metrics"].get(raw["primary"])
    if metric is None or not raw["values"]:
        return
    values = records.load_values(folder, raw["key"]).get(raw["primary"])
    if values is None:
        yield f"the per-image values of {raw['primary']} are said to be there, and are not"
        return
    scales = (1.0, 100.0) if metric["unit"] == "%" else (1.0,)
    means = [scale * float(values.astype(np.float64).mean()) for scale in scales] if values.size else []
    fits = [scale for scale, mean in zip(scales, means, strict=False) if np.isclose(mean, metric["value"], *CLOSE)]
    if not fits:
        yield f"the mean of its per-image values is not its {raw['primary']}"
        return
    error = fits[0] * float(values.astype(np.float64).std()) / values.size**0.5
    if metric["se"] is not None and not np.isclose(error, metric["se"], *CLOSE_ERROR):
        yield f"the standard error of its {raw['primary']} is not that of its per-image values"
    if metric["n"] is not None and metric["n"] != values.size:
        yield f"its {raw['primary']} is said to rest on {metric['n']} images, and has values of {values.size}"


def _missing(rows: Iterable[Mapping[str, Any]], tasks: Mapping[str, Entry]) -> Iterator[str]:
    """A choice of tasks or of seeds could be a choice of the best."""
    official = {name for name, entry in tasks.items() if entry.static["official"]}
    seen: dict[tuple[str, ...], dict[int, set[str]]] = {}
    for raw in rows:
        where = tuple(str(raw[name]) for name in ("baseline", "dataset", "budget", "precision"))
        seen.setdefault(where, {}).setdefault(raw["seed"], set()).add(raw["task"])
    for place, seeds in sorted(seen.items()):
        cell = f"{place[0]} on {place[1]}, budget {place[2]}"
        if sorted(seeds) != list(range(len(seeds))):
            yield f"{cell}: the seeds must be 0 to {len(seeds) - 1}, not {', '.join(map(str, sorted(seeds)))}."
        for seed, there in sorted(seeds.items()):
            if lacking := sorted(official - there):
                yield f"{cell}, seed {seed}: the official task {lacking[0]} has no record."
