from __future__ import annotations

import pytest

from suite.contract import Measure, Metric
from suite.errors import ContractError
from suite.measuring import measured


def test_metrics_carry_what_the_task_declares_and_nothing_undeclared_or_infinite() -> None:
    declared = [Metric("nats", "nats", "lower", ""), Metric("rate/*", "nats", "", "")]
    entries = measured({"nats": Measure(1.0, 0.1, 400), "rate/z": Measure(2.0)}, declared)
    assert entries["nats"] == {"value": 1.0, "unit": "nats", "direction": "lower", "se": 0.1, "n": 400}
    assert entries["rate/z"]["se"] is None
    with pytest.raises(ContractError, match="'luck'"):
        measured({"luck": Measure(1.0)}, declared)
    with pytest.raises(ContractError, match="nan"):
        measured({"nats": Measure(float("nan"))}, declared)
