"""Places in a column and over columns, by hand."""

from __future__ import annotations

import numpy as np

from suite.boards.order import above, leads, overall, places
from suite.boards.stepdown import Evidence


def better(*pairs: str, names: str = "abc") -> np.ndarray:
    """``better("ab")``: a is established as better than b."""
    found = np.zeros((len(names),) * 2, dtype=bool)
    for one, other in pairs:
        found[names.index(one), names.index(other)] = True
    return found


def test_a_place_counts_who_is_better_and_who_is_worse() -> None:
    best, worst = places(better("ab", "ac"))
    assert list(zip(best, worst, strict=True)) == [(1, 1), (2, 3), (2, 3)]


def test_a_lead_is_one_more_than_the_models_between() -> None:
    assert leads(better("ab", "ac", "bc"))[0].tolist() == [0, 1, 2]


def test_without_a_verdict_the_lead_is_what_the_places_leave_at_least() -> None:
    found = leads(better("ab"))
    assert found[0, 2] == 1 - 2  # c may be first, a may be second
    assert found[1, 0] == 1 - 3


def test_two_equal_models_on_top_have_no_sole_winner() -> None:
    top = better("ac", "bc")
    assert places(above([top, top]))[1].tolist() == [2, 2, 3]


def test_a_model_is_not_above_one_that_only_others_beat() -> None:
    assert above([better("ac")]).tolist() == better("ac").tolist()


def test_one_column_of_three_that_disagrees_does_not_undo_two() -> None:
    one, other = better("ab", names="ab"), better("ba", names="ab")
    assert above([one, one, other])[0, 1]
    assert not above([one, other]).any()


def columns(*means: list[float]) -> list[Evidence]:
    k = len(means[0])
    return [
        Evidence(np.array(m), np.full(k, 0.01), np.full(k, 5.0), np.zeros(k, bool), np.zeros((k, k)), np.inf)
        for m in means
    ]


def test_a_variant_has_the_place_that_it_would_have_in_its_familys_stead() -> None:
    found = overall(columns([0, 9, 5], [0, 9, 5]), ["f", "f", "g"], np.array([True, False, True]))
    assert [list(part) for part in found] == [[1, 2, 2], [1, 2, 2], [1, 2, 2]]


def test_variants_that_tie_have_the_same_place() -> None:
    found = overall(columns([0, 0, 5], [0, 0, 5]), ["f", "f", "g"], np.array([True, False, True]))
    assert [list(part) for part in found] == [[1, 1, 2], [1, 1, 2], [1, 1, 2]]
