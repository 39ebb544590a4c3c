"""What a merge of a submission does to what is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from suite import boards, records
from suite.checking import GIVEN, Finding
from suite.errors import UserError
from suite.submitting import admitting, card, folder, verdict
from suite.submitting.folder import Submission, hashes
from tests.factories import records as made
from tests.factories import write_records


@pytest.fixture
def hand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Returns a function that merges a submission of these records, with those that were run again."""

    def merged(name: str, raws: list[dict[str, Any]], again: list[dict[str, Any]] | None) -> Any:
        place, own = tmp_path / name, tmp_path / f"{name} again"
        write_records(place, raws)
        (place / "card.yaml").write_text(name)
        write_records(own, again or [])
        submission = Submission(place, place / "model.py", {}, {raw["key"]: raw for raw in raws}, {})
        monkeypatch.setattr(admitting.folder, "read", lambda path: submission)
        monkeypatch.setattr(admitting.claims, "objections", lambda submission: [])
        monkeypatch.setattr(verdict, "read", lambda *a: {"standing": records.VERIFIED})
        monkeypatch.setattr(verdict, "records_in", lambda *a: own)
        return admitting.admit(place, tmp_path / "runs", claimed=again is None)[0]

    return merged


def test_a_claim_of_what_is_there_is_refused_and_moves_no_standing(hand_in: Any, tmp_path: Path) -> None:
    raws = made({"model": [1.0, 1.1, 1.2]})
    hand_in("first", raws, raws)
    before = records.read_standings(tmp_path / "runs")
    with pytest.raises(UserError, match="already: a claim adds nothing to it"):
        hand_in("copy", raws, None)
    assert records.read_standings(tmp_path / "runs") == before == dict.fromkeys(before, records.VERIFIED)
    assert not records.read_untried(tmp_path / "runs")


def test_what_was_run_here_needs_nobodys_word(hand_in: Any, tmp_path: Path) -> None:
    raws = made({"model": [1.0, 1.1, 1.2]})
    write_records(tmp_path / "runs", raws[:1])
    hand_in("first", raws, raws[1:2])
    assert set(records.read_standings(tmp_path / "runs")) == {raw["key"] for raw in raws[1:]}
    assert records.read_untried(tmp_path / "runs") == {raws[2]["key"]}


def test_a_later_run_of_more_cells_takes_the_place_of_what_stood_as_claimed(hand_in: Any, tmp_path: Path) -> None:
    raws = made({"model": [1.0, 1.1, 1.2]})
    own = made({"model": [1.01, 1.11, 1.21]})
    assert [raw["key"] for raw in own] == [raw["key"] for raw in raws]
    hand_in("first", raws, own[:1])
    later = hand_in("first", raws, own[:2])
    assert not later.conflicts
    found = {raw["seed"]: raw["metrics"]["nats"]["value"] for raw in records.read_raw([tmp_path / "runs"])}
    assert found == pytest.approx({0: 1.01, 1: 1.11, 2: 1.2})
    assert records.read_untried(tmp_path / "runs") == {raws[2]["key"]}


def test_of_several_words_on_one_record_the_best_founded_counts(tmp_path: Path) -> None:
    records.write_standing(tmp_path, "a", records.VERIFIED, ["k"], again=["k"])
    records.write_standing(tmp_path, "b", records.CLAIMED, ["k"])
    records.write_standing(tmp_path, "c", records.VERIFIED, ["k"], again=[])
    assert records.read_standings(tmp_path) == {"k": records.VERIFIED}
    assert not records.read_untried(tmp_path)
    records.write_standing(tmp_path, "0", records.GIVEN, ["k"])
    assert records.read_standings(tmp_path) == {"k": records.GIVEN}


@pytest.mark.parametrize(
    "value", ["!!bool foo", "!!int ''", "!!timestamp x", ":".join(["1"] * 300) + ":1.0", "[", "{{}: 1}"]
)
def test_a_card_that_yaml_cannot_read_is_refused_in_a_line(tmp_path: Path, value: str) -> None:
    path = tmp_path / "card.yaml"
    path.write_text(f"paper: {value}")
    with pytest.raises(UserError, match=r"^the card .*card\.yaml"):
        card.read(path)


def test_a_card_of_aliases_is_refused_before_it_is_read(tmp_path: Path) -> None:
    lines = ["a0: &a0 {x: 1}", *(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, 9))]
    path = tmp_path / "card.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(UserError, match="uses an alias"):
        card.read(path)


def test_folders_in_each_other_without_end_are_refused(tmp_path: Path) -> None:
    (tmp_path / "/".join("d" * 300)).mkdir(parents=True)
    with pytest.raises(UserError, match="more than 16 deep"):
        folder.read(tmp_path)


def test_a_verdict_speaks_of_every_file_but_itself(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for place in ("verdict.json", "source/verdict.json"):
        (tmp_path / place).write_text("{}")
    assert list(hashes(tmp_path)) == ["source/verdict.json"]


def test_a_finding_is_printed_without_control_characters() -> None:
    assert "\x1b" not in str(Finding(GIVEN, "w\x1b]0;owned\x07.bin", 0, "a file"))


def test_what_a_model_costs_is_told_by_the_cells_that_were_run_here(hand_in: Any, tmp_path: Path) -> None:
    raws, own = (made({"model": [1.0, 1.1, 1.2]}) for _ in range(2))
    for raw in raws:
        raw |= {"finished": "2099-01-01T00:00:00+00:00", "cost": raw["cost"] | {"parameters": 7}}
    hand_in("first", raws, own[:1])
    (row,) = boards.board(boards.load_records(tmp_path / "runs")).itertuples()
    assert row.parameters == own[0]["cost"]["parameters"] != 7
