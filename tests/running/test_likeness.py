"""What of a checkout is compared before it measures."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import suite
from suite.running.likeness import differences, likeness, refusal

ENGINE = Path(suite.__file__).parent


def of_checkout(folder: Path) -> dict[str, str]:
    """What a process says whose suite lies in ``folder``, by the function as this process has it."""
    code = "import json, sys; exec(sys.argv[1]); print(json.dumps(likeness()))"
    source = (ENGINE / "running" / "likeness.py").read_text()
    env = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", code, source], env=env, cwd=folder, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copytree(ENGINE, tmp_path / "suite", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_a_copy_of_the_checkout_is_alike_wherever_it_lies_and_whatever_models_it_has(checkout: Path) -> None:
    (checkout / "suite" / "baselines").mkdir(exist_ok=True)
    (checkout / "suite" / "baselines" / "mine.py").write_text("")
    assert of_checkout(checkout) == likeness()


def test_one_changed_line_of_the_engine_is_told(checkout: Path) -> None:
    path = checkout / "suite" / "measuring" / "coding.py"
    path.write_text(path.read_text() + "# another\n")
    there = of_checkout(checkout)
    assert differences(likeness(), there) == f"engine {there['engine']} instead of {likeness()['engine']}"


def test_another_version_is_told_by_its_name(tmp_path: Path) -> None:
    here = likeness() | {"NumPy": "1.0"}
    assert refusal(here, str(tmp_path)) == f"has NumPy {likeness()['NumPy']} instead of 1.0"
    assert refusal(likeness(), str(tmp_path)) == ""
    assert refusal(likeness(), str(tmp_path / "runs" / "run")) == f"does not see the workspace {tmp_path / 'runs'}"
    assert refusal(likeness(), "") == ""
