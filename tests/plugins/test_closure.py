from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.plugins.closure import FACES, digest, fingerprint, identity
from tests.test_direction import ROOT, House

IMPORTS = "from suite.contract import Metric, Task\nfrom suite.measuring import charge, draw\n"
REST = "import torch\n\n\nclass T(Task):\n    tools = (charge, draw, Metric)\n"


def same(one: str, other: str) -> bool:
    return fingerprint("t.py", one.encode()) == fingerprint("t.py", other.encode())


# --- what keeps a file's hash


@pytest.mark.parametrize(
    "imports",
    [
        "from suite.contract import Metric, Task, charge, draw\n",
        "from suite.measuring import Metric, Task, charge, draw\n",
        "from suite import Metric, charge\nfrom suite.contract import Task\nfrom suite.measuring import draw\n",
        "from suite.measuring import draw\nfrom suite.measuring import charge\nfrom suite import Task, Metric\n",
        "from suite.measuring import (\n    draw as draw,\n    charge,\n)\nfrom suite.contract import Metric, Task\n",
    ],
)
def test_the_engine_s_names_may_move_between_faces_and_be_grouped_and_ordered_anew(imports: str) -> None:
    assert same(IMPORTS + REST, imports + REST)


def test_an_import_from_a_face_may_stand_behind_others() -> None:
    first, rest = REST.split("\n", 1)
    assert same(IMPORTS + REST, f"{first}\n{IMPORTS}{rest}")


@given(st.permutations(["Metric", "Task", "charge", "draw"]), st.lists(st.sampled_from(sorted(FACES)), min_size=4))
def test_no_order_and_no_face_of_the_imports_counts(names: list[str], faces: list[str]) -> None:
    lines = [f"from {face} import {name}\n" for name, face in zip(names, itertools.cycle(faces), strict=False)]
    assert same(IMPORTS + REST, "".join(lines) + REST)


def test_a_module_that_an_older_engine_had_is_read_as_a_face_where_it_is_named_as_one() -> None:
    old = b"from suite.contract import Metric, Task\nfrom suite.coding import charge, draw\n" + REST.encode()
    assert fingerprint("t.py", old, FACES | {"suite.coding"}) == fingerprint("t.py", (IMPORTS + REST).encode())
    assert fingerprint("t.py", old) != fingerprint("t.py", (IMPORTS + REST).encode())


# --- what changes it


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("charge, draw", "charge, pull"),
        ("charge, draw\n", "charge\n"),
        ("charge, draw\n", "charge, draw, batches\n"),
        ("charge, draw\n", "charge as draw, draw as charge\n"),
        ("charge, draw\n", "charge, draw as draw_\n"),
        ("from suite.measuring import charge, draw\n", "from suite.measuring.coding import charge, draw\n"),
        ("from suite.measuring import charge, draw\n", "from numpy import charge, draw\n"),
        ("from suite.measuring import charge, draw\n", "import suite.measuring\n"),
        ("from suite.contract", "from .contract"),
        ("import torch", "import torch as t"),
        ("(charge, draw, Metric)", "(draw, charge, Metric)"),
    ],
)
def test_another_name_alias_module_or_statement_is_another_file(old: str, new: str) -> None:
    assert old in IMPORTS + REST
    assert not same(IMPORTS + REST, (IMPORTS + REST).replace(old, new))


def test_a_name_that_is_taken_inside_another_block_is_another_file() -> None:
    method = "    def score(self, subject):\n        return draw\n"
    inside = method.replace("        return", "        from suite.measuring import draw\n\n        return")
    outside = IMPORTS.replace("charge, draw", "charge")
    assert not same(IMPORTS + REST + method, IMPORTS + REST + inside)
    assert not same(IMPORTS + REST + method, outside + REST + inside)
    assert same(outside + REST + inside, outside + REST + inside.replace("suite.measuring", "suite.contract"))


def test_a_deep_import_keeps_its_module_in_the_hash() -> None:
    deep = "from suite.measuring.{} import draw\n"
    assert not same(deep.format("coding"), deep.format("channel"))
    assert not same("import suite.measuring.coding\n", "import suite.measuring.channel\n")


def test_other_imports_keep_their_order() -> None:
    assert not same("import a\nimport b\n", "import b\nimport a\n")
    assert not same("from a import b, c\n", "from a import c, b\n")


def test_a_file_that_is_not_python_is_hashed_by_its_bytes() -> None:
    assert fingerprint("w.bin", b"import a  # one") != fingerprint("w.bin", b"import a")
    assert fingerprint("w.py", b"import a  # one") == fingerprint("w.py", b"import a")


# --- identities


def test_no_two_faces_offer_one_name_for_two_things() -> None:
    house = House(ROOT)
    offers = {face: set(house.faces.get(face, ())) for face in FACES}
    offers["suite.contract"] = {name for _, _, name in house.statements(house.modules["suite.contract"])}
    for one, other in itertools.combinations(sorted(FACES), 2):
        for name in offers[one] & offers[other]:
            assert _held(house, one, name) == _held(house, other, name), f"{name} of {one} and {other}"


def _held(house: House, face: str, name: str) -> str | None:
    """Returns the module behind a name of a face; the contract hands on what other faces offer."""
    if face != "suite.contract":
        return house.holder(face, name)
    path = house.modules[face]
    return next(house.holder(module, taken) for _, module, taken in house.statements(path) if taken == name)


def test_an_identity_names_the_class_and_every_file_by_its_hash() -> None:
    files = {"b.py": b"x = 1", "a.py": b"y = 2"}
    found = identity("Model", files)
    assert list(found) == ["class", "a.py", "b.py"]
    assert found["class"] == "Model"
    assert found["a.py"] == fingerprint("a.py", b"y = 2")


def test_a_digest_does_not_depend_on_the_order_of_its_ingredients() -> None:
    assert digest({"a": 1, "b": [2.5, None]}) == digest({"b": [2.5, None], "a": 1})
    assert digest({"a": 1}) != digest({"a": 1.5})
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest({"a": float("nan")})
