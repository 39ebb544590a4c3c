"""Merging: records are taken once, with what lies beside them; two results of one key are both kept and told."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite import records
from suite.cli.app import main
from suite.errors import UserError
from suite.plugins import digest
from suite.records.merging import merge
from suite.records.record import Record
from tests.factories import record


def put(workspace: Path, nats: float = 1.0, **fields: Any) -> str:
    raw = record(**fields) | {"primary": "nats", "pictures": ["a.png"]}
    raw["metrics"] = {"nats": {"value": nats, "unit": "nats", "direction": "lower", "se": 0.1, "n": 10}}
    records.write(workspace, Record(**raw))
    values = records.values_path(workspace, raw["key"])
    values.parent.mkdir(exist_ok=True)
    np.savez(values, nats=np.full(10, nats), rate=np.full(10, 0.5))
    picture = records.pictures_path(workspace, raw["key"]) / "a.png"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"png")
    return raw["key"]


def test_a_record_is_taken_once_with_its_values_and_pictures(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    keys = {put(there, seed=seed) for seed in (0, 1)}
    merged = merge([there], here)
    assert set(merged.taken) == keys and not merged.present and not merged.conflicts
    for key in keys:
        assert records.record_path(here, key).read_bytes() == records.record_path(there, key).read_bytes()
        assert records.load_values(here, key)["nats"].tolist() == [1.0] * 10
        assert (records.pictures_path(here, key) / "a.png").read_bytes() == b"png"
    again = merge([there], here)
    assert set(again.present) == keys and not again.taken


def test_what_is_known_already_is_not_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    keys = {put(there, seed=seed) for seed in range(3)}
    merge([there], here)
    put(there, seed=3)
    written: list[str] = []
    write = records.write
    monkeypatch.setattr(
        "suite.records.store.write", lambda folder, record: (written.append(record.key), write(folder, record))[1]
    )
    merged = merge([there], here)
    assert set(merged.present) == keys
    assert tuple(written) == merged.taken != ()


def test_slim_takes_these_keys_alone_with_the_ranked_values_and_no_picture(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    wanted, _ = put(there, seed=0), put(there, seed=1)
    assert merge([there], here, keys={wanted}, slim=True).taken == (wanted,)
    assert sorted(path.name for path in here.iterdir()) == ["records", "values"]
    assert len(list((here / "records").iterdir())) == 1
    kept = records.load_values(here, wanted)
    assert list(kept) == ["nats"] and kept["nats"].tolist() == [1.0] * 10


def test_slim_adds_the_values_that_are_asked_for_to_those_that_are_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    key = put(there)
    raw = record() | {"primary": "nats"}
    raw["metrics"] = {name: {"value": 1.0, "unit": "nats", "se": 0.1, "n": 10} for name in ("nats", "rate")}
    records.record_path(there, key).unlink()
    records.write(there, Record(**raw))
    assert main(["merge", str(there), "--workspace", str(here), "--slim"]) == 0
    assert set(records.load_values(here, key)) == {"nats"}
    assert main(["merge", str(there), "--workspace", str(here), "--slim", "--values", "ra*"]) == 0
    assert set(records.load_values(here, key)) == {"nats", "rate"}
    capsys.readouterr()
    assert main(["merge", str(there), "--workspace", str(here), "--values", "ra*"]) == 2
    assert "--values narrows what --slim takes" in capsys.readouterr().err


def test_another_result_of_a_key_is_kept_beside_the_first_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    key = put(here)
    put(there, nats=2.0)
    assert main(["merge", str(there), "--workspace", str(here)]) == 1
    assert "1 with other values than the one there: kept beside it" in capsys.readouterr().out
    assert len(list((here / "records").iterdir())) == 2
    assert records.load_values(here, key)["nats"][0] == 1.0
    warnings: list[str] = []
    (found,) = records.read_raw([here], warnings)
    assert found["metrics"]["nats"]["value"] == 1.0
    assert "not reproducible" in found["flags"] and warnings


def test_the_command_says_what_it_took_and_what_a_selection_still_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there, here, file = tmp_path / "there", tmp_path / "here", tmp_path / "board.yaml"
    put(there)
    file.write_text("tasks: [reconstruction]\nbaselines: [copy]\nseeds: 0-1\n")
    assert main(["merge", str(there), "--workspace", str(here)]) == 0
    assert capsys.readouterr().out == "1 records taken, 0 there already\n"
    assert main(["merge", str(there), "--workspace", str(here), "--file", str(file)]) == 0
    assert "2 of 2 cells have none" in capsys.readouterr().out
    assert main(["merge", str(tmp_path / "nowhere"), "--workspace", str(here)]) == 2
    assert "is not a folder" in capsys.readouterr().err


def test_a_merge_that_was_ended_midway_is_made_whole_by_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    key = put(there)
    for kind in ("values", "pictures"):
        with monkeypatch.context() as patch, pytest.raises(UserError, match="No space left"):
            patch.setattr("os.fsync", full(kind))
            merge([there], here)
        assert not list((here / kind).rglob("*.*"))
    merge([there], here)
    assert records.load_values(here, key)["nats"].tolist() == [1.0] * 10
    assert (records.pictures_path(here, key) / "a.png").read_bytes() == b"png"


def full(kind: str) -> Callable[[int], None]:
    """A disk that is full as soon as a file of some kind is written."""

    def sync(number: int) -> None:
        if f"/{kind}/" in os.readlink(f"/proc/self/fd/{number}"):  # noqa: PTH115
            raise OSError(errno.ENOSPC, "No space left on device")

    return sync


def test_a_conflict_that_cannot_be_read_keeps_no_newcomer_away(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    key = put(here)
    put(there, nats=2.0)
    beside = records.record_path(here, key).with_suffix(".conflict-1.json")
    beside.write_text("rubbish")
    assert merge([there], here).conflicts == (key,)
    lines: list[str] = []
    (raw,) = records.read_raw([here], lines)
    assert raw["flags"] == ["not reproducible"]
    assert sorted(line.split()[0] for line in lines) == ["corrupt", "not"]


@pytest.mark.parametrize("standing", records.STANDINGS)
def test_how_a_submissions_records_stand_goes_with_them(tmp_path: Path, standing: str) -> None:
    """Merged workspaces are how shares of a board come together: a claim would become a row of one's own."""
    mine, first, second = put(tmp_path / "a"), put(tmp_path / "a", seed=1), put(tmp_path / "a", seed=2)
    records.write_standing(tmp_path / "a", "evil-1", standing, [first, second], again=[second], card={"paper": "none"})
    (source,) = {digest(r.ingredients["checkpoint"]["baseline"]) for r in records.read_all(tmp_path / "a")}
    records.write_stamp(tmp_path / "a", source, True)
    merge([tmp_path / "a"], tmp_path / "c", keys={mine})
    assert records.check_stamp(tmp_path / "c", source) == {}
    merge([tmp_path / "a"], tmp_path / "b", keys={mine, first})
    assert records.check_stamp(tmp_path / "b", source).get("passed") is True
    assert records.read_standings(tmp_path / "b") == {first: standing}
    merge([tmp_path / "a"], tmp_path / "b")
    assert records.read_standings(tmp_path / "b") == {first: standing, second: standing}
    assert records.read_untried(tmp_path / "b") == ({first} if standing == records.VERIFIED else set())


def test_what_was_run_here_needs_nobodys_word(tmp_path: Path) -> None:
    key = put(tmp_path / "mine")
    put(tmp_path / "theirs")
    records.write_standing(tmp_path / "theirs", "evil-1", records.CLAIMED, [key])
    merge([tmp_path / "theirs"], tmp_path / "mine")
    merge([tmp_path / "mine", tmp_path / "theirs"], tmp_path / "new")
    assert records.read_standings(tmp_path / "mine") == records.read_standings(tmp_path / "new") == {}


def test_a_standing_that_cannot_be_read_makes_no_claim_ones_own(tmp_path: Path) -> None:
    key = put(tmp_path)
    records.write_standing(tmp_path, "evil-1", records.CLAIMED, [key])
    assert records.read_standings(tmp_path / "records") == {key: records.CLAIMED}
    (tmp_path / "standings" / "evil-1.json").write_text('{"standing": "claimed", "keys": [')
    for folder in (tmp_path, tmp_path / "records"):
        with pytest.raises(UserError, match=r"evil-1\.json does not say how its records stand"):
            records.read_standings(folder)
