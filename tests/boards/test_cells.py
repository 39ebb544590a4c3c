"""A cell of the board: its mean, its interval, or the reason why it is empty."""

from __future__ import annotations

import math

import pytest

from suite.boards.board import board
from tests.boards.reading import around, cell, places
from tests.factories import record, records


def test_a_cell_is_the_mean_over_seeds_with_an_interval_over_seeds_and_images() -> None:
    row = cell(board(records({"vae": [99.0, 100.0, 101.0]}, se=0.3)), "vae")
    assert row["value"] == 100
    seed, image = 4.302653 / math.sqrt(3), 0.3 * 1.965927  # t of 2 and of 399 degrees of freedom
    assert row["half"] == pytest.approx(math.hypot(seed, image), rel=1e-5)
    assert (row["low"], row["high"]) == (row["value"] - row["half"], row["value"] + row["half"])
    assert row["seeds"] == row["expected"] == (0, 1, 2)


def test_the_interval_of_one_seed_is_that_of_the_images() -> None:
    row = cell(board(records({"vae": [100.0]}, se=0.5, n=101)), "vae")
    assert row["half"] == pytest.approx(0.5 * 1.983972, rel=1e-5)


@pytest.mark.parametrize(
    ("status", "reason", "shown"),
    [
        ("failed", "Diverged: step 3", "failed: Diverged: step 3"),
        ("timeout", "", "timeout"),
        ("killed", "worker died", "killed: worker died"),
        ("unsupported", "no real inputs", "unsupported: no real inputs"),
    ],
)
def test_an_empty_cell_says_why(status: str, reason: str, shown: str) -> None:
    rows = records(around(1, 9)) + [record(baseline="x", seed=s, status=status, reason=reason) for s in range(3)]
    row = cell(board(rows), "x")
    assert (row["status"], row["reason"]) == (status, shown)
    assert math.isnan(row["value"])
    assert places(board(rows))["m0"] == (1, 1)


def test_a_cell_without_a_record_was_not_run() -> None:
    table = board(records(around(1, 9)) + records({"m0": [3.0, 3.1, 3.2]}, task="linear_probe"))
    assert cell(table, "m1", "linear_probe")["reason"] == "not run"


def test_seeds_measured_with_different_sources_are_never_averaged() -> None:
    rows = records({"a": [1.0, 1.1, 1.2], "b": [5.0, 5.1, 5.2]})
    rows.append(record(baseline="a", seed=0, value=40.0, source="edited", finished="2027-01-01T00:00:00.000+00:00"))
    row = cell(board(rows), "a")
    assert (row["value"], row["seeds"]) == (40, (0,))
    assert row["reason"] == "stale: older source of the model (seed 1, 2)"
    assert math.isnan(row["rank_best"])


def test_of_two_sources_of_a_task_that_of_most_models_counts_and_of_as_many_the_newest() -> None:
    rows = records(around(1, 5, 9))
    rows += [record(baseline="m3", seed=s, task_source="edited", finished="2027") for s in range(3)]
    assert [cell(board(rows), f"m{i}")["status"] for i in range(4)] == ["ok", "ok", "ok", "stale"]
    rows += [record(baseline=f"m{i}", seed=s, task_source="edited", finished="2027") for s in range(3) for i in (1, 2)]
    assert [cell(board(rows), f"m{i}")["status"] for i in range(4)] == ["stale", "ok", "ok", "ok"]


def test_other_metrics_can_be_shown_by_name_or_pattern() -> None:
    rows = records(around(1, 9), others={"rate/z": 20.0, "rate/c": 3.0, "floor": 205.9})
    table = board(rows, metrics=["rate/*"])
    assert set(table["metric"]) == {"rate/z", "rate/c"}
    assert not table["official"].any()
    assert set(board(rows)["metric"]) == {"nats"}
    assert set(board(rows)["floor"]) == {205.9}


def test_a_metric_of_one_seed_alone_is_partial() -> None:
    rows = records(around(1, 9))
    rows[0] = record(baseline="m0", seed=0, value=1.0, others={"gain": 2.0})
    row = cell(board(rows, metrics=["gain"]), "m0")
    assert (row["status"], row["value"], row["reason"]) == ("partial", 2.0, "not measured (seed 1, 2)")


def test_bits_per_dimension_have_the_uncertainty_of_their_nats() -> None:
    rows = records({"a": [1.0, 1.2, 1.4], "b": [9.0, 9.1, 9.2]}, se=0.3)
    for row in rows:
        bits = {
            "value": row["metrics"]["nats"]["value"] / 543,
            "unit": "bits",
            "direction": "lower",
            "se": None,
            "n": None,
        }
        row["metrics"]["bits_per_dim"] = bits
    nats, bits = cell(board(rows), "a"), cell(board(rows, metrics=["bits_per_dim"]), "a")
    assert bits["half"] == pytest.approx(nats["half"] / 543)
    assert bits["images"] == nats["images"] == 400
    assert bits["rank_best"] == nats["rank_best"] == 1
