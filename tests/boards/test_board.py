"""What the board says of records: columns, intervals, ranks, reasons, order."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from suite.boards.board import board, frame, load_records
from suite.errors import UserError
from suite.pages.render import find_anchors
from tests.factories import record, records, write_records

SPREAD = (-0.1, 0.0, 0.1)


def around(*means: float) -> dict[str, list[float]]:
    """Models m0, m1, ... with three seeds each, spread narrowly round their means."""
    return {f"m{i}": [mean + d for d in SPREAD] for i, mean in enumerate(means)}


def cell(table: pd.DataFrame, model: str, task: str = "reconstruction", **more: Any) -> pd.Series:
    rows = table[(table["model"] == model) & (table["task"] == task)]
    for name, value in more.items():
        rows = rows[rows[name] == value]
    assert len(rows) == 1
    return rows.iloc[0]


def places(table: pd.DataFrame, task: str = "reconstruction") -> dict[str, tuple[float, float]]:
    rows = table[table["task"] == task]
    return {m: (b, w) for m, b, w in zip(rows["model"], rows["rank_best"], rows["rank_worst"], strict=True)}


def test_a_cell_is_the_mean_over_seeds_with_an_interval_over_seeds_and_images() -> None:
    row = cell(board(records({"vae": [99.0, 100.0, 101.0]}, se=0.3)), "vae")
    assert row["value"] == 100
    seed, image = 4.302653 / math.sqrt(3), 0.3 * 1.965927  # t of 2 and of 399 degrees of freedom
    assert row["half"] == pytest.approx(math.hypot(seed, image), rel=1e-5)
    assert (row["low"], row["high"]) == (row["value"] - row["half"], row["value"] + row["half"])
    assert row["seeds"] == row["expected"] == (0, 1, 2)


def test_the_better_model_is_first_whichever_way_better_lies() -> None:
    assert places(board(records(around(90, 100)))) == {"m0": (1, 1), "m1": (2, 2)}
    probe = board(records(around(90, 95), task="linear_probe"))
    assert places(probe, "linear_probe") == {"m1": (1, 1), "m0": (2, 2)}
    assert probe["model"].tolist() == ["m1", "m0"]


def test_models_that_cannot_be_told_apart_share_a_rank_interval() -> None:
    assert places(board(records(around(100, 100.01, 120)))) == {"m0": (1, 2), "m1": (1, 2), "m2": (3, 3)}


def test_under_three_seeds_nothing_is_ranked_and_the_board_is_preliminary() -> None:
    two = board(records({"a": [1.0, 1.1], "b": [9.0, 9.1]}))
    assert two["preliminary"].all()
    assert two["rank_best"].isna().all()
    three = board(records(around(1, 9)))
    assert not three["preliminary"].any()
    assert three["rank_best"].notna().all()


def test_one_column_with_too_few_seeds_leaves_the_whole_board_unranked() -> None:
    table = board(records(around(1, 9)) + records({"m0": [1.0], "m1": [2.0]}, task="linear_probe"))
    assert table["preliminary"].all()
    assert table["rank_best"].isna().all()


def test_the_interval_of_one_seed_is_that_of_the_images() -> None:
    row = cell(board(records({"vae": [100.0]}, se=0.5, n=101)), "vae")
    assert row["half"] == pytest.approx(0.5 * 1.983972, rel=1e-5)


def test_a_model_that_lacks_a_seed_is_shown_with_its_mean_and_not_ranked() -> None:
    rows = records(around(1, 5, 9))
    rows[1] = record(baseline="m0", seed=1, status="failed", reason="Diverged: step 37: loss is nan")
    table = board(rows)
    row = cell(table, "m0")
    assert (row["status"], row["seeds"], row["value"]) == ("partial", (0, 2), pytest.approx(1.0))
    assert row["reason"] == "failed: Diverged: step 37: loss is nan (seed 1)"
    assert math.isnan(row["rank_best"])
    assert places(table)["m1"] == (1, 1)


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


def test_labelled_models_are_ranked_among_themselves() -> None:
    rows = records(around(50, 60)) + records({"semi": [1.0, 1.1, 1.2]}, supervision="semi")
    rows += records({"labelled": [2.0, 2.1, 2.2]}, supervision="labels")
    table = board(rows)
    assert places(table) == {"m0": (1, 1), "m1": (2, 2), "semi": (1, 1), "labelled": (2, 2)}
    assert table["supervised"].tolist() == [False, False, True, True]


def test_versions_datasets_budgets_and_precisions_never_share_a_column() -> None:
    rows = records(around(1, 9))
    for change in ({"dataset": "mnist"}, {"budget": "standard"}, {"precision": "bf16"}):
        rows += records(around(5, 6), **change)
    table = board(rows)
    assert len(table.groupby(["dataset", "budget", "precision"])) == 4
    assert cell(table, "m0", dataset="digits", budget="quick", precision="float32")["value"] == pytest.approx(1)


def test_older_versions_are_left_out_unless_asked_for() -> None:
    rows = records(around(1, 9)) + records(around(5, 6), task_version=2)
    table = board(rows)
    assert cell(table, "m0")["value"] == pytest.approx(5)
    assert set(table["older"]) == {6}
    both = board(rows, all_versions=True)
    assert cell(both, "m0", task_version=1)["value"] == pytest.approx(1)
    engines = board(records(around(1, 9)) + records(around(5, 6), engine=2))
    assert set(engines["engine"]) == {2}


def test_seeds_measured_with_different_sources_are_never_averaged() -> None:
    rows = records({"a": [1.0, 1.1, 1.2], "b": [5.0, 5.1, 5.2]})
    rows.append(record(baseline="a", seed=0, value=40.0, source="edited", finished="2027-01-01T00:00:00.000+00:00"))
    row = cell(board(rows), "a")
    assert (row["value"], row["seeds"]) == (40, (0,))
    assert row["reason"] == "stale: older source of the model (seed 1, 2)"
    assert math.isnan(row["rank_best"])


def test_an_edited_task_leaves_the_other_models_stale() -> None:
    rows = records(around(1, 9))
    rows += [record(baseline="m0", seed=s, task_source="edited", finished="2027") for s in range(3)]
    assert cell(board(rows), "m1")["status"] == "stale"


def test_a_parametrised_model_has_a_row_of_its_own() -> None:
    table = board(records({"vae": [1.0, 1.1, 1.2], "vae:units=64": [0.1, 0.2, 0.3]}, family="vae"))
    assert table["model"].tolist() == ["vae:units=64", "vae"]


def official(**values: tuple[float, ...]) -> list[dict[str, Any]]:
    """Records of models with one mean per official task: nats (lower is better), then accuracy and gain (higher)."""
    rows = []
    for i, task in enumerate(("reconstruction", "linear_probe", "input_optimization")):
        for model, means in values.items():
            family = model.split("_")[0]
            rows += [record(task, model, s, means[i] + d, family=family) for s, d in enumerate(SPREAD)]
    return rows


def test_the_overall_order_is_the_mean_of_the_middle_ranks() -> None:
    table = board(official(a=(1, 90, 9), b=(5, 95, 5), c=(9, 80, 1)))
    overall = table.drop_duplicates("model").set_index("model")["overall"]
    assert overall.to_dict() == pytest.approx({"a": 4 / 3, "b": 5 / 3, "c": 3})
    assert table["model"].drop_duplicates().tolist() == ["a", "b", "c"]
    assert table.drop_duplicates("model")["overall_best"].tolist() == [1, 2, 3]


def test_of_a_familys_variants_the_best_counts_and_the_others_move_nobody() -> None:
    models = {"a": (1.0, 90.0, 1.0), "b": (5.0, 80.0, 9.0)}
    flood = {f"a_{i}": (1.0 + i, 90.0 - i, 0.9) for i in range(1, 4)}
    table = board(official(**models, **flood)).drop_duplicates("model").set_index("model")
    assert set(table.index) == {*models, *flood}
    alone = board(official(**models)).drop_duplicates("model").set_index("model")
    for model in models:
        assert table.loc[model, "overall"] == alone.loc[model, "overall"]
    assert table.loc[list(flood), "overall"].isna().all()


def test_a_model_that_lacks_an_official_cell_is_listed_last_and_has_no_overall_place() -> None:
    rows = official(a=(1, 90, 9), b=(5, 80, 5))
    rows += records({"best": [0.1, 0.2, 0.3]})
    table = board(rows)
    assert table["model"].iloc[-1] == "best"
    assert math.isnan(table["overall"].iloc[-1])
    assert places(table)["best"] == (1, 1)


def test_one_official_task_alone_gives_no_overall_order() -> None:
    assert board(records(around(1, 9)))["overall"].isna().all()


@pytest.mark.parametrize(
    ("sort", "order"),
    [("reconstruction", "abc"), ("linear_probe", "bac"), ("gain_db", "cba"), ("name", "abc"), ("overall", "bac")],
)
def test_rows_can_be_sorted_by_any_column(sort: str, order: str) -> None:
    table = board(official(a=(1, 90, 1), b=(5, 95, 5), c=(9, 80, 9)), sort=sort)
    assert "".join(table["model"].drop_duplicates()) == order


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


def test_a_score_without_any_uncertainty_is_not_ranked() -> None:
    table = board(records({"a": [1.0, 1.0, 1.0], "b": [2.0, 2.0, 2.0], "c": [3.0, 3.1, 3.2]}, se=None))
    assert math.isnan(places(table)["a"][0])
    assert places(table)["c"] == (1, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"datasets": ["mnits"]}, "no records of dataset 'mnits'"),
        ({"baselines": ["m"]}, "no records of baseline 'm'"),
        ({"tasks": ["reconstructoin"]}, "did you mean 'reconstruction'"),
        ({"metrics": ["nast"]}, "did you mean 'nats'"),
        ({"sort": "nast"}, "did you mean 'nats'"),
        ({"seeds": [9]}, "no records to show"),
    ],
)
def test_what_is_not_there_is_an_error_that_names_the_nearest(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        board(records(around(1, 9)), **options)


def test_seeds_can_be_chosen_so_that_models_with_fewer_are_ranked() -> None:
    rows = records({"a": [1.0, 1.1, 1.2, 1.3, 1.4], "b": [5.0, 5.1, 5.2]})
    assert cell(board(rows), "b")["status"] == "partial"
    assert places(board(rows, seeds=range(3)))["b"] == (2, 2)


def test_records_read_from_disk_give_the_board_of_the_records(tmp_path: Path) -> None:
    rows = records(around(1, 9), flags=["suspect"])
    data = load_records(write_records(tmp_path, rows))
    assert len(data) == 6
    assert data.groupby("baseline")["metric:nats"].mean().to_dict() == pytest.approx({"m0": 1, "m1": 9})
    pd.testing.assert_frame_equal(board(data), board(rows))
    assert cell(board(data), "m0")["flags"] == ("suspect",)


def test_the_board_leaves_the_records_as_they_were() -> None:
    data = frame(records(around(1, 9)))
    before = data.copy()
    board(data)
    pd.testing.assert_frame_equal(data, before)


def test_anchors_of_a_task_that_is_not_here_are_none() -> None:
    assert find_anchors(["somebody_elses_task"]) == {}
