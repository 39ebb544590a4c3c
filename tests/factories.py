"""Records made up for tests: the schema of ``suite.records``, no model behind them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

METRICS = {
    "reconstruction": ("nats", "nats", "lower"),
    "linear_probe": ("accuracy_64", "%", "higher"),
    "input_optimization": ("gain_db", "dB", "higher"),
    "latent_ablation": ("weakest_net", "nats", "higher"),
}


def record(
    task: str = "reconstruction",
    baseline: str = "vae",
    seed: int = 0,
    value: float = 100.0,
    *,
    se: float | None = 0.1,
    n: int = 400,
    status: str = "ok",
    source: str = "a",
    task_source: str = "a",
    engine: int = 1,
    others: dict[str, float] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Returns one record; ``source`` and ``task_source`` stand for digests, ``others`` for secondary metrics."""
    name, unit, direction = METRICS.get(task, ("score", "", "higher"))
    params, task_params = changes.get("baseline_params", {}), changes.get("task_params", {})
    checkpoint = {
        "baseline": {"class": baseline, "model.py": source},
        "params": params,
        "dataset": _sha(changes.get("dataset", "digits")),
        "seed": seed,
        "budget": changes.get("budget", "quick"),
        "precision": changes.get("precision", "float32"),
        "engine": engine,
    }
    ingredients = {
        "checkpoint": checkpoint,
        "task": {"class": task, f"{task}.py": task_source},
        "task_version": changes.get("task_version", 1),
        "task_params": task_params,
    }
    values = {name: value, **(others or {})} if status == "ok" else {}
    fields: dict[str, Any] = {
        "schema": 1,
        "key": _sha(ingredients),
        "ingredients": ingredients,
        "checkpoint_key": _sha(checkpoint),
        "status": status,
        "reason": "",
        "traceback": "",
        "task": task,
        "task_version": 1,
        "task_params": {},
        "official": task in METRICS,
        "baseline": baseline,
        "family": baseline,
        "baseline_params": {},
        "supervision": "none",
        "dataset": "digits",
        "seed": seed,
        "budget": "quick",
        "precision": "float32",
        "primary": name,
        "metrics": {
            key: {"value": v, "unit": unit, "direction": direction, "se": se, "n": n} for key, v in values.items()
        },
        "notes": [],
        "flags": [],
        "pictures": [],
        "values": False,
        "cost": {"parameters": 1000, "train_seconds": 1.0},
        "env": {"host": "h", "device": "cpu", "threads": 1, "python": "3.11.7"},
        "started": "2026-01-01T00:00:00.000+00:00",
        "finished": "2026-01-01T00:01:00.000+00:00",
    }
    return fields | changes


def records(values: dict[str, Iterable[float]], task: str = "reconstruction", **changes: Any) -> list[dict[str, Any]]:
    """Returns one record per model and seed from ``{model: [value of seed 0, seed 1, ...]}``."""
    return [record(task, name, seed, v, **changes) for name, row in values.items() for seed, v in enumerate(row)]


def write_records(workspace: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Writes the records as a workspace holds them and returns the workspace."""
    folder = workspace / "records"
    folder.mkdir(parents=True, exist_ok=True)
    for row in rows:
        (folder / f"{row['key'][:32]}.json").write_text(json.dumps(row))
    return workspace


def _sha(thing: Any) -> str:
    return hashlib.sha256(json.dumps(thing, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
