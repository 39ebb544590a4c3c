from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.calling import run


def test_new_writes_one_file_and_says_where_and_how_to_try_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "new", "task", "mine")
    assert (code, err) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]
    assert "mine.py" in out
    assert "suite check" in out
    assert run(capsys, "new", "task", "mine")[0] == 2
