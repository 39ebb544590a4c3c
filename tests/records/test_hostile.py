"""Records and values from anybody: what is none is set aside with a line, and no record moves another model's row."""

from __future__ import annotations

import atexit
import copy
import functools
import io
import json
import os
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pandas import DataFrame

from suite import records
from suite.boards.board import board
from suite.boards.frame import UNCHECKED, load_records
from suite.cli.app import main
from suite.pages.render import render
from suite.plugins import digest
from suite.records import arrays
from suite.records.schema import Malformed, checked
from tests.factories import record, write_records
from tests.factories import records as made

#: Examples of each of three properties; SUITE_FUZZ=70 makes more than 10,000 of them.
FACTOR = int(os.environ.get("SUITE_FUZZ", "1"))
EXAMPLES = FACTOR * 50

pytestmark = pytest.mark.timeout(300 * FACTOR)

HONEST = made({"m0": [1.0, 1.1, 1.2], "m1": [5.0, 5.1, 5.2], "m2": [9.0, 9.1, 9.2]})
HONEST += made({"m0": [90.0, 91.0, 92.0], "m1": [80.0, 81.0, 82.0], "m2": [70.0, 71.0, 72.0]}, task="linear_probe")

#: Columns of the board that no other model's record may move: all but ranks, which newcomers share in.
OWN = ["model", "task", "task_version", "metric", "unit", "direction", "official", "status", "reason", "value", "half"]
OWN += ["seeds", "expected", "preliminary", "flags", "notes", "keys", "floor", "engine", "family"]


def foreign(**changes: Any) -> dict[str, Any]:
    """A record of a model that nobody knows; its key is that of its ingredients, as long as nothing is edited."""
    fields: dict[str, Any] = {"baseline": "foreign", "value": -1e6, "finished": "2099-01-01T00:00:00.000+00:00"}
    return record(**(fields | changes))


def rows(folder: Path) -> list[tuple[Any, ...]]:
    """What the board says of the honest models."""
    return rows_of(load_records(folder, warnings=[]))


def rows_of(records: DataFrame) -> list[tuple[Any, ...]]:
    """The same of a table of records."""
    table = board(records)
    table = table[table["model"].isin({"m0", "m1", "m2"}) & table["task"].isin({"reconstruction", "linear_probe"})]
    return sorted(tuple(map(repr, row)) for row in table[OWN].itertuples(index=False))


def put(folder: Path, raw: Any) -> None:
    key = raw.get("key") if isinstance(raw, dict) else None
    name = key[:32] if isinstance(key, str) and len(key) >= 32 and key[:32].isalnum() else "f" * 32
    (folder / "records" / f"{name}.json").write_text(json.dumps(raw))


def workspace(folder: Path) -> Path:
    return write_records(folder, copy.deepcopy(HONEST))


@functools.cache
def fuzzed() -> tuple[Path, DataFrame]:
    """A folder of honest records for all examples, and the table of them."""
    folder = workspace(Path(tempfile.mkdtemp()))
    HONEST_FILES.update({path.name: path.stat().st_size for path in (folder / "records").iterdir()})
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder, load_records(folder, warnings=[])


#: File -> size, in that folder.
HONEST_FILES: dict[str, int] = {}


@functools.cache
def unmoved() -> list[tuple[Any, ...]]:
    with tempfile.TemporaryDirectory() as folder:
        return rows(workspace(Path(folder)))


@pytest.fixture
def honest(tmp_path: Path) -> Path:
    return workspace(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"seed": 77},
        {"task_version": 99},
        {"task_version": 2},
        {"engine": 99},
        {"engine": 2},
        {"official": True, "task": "made_up"},
        {"official": False},
        {"primary": "rate"},
        {"others": {"floor": -5.0}},
        {"task_source": "edited"},
        {"task_params": {"draws": 3}},
        {"flags": ["not reproducible"]},
        {"status": "failed", "reason": "no"},
        {"se": None, "n": None},
        {"family": "m0"},
        {"task": "reconstruction:draws=3", "task_params": {"draws": 3}},
        {"task": "input_optimization"},
        {"task": "input_optimization", "status": "failed", "reason": "no"},
        {"task": "transfer"},
    ],
    ids=str,
)
def test_one_foreign_record_changes_no_other_row(honest: Path, changes: dict[str, Any]) -> None:
    before = rows(honest)
    put(honest, foreign(**changes))
    assert rows(honest) == before


@pytest.mark.parametrize(
    "changes",
    [{}, {"task_version": 2}, {"engine": 2}, {"others": {"floor": 77.0}}, {"task_source": "edited"}],
    ids=str,
)
def test_any_number_of_invented_models_in_another_folder_changes_no_other_row(
    honest: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    before = rows(honest)
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "records").mkdir(parents=True)
    for i in range(9):
        put(elsewhere, foreign(**changes | {"baseline": f"evil{i}"}))
    assert rows_of(load_records(honest, elsewhere)) == before


@pytest.mark.parametrize("standing", [records.VERIFIED, records.CLAIMED, records.GIVEN])
def test_any_number_of_submitted_variants_with_few_seeds_changes_no_other_row(honest: Path, standing: str) -> None:
    before = rows(honest)
    cheap = [foreign(baseline=f"cheap{i}", value=20.0, seed=0) for i in range(9)]
    for raw in cheap:
        put(honest, raw)
    assert rows(honest) != before, "a maintainer's own records decide for all"
    records.write_standing(honest, "cheap", standing, [raw["key"] for raw in cheap])
    assert rows(honest) == before


def test_what_another_folder_says_of_standings_and_checks_counts_for_its_own_records(
    honest: Path, tmp_path: Path
) -> None:
    before = rows(honest)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    records.write_standing(elsewhere, "evil", records.CLAIMED, [raw["key"] for raw in HONEST])
    assert rows_of(load_records(honest, elsewhere)) == before
    guest = foreign(env={"check": {"passed": False}})
    put(honest, guest)
    source = digest(guest["ingredients"]["checkpoint"]["baseline"])
    records.write_stamp(elsewhere, source, True)
    flagged = load_records(honest, elsewhere).set_index("baseline")["flags"]
    assert UNCHECKED in flagged["foreign"]
    records.write_stamp(honest, source, True)
    assert UNCHECKED not in load_records(honest, elsewhere).set_index("baseline")["flags"]["foreign"]


def test_a_submissions_record_does_not_say_itself_that_it_was_checked(honest: Path) -> None:
    raw = foreign(env={"check": {"passed": True}})
    put(honest, raw)
    assert UNCHECKED not in load_records(honest).set_index("baseline")["flags"]["foreign"]
    records.write_standing(honest, "submission", records.VERIFIED, [raw["key"]])
    assert UNCHECKED in load_records(honest).set_index("baseline")["flags"]["foreign"]


def test_a_models_row_is_that_of_the_first_folder_that_has_it(honest: Path, tmp_path: Path) -> None:
    before = rows(honest)
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "records").mkdir(parents=True)
    put(elsewhere, foreign(baseline="m1", source="edited", value=400.0))
    assert rows_of(load_records(honest, elsewhere)) == before


def test_what_is_no_regular_file_is_set_aside_and_not_waited_for(honest: Path) -> None:
    before = rows(honest)
    folder = honest / "records"
    (folder / f"{'a' * 32}.json").mkdir()
    (folder / f"{'b' * 32}.json").symlink_to("/nowhere/at/all")
    os.mkfifo(folder / f"{'c' * 32}.json")
    warnings: list[str] = []
    load_records(honest, warnings=warnings)
    assert len(warnings) == 3 and all("regular file" in line or "no file" in line for line in warnings), warnings
    assert rows(honest) == before


@pytest.mark.parametrize("direction", ["higher", ""])
def test_direction_and_unit_are_those_of_the_suite_s_own_task(honest: Path, direction: str) -> None:
    before = rows(honest)
    raw = foreign(task_version=3)
    raw["metrics"]["nats"] |= {"direction": direction, "unit": "apples"}
    put(honest, raw)
    for row in HONEST:
        (honest / "records" / f"{row['key'][:32]}.json").unlink()
    table = board(load_records(honest))
    assert set(table["direction"]) == {"lower"} and set(table["unit"]) == {"nats"} and table["official"].all()
    workspace(honest)
    assert rows(honest) == before


def broken(**edits: Any) -> dict[str, Any]:
    return foreign() | edits


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (broken(metrics={"nats": {"value": "1"}}), "nats.value is not a finite number"),
        (broken(metrics={"nats": {"value": True}}), "nats.value is not a finite number"),
        (broken(metrics={"nats": {"value": 1, "n": -1}}), "nats.n is not a whole number"),
        (broken(metrics={"nats": {"value": 1, "se": []}}), "nats.se is not a finite number"),
        (broken(metrics={"nats": [1]}), "the metric nats is not an object"),
        (broken(metrics={"nats\u001b[2J": {"value": 1}}), "a metric's name is not"),
        (broken(metrics={"nats": {"value": 1e200}}), "nats.value is not a number within 1e+100"),
        (broken(seed=-1), "seed is not"),
        (broken(seed=True), "seed is not"),
        (broken(notes="all"), "notes is not a list"),
        (broken(flags=[1]), "flags is not a text"),
        (broken(cost=[]), "cost is not an object"),
        (broken(cost={"train_seconds": "many"}), "cost.train_seconds is not a number"),
        (broken(env=None), "env is not an object"),
        (broken(ingredients=[1]), "ingredients is not an object"),
        (broken(baseline="v\u0430e"), "baseline is not a name in ASCII"),
        (broken(task="reconstruction\n"), "task is not a name in ASCII"),
        (broken(family="<script>"), "family is not a name"),
        (broken(pictures=["../../../etc/passwd"]), "pictures is not the name of a PNG file"),
        (broken(status="best"), "status is not one of"),
        (broken(baseline_params={"a": {"b": [[[[[[[[[[[[[1]]]]]]]]]]]]]}}), "within 20,000 items and 12 levels"),
        (broken(reason="x" * 30_000), "at most 20,000 characters"),
        (broken(seed=5), "its seed is not that among its ingredients"),
        (broken(key="a" * 64), "its key is not that of its ingredients"),
        ([], "a record is a JSON object"),
        ({"schema": 1}, "it lacks the field key"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_malformed_record_is_set_aside_with_a_line_that_says_why(honest: Path, raw: Any, why: str) -> None:
    before = rows(honest)
    put(honest, raw)
    warnings: list[str] = []
    load_records(honest, warnings=warnings)
    assert len(warnings) == 1 and why in warnings[0], warnings
    assert list((honest / "records").glob("*.corrupt"))
    assert rows(honest) == before


def test_a_record_that_is_too_large_or_nested_without_end_is_set_aside(honest: Path) -> None:
    before = rows(honest)
    for name, text in (("a", " " * 1_100_000), ("b", "[" * 200_000), ("c", '{"schema":1e999}'), ("d", "NaN")):
        (honest / "records" / f"{name * 32}.json").write_text(text)
    warnings: list[str] = []
    load_records(honest, warnings=warnings)
    assert len(warnings) == 4
    assert rows(honest) == before


def test_no_control_character_of_a_record_reaches_a_terminal_or_a_page(honest: Path) -> None:
    evil = "a\x1b]0;owned\x07b\u202ec\u2028d\ne\x9bf"
    raw = foreign(status="failed", reason=evil, notes=[evil], flags=[evil], env={evil: evil}) | {"traceback": evil}
    put(honest, raw)
    table = board(load_records(honest))
    for format in ("table", "markdown", "csv", "html", "latex", "json"):
        text = render(table, format, anchors={})
        assert not [c for c in text if c in "\x1b\x07\u202e\u2028\x9b"], format
    (found,) = (row for row in records.read_raw([honest]) if row["baseline"] == "foreign")
    assert "\n" not in found["reason"] + found["notes"][0]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


#: What stands in honest records: an edit to it often leaves a record that is one.
LIKELY = st.sampled_from(
    ["m0", "m1", "vae", "reconstruction", "linear_probe", "nats", "accuracy_64", "rate", "mnist", "standard", "quick",
     "ok", "failed", "unsupported", "timeout", "", "lower", "higher", 0, 1, 2, 77, -1.0, 0.5, 1e300, True, False, None]
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields where the values of a nested object lie."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield (*path, name)
        yield from places(inner, (*path, name))


PLACES = sorted(places(foreign(task_params={"draws": 1}, notes=["a"])), key=repr)
FUZZ = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


@FUZZ
@given(edits=st.lists(st.tuples(st.sampled_from(PLACES), LIKELY | JSON), min_size=1, max_size=3), mended=st.booleans())
def test_an_edited_record_crashes_nothing_and_moves_no_other_row(edits: list[Any], mended: bool) -> None:
    raw = foreign(task_params={"draws": 1}, notes=["a"])
    for path, value in edits:
        inner: Any = raw
        try:
            for name in path[:-1]:
                inner = inner[name]
            inner[path[-1]] = value
        except (TypeError, KeyError, IndexError):
            continue
    if mended:
        mend(raw)
    folder, before = fuzzed()
    put(folder, raw)
    found = load_records(folder, warnings=[])
    try:
        if not found.equals(before):  # of equal tables the boards are equal, and a board takes long
            assert rows_of(found) == unmoved() or raw.get("baseline") in ("m0", "m1", "m2")
    finally:
        for path in (folder / "records").iterdir():
            if path.name not in HONEST_FILES:
                path.unlink()
        for row in HONEST:
            path = folder / "records" / f"{row['key'][:32]}.json"
            if not path.exists() or path.stat().st_size != HONEST_FILES[path.name]:
                workspace(folder)


def mend(raw: dict[str, Any]) -> None:
    """Gives an edited record the ingredients and the key that fit, as a forger would."""
    from suite.records.schema import digest_of

    try:
        raw["ingredients"]["task_params"], raw["ingredients"]["task_version"] = raw["task_params"], raw["task_version"]
        for name, own in (("seed", "seed"), ("budget", "budget"), ("params", "baseline_params")):
            raw["ingredients"]["checkpoint"][name] = raw[own]
        raw["key"] = digest_of(raw["ingredients"])
    except (TypeError, KeyError, ValueError):
        return


@FUZZ
@given(raw=st.dictionaries(st.sampled_from(sorted(foreign())), JSON) | JSON)
def test_any_json_is_a_record_or_malformed(raw: Any) -> None:
    try:
        found = checked(raw)
    except Malformed:
        return
    json.dumps(found, allow_nan=False)


@FUZZ
@given(data=st.binary(max_size=300), cut=st.integers(0, 400), byte=st.integers(0, 255))
def test_any_bytes_are_values_or_unreadable(data: bytes, cut: int, byte: int) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, nats=np.arange(9.0))
    whole = bytearray(buffer.getvalue())
    whole[cut % len(whole)] = byte
    with tempfile.TemporaryDirectory() as folder:
        for content in (data, bytes(whole), bytes(whole[: cut % len(whole)])):
            path = Path(folder) / "values.npz"
            path.write_bytes(content)
            try:
                found = arrays.read(path)
            except arrays.Unreadable:
                continue
            assert all(value.dtype.kind in "fiub" for value in found.values())


def npz(path: Path, name: str, data: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return path


def header(shape: str, descr: str = "<f8") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def test_values_that_would_fill_the_memory_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.npz"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("nats.npy", "w") as file:
        file.write(header("(40000000,)"))
        for _ in range(320):
            file.write(bytes(1_000_000))
    with pytest.raises(arrays.Unreadable, match="unpacked it takes 305 MiB, more than 256"):
        arrays.read(bomb)
    with pytest.raises(arrays.Unreadable, match="claims more numbers than it holds"):
        arrays.read(npz(tmp_path / "claim.npz", "nats.npy", header("(10000000000,)")))
    with pytest.raises(arrays.Unreadable, match="holds no numbers"):
        arrays.read(npz(tmp_path / "object.npz", "nats.npy", header("(1,)", "|O") + b"12345678"))
    with pytest.raises(arrays.Unreadable, match="is no name of values"):
        arrays.read(npz(tmp_path / "name.npz", "n\u0430ts.npy", header("(1,)") + bytes(8)))


def test_merge_takes_no_link_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there, here, secret = workspace(tmp_path / "there"), tmp_path / "here", tmp_path / "secret"
    first, second = sorted((there / "records").iterdir())[:2]
    secret.write_text(first.read_text())
    first.unlink()
    first.symlink_to(secret)
    pictures = there / "pictures" / second.stem
    pictures.mkdir(parents=True)
    (pictures / "a.png").symlink_to("/etc/passwd")
    assert main(["merge", str(there), "--workspace", str(here)]) == 0
    told = capsys.readouterr()
    assert f"{len(HONEST) - 1} records taken" in told.out
    assert "is a link and was left out" in told.err
    assert not list((here / "pictures").rglob("*")) and not (here / "records" / first.name).exists()
