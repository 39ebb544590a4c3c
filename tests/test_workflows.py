"""What the code host runs is what the repository has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from suite.cli.app import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def commands(path: Path) -> str:
    """All that a workflow's steps run."""
    jobs = yaml.safe_load(path.read_text())["jobs"].values()
    return "\n".join(step["run"] for job in jobs for step in job["steps"] if "run" in step)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_calls_targets_and_commands_that_there_are(path: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    run = commands(path)
    called = re.findall(r"\bmake ([a-z-]+)", run), re.findall(r"\bsuite ([a-z]+) ", run)
    assert any(called)
    assert {*called[0]} <= {*targets}
    assert {*called[1]} <= {*COMMANDS}


def test_tests_are_those_of_a_change_and_the_site_is_the_site() -> None:
    run = {path.stem: commands(path) for path in WORKFLOWS}
    assert "make test\nmake journeys" in run["tests"]
    assert "suite site site results" in run["site"]
    assert "suite verify" in run["submissions"]
