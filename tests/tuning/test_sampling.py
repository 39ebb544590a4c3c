"""The trials of a search: the same for the same seed, never two alike, within what is declared."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.tuning.sampling import draw

SPACE: dict[str, Any] = {"width": [64, 128, 256], "beta": (0.5, 2.0, "log"), "rate": (0.0, 1.0), "units": (1, 9)}
DECLARED = {"width": 128, "beta": 1.0, "rate": 0.5, "units": 4}


@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
@settings(max_examples=30, deadline=None)
def test_every_value_lies_where_it_is_searched_and_the_declared_model_comes_first(seed: int, trials: int) -> None:
    found = draw(SPACE, trials, seed, DECLARED)
    assert found[0] == {}
    assert len(found) == trials
    for params in found[1:]:
        assert list(params) == list(SPACE)
        assert params["width"] in SPACE["width"]
        assert 0.5 <= params["beta"] <= 2.0
        assert 0.0 <= params["rate"] <= 1.0
        assert type(params["units"]) is int
        assert 1 <= params["units"] <= 9


def test_equal_seeds_give_equal_trials_and_more_of_them_begin_with_these() -> None:
    assert draw(SPACE, 8, 3, DECLARED) == draw(SPACE, 16, 3, DECLARED)[:8]
    assert draw(SPACE, 8, 3, DECLARED) != draw(SPACE, 8, 4, DECLARED)


def test_a_parameter_s_values_do_not_depend_on_which_others_are_searched() -> None:
    alone = draw({"beta": SPACE["beta"]}, 6, 0, {"beta": 1.0})
    assert [params.get("beta") for params in alone] == [p.get("beta") for p in draw(SPACE, 6, 0, DECLARED)]


def test_no_point_is_tried_twice_and_a_small_space_is_used_up() -> None:
    found = draw({"width": [64, 128, 256], "flip": [True, False]}, 50, 0, {"width": 128, "flip": False})
    assert len(found) == 6
    assert {(p.get("width", 128), p.get("flip", False)) for p in found} == {
        (width, flip) for width in (64, 128, 256) for flip in (True, False)
    }


def test_a_declared_point_outside_of_the_space_is_tried_as_well() -> None:
    found = draw({"width": [64, 256]}, 50, 0, {"width": 128})
    assert sorted(params.get("width", 128) for params in found) == [64, 128, 256]


def test_draws_are_even_in_the_range_and_in_its_logarithm() -> None:
    found = draw({"a": (1.0, 100.0), "b": (1.0, 100.0, "log"), "c": (1, 100, "log"), "d": (1, 2)}, 801, 0, {})[1:]
    assert abs(np.mean([p["a"] for p in found]) - 50.5) < 4
    for name in ("b", "c"):
        assert abs(np.mean([math.log(p[name]) for p in found]) - math.log(10)) < 0.2
    assert {p["d"] for p in found} == {1, 2}
    assert abs(np.mean([p["d"] for p in found]) - 1.5) < 0.1


def test_a_number_has_few_enough_digits_for_a_name() -> None:
    assert all(len(str(p["beta"])) <= 5 for p in draw(SPACE, 50, 1, DECLARED)[1:])
