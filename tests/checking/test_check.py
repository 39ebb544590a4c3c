"""``suite check`` on files of a user."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from suite.checking.check import check_file
from suite.cli.app import app
from suite.errors import UserError


def test_the_command_fails_on_a_failed_check_and_says_which(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text(
        "from suite.contract import Task\n\n\nclass Bad(Task):\n    summary = 'x'\n    primary = 'y'\n\n"
        "    def score(self, subject):\n        raise ValueError('no idea')\n"
    )
    result = CliRunner().invoke(app, ["check", str(file)])
    assert result.exit_code == 1
    assert "the primary metric 'y' is not among the metrics" in result.output
    assert "ValueError: no idea" in result.output


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "no such file"),
        ("x = 1", "holds no baseline and no task"),
        ("import nothing_of_that_name\nfrom suite.contract import Task\nclass A(Task): pass", "nothing_of_that_name"),
    ],
)
def test_a_file_that_cannot_be_checked_is_the_user_s_mistake(text: str | None, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "thing.py"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UserError, match=reason):
        list(check_file(str(file)))


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "linear_probe.py"
    file.write_text("from suite.contract import Task\n\n\nclass Mine(Task):\n    summary = 'x'\n    primary = 'y'\n")
    with pytest.raises(UserError, match=r"the name 'linear_probe' is taken by .*tasks/linear_probe\.py"):
        list(check_file(str(file)))
