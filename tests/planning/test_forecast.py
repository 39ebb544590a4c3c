from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from suite.planning import forecast
from suite.planning.cells import Cell
from suite.planning.forecast import Forecast, costs
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
