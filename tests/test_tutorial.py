"""The tutorial's commands run, from the first to the last, in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import suite
from suite.version import __version__

ROOT = Path(__file__).resolve().parents[1]
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()

#: ``suite`` with a budget of a few steps, one seed and no Ray: what is tried here is that every command does its work.
SHELL = """set -euo pipefail
suite() {
    local more=()
    if [ "$1" = run ]; then more=(--budget smoke --executor local --tracking off --seeds 0); fi
    "$PYTHON" -m suite "$@" "${more[@]}"
}
"""


def blocks(language: str) -> str:
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```", TUTORIAL, re.MULTILINE | re.DOTALL))


@pytest.mark.journey
@pytest.mark.timeout(1200)
def test_the_tutorial_runs_from_the_first_command_to_the_last(tmp_path: Path) -> None:
    (tmp_path / "results").symlink_to(ROOT / "results")
    environment = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment.pop("SUITE_WORKSPACE", None)
    (tmp_path / "tutorial.py").write_text(blocks("python"))
    commands = f"{SHELL}{blocks('sh')}$PYTHON tutorial.py\n"
    done = subprocess.run(
        ["bash", "-c", commands], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1150
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "0 run now, 2 before" in done.stdout  # the same command again
    for name in ("my_model.py", "board.tex", "board.md", "board.csv", "figure.pdf"):
        assert (tmp_path / name).stat().st_size > 0
    assert "my_model" in (tmp_path / "board.tex").read_text().replace("\\", "")


def test_the_citation_has_the_package_s_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__ == suite.__version__
    assert citation["title"].startswith("latent-suite")
