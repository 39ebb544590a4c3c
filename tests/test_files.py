from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from suite.errors import UserError
from suite.files import HELD, PACKAGE, TEMPORARY, TemporaryFolder, read_object, sweep_temporary, write_atomically


def test_what_is_no_regular_file_counts_as_empty_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "there").write_text('{"a": 1}')
    found = [read_object(tmp_path / name) for name in ("pipe", "there", "missing", ".")]
    assert found == [{}, {"a": 1}, {}, {}]


def test_the_package_s_folder_holds_the_package() -> None:
    assert (PACKAGE / "version.py").is_file()
    assert PACKAGE.is_absolute()


def test_a_file_is_written_with_its_folders_and_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.bin"
    for data in (b"first", b"second, longer", b""):
        write_atomically(path, data)
        assert path.read_bytes() == data
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "file.bin"
    write_atomically(path, b"old")

    def fail(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((os, "fsync", fail) if step == "fsync" else (Path, "replace", fail)))
    with pytest.raises(UserError, match=f"cannot write to {tmp_path}: No space left on device"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_bytes_are_on_the_disk_before_the_file_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen = tmp_path / "file.bin", []
    real = os.fsync

    def watched(number: int) -> None:
        real(number)
        seen.append((path.exists(), os.fstat(number).st_size))

    monkeypatch.setattr(os, "fsync", watched)
    write_atomically(path, b"12345")
    assert seen == [(False, 5)]


def test_a_folder_that_is_a_file_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write to"):
        write_atomically(tmp_path / "file" / "inside", b"x")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where folders for temporary files lie in this test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


#: Makes a folder, starts a process that has a file open there, and says so.
HOLDER = """import subprocess, sys, time
from suite.files import TemporaryFolder
folder = TemporaryFolder()
code = f"import time; file = open({str(folder.path / 'log')!r}, 'w'); time.sleep(1000)"
child = subprocess.Popen([sys.executable, "-c", code])
while not (folder.path / "log").exists(): time.sleep(0.01)
print(folder.path, child.pid, flush=True)
time.sleep(1000)
"""


def test_a_folder_of_a_killed_process_and_what_it_had_started_go_with_the_next_one(home: Path) -> None:
    environment = os.environ | {"TMPDIR": str(home), "PYTHONPATH": str(PACKAGE.parent)}
    process = subprocess.Popen([sys.executable, "-c", HOLDER], env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    path, child = process.stdout.readline().split()
    sweep_temporary()
    assert (Path(path) / "log").exists()  # its process is alive
    process.kill()
    process.wait()
    folder = TemporaryFolder()
    assert list(home.iterdir()) == [folder.path]
    end = time.monotonic() + 20
    while Path(f"/proc/{child}").exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not Path(f"/proc/{child}").exists()
    folder.close()
    assert list(home.iterdir()) == []


def test_what_is_not_a_folder_of_a_killed_process_is_left_alone(home: Path) -> None:
    (home / f"{TEMPORARY}other").mkdir()
    (home / f"{TEMPORARY}link").symlink_to(home / f"{TEMPORARY}other")
    folder = TemporaryFolder()
    sweep_temporary()
    assert folder.path.is_dir()
    assert (home / f"{TEMPORARY}other").is_dir() and (home / f"{TEMPORARY}link").is_symlink()
    folder.close()
    folder.close()
    assert not folder.path.exists()


def test_a_kill_while_a_temporary_folder_is_removed_leaves_its_lock_to_whoever_sweeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = TemporaryFolder(str(tmp_path))
    (folder.path / "a").mkdir()
    (folder.path / "b.txt").touch()
    rmtree, held = shutil.rmtree, []

    def watched(path: Path, ignore_errors: bool) -> None:
        held.append((path.name, (folder.path / HELD).exists()))
        rmtree(path, ignore_errors=ignore_errors)

    monkeypatch.setattr("shutil.rmtree", watched)
    folder.close()
    assert held == [("a", True), (folder.path.name, True)]
    assert not list(tmp_path.iterdir())
