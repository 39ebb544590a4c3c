"""The golden numbers: fixed weights, float64. A number that moves needs a new version, and then new goldens.

``python -m tests.test_golden`` writes them anew after a version was raised.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from suite import ENGINE_VERSION, channel, registry, training
from suite.subject import make_subject
from tests import models

FILE = Path(__file__).parent / "data" / "golden.json"
TASKS = {name: entry for name, entry in registry.discover("task").items() if entry.static.get("official")}


@pytest.fixture(autouse=True)
def _shorter_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "MAX_BLOCKS", 2)


def _measure(name: str) -> dict[str, float]:
    model = training.build(models.Golden, models.digits().spec, {}, 0, "cpu")
    subject = make_subject(model, models.Golden, {}, models.digits(), 0, "smoke", "cpu", None)
    score = registry.load(registry.source(TASKS[name]))().score(subject)
    return {metric: measure.value for metric, measure in score.metrics.items()}


def _train() -> dict[str, float]:
    model = training.build(models.Golden, models.digits().spec, {}, 0, "cpu")
    training.train(model, models.digits(), seed=0, budget="smoke", precision="float32")
    return {name: float(p.detach().norm()) for name, p in model.named_parameters()}


def _all() -> dict[str, Any]:
    tasks = {
        name: {"version": TASKS[name].static.get("version", 1), "values": _measure(name)} for name in sorted(TASKS)
    }
    return {"engine": ENGINE_VERSION, "training": _train(), "tasks": tasks}


@pytest.mark.parametrize("name", sorted(TASKS))
def test_scores_move_only_with_a_version(name: str) -> None:
    golden = json.loads(FILE.read_text())
    then = golden["tasks"][name]
    assert (golden["engine"], then["version"]) == (ENGINE_VERSION, TASKS[name].static.get("version", 1)), (
        "a version was raised: write the goldens anew with python -m tests.test_golden"
    )
    now = _measure(name)
    moved = {
        metric: (value, now.get(metric))
        for metric, value in then["values"].items()
        if not _same(now.get(metric), value)
    }
    assert not moved, "numbers moved: raise the task's version, or the engine's"
    assert now.keys() == then["values"].keys()


def test_training_moves_only_with_the_engines_version() -> None:
    golden = json.loads(FILE.read_text())
    assert golden["engine"] == ENGINE_VERSION
    assert all(_same(value, golden["training"][name]) for name, value in _train().items()), "raise ENGINE_VERSION"


def _same(now: float | None, then: float) -> bool:
    return now is not None and now == pytest.approx(then, rel=1e-5, abs=1e-7)


if __name__ == "__main__":
    torch.set_num_threads(1)
    channel.MAX_BLOCKS = 2
    FILE.write_text(json.dumps(_all(), indent=1) + "\n")
