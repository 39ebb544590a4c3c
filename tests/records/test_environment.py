from __future__ import annotations

import json
import platform
import subprocess
from importlib import metadata
from pathlib import Path

from suite.records import environment
from suite.records.environment import _commit


def test_a_record_names_the_python_the_processor_and_the_versions_of_this_machine() -> None:
    found = environment()
    assert found["python"] == platform.python_version()
    assert found["cpu"]
    assert found["versions"]["numpy"] == metadata.version("numpy")
    assert found["torch"] == found["versions"]["torch"]
    assert json.loads(json.dumps(found)) == found


def test_a_checkout_has_a_commit_and_is_dirty_where_a_file_of_it_was_changed(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

    assert _commit(tmp_path) == (None, None)
    git("init", "--quiet")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "--quiet", "--message", "one")
    commit, dirty = _commit(tmp_path)
    assert commit is not None
    assert (len(commit), dirty) == (40, False)
    (tmp_path / "new").write_text("not tracked")
    assert _commit(tmp_path) == (commit, False)
    (tmp_path / "file").write_text("2")
    assert _commit(tmp_path) == (commit, True)


def test_a_repository_without_a_commit_has_none(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    assert _commit(tmp_path) == (None, None)
