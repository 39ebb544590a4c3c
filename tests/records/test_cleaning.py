from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from suite.records.cleaning import files_of, leftovers, measure, remove, sizes, sweep_unfinished
from tests.factories import record, write_records


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Two tasks of one trained model, one of another, all with values, pictures and checkpoints."""
    rows = [record("reconstruction", "vae"), record("linear_probe", "vae"), record("reconstruction", "pca")]
    write_records(tmp_path, rows)
    for row in rows:
        for path in (f"values/{row['key'][:32]}.npz", f"pictures/{row['key'][:32]}/a.png"):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text("12345")
        folder = tmp_path / "checkpoints" / row["checkpoint_key"][:32]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "checkpoint.json").write_text("{}")
    return tmp_path


def rows() -> list[dict]:
    return [record("reconstruction", "vae"), record("linear_probe", "vae"), record("reconstruction", "pca")]


def test_a_record_goes_with_its_values_and_pictures_and_its_checkpoint_stays_while_another_uses_it(
    workspace: Path,
) -> None:
    first, second, _ = rows()
    found = files_of(workspace, rows(), {first["key"]})
    assert {path.relative_to(workspace).parts[0] for path in found} == {"records", "values", "pictures"}
    both = files_of(workspace, rows(), {first["key"], second["key"]})
    assert workspace / "checkpoints" / first["checkpoint_key"][:32] in both
    assert len(both) == 7


def test_what_is_removed_is_gone_and_nothing_else(workspace: Path) -> None:
    keys = {row["key"] for row in rows()[:2]}
    remove(files_of(workspace, rows(), keys))
    left = sizes(workspace)
    assert {name: files for name, (files, _) in left.items()} == dict.fromkeys(
        ("records", "values", "pictures", "checkpoints"), 1
    )


def test_leftovers_are_what_no_run_has_finished(workspace: Path) -> None:
    (workspace / ".run-abc").mkdir()
    (workspace / ".run-abc" / "socket").write_text("123")
    (workspace / "records" / ".x.json.77.tmp").write_text("1")
    (workspace / "pictures" / "a").mkdir()
    (workspace / "pictures" / "a" / ".a.png.77.tmp").write_text("1")
    found = leftovers(workspace)
    assert [path.name for path in found] == [".run-abc", ".a.png.77.tmp", ".x.json.77.tmp"]
    assert measure(found) == (3, 5)


def test_what_a_killed_process_was_writing_is_swept_and_what_a_living_one_writes_is_not(workspace: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    folders = [workspace, workspace / "records", workspace / "checkpoints" / "a" / "kept" / "b", workspace / "mine"]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        for process in (os.getpid(), ended.pid):
            (folder / f".x.json.{process}.tmp").touch()
    (workspace / "records" / ".notes.tmp").touch()
    sweep_unfinished(workspace)
    left = {path.relative_to(workspace).as_posix() for path in workspace.rglob(".*")}
    living = {(folder / f".x.json.{os.getpid()}.tmp").relative_to(workspace).as_posix() for folder in folders}
    assert left == living | {"records/.notes.tmp", f"mine/.x.json.{ended.pid}.tmp"}
