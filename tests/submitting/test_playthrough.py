"""A submission from ``suite new`` to the merged board, as commands; a tampered one is refused with its sentence."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite.boards.board import board
from suite.boards.frame import load_records
from suite.guests.containment import CONTAINED, available
from suite.records import load_values, values_path
from tests.test_direction import ROOT

CARD = """
authors: [Ada Lovelace]
paper: none
licence: Apache-2.0
compute: a minute of one CPU core
"""
pytestmark = [pytest.mark.journey, pytest.mark.timeout(1200)]

TASKS = ("reconstruction", "linear_probe", "input_optimization")


def suite(folder: Path, *arguments: object) -> tuple[int, str]:
    """Runs a command in a folder; returns its exit code and all that it printed."""
    # two threads that wait for each other by spinning are slow beside other work
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "OMP_WAIT_POLICY": "PASSIVE"}
    environment.pop("SUITE_WORKSPACE", None)
    command = [sys.executable, "-m", "suite", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def author(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which somebody made a model, checked it, ran it and packed it."""
    folder = tmp_path_factory.mktemp("author")
    assert suite(folder, "new", "baseline", "my_model")[0] == 0
    code, said = suite(folder, "submit", "absent.py")
    assert code == 2 and "no such file: absent.py" in said
    code, said = suite(folder, "submit", "my_model.py")
    assert code == 2 and "write it with authors: a list of names" in said
    (folder / "my_model.card.yaml").write_text(CARD)
    code, said = suite(folder, "submit", "my_model.py")
    assert code == 2 and "my_model has not been through `suite check`" in said
    code, said = suite(folder, "check", "my_model.py")
    assert code == 0, said
    code, said = suite(folder, "submit", "my_model.py")
    assert code == 2 and "holds no record of the present my_model.py" in said
    tasks = [part for task in TASKS for part in ("--task", task)]
    run = ["run", "-b", "my_model.py", *tasks, "--seeds", 0, "--budget", "smoke", "--executor", "local"]
    code, said = suite(folder, *run, "--tracking", "off", "--trust", "--threads", 2)
    assert code == 0, said
    code, said = suite(folder, "submit", "my_model.py")
    assert code == 0 and "wrote submissions/my_model: 3 records of my_model" in said, said
    return folder


@pytest.fixture
def handed_in(author: Path, tmp_path: Path) -> Path:
    """A copy of the submission, as a maintainer has it."""
    return Path(shutil.copytree(author / "submissions" / "my_model", tmp_path / "my_model"))


def test_an_honest_submission_is_verified_with_another_number_of_threads_and_merged(handed_in: Path) -> None:
    folder = handed_in.parent
    code, said = suite(folder, "merge", "my_model")
    assert code == 2 and "holds no verdict on my_model as it is now" in said
    code, said = suite(folder, "verify", "my_model", "--threads", 1, "--cells", 2)
    walls = "" if available().kind == CONTAINED and available().filter else ", not contained"
    assert code == 0 and f"my_model: verified{walls}\n" in said, said
    verdict = json.loads((handed_in / "verdict.json").read_text())
    assert (verdict["standing"], verdict["reasons"], len(verdict["cells"])) == ("verified", [], 3)  # one of each task
    assert all(abs(c["claimed"] - c["found"]) <= c["tolerated"] for c in verdict["cells"])
    assert verdict["guests"]
    assert verdict["contained"] is (not walls)
    code, said = suite(folder, "merge", "my_model")
    assert code == 0 and said.endswith(f"3 records taken, 0 there already; verified{walls}\n"), said
    table = board(load_records(folder / "runs"))
    assert set(table["model"]) == {"my_model"} and set(table["standing"]) == {"verified"}
    assert set(table["task"]) == set(TASKS) and not table["flags"].any()
    assert suite(folder, "board")[0] == 0


def test_a_submission_that_nobody_verified_is_claimed_and_stands_apart(handed_in: Path) -> None:
    folder = handed_in.parent
    code, said = suite(folder, "merge", "my_model", "--claimed")
    assert code == 0 and said.endswith("claimed\n")
    table = board(load_records(folder / "runs"))
    assert set(table["standing"]) == {"claimed"} and table["apart"].all()
    assert set(table["flags"]) == {("claimed", "not checked")}, "by its author, which counts for nothing here"


def records(folder: Path) -> dict[str, Path]:
    return {json.loads(path.read_text())["task"]: path for path in (folder / "records").glob("*.json")}


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    raw = json.loads(path.read_text())
    raw.pop("sha256", None)  # who edits a record leaves out what would tell
    change(raw)
    path.write_text(json.dumps(raw))


def better_score(folder: Path) -> None:
    """The score and the values behind it are edited alike: nothing shows but a run of one's own."""
    path = records(folder)["reconstruction"]
    edit(path, lambda raw: raw["metrics"]["nats"].update(value=raw["metrics"]["nats"]["value"] - 50))
    key = json.loads(path.read_text())["key"]
    values = load_values(folder, key)
    np.savez(values_path(folder, key), **(values | {"nats": values["nats"] - 50}))


def values_of_another(folder: Path) -> None:
    edit(records(folder)["reconstruction"], lambda raw: raw["metrics"]["nats"].update(value=100.0))


def another_source(folder: Path) -> None:
    path = folder / "source" / "my_model.py"
    path.write_text(path.read_text().replace("256", "128"))


def a_frame(folder: Path) -> None:
    path = folder / "source" / "my_model.py"
    path.write_text(path.read_text().replace("import torch\n", "import sys\nimport torch\n", 1))


def a_task_left_out(folder: Path) -> None:
    records(folder)["linear_probe"].unlink()


def another_name(folder: Path) -> None:
    edit(records(folder)["reconstruction"], lambda raw: raw.update(baseline="v\u0430e"))


def a_link(folder: Path) -> None:
    (folder / "source" / "notes.txt").symlink_to("/etc/passwd")


def a_newer_engine(folder: Path) -> None:
    edit(records(folder)["reconstruction"], lambda raw: raw["ingredients"]["checkpoint"].update(engine=99))


@pytest.mark.parametrize(
    ("tamper", "sentence"),
    [
        (values_of_another, "the mean of its per-image values is not its nats."),
        (another_source, "it was measured with another source than the one in the folder."),
        (a_frame, "my_model.py:3: sys asks the system."),
        (a_task_left_out, "seed 0: the official task linear_probe has no record."),
        (another_name, "baseline is not a name in ASCII letters"),
        (a_link, "notes.txt is a link: a submission holds plain files alone"),
        (a_newer_engine, "its key is not that of its ingredients"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_tampered_submission_is_refused_before_anything_runs(
    handed_in: Path, tamper: Callable[[Path], None], sentence: str
) -> None:
    tamper(handed_in)
    code, said = suite(handed_in.parent, "verify", "my_model")
    assert code in (1, 2) and sentence in said, said
    assert suite(handed_in.parent, "merge", "my_model")[0] == 2


def test_a_better_score_than_its_source_gives_is_refused_by_running_it(handed_in: Path) -> None:
    better_score(handed_in)
    code, said = suite(handed_in.parent, "verify", "my_model", "--cells", 0, "--no-check")
    assert code == 1 and "nats is claimed to be" in said and "when it was run again" in said, said
    code, said = suite(handed_in.parent, "merge", "my_model")
    assert code == 2 and "was refused" in said


def test_a_verdict_that_the_submitter_wrote_counts_for_nothing(handed_in: Path) -> None:
    (handed_in / "verdict.json").write_text(json.dumps({"standing": "verified", "reasons": []}))
    code, said = suite(handed_in.parent, "merge", "my_model")
    assert code == 2 and "holds no verdict" in said
