from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from suite import planning
from suite.cli.app import app
from suite.errors import UserError
from suite.planning.rekeying import Rekeyed

COMMAND = ["rekey", "--sources", "checkout"]


@pytest.mark.parametrize(
    ("done", "code", "lines"),
    [
        (Rekeyed(3, 1), 0, ["3 records have new keys, 1 had them already, 0 refused"]),
        (
            Rekeyed(3, 1, {"model.py is another today": 2}),
            1,
            ["refused 2: model.py is another today", "3 records have new keys, 1 had them already, 2 refused"],
        ),
    ],
)
def test_the_command_tells_what_was_renamed_and_fails_where_a_record_was_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, done: Rekeyed, code: int, lines: list[str]
) -> None:
    monkeypatch.setattr(planning, "rekey", lambda workspace, checkout: done)
    result = CliRunner().invoke(app, [*COMMAND, str(tmp_path)])
    assert result.exit_code == code
    assert result.output.splitlines() == lines


def test_a_workspace_that_is_not_there_is_the_users_to_mend() -> None:
    result = CliRunner().invoke(app, [*COMMAND, "nowhere"])
    assert isinstance(result.exception, UserError)
    assert str(result.exception) == "nowhere is not a folder"
