"""Search spaces: what a file may declare, and that no key and no running model knows of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from suite import data
from suite.errors import UserError
from suite.plugins import registry
from suite.plugins.closure import built_in_folder, fingerprint
from suite.plugins.parameters import TUNED
from suite.plugins.syntax import bare_text
from suite.training import Recipe

MODEL = """
import torch
from suite.contract import Baseline

class Model(Baseline):
    summary = "of a user"
    {space}

    def __init__(self, spec, width: int = 4, rate: float = 0.5, kind: str = "a", flip: bool = False):
        super().__init__(spec)
        self.seen = dict(self.space)

    def encode(self, x):
        return {{"z": x.flatten(1)[:, :1]}}

    def decode(self, values):
        return torch.zeros(len(values["z"]), *self.spec.shape)
"""

SPACE = 'space = {"width": [2, 4, 8], "rate": (0.1, 0.9), "kind": ["a", "b"], "flip": [True, False]}'


def write(folder: Path, space: str) -> Path:
    (folder / "model.py").write_text(MODEL.format(space=space))
    return folder / "model.py"


def declared(folder: Path, space: str) -> dict[str, Any]:
    (entry,) = registry.read_file("baseline", write(folder, space))
    return entry.facts.space


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ('{"widht": [1]}', r"space names no parameter 'widht'; did you mean 'width'\?"),
        ("{}", "space is empty: leave it out where nothing is searched"),
        ("[1, 2]", "must map parameters to lists of choices or ranges"),
        ('{"width": []}', r"\['width'\] is empty: give at least one choice"),
        ('{"width": 8}', r"must be a list of choices or a range \(low, high\), not 8"),
        ('{"width": [2, "four"]}', "must hold a whole number, as the default 4 is, not 'four'"),
        ('{"width": [2, 4.5]}', "must hold a whole number, as the default 4 is, not 4.5"),
        ('{"width": [2, True]}', "must hold a whole number, as the default 4 is, not True"),
        ('{"kind": [1]}', "must hold a text, as the default 'a' is, not 1"),
        ('{"flip": [0, 1]}', "must hold true or false, as the default False is, not 0"),
        ('{"width": [2, 4, 2]}', "has the choice 2 twice"),
        ('{"rate": (0.1, 0.2, 0.3)}', r"must be \(low, high\) or \(low, high, 'log'\)"),
        ('{"rate": (0.1,)}', r"must be \(low, high\) or"),
        ('{"rate": ("a", "b")}', "with two finite numbers"),
        ('{"rate": (0.1, 1e999)}', "with two finite numbers"),
        ('{"rate": (0.9, 0.1)}', "low must be below high"),
        ('{"rate": (0.0, 0.1, "log")}', "a range in the logarithm begins above 0"),
        ('{"width": (1, 2.5)}', "must hold a whole number"),
        ("dict(width=[1])", "must be a literal"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused_in_one_line_that_names_the_file(
    tmp_path: Path, space: str, told: str
) -> None:
    with pytest.raises(UserError, match=told) as caught:
        declared(tmp_path, f"space = {space}")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'model.py'}:7: Model.space")


def test_a_space_is_read_as_it_stands_and_one_s_own(tmp_path: Path) -> None:
    assert declared(tmp_path, SPACE)["rate"] == (0.1, 0.9)
    assert declared(tmp_path, f"space: dict = {SPACE.partition('= ')[2]}")["width"] == [2, 4, 8]
    path = write(tmp_path, SPACE)
    path.write_text(path.read_text() + "\n\nclass Other(Model):\n    def __init__(self, spec):\n        pass\n")
    spaces = {entry.name: entry.facts.space for entry in registry.read_file("baseline", path)}
    assert spaces["model"]
    assert spaces["other"] == {}


@pytest.mark.parametrize("space", [SPACE, SPACE.replace("space =", "space: dict ="), SPACE.replace("8]", "16]")])
def test_no_key_knows_of_a_space(tmp_path: Path, space: str) -> None:
    without = fingerprint("model.py", MODEL.format(space="").encode())
    assert fingerprint("model.py", MODEL.format(space=space).encode()) == without


@pytest.mark.parametrize(
    "statement",
    [
        "spaces = {'width': [2]}",
        "space = {'width': [len('ab')]}",
        "space = other = {'width': [2]}",
        "groups = {'width': 'two'}",
    ],
)
def test_any_other_statement_of_a_class_counts(statement: str) -> None:
    without = fingerprint("model.py", MODEL.format(space="").encode())
    assert fingerprint("model.py", MODEL.format(space=statement).encode()) != without


def test_a_space_outside_of_a_model_s_body_counts() -> None:
    bare = fingerprint("x.py", b"A = 1\n")
    assert fingerprint("x.py", b"A = 1\nspace = {'a': [1]}\n") != bare
    plain = b"class Config:\n    a = 1\n"
    assert fingerprint("x.py", plain + b"    space = {'a': [1]}\n") != fingerprint("x.py", plain)


def test_what_the_hash_leaves_out_is_not_there_when_the_model_runs(tmp_path: Path) -> None:
    """Nothing that no key knows may move a number: a model that looks for its space finds the contract's."""
    source, params = registry.resolve("baseline", "model", [str(write(tmp_path, SPACE))])
    model = Recipe(registry.load(source), data.load("digits").spec, params).build()
    assert model.seen == {}
    text, lines = bare_text(write(tmp_path, SPACE).read_bytes(), "model.py", lambda node, name: str(node.module))
    assert b"space" not in text.replace(b"self.space", b"")
    assert {lines[n] for n in lines} <= set(range(1, 20))


def test_the_built_in_spaces_move_no_key() -> None:
    """The very files, with their spaces cut out of the text, have the fingerprints of the files as they are."""
    found = 0
    for path in sorted(built_in_folder("baseline").glob("*.py")):
        lines = path.read_text().splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith("    space = ")]
        found += len(lines) - len(kept)
        assert fingerprint(path.name, "".join(kept).encode()) == fingerprint(path.name, path.read_bytes())
    assert found >= 3


def test_the_mark_of_a_search_is_part_of_the_name_and_no_parameter_of_the_model(tmp_path: Path) -> None:
    path = str(write(tmp_path, SPACE))
    source, params = registry.resolve("baseline", f"model:width=8,{TUNED}=16", [path])
    assert params[TUNED] == 16
    assert registry.label(source, params) == "model:tuned=16,width=8"
    assert registry.label(*registry.resolve("baseline", "model:tuned=3", [path])) == "model:tuned=3"
    for wrong in ("0", "-1", "true", "many", "1.5"):
        with pytest.raises(UserError, match="tuned is a number of trials, not"):
            registry.resolve("baseline", f"model:{TUNED}={wrong}", [path])
    own = MODEL.format(space="").replace("width: int = 4", "tuned: int = 4")
    (tmp_path / "model.py").write_text(own)
    with pytest.raises(UserError, match="the parameter 'tuned' is the mark of a search"):
        registry.resolve("baseline", "model", [path])
