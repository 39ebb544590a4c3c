"""Ranks as intervals, the overall order, and the order of rows."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from suite.boards.board import board
from suite.boards.frame import frame, load_records
from suite.records import VERIFIED, write_standing
from suite.records.values import write_values
from tests.boards.reading import SPREAD, around, cell, places
from tests.factories import record, records, write_records


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


def test_a_model_that_lacks_a_seed_is_shown_with_its_mean_and_not_ranked() -> None:
    rows = records(around(1, 5, 9))
    rows[1] = record(baseline="m0", seed=1, status="failed", reason="Diverged: step 37: loss is nan")
    table = board(rows)
    row = cell(table, "m0")
    assert (row["status"], row["seeds"], row["value"]) == ("partial", (0, 2), pytest.approx(1.0))
    assert row["reason"] == "failed: Diverged: step 37: loss is nan (seed 1)"
    assert math.isnan(row["rank_best"])
    assert places(table)["m1"] == (1, 1)


def test_labelled_models_are_ranked_among_themselves() -> None:
    rows = records(around(50, 60)) + records({"semi": [1.0, 1.1, 1.2]}, supervision="semi")
    rows += records({"labelled": [2.0, 2.1, 2.2]}, supervision="labels")
    table = board(rows)
    assert places(table) == {"m0": (1, 1), "m1": (2, 2), "semi": (1, 1), "labelled": (2, 2)}
    assert table["supervised"].tolist() == [False, False, True, True]


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
        for column in ("overall", "overall_best", "overall_worst"):
            assert table.loc[model, column] == alone.loc[model, column]


def test_a_file_that_is_called_as_another_is_does_not_become_of_its_family() -> None:
    def overall(family: str) -> dict[str, tuple[float, float, float]]:
        rows = official(a=(1, 90, 9), b=(2, 80, 5), c=(3, 70, 1))
        for task, value in (("reconstruction", 1.5), ("linear_probe", 85), ("input_optimization", 7)):
            rows += [record(task, "new", s, value + d, family=family, source="its own") for s, d in enumerate(SPREAD)]
        table = board(rows).drop_duplicates("model")
        return {row.model: (row.overall, row.overall_best, row.overall_worst) for row in table.itertuples()}

    assert overall("a") == overall("new")


def test_a_file_from_outside_is_one_family_whatever_its_classes_call_theirs() -> None:
    models = {"a": (1.0, 90.0, 1.0), "b": (5.0, 80.0, 9.0)}
    clones = {f"c{i}": (2.0 + i / 8, 85.0, 5.0) for i in range(4)}

    def overall(**values: tuple[float, ...]) -> pd.DataFrame:
        rows = official(**models, **values)
        for raw in rows:
            if raw["baseline"] in clones:
                raw["ingredients"]["checkpoint"]["baseline"] = {"class": raw["baseline"], "clones.py": "one file"}
        standings = {raw["key"]: VERIFIED for raw in rows if raw["baseline"] in clones}
        return board(frame(rows, standings=standings)).drop_duplicates("model").set_index("model")

    one, four = overall(c0=clones["c0"]), overall(**clones)
    for column in ("overall", "overall_best", "overall_worst", "rank_best", "rank_worst", "ranked_among"):
        assert one[column].drop("c0").to_dict() == four[column].drop(list(clones)).to_dict()
    assert set(four["ranked_among"]) == {3}


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


def test_a_score_without_any_uncertainty_is_not_ranked() -> None:
    table = board(records({"a": [1.0, 1.0, 1.0], "b": [2.0, 2.0, 2.0], "c": [3.0, 3.1, 3.2]}, se=None))
    assert math.isnan(places(table)["a"][0])
    assert places(table)["c"] == (1, 1)


def test_a_variant_that_does_not_count_shows_its_own_number_also_where_it_ties() -> None:
    rows = official(a=(1, 90, 9), a_twin=(1, 90, 9), a_worse=(8, 80, 1), b=(5, 85, 5))
    table = board(rows).drop_duplicates("model").set_index("model")
    assert table["overall"].to_dict() == {"a": 1, "a_twin": 1, "a_worse": 2, "b": 2}
    assert (
        table["overall_best"].to_dict()
        == table["overall_worst"].to_dict()
        == {"a": 1, "a_twin": 1, "a_worse": 2, "b": 2}
    )


@pytest.mark.parametrize("flag", ["given weights", "own training"])
def test_weights_or_training_of_ones_own_are_shown_in_a_class_of_their_own_and_not_ranked(flag: str) -> None:
    table = board(records(around(5, 9)) + records({"guest": [1.0, 1.1, 1.2]}, flags=[flag]))
    row = cell(table, "guest")
    assert (row["apart"], row["value"]) == (True, pytest.approx(1.1))
    assert math.isnan(row["rank_best"])
    assert places(table)["m0"] == (1, 1)
    assert cell(table, "m0")["ranked_among"] == 2
    assert table["model"].iloc[-1] == "guest"


def test_the_interval_of_given_weights_is_that_of_the_images() -> None:
    row = cell(board(records({"guest": [1.0, 2.0, 3.0]}, se=0.5, n=101, flags=["given weights"])), "guest")
    assert row["half"] == pytest.approx(0.5 * 1.983972, rel=1e-5)


def test_differences_below_the_resolution_of_the_column_are_ties() -> None:
    rows = records({"a": [1.0] * 3, "b": [1.009] * 3, "c": [1.02] * 3}, se=1e-6)
    assert places(board(rows)) == {"a": (1, 2), "b": (1, 2), "c": (3, 3)}


def test_a_board_is_the_same_every_time_and_in_any_order_of_its_records() -> None:
    rows = records({f"m{i}": [i / 10 + d for d in SPREAD] for i in range(9)})
    table = board(rows)
    pd.testing.assert_frame_equal(table, board(rows[::-1]))
    assert places(table) == places(board(rows[::2] + rows[1::2]))


def kept(folder: Path, values: dict[str, np.ndarray]) -> pd.DataFrame:
    """Records of models with a value for every image, (seeds, images), and these beside them."""
    rows = [
        record(baseline=name, seed=seed, value=float(of_images.mean()), n=400, se=float(of_images.std()) / 20)
        for name, of_seeds in values.items()
        for seed, of_images in enumerate(of_seeds)
    ]
    for raw, of_images in zip(rows, (of_images for of_seeds in values.values() for of_images in of_seeds), strict=True):
        raw["values"] = True
        write_values(folder, raw["key"], {"nats": of_images})
    return load_records(write_records(folder, rows))


def test_a_model_of_a_wild_scale_has_no_place_and_takes_nobody_s(tmp_path: Path) -> None:
    """A few images that cost 1e5 or 1e25 nats would drown what is certain of all others in their rounding."""
    rng = np.random.default_rng(0)
    images = rng.normal(100, 20, 400)
    close = {f"m{i}": images + rng.normal(0.3 * i, 0.5, (3, 400)) for i in range(4)}
    alone = places(board(kept(tmp_path / "alone", close)))
    assert alone == {"m0": (1, 1), "m1": (2, 2), "m2": (3, 3), "m3": (4, 4)}
    for scale in (1e7, 1e25):
        wild = images + scale * rng.normal(1.0, 1.0, (3, 400)) ** 2
        table = board(kept(tmp_path / f"{scale:g}", {**close, "wild": wild}))
        found = places(table)
        assert math.isnan(found.pop("wild")[0])
        assert found == alone
        (note,) = cell(table, "wild")["notes"]
        assert note == "no place: its interval is over 1000 times the usual one of its column"


def test_one_record_s_number_of_images_moves_nobody_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(100, 20, 400)
    close = {f"m{i}": images + rng.normal(0.3 * i, 0.5, (3, 400)) for i in range(4)}
    rows = records({"told": [200.0, 200.1, 200.2]}, n=10**9)
    write_records(tmp_path, rows)
    assert places(board(kept(tmp_path, close))) == {f"m{i}": (i + 1, i + 1) for i in range(4)} | {"told": (5, 5)}


def test_any_number_of_models_in_a_submission_do_not_say_what_is_usual(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(100, 20, 400)
    close = {f"m{i}": images + rng.normal(0.3 * i, 0.5, (3, 400)) for i in range(4)}
    clones = {f"clone{i}": images + 1e7 * rng.normal(1.0, 1.0, (3, 400)) for i in range(7)}
    data = kept(tmp_path, close | clones)
    keys = data.loc[data["baseline"].str.startswith("clone"), "key"].tolist()
    write_standing(tmp_path, "clones-1", VERIFIED, keys, again=keys)
    found = places(board(load_records(tmp_path)))
    assert {name: place for name, place in found.items() if name in close} == {
        f"m{i}": (i + 1, i + 1) for i in range(4)
    }
