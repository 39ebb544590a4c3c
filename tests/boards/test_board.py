"""What the board takes of records: columns, versions, seeds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from suite import records as store
from suite.boards.board import board, stale_keys
from suite.boards.comparison import compare
from suite.boards.frame import frame, load_records
from suite.errors import UserError
from suite.records.schema import digest_of
from tests.boards.reading import around, cell, places
from tests.factories import records, write_records


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


def test_a_parametrised_model_has_a_row_of_its_own() -> None:
    table = board(records({"vae": [1.0, 1.1, 1.2], "vae:units=64": [0.1, 0.2, 0.3]}, family="vae"))
    assert table["model"].tolist() == ["vae:units=64", "vae"]


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


def test_of_a_verified_model_the_board_shows_what_was_run_again_and_ranks_it_where_that_is_all(tmp_path: Path) -> None:
    """A verdict lets 1 % + 0.5 nats pass: a submission could move all that is not run again by as much."""
    found = records(around(351, 353, 380))
    write_records(tmp_path, found)
    keys = [raw["key"] for raw in found if raw["baseline"] == "m0"]
    assert places(board(load_records(tmp_path))) == {"m0": (1, 1), "m1": (2, 2), "m2": (3, 3)}

    store.write_standing(tmp_path, "m0", store.VERIFIED, keys, again=keys[:1])
    table = board(load_records(tmp_path))
    assert math.isnan(places(table)["m0"][0])
    assert [places(table)[name] for name in ("m1", "m2")] == [(1, 1), (2, 2)]
    row = cell(table, "m0")
    assert (row["status"], row["reason"]) == ("partial", "claimed and not run again (seed 1, 2)")
    assert (row["value"], row["seeds"], row["keys"]) == (found[0]["metrics"]["nats"]["value"], (0,), (keys[0],))
    (compared,) = compare(table, "m0", "m1", [tmp_path])
    assert compared["board"] == ""
    assert "m0: claimed and not run again (seed 1, 2)" in compared["note"]

    store.write_standing(tmp_path, "m0", store.VERIFIED, keys, again=keys)
    assert places(board(load_records(tmp_path)))["m0"] == (1, 1)


@pytest.mark.parametrize("claimed", [[208.0, 207.0], [308.0, 309.0], [1e6, 0.0]])
def test_what_is_claimed_and_not_run_again_moves_no_number(tmp_path: Path, claimed: list[float]) -> None:
    others = {"m1": [300.0, 300.1, 299.9, 300.0], "m2": [300.5, 300.4, 300.6, 300.5], "m3": [330.0, 331.0, 329.0, 330]}
    alone = board(records(others))
    found = records({"m0": [308.0, 309.0, *claimed], **others})
    write_records(tmp_path, found)
    keys = [raw["key"] for raw in found if raw["baseline"] == "m0"]
    store.write_standing(tmp_path, "m0", store.VERIFIED, keys, again=keys[:2])
    table = board(load_records(tmp_path))
    assert (cell(table, "m0")["value"], cell(table, "m0")["seeds"]) == (308.5, (0, 1))
    assert {name: place for name, place in places(table).items() if name != "m0"} == places(alone)
    store.write_standing(tmp_path, "m0", store.VERIFIED, keys, again=[])
    table = board(load_records(tmp_path))
    assert (cell(table, "m0")["status"], cell(table, "m0")["seeds"]) == ("claimed and not run again", ())


def test_the_board_leaves_the_records_as_they_were() -> None:
    data = frame(records(around(1, 9)))
    before = data.copy()
    board(data)
    pd.testing.assert_frame_equal(data, before)


def tuned_and_declared() -> list[dict[str, Any]]:
    """Two declared models, two tuned with eight trials, one with sixteen; the tuned ones are better by far."""
    rows = records({"vae": [9.0, 9.1, 9.2], "ae": [8.0, 8.1, 8.2]})
    for name, trials, value in (("vae", 8, 2.0), ("ae", 8, 1.0), ("vae", 16, 0.5)):
        made = records({f"{name}:tuned={trials}": [value, value + 0.1, value + 0.2]}, baseline_params={"tuned": trials})
        cost = {"search_trials": trials, "search_seconds": 10.0, "search_flops": 2e12, "search_images": 1_000}
        rows += [{**raw, "cost": {**raw["cost"], **cost}} for raw in made]
    return rows


def test_tuned_models_are_ranked_among_those_of_as_many_trials_and_never_with_declared_ones() -> None:
    table = board(tuned_and_declared())
    found = {row["model"]: (row["tuned"], row["rank_best"], row["ranked_among"]) for _, row in table.iterrows()}
    assert found == {
        "ae": (0, 1, 2),
        "vae": (0, 2, 2),
        "ae:tuned=8": (8, 1, 2),
        "vae:tuned=8": (8, 2, 2),
        "vae:tuned=16": (16, 1, 1),
    }
    alone = board(records({"vae": [9.0, 9.1, 9.2], "ae": [8.0, 8.1, 8.2]}))
    assert places(alone) == {name: place for name, place in places(table).items() if ":" not in name}


def test_rows_can_be_sorted_by_what_their_searches_took() -> None:
    rows = tuned_and_declared()
    for raw in rows:
        if raw["baseline"] == "ae:tuned=8":
            raw["cost"]["search_seconds"] = 99.0
    models = board(rows, sort="search_seconds")["model"].drop_duplicates().tolist()
    assert models.index("vae:tuned=8") < models.index("ae:tuned=8")
    models = board(rows)["model"].drop_duplicates().tolist()
    assert models.index("ae:tuned=8") < models.index("vae:tuned=8")


def test_a_tuned_row_tells_its_mark_and_what_its_search_took() -> None:
    table = board(tuned_and_declared())
    row = cell(table, "vae:tuned=8")
    assert "tuned (8 trials)" in row["flags"]
    assert (row["search_trials"], row["search_seconds"], row["search_flops"], row["search_images"]) == (
        8,
        10,
        2e12,
        1e3,
    )
    assert not [flag for flag in cell(table, "vae")["flags"] if "tuned" in flag]
    assert pd.isna(cell(table, "vae")["search_trials"])


@pytest.mark.parametrize("standing", store.STANDINGS)
def test_no_claim_of_other_data_makes_ones_own_records_stale(tmp_path: Path, standing: str) -> None:
    mine = records(around(100, 105))
    theirs = records({f"evil{i}": [1.0, 1.1, 1.2] for i in range(5)})
    for raw in theirs:
        raw["ingredients"]["checkpoint"]["dataset"] = "f" * 64
        raw["checkpoint_key"] = digest_of(raw["ingredients"]["checkpoint"])
        raw["key"] = digest_of(raw["ingredients"])
    write_records(tmp_path, mine + theirs)
    store.write_standing(tmp_path, "evil-1", standing, [raw["key"] for raw in theirs], again=[])
    assert stale_keys(load_records(tmp_path)) == {raw["key"] for raw in theirs}
    assert stale_keys(load_records(write_records(tmp_path / "alone", mine))) == set()
