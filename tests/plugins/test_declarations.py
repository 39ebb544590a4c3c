"""What a file declares, read without importing it."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite.errors import UserError
from suite.plugins import declarations as static
from suite.plugins import registry
from suite.plugins.declarations import snake_case
from tests.plugins.files import METHODS, write


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


@pytest.mark.parametrize("name", ["/etc/passwd", "../w.txt"])
def test_a_weight_file_must_lie_beside_the_source(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, f"class W(Baseline):\n    files = ({name!r},)\n")
    with pytest.raises(UserError, match="must lie beside it"):
        registry.resolve("baseline", path)
