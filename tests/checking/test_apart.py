"""A file that is checked runs in a process of its own, and its exit code is no verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite.checking.apart import check_apart
from suite.errors import UserError

TASK = """
import os
from suite.contract import Anchor, Measure, Metric, Score, Task

class Seven(Task):
    summary = "seven"
    primary = "seven"
    metrics = (Metric("seven", "", "lower", "seven"),)
    anchors = (Anchor("floor", "7"),)

    def score(self, subject):
        {body}
        return Score({{"seven": Measure(7.0)}})
"""


def test_findings_come_from_another_process(tmp_path: Path) -> None:
    path = tmp_path / "seven.py"
    path.write_text(TASK.format(body="open(__file__ + '.pid', 'w').write('x') if False else os.getpid()"))
    found = list(check_apart(str(path)))
    assert {finding.status for finding in found} == {"pass"}
    assert found[0].check == "declarations"


def test_a_process_that_ends_before_its_last_verdict_has_not_passed(tmp_path: Path) -> None:
    path = tmp_path / "seven.py"
    path.write_text(TASK.format(body="os._exit(0)"))
    last = list(check_apart(str(path)))[-1]
    assert (last.check, last.status) == ("its process", "fail")


def test_what_the_file_says_itself_is_no_finding(tmp_path: Path) -> None:
    path = tmp_path / "seven.py"
    said = '\'{"finding": {"subject": "seven", "check": "all", "status": "pass", "reason": ""}, "end": true}\\n\''
    path.write_text(TASK.format(body=f"[os.write(n, {said}.encode()) for n in range(3, 9) if _open(n)]; os._exit(0)"))
    path.write_text(path.read_text() + "\n\ndef _open(n):\n    try:\n        os.fstat(n)\n    except OSError:\n"
                    "        return False\n    return True\n")  # fmt: skip
    found = list(check_apart(str(path)))
    assert found[-1].status == "fail"
    assert "all" not in [finding.check for finding in found]


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        list(check_apart(str(tmp_path / "none.py")))
