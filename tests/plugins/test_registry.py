from __future__ import annotations

import importlib
import importlib.metadata
import pickle
import shutil
import sys
from pathlib import Path

import pytest
import torch

from suite.contract import DataSpec
from suite.errors import UserError
from suite.plugins import declarations as static
from suite.plugins import registry
from suite.plugins.closure import built_in_folder
from suite.plugins.declarations import snake_case
from tests.projects import edit, write_project

SPEC = DataSpec("digits", (1, 28, 28), 10, 1200)
HEAD = "from suite.contract import Baseline, Task\n"
METHODS = "    def encode(self, x): return {}\n    def decode(self, values): pass\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_project(tmp_path)


def first(source_and_params: tuple[object, dict[str, object]]) -> object:
    return source_and_params[0]


def write(folder: Path, text: str, name: str = "mine.py") -> str:
    (folder / name).write_text(HEAD + text)
    return str(folder / name)


def code(cls: type, x: torch.Tensor) -> float:
    return float(cls(SPEC).encode(x)["z"][0, 0])


# --- finding


def test_built_in_baselines_and_tasks_are_found_without_importing_them() -> None:
    before = set(sys.modules)
    baselines, tasks = registry.discover("baseline"), registry.discover("task")
    assert {"vae", "pixel_marginals", "unet_autoencoder"} <= set(baselines)
    assert {"reconstruction", "linear_probe", "input_optimization", "latent_ablation"} <= set(tasks)
    assert baselines["conditional_vae"].static["supervision"] == "labels"
    assert baselines["copy"].static["family"] == "copy"
    assert baselines["conv_vae"].static["family"] == "vae"
    assert tasks["reconstruction"].static["official"] is True
    assert not {name for name in set(sys.modules) - before if "vae" in name}


@pytest.mark.parametrize("name", sorted(registry.discover("task")))
def test_anchors_read_as_text_are_those_of_the_imported_task(name: str) -> None:
    entry = registry.discover("task")[name]
    anchors = registry.load(registry.source(entry)).anchors
    read = static.read_anchors(entry.path.read_bytes(), entry.path, entry.facts.attribute)
    assert read == [(anchor.name, anchor.summary) for anchor in anchors]


def test_a_task_that_declares_no_anchors_has_none() -> None:
    assert static.read_anchors(b"class T(Task):\n    version = 1\n", Path("t.py"), "T") == []


def test_anchors_that_need_code_are_left_to_the_import() -> None:
    code = b"class T(Task):\n    anchors = tuple(make())\n"
    assert static.read_anchors(code, Path("t.py"), "T") is None
    code = b"class T(Task):\n    anchors = (Anchor('floor', f'{HALF:.1f} and {other()}'),)\nHALF = 0.5\n"
    assert static.read_anchors(code, Path("t.py"), "T") is None


def test_a_folder_or_file_of_the_user_adds_to_what_is_built_in(project: Path) -> None:
    found = registry.discover("baseline", [str(project)])
    assert {"vae", "model", "small", "large"} <= set(found)
    assert found["small"].params == {"width": 1}
    assert found["model"].params == {"width": 4, "rate": 0.5}
    assert found["model"].static["supervision"] == "none"  # the contract's own default
    assert "measure" in registry.discover("task", [str(project / "measure.py")])


def test_an_installed_package_adds_its_baselines_by_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site-packages" / "plugin").mkdir(parents=True)
    (tmp_path / "site-packages" / "plugin" / "__init__.py").write_text("raise SystemExit('imported')\n")
    write(tmp_path / "site-packages" / "plugin", f"class Plugged(Baseline):\n{METHODS}", "models.py")
    point = importlib.metadata.EntryPoint("plugin", "plugin.models", "latent_suite.baselines")
    monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == point.group else [])
    assert registry.discover("baseline")["plugged"].path.name == "models.py"
    assert "plugin" not in sys.modules


def test_two_files_that_provide_one_name_are_both_named(tmp_path: Path) -> None:
    path = write(tmp_path, f"class Vae(Baseline):\n{METHODS}")
    with pytest.raises(UserError, match=r"'vae'.*baselines/vae\.py.*mine\.py"):
        registry.discover("baseline", [path])


def test_a_file_given_twice_is_one_file(project: Path) -> None:
    found = registry.discover("baseline", [str(project), str(project / "model.py"), str(built_in_folder("baseline"))])
    assert "model" in found


def test_private_classes_and_other_classes_are_no_baselines(tmp_path: Path) -> None:
    text = f"class _Base(Baseline):\n{METHODS}\nclass Real(_Base): pass\nclass Helper: pass\nclass T(Task): pass\n"
    facts = registry.read_file("baseline", Path(write(tmp_path, text)))
    assert [entry.name for entry in facts] == ["real"]


def test_attributes_and_parameters_are_inherited_within_the_file(tmp_path: Path) -> None:
    text = "class Base(Baseline):\n    core = 'what'\n    def __init__(self, spec, *, width=3): pass\n"
    entries = registry.read_file("baseline", Path(write(tmp_path, text + "class Child(Base):\n    summary = 's'\n")))
    child = next(entry for entry in entries if entry.name == "child")
    assert (child.static["core"], child.static["summary"], child.params) == ("what", "s", {"width": 3})


@pytest.mark.parametrize(("name", "expected"), [("VAE", "vae"), ("ConvVAE", "conv_vae"), ("MyModel2", "my_model2")])
def test_a_class_without_variants_goes_by_its_name_in_snake_case(name: str, expected: str) -> None:
    assert snake_case(name) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def broken(:\n", r"mine\.py:2: .*syntax"),
        ("class M(Baseline):\n    core = ''.join('z')\n", r"mine\.py:3: M\.core must be a literal"),
        (
            "class M(Baseline):\n    supervision = 'lables'\n",
            r"mine\.py:3: M\.supervision is 'lables'; did you mean 'labels'",
        ),
        ("class M(Baseline):\n    trains_on = 'grae'\n", r"M\.trains_on is 'grae'; did you mean 'grey'"),
        ("class M(Baseline):\n    variants = {'a b': {}}\n", r"mine\.py:3: M\.variants must map"),
        ("class M(Baseline):\n    variants = {'a': {'depth': 1}}\n", "no parameter 'depth'"),
        ("class M(Baseline):\n    variants = {'a': {}, 'b': {}}\n", "a and b have the same parameters"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_line_and_reason(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        registry.discover("baseline", [write(tmp_path, text)])


def test_a_file_with_two_tasks_and_a_path_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="several tasks"):
        registry.discover("task", [write(tmp_path, "class A(Task): pass\nclass B(Task): pass\n")])
    with pytest.raises(UserError, match="no such file or folder: nowhere"):
        registry.discover("task", ["nowhere"])


# --- selecting


def test_a_selector_sets_parameters_over_the_variants_and_the_defaults(project: Path) -> None:
    source, params = registry.resolve("baseline", "model:rate=2,width=(1, 2)", [str(project)])
    assert params == {"width": (1, 2), "rate": 2.0}
    assert isinstance(params["rate"], float)  # as its default is
    assert registry.label(source, params) == "model:rate=2.0,width=(1, 2)"
    same, again = registry.resolve("baseline", registry.label(source, params), [str(project)])
    assert (same, again) == (source, params)


def test_a_parameter_at_its_default_leaves_the_name_as_it_is(project: Path) -> None:
    assert registry.label(*registry.resolve("baseline", "model:width=4", [str(project)])) == "model"


def test_a_file_as_selector_provides_what_it_holds(project: Path) -> None:
    assert first(registry.resolve("baseline", str(project / "model.py"))).name == "model"
    both = registry.resolve_all("baseline", str(project / "other_model.py"))
    assert [source.name for source, _ in both] == ["large", "small"]
    with pytest.raises(UserError, match="several baselines"):
        registry.resolve("baseline", str(project / "other_model.py"))
    with pytest.raises(UserError, match="holds no baseline"):
        registry.resolve("baseline", str(project / "helper.py"))


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        ("vaee", "did you mean 'vae'"),
        ("vae:latnt=3", "no parameter 'latnt'; did you mean 'latent'"),
        ("copy:latent=3", "'copy' has no parameter 'latent'; it takes none"),
        ("vae:latent", "'latent' is not a parameter"),
        ("vae:latent={1, 2}", "'latent' of the baseline 'vae' must be"),
        ("vae:latent=x", "'latent' of the baseline 'vae' must be a number, as its default 20 is, not 'x'"),
    ],
)
def test_a_wrong_selector_says_what_would_be_right(selector: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        registry.resolve("baseline", selector)


def test_a_parameter_without_a_default_must_be_given(tmp_path: Path) -> None:
    path = write(tmp_path, f"class M(Baseline):\n    def __init__(self, spec, width): pass\n{METHODS}")
    with pytest.raises(UserError, match="needs the parameter 'width'"):
        registry.resolve("baseline", path)
    assert registry.resolve("baseline", f"{path}:width=3")[1] == {"width": 3}


# --- loading


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


@pytest.mark.parametrize("name", ["/etc/passwd", "../w.txt"])
def test_a_weight_file_must_lie_beside_the_source(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, f"class W(Baseline):\n    files = ({name!r},)\n")
    with pytest.raises(UserError, match="must lie beside it"):
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


def test_an_installed_wheel_gives_the_same_digests_as_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = {name: registry.source(entry).digest for name, entry in registry.discover("baseline").items()}
    package = tmp_path / "site-packages" / "suite"
    shutil.copytree(built_in_folder("baseline"), package / "baselines")
    shutil.copytree(built_in_folder("task"), package / "tasks")
    (package / "__init__.py").write_text("")
    closure = importlib.import_module("suite.plugins.closure")
    monkeypatch.setattr(closure, "PACKAGE", package)
    there = {name: registry.source(entry) for name, entry in registry.discover("baseline").items()}
    assert {name: source.digest for name, source in there.items()} == here
    assert all(str(package) in source.origin for source in there.values())
