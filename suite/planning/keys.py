"""The two keys: what a checkpoint and a cell are made of, and what changed between two cells of one name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from suite import version
from suite.plugins import Source, identity
from suite.training import BUDGET_VERSIONS


def checkpoint_ingredients(
    baseline: Source, params: Mapping[str, Any], dataset_hash: str, seed: int, budget: str, precision: str
) -> dict[str, Any]:
    """Returns all that moves a trained model or what is kept beside it: the dict behind the checkpoint key."""
    effort = BUDGET_VERSIONS.get(budget)
    return {
        "baseline": identity(baseline.attribute, baseline.files),
        "params": dict(params),
        "dataset": dataset_hash,
        "seed": seed,
        "budget": budget,
        "precision": precision,
        "engine": version.ENGINE_VERSION,
    } | ({"budget_version": effort} if effort else {})


def cell_ingredients(checkpoint: Mapping[str, Any], task: Source, params: Mapping[str, Any]) -> dict[str, Any]:
    """Returns all that moves a score: the dict behind the cell key."""
    return {
        "checkpoint": checkpoint,
        "task": identity(task.attribute, task.files),
        "task_version": task.static["version"],
        "task_params": dict(params),
    }


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Returns what differs between two cells' ingredients, one line each."""
    new = json.loads(json.dumps(new))  # as the record has it: tuples are lists
    before, after = old.get("checkpoint", {}), new["checkpoint"]
    found = _source_change("baseline", before.get("baseline"), after["baseline"])
    found += _parameter_changes("parameter", before.get("params"), after["params"])
    if before.get("dataset") != after["dataset"]:
        found.append("the dataset's bytes changed")
    if before.get("engine") != after["engine"]:
        found.append(f"engine version {before.get('engine')} -> {after['engine']}")
    if before.get("budget_version") != after.get("budget_version"):
        found.append(f"version of the budget {before.get('budget_version', 1)} -> {after.get('budget_version', 1)}")
    found += _source_change("task", old.get("task"), new["task"])
    if old.get("task_version") != new["task_version"]:
        found.append(f"task version {old.get('task_version')} -> {new['task_version']}")
    return found + _parameter_changes("task parameter", old.get("task_params"), new["task_params"])


def _source_change(kind: str, old: Any, new: Mapping[str, str]) -> list[str]:
    if old == new:
        return []
    before = old if isinstance(old, Mapping) else {}
    names = sorted(name for name in before.keys() | new.keys() if before.get(name) != new.get(name) and name != "class")
    return [f"{kind} source changed ({', '.join(names)})" if names else f"{kind} class changed"]


def _parameter_changes(kind: str, old: Any, new: Mapping[str, Any]) -> list[str]:
    before = old if isinstance(old, Mapping) else {}
    names = sorted(name for name in before.keys() | new.keys() if before.get(name) != new.get(name))
    return [f"{kind} {name}: {before.get(name)} -> {new.get(name)}" for name in names]
