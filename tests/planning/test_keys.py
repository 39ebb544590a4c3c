"""When is a cell done? Editing each ingredient makes exactly the right cells stale."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from suite import data, records, version
from suite.planning.plan import Plan, make_plan
from suite.planning.selection import Selection
from suite.plugins.closure import fingerprint
from suite.training.budgets import BUDGET_VERSIONS
from tests.projects import MODELS, TASKS, edit, write_project

Cells = set[tuple[str, str]]

#: Every cell of one model, of one task, and all.
OF_MODEL: Cells = {(task, "model") for task in TASKS}
OF_MEASURE: Cells = {("measure", model) for model in MODELS}
ALL: Cells = {(task, model) for task in TASKS for model in MODELS}


class Project:
    """A project whose cells were all run once."""

    def __init__(self, folder: Path) -> None:
        self.folder = write_project(folder / "project")
        self.selection = Selection(
            tasks=TASKS, baselines=MODELS, seeds=(0,), paths=(str(self.folder),), workspace=str(folder / "runs")
        )
        self.before = make_plan(self.selection)
        for cell in self.before.cells:
            baseline, task = self.before.baselines[cell.baseline], self.before.tasks[cell.task]
            records.write(self.before.workspace, cell.ended(baseline, task, "ok"))

    def plan(self, **changes: object) -> Plan:
        return make_plan(dataclasses.replace(self.selection, **changes))

    def stale(self, **changes: object) -> Cells:
        cells = self.plan(**changes).cells
        assert {cell.state for cell in cells} <= {"done", "stale"}
        return {(cell.task, cell.baseline) for cell in cells if cell.state == "stale"}

    def retrained(self) -> set[str]:
        before = {cell.baseline: cell.checkpoint_key for cell in self.before.cells}
        return {cell.baseline for cell in self.plan().cells if cell.checkpoint_key != before[cell.baseline]}

    def reason(self, task: str = "measure", baseline: str = "model") -> str:
        return next(c.reason for c in self.plan().cells if (c.task, c.baseline) == (task, baseline))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_what_was_run_is_done_and_nothing_runs_again(project: Project) -> None:
    assert project.stale() == set()
    assert project.plan().trials() == []


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("model.py", "[:, :1]", "[:, :2]"),
        ("helper.py", "2.0", "2.5"),
        ("transitive.py", "1.0", "1.5"),
        ("twin.py", "3.0", "3.5"),
        ("near.py", "5.0", "5.5"),
        ("late.py", "1.0", "1.5"),
        ("package/deep.py", "inner.STEP", "inner.STEP + 1"),
        ("package/inner.py", "7.0", "7.5"),
    ],
)
def test_editing_a_baseline_or_anything_it_imports_makes_its_cells_stale(
    project: Project, file: str, old: str, new: str
) -> None:
    edit(project.folder / file, old, new)
    assert project.stale() == OF_MODEL
    assert project.retrained() == {"model"}
    assert project.reason() == f"baseline source changed ({file})"


def test_a_package_that_begins_to_run_code_makes_its_importers_stale(project: Project) -> None:
    (project.folder / "package" / "__init__.py").write_text("SIDE_EFFECT = 1\n")
    assert project.stale() == OF_MODEL


def test_a_file_that_nothing_imports_makes_no_cell_stale(project: Project) -> None:
    (project.folder / "package" / "unused.py").write_text("NOTHING = 1\n")
    assert project.stale() == set()


@pytest.mark.parametrize(
    ("file", "old", "new"), [("measure.py", "return Score()", "return None"), ("formula.py", "1.0", "2.0")]
)
def test_editing_a_task_makes_its_cells_stale_and_retrains_nothing(
    project: Project, file: str, old: str, new: str
) -> None:
    edit(project.folder / file, old, new)
    assert project.stale() == OF_MEASURE
    assert project.retrained() == set()
    assert project.reason() == f"task source changed ({file})"


def test_raising_a_tasks_version_makes_its_cells_stale_and_says_so(project: Project) -> None:
    edit(project.folder / "measure.py", "version = 1", "version = 2")
    assert project.stale() == OF_MEASURE
    assert "task version 1 -> 2" in project.reason()


def test_editing_a_default_parameter_names_the_parameter(project: Project) -> None:
    edit(project.folder / "model.py", "width: int = 4", "width: int = 5")
    assert project.stale() == OF_MODEL
    assert "parameter width: 4 -> 5" in project.reason()


def test_a_variants_parameter_is_named_for_the_variant_that_changed(project: Project) -> None:
    edit(project.folder / "other_model.py", '{"width": 9}', '{"width": 8}')
    assert project.stale() == {(task, model) for task in TASKS for model in ("small", "large")}
    assert "width: 9 -> 8" in project.reason(baseline="large")
    assert "width" not in project.reason(baseline="small")


def test_the_engines_version_makes_every_cell_stale(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version, "ENGINE_VERSION", version.ENGINE_VERSION + 1)
    assert project.stale() == ALL
    assert project.reason() == f"engine version {version.ENGINE_VERSION - 1} -> {version.ENGINE_VERSION}"


def test_a_budgets_version_makes_its_cells_stale_and_no_others(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BUDGET_VERSIONS, "long", 7)
    assert project.stale() == set()
    was = BUDGET_VERSIONS[project.selection.budget]
    monkeypatch.setitem(BUDGET_VERSIONS, project.selection.budget, was + 1)
    assert project.stale() == ALL
    assert project.retrained() == set(MODELS)
    assert project.reason() == f"version of the budget {was} -> {was + 1}"


def test_the_datasets_bytes_make_every_cell_stale(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "content_hash", lambda name, root: "f" * 64)
    assert project.stale() == ALL
    assert project.reason() == "the dataset's bytes changed"


@pytest.mark.parametrize("change", [{"seeds": (1,)}, {"budget": "smoke"}, {"precision": "bf16"}])
def test_another_seed_budget_or_precision_is_missing_not_stale(project: Project, change: dict[str, object]) -> None:
    cells = project.plan(**change).cells
    assert {cell.state for cell in cells} == {"missing"}
    assert not {cell.checkpoint_key for cell in cells} & {cell.checkpoint_key for cell in project.before.cells}


def test_another_parameter_is_another_cell_beside_the_first(project: Project) -> None:
    plan = project.plan(tasks=("measure",), baselines=("model", "model:width=6", "model:width=4"))
    assert {cell.baseline: cell.state for cell in plan.cells} == {"model": "done", "model:width=6": "missing"}
    other = project.plan(tasks=("measure:draws=9",), baselines=("model",)).cells
    assert [(cell.task, cell.state) for cell in other] == [("measure:draws=9", "missing")]


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("model.py", '"""Says little."""', '"""Says a little more."""'),
        ("model.py", '"""A model."""', ""),
        ("model.py", "import torch\n", "import torch  # for zeros\n\n\n"),
        ("model.py", '{"z": x', '{\n            "z": x'),
        ("helper.py", "GAIN = 2.0 * BASE", "# twice\nGAIN = (2.0*BASE)"),
        ("measure.py", '"""Measures."""', "'Measures.'\n    # carefully"),
        ("formula.py", "WEIGHT = 1.0", "WEIGHT = 1.0\n'''The weight.'''"),
    ],
)
def test_comments_docstrings_and_formatting_make_no_cell_stale(project: Project, file: str, old: str, new: str) -> None:
    edit(project.folder / file, old, new)
    assert project.stale() == set()


def test_a_declared_weight_file_belongs_to_the_key(project: Project) -> None:
    edit(project.folder / "model.py", 'summary = "of a user"', 'files = ("weights.bin",)')
    (project.folder / "weights.bin").write_bytes(b"one")
    keys = {cell.key for cell in project.plan(baselines=("model",)).cells}
    (project.folder / "weights.bin").write_bytes(b"two")
    assert not keys & {cell.key for cell in project.plan(baselines=("model",)).cells}


def test_two_classes_of_one_file_have_keys_of_their_own(tmp_path: Path) -> None:
    text = "class {}(Baseline):\n    pass\n"
    (tmp_path / "pair.py").write_text("from suite.contract import Baseline\n" + text.format("Uno") + text.format("Due"))
    plan = make_plan(Selection(tasks=("linear_probe",), baselines=("uno", "due"), seeds=(0,), paths=(str(tmp_path),)))
    assert len({cell.checkpoint_key for cell in plan.cells}) == 2


def test_moving_a_project_to_another_folder_keeps_its_keys(project: Project, tmp_path: Path) -> None:
    moved = project.folder.rename(tmp_path / "elsewhere")
    assert project.stale(paths=(str(moved),)) == set()


def test_a_fingerprint_does_not_depend_on_pythons_own_dump_of_the_syntax() -> None:
    code = b"def f(x, *, y=None):\n    return f'{x!r:>{y}}', [*x], lambda: ..., {**y}, -1.5e3, b'a'\n"
    # Made with Python 3.11; a version of Python that parses this otherwise would make every record stale.
    assert fingerprint("x.py", code) == "be075334703d020e1fe660316f1c75ab"
