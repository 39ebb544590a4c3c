"""The golden numbers: fixed weights, float64. A number that moves needs a new version, and then new goldens.

``python -m tests.measuring.test_golden`` writes them anew, and refuses where a number moved under the same version.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from suite import training
from suite.measuring import noise
from suite.measuring.subject import make_subject
from suite.plugins import registry
from suite.version import ENGINE_VERSION
from tests import models

FILE = Path(__file__).parents[1] / "files" / "golden.json"
TASKS = {
    name: entry
    for name, entry in registry.discover("task").items()
    if entry.static.get("official") or name == "latent_ablation"
}

#: Task -> how far apart two measurements may lie, relatively and absolutely. The probe's fit is float32 and ends
#: anywhere within its tolerance, on another CPU elsewhere, and 197 validation images then may prefer another strength:
#: up to five of the 400 test images change sides. A search for inputs adds up hundreds of steps in float32.
TOLERANCE = {"linear_probe": (0.0, 1.26), "input_optimization": (1e-4, 1e-6)}
STRICT = (1e-5, 1e-7)


@pytest.fixture(autouse=True)
def _shorter_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "MAX_BLOCKS", 2)


def _measure(name: str) -> dict[str, float]:
    cls = models.Legible if name == "linear_probe" else models.Golden
    recipe = training.Recipe(cls, models.digits().spec)
    subject = make_subject(recipe.build(), recipe, models.digits(), "smoke")
    score = registry.load(registry.source(TASKS[name]))().score(subject)
    return {metric: measure.value for metric, measure in score.metrics.items()}


def _train() -> dict[str, float]:
    model = training.Recipe(models.Golden, models.digits().spec).build()
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
        "a version was raised: write the goldens anew with python -m tests.measuring.test_golden"
    )
    assert not _moved(then["values"], _measure(name), name), "numbers moved: raise the task's version, or the engine's"


def test_training_moves_only_with_the_engines_version() -> None:
    golden = json.loads(FILE.read_text())
    assert golden["engine"] == ENGINE_VERSION
    assert not _moved(golden["training"], _train()), "raise ENGINE_VERSION"


def _moved(then: dict[str, float], now: dict[str, float], task: str = "") -> dict[str, tuple[Any, Any]]:
    """Metric -> (then, now) of what differs or stands on one side alone."""
    rel, absolute = TOLERANCE.get(task, STRICT)
    return {
        metric: (then.get(metric), now.get(metric))
        for metric in then.keys() | now.keys()
        if metric not in then or metric not in now or then[metric] != pytest.approx(now[metric], rel=rel, abs=absolute)
    }


def unexplained(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What moved although neither its own version nor the engine's was raised."""
    if now["engine"] > then["engine"]:
        return []
    moved = ["training: raise ENGINE_VERSION"] if _moved(then["training"], now["training"]) else []
    for name, task in then["tasks"].items():
        new = now["tasks"].get(name, task)
        if new["version"] <= task["version"] and _moved(task["values"], new["values"], name):
            moved.append(f"{name}: raise its version")
    return moved


def test_goldens_are_not_rewritten_unless_a_version_was_raised() -> None:
    then = json.loads(FILE.read_text())
    assert unexplained(then, then) == []
    task = next(iter(then["tasks"]))
    now = json.loads(FILE.read_text())
    metric = next(iter(now["tasks"][task]["values"]))
    now["tasks"][task]["values"][metric] += 1
    assert unexplained(then, now) == [f"{task}: raise its version"]
    assert unexplained(then, now | {"engine": then["engine"] + 1}) == []
    now["tasks"][task]["version"] += 1
    now["training"][next(iter(now["training"]))] *= 2
    assert unexplained(then, now) == ["training: raise ENGINE_VERSION"]


def _rewrite() -> None:
    now = _all()
    if FILE.exists() and (moved := unexplained(json.loads(FILE.read_text()), now)):
        raise SystemExit("numbers moved under the same version; " + "; ".join(moved))
    FILE.write_text(json.dumps(now, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    noise.MAX_BLOCKS = 2
    _rewrite()
