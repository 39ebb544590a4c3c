"""A task that is checked runs in a process of its own, which hands over what it found and no verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite.checking.apart import Evidence
from suite.checking.check import Finding, check_file
from suite.errors import ContractError, UserError

TASK = """
import os, sys, json
from suite.contract import Anchor, Measure, Metric, Score, Task

class Seven(Task):
    summary = "seven"
    primary = "seven"
    metrics = (Metric("seven", "", "lower", "seven"),)
    anchors = (Anchor("floor", "7"),)

    def score(self, subject):
        {body}
        return Score({{"seven": Measure({value})}})
"""


def check(folder: Path, body: str = "pass", value: str = "7.0") -> list[Finding]:
    path = folder / "seven.py"
    path.write_text(TASK.format(body=body, value=value))
    return list(check_file(str(path)))


@pytest.mark.journey
def test_an_honest_task_passes_and_none_of_it_runs_here(tmp_path: Path) -> None:
    found = check(tmp_path, "sys.modules['ran_here'] = sys")
    assert [finding.status for finding in found] == ["pass"] * 4
    assert found[0].check == "declarations"
    import sys

    assert "ran_here" not in sys.modules


@pytest.mark.journey
def test_scores_that_differ_from_one_time_to_the_next_are_found(tmp_path: Path) -> None:
    found = check(tmp_path, value="float(int.from_bytes(os.urandom(4), 'big'))")
    assert {finding.status for finding in found[1:]} == {"fail"}
    assert "seven differs" in found[1].reason


FORGERIES = (
    "os._exit(0)",
    "sys.exit(0)",
    """[os.write(n, b'{"end": true, "status": "pass"}') for n in range(3, 20) if os.path.exists(f"/proc/self/fd/{n}")]
        os._exit(0)""",
    "import suite.checking.check as c; c.run_check = c._objection = lambda *a: None; os._exit(0)",
)


@pytest.mark.parametrize("body", FORGERIES)
def test_a_process_that_ends_before_it_has_handed_over_its_findings_has_failed(tmp_path: Path, body: str) -> None:
    found = check(tmp_path, body)
    assert {finding.status for finding in found} == {"fail"}
    assert all("handed over" in finding.reason for finding in found)


@pytest.mark.parametrize(
    "said", [None, [], {"declared": []}, {"declared": {"metrics": 3}}, {"declared": {"summary": 1}}]
)
def test_evidence_that_is_none_is_refused(said: object) -> None:
    with pytest.raises(ContractError):
        Evidence(said).declared()
    with pytest.raises(ContractError):
        Evidence({"Silent": said}).scored("Silent")


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        list(check_file(str(tmp_path / "none.py")))
