"""The library face: what it returns prints itself as the command does."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

import suite
from suite.errors import UserError
from tests.factories import records, write_records
from tests.toys import write_baseline, write_task


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    return write_records(tmp_path, records({"vae": [1.0, 1.1, 1.2], "pca": [9.0, 9.1, 9.2]}))


def test_a_board_prints_itself_and_keeps_its_rows(scored: Path) -> None:
    found = suite.board(suite.load_records(scored))
    assert "digits · quick · float32" in repr(found)
    assert [line.split()[0] for line in repr(found).splitlines() if line.startswith(("vae", "pca"))] == ["vae", "pca"]
    assert found.frame["model"].tolist() == found["model"].tolist() == ["vae", "pca"]
    assert "<td" in found._repr_html_()
    assert "<script" not in found._repr_html_()
    assert found.render("csv").startswith("dataset,")


def test_a_comparison_prints_itself_and_keeps_its_rows(scored: Path) -> None:
    found = suite.compare(suite.load_records(scored), "vae", "pca")
    assert repr(found).startswith("vae and pca\n")
    assert "difference: vae - pca" in repr(found)
    assert found.frame["difference"].tolist() == pytest.approx([-8.0])
    assert "<td>vae</td>" in found._repr_html_()
    with pytest.raises(UserError, match="did you mean 'pca'"):
        suite.compare(suite.load_records(scored), "vae", "pcaa")


def imported(monkeypatch: pytest.MonkeyPatch, path: Path, name: str) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, path.stem, module)  # as an import statement would
    spec.loader.exec_module(module)
    return getattr(module, name)


def test_run_takes_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_task(tmp_path / "toys")
    write_baseline(tmp_path / "toys", "Toy")
    files = {path.stem: path for path in (tmp_path / "toys").glob("*.py")}
    task, baseline = imported(monkeypatch, files["error"], "Error"), imported(monkeypatch, files["toy"], "Toy")
    options: dict[str, Any] = {"budget": "smoke", "executor": "local", "tracking": "off", "progress": False}
    found = suite.run(task, [baseline], seeds=[0], workspace=tmp_path / "runs", **options)
    assert found[["task", "baseline", "status"]].to_numpy().tolist() == [["error", "toy", "ok"]]


def test_a_class_without_a_file_is_refused(tmp_path: Path) -> None:
    nowhere = type("Nowhere", (), {"__module__": "a_cell_of_a_notebook"})
    with pytest.raises(UserError, match="baseline Nowhere stands in no file"):
        suite.run(baselines=nowhere, workspace=tmp_path)
