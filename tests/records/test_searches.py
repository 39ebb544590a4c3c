"""What searches leave: prices by trial and rung, costs that a chosen model's records find, and a secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from suite import records
from suite.errors import UserError

CHECKPOINT = {"baseline": {"class": "M"}, "params": {"tuned": 8}, "dataset": "d", "seed": 0, "budget": "quick"}
COST = {"trials": 8, "seconds": 1.5, "flops": 10, "images": 100}


def test_a_price_is_read_as_it_was_written_and_under_its_own_key_alone(tmp_path: Path) -> None:
    records.write_price(tmp_path, "a" * 64, {"value": 1.25, "status": "ok"})
    assert records.read_price(tmp_path, "a" * 64)["value"] == 1.25
    assert records.read_price(tmp_path, "a" * 63 + "b") == {}  # as long as a file's name tells, the same
    assert records.read_price(tmp_path, "b" * 64) == {}


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"value": 1'])
def test_a_damaged_price_counts_as_missing(tmp_path: Path, text: str) -> None:
    records.write_price(tmp_path, "a" * 64, {"value": 1.0})
    (path,) = tmp_path.rglob("*.json")
    path.write_text(text)
    assert records.read_price(tmp_path, "a" * 64) == {}


def test_a_price_with_a_flipped_bit_counts_as_missing_and_one_of_before_there_were_checksums_does_not(
    tmp_path: Path,
) -> None:
    records.write_price(tmp_path, "a" * 64, {"value": 1.25})
    (path,) = tmp_path.rglob("*.json")
    whole = path.read_text()
    path.write_text(whole.replace("1.25", "1.35"))
    assert records.read_price(tmp_path, "a" * 64) == {}
    path.write_text(json.dumps({name: v for name, v in json.loads(whole).items() if name != "sha256"}))
    assert records.read_price(tmp_path, "a" * 64)["value"] == 1.25


def test_a_price_that_is_no_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        records.write_price(tmp_path, "a" * 64, {"value": float("nan")})


def test_the_costs_of_a_search_are_found_for_every_seed_of_what_it_chose_and_for_nothing_else(tmp_path: Path) -> None:
    records.write_search(tmp_path, records.search_key(CHECKPOINT), {"cost": COST})
    expected = {"search_trials": 8, "search_seconds": 1.5, "search_flops": 10, "search_images": 100}
    assert records.search_costs(tmp_path, CHECKPOINT | {"seed": 4}) == expected
    others: list[dict[str, Any]] = [{"params": {"tuned": 16}}, {"dataset": "e"}, {"budget": "long"}]
    assert [records.search_costs(tmp_path, CHECKPOINT | other) for other in others] == [{}] * 3
    assert records.search_costs(tmp_path / "elsewhere", CHECKPOINT) == {}


def test_costs_that_make_no_sense_are_left_out(tmp_path: Path) -> None:
    cost = {"trials": "many", "seconds": -1.0, "flops": 10, "images": None}
    records.write_search(tmp_path, records.search_key(CHECKPOINT), {"cost": cost})
    assert records.search_costs(tmp_path, CHECKPOINT) == {"search_flops": 10}


def test_the_secret_of_a_workspace_is_made_once(tmp_path: Path) -> None:
    secret = records.tuning_secret(tmp_path)
    assert records.tuning_secret(tmp_path) == secret
    assert records.tuning_secret(tmp_path / "other") != secret
