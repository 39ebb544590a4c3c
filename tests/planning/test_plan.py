from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from suite import data, records
from suite.errors import UserError
from suite.planning.plan import Plan, make_plan
from suite.planning.selection import Selection
from tests.projects import MODELS, TASKS, edit, write_project
from tests.toys import write_baseline


@pytest.fixture
def selection(tmp_path: Path) -> Selection:
    project = write_project(tmp_path / "project")
    return Selection(
        tasks=TASKS, baselines=MODELS, seeds=(0, 1), paths=(str(project),), workspace=str(tmp_path / "runs")
    )


def run(plan: Plan, status: str = "ok", *, every: str = "", **fields: object) -> None:
    """Writes the records of the plan's pending cells, as a run would."""
    for cell in plan.pending:
        if every in cell.baseline:
            sources = plan.baselines[cell.baseline], plan.tasks[cell.task]
            records.write(plan.workspace, cell.ended(*sources, status, **fields))


def test_two_files_that_give_one_name_are_refused_whichever_way_they_are_named(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_baseline(tmp_path / folder, "Same")
    one, other = (str(next((tmp_path / folder).glob("*.py"))) for folder in ("a", "b"))
    with pytest.raises(UserError, match=r"two files provide the baseline 'same': .*a/.*b/"):
        make_plan(Selection(baselines=(one, other), workspace=str(tmp_path)))
    assert {cell.baseline for cell in make_plan(Selection(baselines=(one, one), workspace=str(tmp_path))).cells} == {
        "same"
    }


# --- states


def test_without_a_selection_everything_runs_on_digits(tmp_path: Path) -> None:
    plan = make_plan(Selection(workspace=str(tmp_path)))
    assert {"vae", "pixel_marginals"} <= set(plan.baselines)
    assert {"reconstruction", "linear_probe"} <= set(plan.tasks)
    assert {cell.dataset for cell in plan.cells} == {"digits"}
    assert len(plan.cells) == 3 * len(plan.baselines) * len(plan.tasks)


def test_planning_creates_nothing(selection: Selection) -> None:
    assert make_plan(selection).counts() == {"missing": 12}
    assert not Path(selection.workspace).exists()


def test_cells_of_one_checkpoint_are_one_trial(selection: Selection) -> None:
    plan = make_plan(selection)
    trials = plan.trials()
    assert len(trials) == 6
    for trial in trials:
        assert {cell.checkpoint_key for cell in trial.cells} == {trial.checkpoint_key}
        assert [cell.task for cell in trial.cells] == list(trial.tasks) == list(TASKS)
        assert Path(trial.workspace).is_absolute()
    assert [trial.cells[0].seed for trial in trials] == [0, 0, 0, 1, 1, 1]  # all models meet at seed 0 first


def test_a_trial_holds_the_pending_cells_alone(selection: Selection) -> None:
    run(make_plan(dataclasses.replace(selection, tasks=("measure",), seeds=(0,))))
    first, *_ = make_plan(selection).trials()
    assert [cell.task for cell in first.cells] == ["other_measure"]


@pytest.mark.parametrize(
    ("status", "retry", "runs"),
    [
        ("ok", (), False),
        ("unsupported", ("failed",), False),
        ("failed", (), False),
        ("failed", ("failed",), True),
        ("failed", ("timeout",), False),
        ("timeout", (), False),
        ("timeout", ("failed", "timeout"), True),
        ("killed", (), True),
    ],
)
def test_how_a_cell_ended_decides_whether_it_runs_again(
    selection: Selection, status: str, retry: tuple[str, ...], runs: bool
) -> None:
    run(make_plan(selection), status, reason="because")
    cells = make_plan(dataclasses.replace(selection, retry=retry)).cells
    assert {cell.run for cell in cells} == {runs}
    assert {cell.state for cell in cells} == {"done" if status == "ok" else status}
    assert {cell.reason for cell in cells} == {"because"}


def test_a_corrupt_record_is_missing_again_and_named(selection: Selection) -> None:
    plan = make_plan(selection)
    run(plan)
    path = records.record_path(plan.workspace, plan.cells[0].key)
    path.write_text("{")
    again = make_plan(selection)
    assert again.counts() == {"done": 11, "missing": 1}
    assert path.name in again.warnings[0]
    assert make_plan(selection).warnings == []  # it was set aside


def test_the_newest_of_several_old_records_is_the_one_compared(selection: Selection) -> None:
    model = Path(selection.paths[0]) / "model.py"
    for number in (5, 6, 7):
        run(make_plan(selection))
        edit(model, f"width: int = {number - 1}", f"width: int = {number}")
    cell = next(cell for cell in make_plan(selection).cells if cell.baseline == "model")
    assert cell.state == "stale"
    assert "width: 6 -> 7" in cell.reason


def test_where_the_data_is_not_here_the_records_are_not_stale_for_it(
    selection: Selection, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(make_plan(selection))
    monkeypatch.setattr(data, "on_disk", lambda name, root: False)
    found = make_plan(selection, download=False)
    assert (found.counts(), found.pending) == ({"done": 12}, [])
    assert [line.partition("; ")[2] for line in found.warnings] == [
        "that its bytes are those of the records is taken for granted"
    ]
    empty = make_plan(dataclasses.replace(selection, workspace=selection.workspace + "-new"), download=False)
    assert empty.counts() == {"missing": 12}
    assert [line.endswith("downloads it") for line in empty.warnings] == [True]


def test_what_a_dataset_cannot_give_is_unsupported_with_the_reason_and_leaves_a_record(
    selection: Selection, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = dataclasses.replace(data.info("digits"), name="bare", labels=False)
    monkeypatch.setitem(data.DATASETS, "bare", bare)
    monkeypatch.setattr(data, "content_hash", lambda name, root: "f" * 64)
    chosen = dataclasses.replace(selection, datasets=("bare",), seeds=(0,))
    plan = make_plan(chosen)
    reasons = {(cell.task, cell.baseline): cell.reason for cell in plan.cells if cell.state == "unsupported"}
    assert reasons == {
        ("measure", "small"): "small trains on labels, which bare does not have",
        ("measure", "large"): "large trains on labels, which bare does not have",
        ("other_measure", "model"): "other_measure needs labels, which bare does not have",
        ("other_measure", "small"): "other_measure needs labels, which bare does not have",
        ("other_measure", "large"): "other_measure needs labels, which bare does not have",
    }
    assert [(trial.name, list(trial.tasks)) for trial in plan.trials()] == [("model/bare/seed 0", ["measure"])]
    for record in plan.refusals():
        records.write(plan.workspace, record)
    assert sorted((r.task, r.baseline, r.reason) for r in records.read_all(plan.workspace)) == sorted(
        (*names, reason) for names, reason in reasons.items()
    )
    assert make_plan(chosen).refusals() == []


def test_a_probe_is_unsupported_where_test_classes_are_new(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(data, "content_hash", lambda name, root: "f" * 64)
    selection = Selection(("linear_probe",), ("pca",), ("omniglot",), workspace=str(tmp_path))
    assert {cell.state for cell in make_plan(selection).cells} == {"unsupported"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tasks": ("linear_prob",)}, "unknown task 'linear_prob'; did you mean 'linear_probe'"),
        ({"baselines": ("vea",)}, "unknown baseline 'vea'"),
        ({"datasets": ("minst",)}, "did you mean 'mnist'"),
        ({"budget": "quikc"}, "unknown budget 'quikc'; did you mean 'quick'"),
        ({"precision": "float16"}, "did you mean 'float32'"),
        ({"retry": ("fail",)}, "did you mean 'failed'"),
        ({"paths": ("nowhere",)}, "no such file or folder: nowhere"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_plan(dataclasses.replace(Selection(), **change))


def test_a_workspace_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(UserError, match="is not a folder"):
        make_plan(Selection(workspace=str(tmp_path / "runs")))


# --- minutes


def test_minutes_are_what_earlier_records_of_the_same_kind_took(selection: Selection) -> None:
    first = make_plan(dataclasses.replace(selection, seeds=(0,)))
    run(first, every="model", cost={"train_seconds": 60.0, "score_seconds": 30.0})
    plan = make_plan(selection)
    minutes = {(cell.task, cell.baseline, cell.seed): plan.minutes()[cell.key] for cell in plan.pending}
    assert minutes["measure", "model", 1] == 1.5  # with the training
    assert minutes["other_measure", "model", 1] == 0.5
    assert minutes["measure", "small", 1] is None


def test_a_checkpoint_that_exists_costs_no_training(selection: Selection) -> None:
    run(make_plan(dataclasses.replace(selection, seeds=(0,))), cost={"train_seconds": 60.0, "score_seconds": 30.0})
    plan = make_plan(selection)
    cell = plan.pending[0]
    folder = Path(plan.workspace) / "checkpoints" / cell.checkpoint_key[:32]
    folder.mkdir(parents=True)
    (folder / "checkpoint.json").write_text("{}")
    assert plan.minutes()[cell.key] == 0.5
