"""Parameters as text, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.errors import UserError
from suite.plugins import registry
from suite.plugins.parameters import alike_all, read_params, write_params

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))
NAMES = st.from_regex(r"[a-z_]+", fullmatch=True)


@given(st.dictionaries(NAMES, VALUES, max_size=3))
def test_what_is_written_is_read_back_to_the_letter(params: dict[str, Any]) -> None:
    assert repr(read_params(write_params(params), "m")) == repr(params)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("16", 16),
        ("010", 10),
        ("1_000", 1000),
        ("1e-3", 0.001),
        ("-2", -2),
        ("true", True),
        ("None", None),
        ("none", None),
        ("relu", "relu"),
        ("'none'", "none"),
        ("'16,8'", "16,8"),
        ('"a, b=c"', "a, b=c"),
        ("it's", "it's"),
        ("(2)5c-2p-(4)3c-2p", "(2)5c-2p-(4)3c-2p"),
        ("(16, 8)", (16, 8)),
        ("['a,b', ')']", ["a,b", ")"]),
        (r"'it\'s, so'", "it's, so"),
        ("", ""),
    ],
)
def test_a_value_is_what_a_person_means_by_it(text: str, value: Any) -> None:
    assert repr(read_params(f"a={text},b=1", "m")) == repr({"a": value, "b": 1})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "layers=16,8",
            "'8' is not a parameter: write m:key=value,key=value; a text that holds a comma stands in quotes",
        ),
        ("16", "'16' is not a parameter"),
        ("a=1,a=2", "'a' of 'm' is given twice"),
        ("a='x", "quotes are not closed"),
        ("a=(1,b=2", "a bracket is not closed"),
    ],
)
def test_a_slip_is_named_in_one_line(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        read_params(text, "m")


@pytest.mark.parametrize("value", ["inf", "-inf", ".inf", "nan", "1e999", "{1: 2}", "{1, 2}", "b'x'"])
def test_what_a_key_cannot_hold_is_refused(value: str) -> None:
    with pytest.raises(UserError, match="the parameter 'latent' of the baseline 'vae' must be a finite number, text"):
        registry.resolve("baseline", f"vae:latent={value}")


@pytest.mark.parametrize(
    ("default", "value", "expected"),
    [
        (None, [1, [2]], (1, (2,))),
        ((8, 8), [1, 2], (1, 2)),
        ([8, 8], (1, 2), [1, 2]),
        ([(8, 8)], ((8, 8),), [(8, 8)]),  # the default itself, in the shape that the constructor gives it
        (3, {"a": [1]}, {"a": (1,)}),
        (0.5, 2, 2),
    ],
)
def test_two_values_that_a_key_takes_for_one_reach_the_model_as_one(default: Any, value: Any, expected: Any) -> None:
    assert repr(alike_all({"a": value}, {"a": default})) == repr({"a": expected})


def test_a_text_with_a_comma_stands_on_the_board_as_it_can_be_given_again(tmp_path: Path) -> None:
    text = "from suite.contract import Baseline\nclass M(Baseline):\n    def __init__(self, spec, layers='8,8'): pass\n"
    (tmp_path / "m.py").write_text(text)
    found = registry.resolve("baseline", "m:layers='16,8'", [str(tmp_path)])
    assert found[1] == {"layers": "16,8"}
    name = registry.label(*found)
    assert name == "m:layers='16,8'"
    assert registry.resolve("baseline", name, [str(tmp_path)]) == found
