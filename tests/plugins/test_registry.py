from __future__ import annotations

import importlib
import importlib.metadata
import shutil
import sys
from pathlib import Path

import pytest

from suite.errors import UserError
from suite.plugins import registry
from suite.plugins.closure import built_in_folder
from tests.plugins.files import METHODS, first, write


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
