"""What no model needs is found with its file and line."""

from __future__ import annotations

import pytest

from suite.submitting.lint import GIVEN, LARGE, LARGE_NAMES, LARGE_TOGETHER, LOOK, REFUSED, lint

HEAD = '"""Docstring."""\n'


def found(text: str) -> list[tuple[str, int]]:
    return [(finding.kind, finding.line) for finding in lint({"model.py": (HEAD + text).encode()})]


def test_an_ordinary_model_is_found_nothing_in() -> None:
    assert found("import torch\n\nclass Model:\n    summary = 'a model'\n    sizes = (1, 2, 3)\n") == []


@pytest.mark.parametrize(
    "line",
    [
        "import gc",
        "from os import path",
        "from safetensors.torch import load_file",
        "import safetensors",
        "y = torch.from_file('labels')",
        "w = torch.load('weights.pt')",
        "frame = error.__traceback__.tb_frame",
        "exec('1')",
        "from suite.data import load",
        "from torch.utils._python_dispatch import _disable_current_modes",
        "with torch.utils._python_dispatch._disable_current_modes(): pass",
        "torch._C._log_api_usage_once('')",
    ],
)
def test_what_reaches_outside_is_refused_with_its_line(line: str) -> None:
    assert (REFUSED, 2) in found(line)


def test_a_large_literal_may_hold_weights_and_many_small_ones_may_too() -> None:
    assert found(f"W = {'1' * (LARGE + 1)!r}") == [(GIVEN, 2)]
    small = "W += " + repr("1" * (LARGE - 10))
    assert found("\n".join([small] * 3)) == []
    assert found("\n".join([small] * (LARGE_TOGETHER // LARGE + 2))) == [(GIVEN, 0)]
    assert found('"""' + "x" * (2 * LARGE_TOGETHER) + '"""') == [], "a text for readers"


@pytest.mark.parametrize(
    "text",
    [
        "def weights(data={}):\n    return data",
        "class W(dict, data={}):\n    pass",
        "with nothing({}) as data:\n    pass",
        "match x:\n    case {}:\n        pass",
        "@decorated({})\ndef f():\n    pass",
        "try:\n    pass\nexcept error({}):\n    pass",
    ],
)
def test_a_large_literal_is_seen_wherever_a_statement_holds_it(text: str) -> None:
    assert [kind for kind, _ in found(text.format(repr("1" * (LARGE + 1))))] == [GIVEN]


def test_names_may_hold_weights_too() -> None:
    names = [f"x{i:05}{'0' * 50}" for i in range(LARGE_NAMES // 50)]
    assert found("class W:\n" + "\n".join(f"    {name}: int" for name in names)) == [(GIVEN, 0)]
    assert (GIVEN, 0) in found("f(" + ", ".join(f"{name}=0" for name in names) + ")")
    assert found("\n".join(f"f({names[0]})" for _ in names)) == [], "one name, often"


@pytest.mark.parametrize("line", ["torch.serialization.os.getcwd()", "torch.serialization.__dict__['x']"])
def test_a_module_that_another_holds_is_reached_without_an_import(line: str) -> None:
    assert (REFUSED, 2) in found(line)


def test_a_name_that_is_not_written_out_is_shown_to_a_person() -> None:
    assert found("def f():\n    return getattr(torch, 'from_' + 'file')") == [(LOOK, 3)]
    assert found("def f():\n    return getattr(torch, 'relu')") == []


def test_state_of_a_module_is_shown_to_a_person() -> None:
    assert found("KEPT = []") == [(LOOK, 2)]
