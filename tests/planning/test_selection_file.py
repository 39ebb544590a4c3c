"""A selection file says what a person means by it, or one line says where it does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from suite.errors import UserError
from suite.planning import Selection, make_plan
from suite.planning.selection_file import read_yaml
from tests.toys import write_baseline


def value(folder: Path, text: str) -> Any:
    (folder / "b.yaml").write_text(text)
    return read_yaml(folder / "b.yaml").value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-3", 0.001),
        ("-1.5E+2", -150.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("1_000", 1000),
        ("1:30", "1:30"),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("2020-01-02", "2020-01-02"),
        ("~", None),
        ("", None),
        ("none", "none"),
        ("'1e-3'", "1e-3"),
        ("0-4", "0-4"),
        ("16,8", "16,8"),
        ("{<<: {a: 1}, b: 2}", {"a": 1, "b": 2}),
    ],
)
def test_a_scalar_is_what_it_looks_like(tmp_path: Path, text: str, expected: object) -> None:
    assert repr(value(tmp_path, f"x: {text}\n")["x"]) == repr(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds: 0\nseeds: 1\n", r"b\.yaml:2: the key 'seeds' is given twice"),
        ("params:\n  vae:\n    latent: 1\n    latent: 2\n", r"b\.yaml:4: the key 'latent' is given twice"),
        ("baselines: vae\nparams:\n  vae: {beta: .inf}\n", r"b\.yaml:3: \.inf is no finite number"),
        ("baselines: vae\nparams:\n  vae:\n    beta: 1e999\n", r"b\.yaml:4: 1e999 is no finite number"),
        ("baselines: vae\nparams:\n  vae:\n\n    beta: {1: 2}\n", r"b\.yaml:5: beta must be a finite number, text"),
        ("baselines: vae\nparams:\n  vae:\n    beta: !!timestamp 2020-01-02\n", r"b\.yaml:4: beta must be"),
        ("baselines: vae\nparams:\n  vea: {latent: 2}\n", r"b\.yaml:3.*'vea'; did you mean 'vae'"),
        ("tasks: spectrum\n\nbasline: vae\n", r"b\.yaml:3.*'basline'; did you mean 'baseline"),
        ("budget: quick\nseeds: 4-0\n", r"b\.yaml:2: the seed range 4-0 runs backwards"),
        ("seeds: 1:30\n", r"b\.yaml:1: '1:30' is not a list of seeds"),
        ("seeds: 1.0\n", r"b\.yaml:1: '1\.0' is not a list of seeds"),
        ("dataset: digits\ndatasets: mnist\n", r"b\.yaml:2: dataset and datasets are two words for one thing"),
        ("tasks: spectrum\nbudget: [quick, long]\n", r"b\.yaml:2: budget must be one name"),
        ("baselines: [vae\n", r"b\.yaml:2 is not YAML"),
        ("[" * 5000, "is nested too deeply"),
    ],
)
def test_a_slip_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "b.yaml").write_text(text)
    with pytest.raises(UserError, match=message) as error:
        Selection.from_file(tmp_path / "b.yaml")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("seeds", "expected"), [("010", (10,)), ("[007, 2-3]", (7, 2, 3))])
def test_seeds_are_decimal(tmp_path: Path, seeds: str, expected: tuple[int, ...]) -> None:
    (tmp_path / "b.yaml").write_text(f"seeds: {seeds}\n")
    assert Selection.from_file(tmp_path / "b.yaml").seeds == expected


@pytest.mark.parametrize(
    ("written", "given"),
    [('"16,8"', "16,8"), ("1e-3", 0.001), ("[1, [2, a]]", (1, (2, "a"))), ("it's, 'so'", "it's, 'so'"), ("no", "no")],
)
def test_a_files_parameters_reach_the_model_as_the_file_has_them(tmp_path: Path, written: str, given: object) -> None:
    file = write_baseline(tmp_path / "toys", "Toy")
    file.write_text(file.read_text().replace("(self, spec):", "(self, spec, what=None, more=1):"))
    (tmp_path / "b.yaml").write_text(
        f"tasks: linear_probe\nbaselines: [toy, 'toy:more=2']\nseeds: 0\n"
        f"params:\n  toy:\n    what: {written}\n  toy:more=2:\n    what: {written}\n"
    )
    selection = Selection.from_file(tmp_path / "b.yaml")
    plan = make_plan(Selection(**{**vars(selection), "paths": (str(tmp_path / "toys"),), "workspace": str(tmp_path)}))
    assert [cell.baseline_params for cell in plan.cells] == [{"what": given, "more": more} for more in (1, 2)]
