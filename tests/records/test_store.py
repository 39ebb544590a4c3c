from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from suite import records
from suite.errors import UserError
from suite.records import schema

OLD = Path(__file__).parents[1] / "files" / "record-schema-1.json"
KEY = "0123456789abcdef" * 4


def record(value: float = 1.5, key: str = KEY, status: str = "ok", **changes: object) -> records.Record:
    metrics = {"nats": {"value": value, "unit": "nats", "direction": "lower", "se": 0.1, "n": 400}}
    fields = {"task": "reconstruction", "baseline": "vae", "dataset": "digits", "seed": 0, "metrics": metrics}
    return records.Record(key=key, status=status, **(fields | changes))


def test_a_record_that_was_written_is_read_back_the_same(tmp_path: Path) -> None:
    made = {"task": {"class": "T"}}
    key = schema.digest_of(made)
    written = record(key=key, notes=["Monte Carlo"], ingredients=made, cost={"train_seconds": 2.5})
    path = records.write(tmp_path, written)
    assert path == tmp_path / "records" / f"{key[:32]}.json"
    assert records.read_all(tmp_path) == [written]
    assert list(path.parent.iterdir()) == [path]  # no temporary file stays behind


def test_text_that_is_no_text_is_written_such_that_it_is_read_back(tmp_path: Path) -> None:
    records.write(tmp_path, record(reason="half \ud800 a pair", notes=["größer", "\udcff"], env={"\ud800": "🙂"}))
    (found,) = records.read_all(tmp_path)
    assert (found.reason, found.notes, found.env) == ("half ? a pair", ["größer", "?"], {"?": "🙂"})


def test_a_record_of_a_newer_suite_is_not_replaced(tmp_path: Path) -> None:
    path = records.write(tmp_path, record())
    newer = json.dumps({"schema": records.SCHEMA + 1, "answer": [1]})
    path.write_text(newer)
    with pytest.raises(UserError, match=f"has schema {records.SCHEMA + 1}, newer than this suite writes"):
        records.write(tmp_path, record())
    assert path.read_text() == newer


def test_a_folder_of_published_records_is_read_like_a_workspace(tmp_path: Path) -> None:
    records.write(tmp_path, record())
    assert records.read_all(tmp_path / "records") == records.read_all(tmp_path)
    assert records.read_all(tmp_path / "nothing") == []


def test_a_record_of_the_first_schema_still_loads_with_every_value(tmp_path: Path) -> None:
    raw = json.loads(OLD.read_text())
    (tmp_path / f"{raw['key'][:32]}.json").write_text(OLD.read_text())
    (old,) = records.read_all(tmp_path)
    assert dataclasses.asdict(old) == raw


def test_fields_an_older_record_lacks_take_defaults_and_unknown_ones_are_dropped(tmp_path: Path) -> None:
    names = ("schema", "key", "status", "task", "baseline", "dataset", "seed", "metrics")
    raw = {name: value for name, value in json.loads(OLD.read_text()).items() if name in names}
    (tmp_path / f"{raw['key'][:32]}.json").write_text(json.dumps(raw | {"mood": "good"}))
    (old,) = records.read_all(tmp_path)
    assert (old.metrics["nats"]["value"], old.supervision, old.flags) == (99.5, "none", [])


@pytest.mark.parametrize(
    "content",
    [b"", b'{"schema": 1, "key": "0123', b"[]", b"\xff\xfe", b"{}", b'{"schema": 1}'],
    ids=["empty", "cut", "list", "bytes", "nothing", "fields"],
)
def test_a_corrupt_record_is_named_set_aside_and_missing(tmp_path: Path, content: bytes) -> None:
    path = records.write(tmp_path, record())
    records.write(tmp_path, record(key="f" * 64))
    path.write_bytes(content)
    warnings: list[str] = []
    assert [found.key for found in records.read_all(tmp_path, warnings=warnings)] == ["f" * 64]
    assert len(warnings) == 1
    assert path.name in warnings[0]
    assert not path.exists()
    assert path.with_name(path.name + ".corrupt").read_bytes() == content


def test_a_corrupt_record_of_somebody_else_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "records" / ("c" * 32 + ".json")
    path.parent.mkdir()
    path.write_bytes(b"{")
    warnings: list[str] = []
    assert records.read_raw([tmp_path], warnings, foreign=True) == []
    assert path.exists() and path.read_bytes() == b"{" and "left out" in warnings[0]


def test_the_place_is_that_of_the_record_that_stands(tmp_path: Path) -> None:
    """A score from another folder, where this one has a failure, comes from there."""
    records.write(tmp_path / "mine", record(status="failed", metrics={}))
    records.write(tmp_path / "theirs", record())
    places: dict[str, int] = {}
    (found,) = records.read_raw([tmp_path / "mine", tmp_path / "theirs"], places=places)
    assert (found["status"], list(places.values())) == ("ok", [1])
    places.clear()
    records.read_raw([tmp_path / "theirs", tmp_path / "mine"], places=places)
    assert list(places.values()) == [0]


def test_of_all_flipped_bits_none_changes_a_record_unnoticed(tmp_path: Path) -> None:
    written = record(notes=["größer"], ingredients={"task": {"class": "T"}}, cost={"train_seconds": 2.5})
    path = records.write(tmp_path, written)
    content = path.read_bytes()
    noticed = 0
    for place in range(0, 8 * len(content), 7):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        warnings: list[str] = []
        found = records.read_all(tmp_path, warnings=warnings)
        assert found in ([], [written]), place  # a flip in the name of the checksum leaves a record without one
        noticed += bool(warnings) and "corrupt" in warnings[0]
        assert bool(warnings) == (not found)
        for old in path.parent.iterdir():
            old.unlink()
    assert noticed > 200


def test_a_checksum_is_of_what_a_record_says_and_not_of_its_spaces(tmp_path: Path) -> None:
    path = records.write(tmp_path, record())
    raw = json.loads(path.read_text())
    path.write_text(json.dumps(dict(reversed(raw.items())), indent=2))
    assert records.read_all(tmp_path) == [record()]
    del raw["sha256"]
    path.write_text(json.dumps(raw))  # as an older suite wrote it
    assert records.read_all(tmp_path) == [record()]
    raw["sha256"] = "0" * 64
    path.write_text(json.dumps(raw))
    assert records.read_all(tmp_path, warnings=[]) == []


def test_other_versions_are_named_where_two_results_of_a_key_differ(tmp_path: Path) -> None:
    env = {"python": "3.11.7", "versions": {"torch": "2.14.0", "numpy": "2.4.6"}}
    newer = {"python": "3.11.7", "versions": {"torch": "2.15.0", "numpy": "2.4.6"}}
    records.write(tmp_path, record(1.5, env=env))
    records.write(tmp_path, record(1.6, env=newer))
    warnings: list[str] = []
    (found,) = records.read_all(tmp_path, warnings=warnings)
    assert found.flags == ["other versions: torch 2.14.0 and 2.15.0"]
    assert warnings[0].startswith("other versions: torch 2.14.0 and 2.15.0: reconstruction of vae")


def test_a_contradiction_that_comes_again_is_kept_once(tmp_path: Path) -> None:
    records.write(tmp_path, record(1.5))
    assert records.write(tmp_path, record(1.6)) == records.write(tmp_path, record(1.6))
    assert len(list((tmp_path / "records").iterdir())) == 2


def test_a_record_under_another_key_than_its_own_is_corrupt(tmp_path: Path) -> None:
    path = records.write(tmp_path, record())
    path.rename(path.with_name("f" * 32 + ".json"))
    assert records.read_all(tmp_path, warnings=[]) == []


def test_a_record_of_a_newer_schema_is_left_alone_and_named(tmp_path: Path) -> None:
    path = records.write(tmp_path, record())
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": records.SCHEMA + 1}))
    warnings: list[str] = []
    assert records.read_all(tmp_path, warnings=warnings) == []
    assert "newer" in warnings[0]
    assert path.exists()


def test_other_values_for_one_key_are_kept_beside_the_first_and_flagged(tmp_path: Path) -> None:
    records.write(tmp_path, record(1.5))
    second = records.write(tmp_path, record(1.6))
    third = records.write(tmp_path, record(1.7))
    assert [second.name, third.name] == [f"{KEY[:32]}.conflict-{n}.json" for n in (1, 2)]
    warnings: list[str] = []
    (found,) = records.read_all(tmp_path, warnings=warnings)
    assert found.metrics["nats"]["value"] == 1.5
    assert records.IRREPRODUCIBLE in found.flags
    assert len(warnings) == 2


def test_the_same_values_again_raise_no_alarm(tmp_path: Path) -> None:
    records.write(tmp_path, record(1.5, finished="2026-01-01"))
    records.write(tmp_path, record(1.5 * (1 + 1e-9), finished="2026-01-02"))
    warnings: list[str] = []
    assert len(records.read_all(tmp_path, warnings=warnings)) == 1
    assert not warnings


def test_a_failure_gives_way_to_a_result_but_a_result_to_nothing(tmp_path: Path) -> None:
    failed = record(status="failed", metrics={}, reason="Diverged")
    records.write(tmp_path, failed)
    records.write(tmp_path, record())
    assert [r.status for r in records.read_all(tmp_path)] == ["ok"]
    records.write(tmp_path, failed)
    assert [r.status for r in records.read_all(tmp_path, warnings=[])] == ["ok"]


def test_merging_two_machines_takes_the_result_and_raises_an_alarm_for_two(tmp_path: Path) -> None:
    records.write(tmp_path / "a", record(status="failed", metrics={}))
    records.write(tmp_path / "b", record(1.5))
    (merged,) = records.read_all(tmp_path / "a", tmp_path / "b")
    assert merged.status == "ok"
    assert not merged.flags
    records.write(tmp_path / "c", record(1.8))
    (merged,) = records.read_all(tmp_path / "b", tmp_path / "c", warnings=[])
    assert records.IRREPRODUCIBLE in merged.flags


def test_only_the_records_asked_for_are_read(tmp_path: Path) -> None:
    records.write(tmp_path, record())
    (tmp_path / "records" / ("e" * 32 + ".json")).write_text("corrupt, but nobody asks")
    assert list(records.read_keys(tmp_path, [KEY, "d" * 64])) == [KEY]
    assert (tmp_path / "records" / ("e" * 32 + ".json")).exists()


def test_a_workspace_that_cannot_be_written_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write to"):
        records.write(tmp_path / "file", record())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_the_users_to_mend_and_leaves_no_half_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records.write(tmp_path, record(status="failed", metrics={}))
    real_open = Path.open
    monkeypatch.setattr(Path, "open", lambda self, *args, **kw: real_open(Path("/dev/full"), *args, **kw))
    with pytest.raises(UserError, match="No space left"):
        records.write(tmp_path, record())
    monkeypatch.undo()
    assert [r.status for r in records.read_all(tmp_path)] == ["failed"]


def test_values_and_curves_come_back_by_name_and_damage_reads_as_none(tmp_path: Path) -> None:
    path = records.values_path(tmp_path, KEY)
    path.parent.mkdir()
    np.savez(path, **{"nats": np.arange(3.0), "curve/loss": np.ones((2, 2))})
    loaded = records.load_values(tmp_path, KEY)
    assert sorted(loaded) == ["curve/loss", "nats"]
    assert loaded["nats"].tolist() == [0, 1, 2]
    assert records.lost_values(tmp_path) == set()
    path.write_bytes(path.read_bytes()[:50])
    assert records.load_values(tmp_path, KEY) == {}
    assert records.load_values(tmp_path, "f" * 64) == {}
    assert path.with_name(f"{path.name}.corrupt").exists() and not path.exists()
    assert records.lost_values(tmp_path) == {KEY[:32]}
    records.write_values(tmp_path, KEY, loaded)
    assert records.lost_values(tmp_path) == set()
