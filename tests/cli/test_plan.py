from __future__ import annotations

import json
from pathlib import Path

import pytest

from suite import records
from suite.planning.plan import make_plan
from suite.planning.selection import Selection
from tests.cli.calling import run
from tests.projects import edit, write_project


def plan_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, object]:
    code, out, _ = run(capsys, "plan", *arguments, "--format", "json")
    assert code == 0
    return json.loads(out)


def test_plan_shows_states_reasons_and_what_is_left_to_run(
    capsys: pytest.CaptureFixture[str], workspace: Path, tmp_path: Path
) -> None:
    project = write_project(tmp_path / "project")
    options = ("-t", "measure", "-b", "model", "-b", "small", "--path", project, "--seeds", "0-4")
    plan = make_plan(Selection(("measure",), ("model",), seeds=(0, 1), paths=(str(project),), workspace=str(workspace)))
    for cell in plan.cells:
        done = cell.ended(plan.baselines["model"], plan.tasks["measure"], "ok", cost={"score_seconds": 60})
        records.write(workspace, done)
    code, out, _ = run(capsys, "plan", *options)
    assert code == 0
    rows = [line.split() for line in out.splitlines()]
    assert ["measure", "model", "digits", "0-1", "done"] in rows
    assert ["measure", "model", "digits", "2-4", "missing", "?", "not", "run"] in rows
    assert "10 cells: 2 done, 8 missing; 8 to run in 8 trials" in out
    assert plan_of(capsys, *options)["counts"] == {"done": 2, "missing": 8}


def test_plan_explains_a_stale_cell_by_the_dict_behind_its_key_and_what_changed(
    capsys: pytest.CaptureFixture[str], workspace: Path, tmp_path: Path
) -> None:
    project = write_project(tmp_path / "project")
    options = ("-t", "measure", "-b", "model", "--path", project, "--seeds", "0")
    plan = make_plan(Selection(("measure",), ("model",), seeds=(0,), paths=(str(project),), workspace=str(workspace)))
    records.write(workspace, plan.cells[0].ended(plan.baselines["model"], plan.tasks["measure"], "ok"))
    edit(project / "transitive.py", "1.0", "1.1")
    (cell,) = plan_of(capsys, *options, "--explain")["cells"]
    assert cell["state"] == "stale"
    assert cell["changed"] == ["baseline source changed (transitive.py)"]
    assert cell["stale record"] == plan.cells[0].key
    assert set(cell["ingredients"]["checkpoint"]["baseline"]) >= {"class", "model.py", "transitive.py"}
    _, out, _ = run(capsys, "plan", *options, "--explain")
    assert '"engine": ' in out
    assert "baseline source changed (transitive.py)" in out


def test_plan_takes_its_selection_from_a_file_and_options_override_it(
    capsys: pytest.CaptureFixture[str], workspace: Path, tmp_path: Path
) -> None:
    file = tmp_path / "board.yaml"
    file.write_text("tasks: reconstruction\nbaselines: [vae, pca]\nseeds: 0-1\nbudget: smoke\n")
    cells = plan_of(capsys, "--file", file)["cells"]
    assert {(c["baseline"], c["seed"], c["budget"]) for c in cells} == {
        (baseline, seed, "smoke") for baseline in ("vae", "pca") for seed in (0, 1)
    }
    cells = plan_of(capsys, "--file", file, "--baseline", "copy", "--seeds", "5", "--budget", "long")["cells"]
    assert [(c["task"], c["baseline"], c["seed"], c["budget"]) for c in cells] == [
        ("reconstruction", "copy", 5, "long")
    ]


def test_a_corrupt_record_is_a_warning_on_stderr(capsys: pytest.CaptureFixture[str], workspace: Path) -> None:
    key = make_plan(Selection(("linear_probe",), ("pca",), seeds=(0,), workspace=str(workspace))).cells[0].key
    (workspace / "records").mkdir(parents=True)
    records.record_path(workspace, key).write_text("{")
    _, out, err = run(capsys, "plan", "-t", "linear_probe", "-b", "pca", "--seeds", "0")
    assert err.startswith("warning: corrupt record")
    assert "1 missing" in out
