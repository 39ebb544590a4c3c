from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from suite.planning import forecast
from suite.planning.cells import Cell
from suite.planning.forecast import Forecast, costs
from suite.planning.plan import Plan, Selection
from suite.running.executor import Execution
from suite.running.run import forecast as announced
from tests.factories import record

CELL = Cell("reconstruction", {}, "vae", {}, "digits", 0, "quick", "float32", "key", "model", {})


def measured(baseline: str = "vae", **changes: Any) -> dict[str, Any]:
    cost = {"images_per_second": 6000.0, "train_seconds": 180.0, "score_seconds": 50.0}
    return record("reconstruction", baseline, cost=cost | changes.pop("cost", {}), **changes)


@pytest.fixture(autouse=True)
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    found = costs([measured(dataset="mnist", budget="standard")])
    monkeypatch.setattr(forecast, "published", lambda: found)


def test_without_records_of_the_kind_the_published_ones_are_scaled_to_budget_and_images() -> None:
    told = Forecast([])
    assert told.seconds("", CELL) == pytest.approx(60_000 / 6000)
    assert told.seconds("reconstruction", replace(CELL, dataset="mnist")) == pytest.approx(50)
    assert told.seconds("reconstruction", CELL) < 5  # digits has far fewer test images
    assert told.seconds("", replace(CELL, baseline="mine")) is None


def test_a_machine_of_half_the_pace_takes_twice_as_long() -> None:
    slow = measured(dataset="mnist", cost={"images_per_second": 3000.0})
    assert Forecast([slow]).seconds("", CELL) == pytest.approx(2 * 60_000 / 6000)


def test_what_the_workspace_has_measured_itself_counts_first() -> None:
    assert Forecast([measured(cost={"train_seconds": 7.0})]).seconds("", CELL) == 7.0


def test_a_model_that_is_not_trained_takes_no_training_and_says_nothing_of_the_pace() -> None:
    untrained = measured(cost={"images_per_second": None, "train_seconds": 0.5})
    assert costs([untrained]).training == {"vae": 0.0}
    assert Forecast([untrained]).seconds("", replace(CELL, seed=1)) == 0.5
    assert Forecast([untrained]).seconds("", replace(CELL, budget="long")) == pytest.approx(11_000_000 / 6000)


def test_a_long_run_says_how_much_there_is_and_how_to_make_it_less() -> None:
    cells = [replace(CELL, key=f"k{i}", checkpoint_key=f"m{i}", budget="standard") for i in range(40)]
    plan = Plan(Selection(), cells, {}, {}, "/nowhere", "/nowhere")
    told = announced(plan, [], Execution(workers=2))
    assert "40 cells" in told
    assert re.search(r"about \d+ minutes with 2 workers", told)
    assert "suite plan" in told
    assert announced(replace(plan, cells=cells[:3]), [], Execution()) == ""
