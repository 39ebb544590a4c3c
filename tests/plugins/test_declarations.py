"""What a file declares, read without importing it, and without the files from which its classes derive."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from suite.errors import UserError
from suite.plugins import registry
from suite.plugins.declarations import Facts, read_facts, snake_case
from tests.plugins.files import HEAD, METHODS, write

PARENT = (
    f"{HEAD}class Parent(Baseline):\n    core = 'p'\n    def __init__(self, spec, width=3): super().__init__(spec)\n"
)


def facts(folder: Path, text: str, kind: str = "baseline") -> list[Facts]:
    (folder / "mine.py").write_text(text)
    return read_facts(kind, text.encode(), folder / "mine.py")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "parent.py").write_text(PARENT + METHODS)
    return tmp_path


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
        (
            "class M(Baseline):\n    summary = 0x" + "f" * 4_000 + "\n",
            r"mine\.py:3: an integer of more than 10,000 bits",
        ),
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


# --- classes of other files


def test_a_subclass_of_a_built_in_is_found_with_its_parameters_attributes_and_family(tmp_path: Path) -> None:
    text = "from suite.baselines.vae import VAE\nclass Mine(VAE):\n    summary = 's'\n"
    (tmp_path / "mine.py").write_text(text)
    vae = registry.discover("baseline")["vae"]
    [mine] = registry.read_file("baseline", tmp_path / "mine.py")
    assert (mine.name, mine.static["summary"]) == ("mine", "s")
    assert mine.params == {name: mine.facts.defaults[name] for name in vae.params}
    assert (mine.static["family"], mine.static["groups"]) == ("vae", vae.static["groups"])
    assert registry.load(registry.source(mine)).summary == "s"
    assert "suite.baselines.vae" not in sys.modules


@pytest.mark.parametrize(
    ("imported", "bases"),
    [
        ("from parent import Parent", "Parent"),
        ("from parent import Parent as P", "P"),
        ("import parent", "parent.Parent"),
        ("import parent as p", "p.Parent"),
        ("from .parent import Parent", "Parent"),
        ("from parent import *", "Parent"),
        ("import parent\nAlias = parent.Parent", "Alias"),
        ("from package import Parent", "Parent"),
        ("import package.deep", "package.deep.Parent"),
        ("from package import deep", "deep.Parent"),
        ("try:\n    from parent import Parent\nexcept ImportError:\n    pass", "Parent"),
        ("from parent import Parent\nfrom suite.contract import Baseline", "Parent, Baseline"),
    ],
)
def test_a_helpers_class_is_followed_however_it_is_imported(folder: Path, imported: str, bases: str) -> None:
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").write_text("from .deep import Parent\n")
    (folder / "package" / "deep.py").write_text("from parent import Parent\n")
    [mine] = facts(folder, f"{imported}\nclass Mine({bases}):\n    summary = 's'\n")
    assert (mine.static["core"], mine.static["summary"], mine.defaults) == ("p", "s", {"width": 3})
    assert mine.family == "mine"  # a helper is no family; what is built upon a built-in model is of its family
    assert registry.load(registry.source(registry.discover("baseline", [str(folder / "mine.py")])["mine"])).core == "p"


def test_which_of_two_inherited_declarations_counts_is_as_python_has_it(folder: Path) -> None:
    text = (
        "from parent import Parent\nclass Left(Parent): pass\nclass Right(Parent):\n    core = 'r'\n"
        "class Mine(Left, Right): pass\n"
    )
    assert {f.attribute: f.static["core"] for f in facts(folder, text)} == {"Left": "p", "Right": "r", "Mine": "r"}


def test_a_class_that_takes_the_name_of_its_base_derives_from_the_imported_one(folder: Path) -> None:
    [mine] = facts(folder, "from parent import Parent\nclass Parent(Parent):\n    summary = 's'\n")
    assert (mine.static["core"], mine.static["summary"]) == ("p", "s")


def test_a_class_that_is_only_imported_is_no_baseline_of_the_file(folder: Path) -> None:
    assert facts(folder, "from parent import Parent\nfrom parent import *\n") == []


def test_files_that_import_each_other_are_read(folder: Path) -> None:
    (folder / "one.py").write_text("from mine import Mine\nfrom two import Thing\n")
    (folder / "two.py").write_text("from one import Thing\n")
    text = f"{HEAD}from one import Thing\nclass Mine(Baseline): pass\nclass Other(Thing, Baseline): pass\n"
    assert [f.attribute for f in facts(folder, text)] == ["Mine", "Other"]


def test_a_base_that_is_not_read_is_named(folder: Path) -> None:
    (folder / "mine.py").write_text("from numpy import ndarray\nclass Mine(ndarray): pass\n")
    with pytest.raises(UserError, match="Mine derives from ndarray, which is not read: name Baseline among its bases"):
        registry.resolve("baseline", str(folder / "mine.py"))


def test_bases_that_contradict_each_other_are_named_with_their_line(folder: Path) -> None:
    with pytest.raises(UserError, match=r"mine\.py:3: .*consistent method resolution"):
        facts(folder, f"{HEAD}from parent import Parent\nclass Mine(Baseline, Parent): pass\n")


def test_a_declaration_of_a_helper_that_is_no_literal_is_named_where_it_stands(folder: Path) -> None:
    (folder / "parent.py").write_text(f"{HEAD}class Parent(Baseline):\n    core = str(1)\n")
    with pytest.raises(UserError, match=r"parent\.py:3: Parent\.core must be a literal"):
        facts(folder, "from parent import Parent\nclass Mine(Parent): pass\n")


def test_a_changed_helper_is_read_again(folder: Path) -> None:
    text = "from parent import Parent\nclass Mine(Parent): pass\n"
    assert facts(folder, text)[0].static["core"] == "p"
    (folder / "parent.py").write_text((folder / "parent.py").read_text().replace("'p'", "'q'"))
    assert facts(folder, text)[0].static["core"] == "q"


def test_weight_files_lie_beside_the_file_that_declares_them(tmp_path: Path) -> None:
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "w.txt").write_text("42")
    read = "    w = __import__('pathlib').Path(__file__).with_name('w.txt').read_text()\n"
    text = f"{HEAD}class Parent(Baseline):\n    files = ('w.txt',)\n{read}{METHODS}"
    (tmp_path / "zoo" / "parent.py").write_text(text)
    (tmp_path / "mine.py").write_text("from zoo.parent import Parent\nclass Mine(Parent): pass\n")
    source, _ = registry.resolve("baseline", str(tmp_path / "mine.py"))
    assert source.files["zoo/w.txt"] == b"42"
    assert registry.load(source).w == "42"


def test_an_expression_that_is_nested_without_end_is_an_error_line(tmp_path: Path) -> None:
    for text in ("x = " + "(" * 5000, "x = " + "-" * 20000 + "1", "x = 1" + " + 1" * 5000):
        (tmp_path / "mine.py").write_text(f"{HEAD}class Mine(Baseline): pass\n{text}\n")
        with pytest.raises(UserError, match=r"mine\.py"):
            registry.resolve("baseline", str(tmp_path / "mine.py"))


# --- anchors


@pytest.mark.parametrize("name", sorted(registry.discover("task")))
def test_anchors_read_as_text_are_those_of_the_imported_task(name: str) -> None:
    entry = registry.discover("task")[name]
    anchors = registry.load(registry.source(entry)).anchors
    assert entry.facts.anchors == tuple((anchor.name, anchor.summary) for anchor in anchors)
    assert anchors


@pytest.mark.parametrize(
    ("declared", "anchors"),
    [
        ("version = 1", ()),
        ("anchors = (Anchor('floor', '0'),)", (("floor", "0"),)),
        ("anchors = [Anchor('floor', f'{HALF:.2f}: {WORDS[0]!r}'), Anchor('exact', '1')]", (("exact", "1"),)),
        ("anchors = (Anchor('floor', f'{HALF:.2f} {HALF!r:>{WIDE}}'),)", (("floor", "0.50    0.5"),)),
        ("anchors = (Anchor('floor', f'{other}'),)", ()),
        ("anchors = (Anchor('floor', f'{print(1)}'),)", ()),
        ("anchors = (Anchor('floor', f'{HALF.real}'),)", ()),
        ("anchors = (Anchor('floor', f'{HALF:nonsense}'),)", ()),
        ("anchors = tuple(make())", ()),
    ],
)
def test_an_anchor_is_a_literal_or_an_f_string_over_the_files_literals(
    tmp_path: Path, declared: str, anchors: object, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f"{HEAD}HALF, WORDS = 0, 0\nHALF = 0.5\nWIDE = 6\nWORDS = ('a',)\nclass T(Task):\n    {declared}\n"
    [task] = facts(tmp_path, text, "task")
    assert task.anchors == anchors
    assert capsys.readouterr().out == ""


def test_a_task_that_builds_on_another_has_its_anchors(tmp_path: Path) -> None:
    text = "from suite.tasks.spectrum import Spectrum\nclass Mine(Spectrum):\n    primary = 'x'\n"
    [mine] = facts(tmp_path, text, "task")
    assert mine.anchors == registry.discover("task")["spectrum"].facts.anchors
