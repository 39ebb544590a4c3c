"""Successive halving: where trials are held against each other, and which go on."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.running.ray_environment import ray_environment
from suite.training import BUDGETS
from suite.tuning.halving import TIMES, Rung, library_rule, plain_rule, rungs

VALUES = st.lists(st.tuples(st.sampled_from(TIMES[:-1]), st.floats(-1e6, 1e6)), max_size=40)


@given(VALUES, st.booleans())
@settings(max_examples=100, deadline=None)
def test_the_rule_without_ray_is_that_of_ray_s_own_scheduler(values: list[tuple[int, float]], lower: bool) -> None:
    with ray_environment(private=True):  # which Ray reads once, when it is imported
        pytest.importorskip("ray")
        library, plain = library_rule(lower), plain_rule(lower)
    for trial, (time, value) in enumerate(values):
        assert library(time, str(trial), value) == plain(time, str(trial), value)


@pytest.mark.parametrize("lower", [True, False])
def test_a_trial_goes_on_where_it_is_no_worse_than_the_best_third_before_it(lower: bool) -> None:
    rule, sign = plain_rule(lower), 1.0 if lower else -1.0
    asked = [(5.0, True), (6.0, False), (4.0, True), (4.9, False), (3.0, True), (9.0, False)]
    assert [rule(1, str(i), sign * value) for i, (value, _) in enumerate(asked)] == [on for _, on in asked]
    assert rule(3, "0", sign * 100.0)  # the first of another rung has nothing to be held against


def test_the_rungs_of_a_long_training_are_a_ninth_a_third_and_all_of_it_in_whole_epochs() -> None:
    found = rungs(BUDGETS["quick"], 128, 1_200)
    assert [rung.time for rung in found] == list(TIMES)
    assert found[-1].images == BUDGETS["quick"]
    for rung in found[:-1]:
        nominal = BUDGETS["quick"] * rung.time / TIMES[-1]
        assert rung.images % (1_200 // 128 * 128) == 0
        assert nominal <= rung.images < nominal + 1_200


def test_rungs_within_one_epoch_are_one_and_a_training_of_one_epoch_has_only_its_end() -> None:
    assert rungs(60_000, 128, 55_000) == [Rung(3, 54_912), Rung(9, 60_000)]
    assert rungs(1_024, 128, 1_200) == [Rung(9, 1_024)]
    assert rungs(1_024, 5_000, 1_200) == [Rung(9, 1_024)]  # a batch is never larger than the split
    assert rungs(60_000, 128, 1_200, whole=True) == [Rung(9, 60_000)]
