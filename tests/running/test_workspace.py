"""One run at a time in a workspace, and nothing of Ray's on the console."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from suite.errors import UserError
from suite.running.workspace import locked, scratch, silenced

HOLD = "import sys; from pathlib import Path; from suite.running.workspace import locked\n"
HOLD += "with locked(Path(sys.argv[1])): {then}"


def test_a_second_run_is_turned_away_with_the_process_of_the_first(tmp_path: Path) -> None:
    code = HOLD.format(then="print('held', flush=True); sys.stdin.read()")
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout
        assert first.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"process {first.pid} on .*{tmp_path.name}"), locked(tmp_path):
            pass
        first.communicate("")
    with locked(tmp_path):
        pass


def test_the_lock_of_a_killed_run_is_no_obstacle(tmp_path: Path) -> None:
    code = HOLD.format(then="import os; os.kill(os.getpid(), 9)")
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert (tmp_path / ".lock").read_text()
    with locked(tmp_path):
        assert (tmp_path / ".lock").read_text().startswith(str(os.getpid()))


def test_a_workspace_that_cannot_be_made_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write to"), locked(tmp_path / "file" / "runs"):
        pass


def test_a_scratch_folder_goes_away_and_takes_those_of_killed_runs_along(tmp_path: Path) -> None:
    (tmp_path / ".run-dead").mkdir()
    with scratch(tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder]
    assert list(tmp_path.iterdir()) == []


def test_what_python_and_c_print_goes_to_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with silenced(tmp_path):
        print("from Python")
        os.write(2, b"from C\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"
    assert set((tmp_path / "driver.log").read_text().split("\n")) == {"from Python", "from C", ""}


@pytest.mark.parametrize("name", [".lock", "driver.log"])
def test_a_folder_in_the_place_of_a_runs_file_is_told_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    refused = pytest.raises(UserError, match=rf"cannot write to .*{name}: Is a directory")
    with refused, locked(tmp_path), silenced(tmp_path):
        pass


def test_a_workspace_that_takes_no_lock_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", none_left)
    with pytest.raises(UserError, match=f"cannot write to {tmp_path}: No locks available"), locked(tmp_path):
        pass


def test_a_workspace_without_room_for_a_scratch_folder_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(**options: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", f"{tmp_path}/.run-x")

    monkeypatch.setattr("tempfile.mkdtemp", read_only)
    with pytest.raises(UserError, match=r"cannot write to .*\.run-x: Read-only file system"), scratch(tmp_path):
        pass
