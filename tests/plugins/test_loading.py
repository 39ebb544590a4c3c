"""What was hashed is what runs: classes are loaded from the bytes of their sources."""

from __future__ import annotations

import pickle
import shutil
import sys
import types
from pathlib import Path

import pytest
import torch

from suite.contract import DataSpec
from suite.errors import UserError
from suite.plugins import loading, registry
from tests.plugins.files import METHODS, first, write
from tests.projects import edit

SPEC = DataSpec("digits", (1, 28, 28), 10, 1200)


def code(cls: type, x: torch.Tensor) -> float:
    return float(cls(SPEC).encode(x)["z"][0, 0])


def test_a_class_is_loaded_with_its_helpers_absolute_relative_and_late(project: Path) -> None:
    cls = registry.load(first(registry.resolve("baseline", "model", [str(project)])))
    assert code(cls, torch.ones(1, 1, 28, 28)) == 2 * 7 * 3 * 5 * 1
    assert "helper" not in sys.modules  # nothing of it is left where another project's helper would be found


def test_what_was_hashed_is_what_runs_even_after_the_files_have_gone(project: Path) -> None:
    source = first(registry.resolve("baseline", "model", [str(project)]))
    source = pickle.loads(pickle.dumps(source))
    shutil.rmtree(project)
    assert code(registry.load(source), torch.ones(1, 1, 28, 28)) == 210


def test_a_warm_process_serves_the_changed_helper_and_keeps_the_old_class_whole(project: Path) -> None:
    old = registry.load(first(registry.resolve("baseline", "model", [str(project)])))
    edit(project / "helper.py", "2.0", "4.0")
    edit(project / "late.py", "1.0", "10.0")  # imported inside a method, after loading
    new = registry.load(first(registry.resolve("baseline", "model", [str(project)])))
    x = torch.ones(1, 1, 28, 28)
    assert (code(old, x), code(new, x), code(old, x)) == (210, 4200, 210)


def test_an_instance_survives_pickling_in_its_process(project: Path) -> None:
    model = registry.load(first(registry.resolve("baseline", "model", [str(project)])))(SPEC)
    assert pickle.loads(pickle.dumps(model)).width == 4


def test_a_model_inside_a_package_imports_as_python_would(tmp_path: Path) -> None:
    inner = tmp_path / "mypack" / "models"
    inner.mkdir(parents=True)
    for folder in (inner, inner.parent):
        (folder / "__init__.py").write_text("")
    (inner.parent / "shared.py").write_text("A = 2\n")
    (inner / "random.py").write_text("raise RuntimeError('not the standard library')\n")
    text = "import random\nimport mypack.shared\nfrom ..shared import A\nB = mypack.shared.A\n"
    path = write(inner, text + f"class Packed(Baseline):\n{METHODS}    total = A + B\n")
    source = first(registry.resolve("baseline", path))
    assert sorted(source.files) == [
        "mypack/__init__.py",
        "mypack/models/__init__.py",
        "mypack/models/mine.py",
        "mypack/shared.py",
    ]
    assert registry.load(source).total == 4


def test_a_project_module_on_the_python_path_is_part_of_the_closure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lib" / "farlib").mkdir(parents=True)
    (tmp_path / "lib" / "farlib" / "__init__.py").write_text("from .part import C\n")
    (tmp_path / "lib" / "farlib" / "part.py").write_text("C = 6\n")
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    path = write(tmp_path, f"import farlib, numpy, json\nclass Far(Baseline):\n    c = farlib.C\n{METHODS}")
    source = first(registry.resolve("baseline", path))
    assert sorted(source.files) == ["farlib/__init__.py", "farlib/part.py", "mine.py"]
    assert registry.load(source).c == 6


def test_a_built_in_baseline_can_be_built_upon_and_is_followed(tmp_path: Path) -> None:
    path = write(tmp_path, "from suite.baselines.vae import VAE\nclass Mine(VAE, Baseline):\n    pass\n")
    source = first(registry.resolve("baseline", path))
    assert "suite/baselines/vae.py" in source.files
    assert not any("contract" in name for name in source.files)  # the engine ends the closure
    assert registry.load(source)(SPEC).spec is SPEC


def test_weight_files_travel_with_the_source(tmp_path: Path) -> None:
    (tmp_path / "w.txt").write_text("42")
    text = "from pathlib import Path\nclass W(Baseline):\n    files = ('w.txt',)\n"
    path = write(tmp_path, text + f"    w = int((Path(__file__).parent / 'w.txt').read_text())\n{METHODS}")
    source = first(registry.resolve("baseline", path))
    (tmp_path / "w.txt").write_text("43")
    assert registry.load(source).w == 42
    (tmp_path / "w.txt").unlink()
    with pytest.raises(UserError, match=r"cannot read .*w\.txt"):
        registry.resolve("baseline", path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "import nonexistent_thing\nclass M(Baseline): pass\n",
            r"mine\.py:2: ModuleNotFoundError: .*nonexistent_thing",
        ),
        ("class M(Baseline):\n    x = 1 / 0\n", r"mine\.py:3: ZeroDivisionError: division by zero"),
        ("import bad\nclass M(Baseline): pass\n", r"bad\.py:1: ZeroDivisionError"),
        ("class M(Baseline):\n    def encode(self, x): pass\n", r"mine\.py: M does not implement decode"),
        ("exit(3)\nclass M(Baseline): pass\n", r"mine\.py:2: the file calls exit"),
        ("class M(Baseline): pass\nM = 3\n", r"mine\.py: M is not a class that derives from"),
    ],
)
def test_a_file_that_does_not_import_or_breaks_the_contract_is_the_users_to_mend(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "bad.py").write_text("1 / 0\n")
    source = first(registry.resolve("baseline", write(tmp_path, text)))
    with pytest.raises(UserError, match=message):
        registry.load(source)


def test_a_task_without_a_score_is_refused(tmp_path: Path) -> None:
    source = first(registry.resolve("task", write(tmp_path, "class T(Task): pass\n")))
    with pytest.raises(UserError, match="does not implement score"):
        registry.load(source)


def test_every_built_in_source_loads() -> None:
    for kind in ("baseline", "task"):
        for entry in registry.discover(kind).values():
            assert registry.load(registry.source(entry)).__name__ == entry.facts.attribute


def test_every_loaded_source_is_forgotten_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (f"{loading.PREFIX}one", f"{loading.PREFIX}one.part", "another"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    loading.forget()
    assert [name for name in sys.modules if name.startswith(loading.PREFIX)] == []
    assert "another" in sys.modules


def test_a_module_that_another_thread_imports_meanwhile_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    class Busy(str):
        """A module's name; whoever looks at it is in the middle of another thread's import."""

        def startswith(self, *_: object) -> bool:  # type: ignore[override]
            monkeypatch.setitem(sys.modules, f"imported_meanwhile_{len(sys.modules)}", types.ModuleType("meanwhile"))
            return False

    monkeypatch.setitem(sys.modules, Busy("busy"), types.ModuleType("busy"))
    monkeypatch.setitem(sys.modules, f"{loading.PREFIX}one", types.ModuleType("one"))
    loading.forget()
    assert f"{loading.PREFIX}one" not in sys.modules
    assert any(name.startswith("imported_meanwhile") for name in list(sys.modules))
