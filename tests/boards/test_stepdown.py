"""The family of pairs: its statistic by hand, its draws, and what it separates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from suite.boards import stepdown
from suite.boards.stepdown import Column, Evidence, Luck, draws, establish, generator, luck, units


def evidence(means: list[float], sd: float = 0.2, image: float = 0.02, **changes: object) -> Evidence:
    """Models of five seeds, each with images of its own unless the covariance says otherwise."""
    k = len(means)
    made = Evidence(
        np.array(means), np.full(k, sd**2), np.full(k, 5.0), np.full(k, sd == 0), image**2 * np.eye(k), 10_000.0
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_what_a_pair_needs_is_welchs_quantile_at_bonferronis_level() -> None:
    e = evidence([0.0, 1.0], covariance=np.array([[0.04, 0.03], [0.03, 0.05]]))
    unit = units(e, Luck(np.array([0.02, 0.01]), np.array([4.0, 8.0])), pairs=10)
    total = 0.02 + 0.01 + 0.04 + 0.05 - 2 * 0.03
    df = total**2 / (0.02**2 / 4 + 0.01**2 / 8)
    assert unit[0, 1] == pytest.approx(total**0.5 * stats.t.isf(0.03 / 20, df), rel=1e-3)
    assert unit[0, 1] == unit[1, 0]


def test_draws_have_the_variance_of_seeds_and_images() -> None:
    g = np.array([[0.5, 0.4, 0.0], [0.4, 0.5, 0.0], [0.0, 0.0, 0.0]])
    e = evidence([0.0, 0.0, 0.0], covariance=g, deterministic=np.array([False, True, True]))
    x = draws(e, Luck(np.array([0.3, 0.0, 0.0]), np.array([20.0, np.inf, np.inf])), generator(0))
    assert np.cov(x) == pytest.approx(g + np.diag([0.3 * 20 / 18, 0, 0]), abs=0.03)
    assert not x[2].any()


def test_a_family_of_one_pair_is_students_test() -> None:
    e = evidence([0.0, 1.0], image=0.0)
    column = Column(e, luck(e), 1, generator(0))
    critical = np.quantile(column.maxima(), 0.97)
    # The difference of two draws of Student's t lies wider than Welch's quantile has it.
    assert 1.0 < critical < 1.3


def test_a_clear_ladder_is_separated_in_the_order_of_its_means() -> None:
    better = establish(evidence([3.0, 1.0, 2.0, 0.0]))
    assert better.astype(int).tolist() == [[0, 0, 0, 0], [1, 0, 1, 0], [1, 0, 0, 0], [1, 1, 1, 0]]


def test_deterministic_models_are_separated_by_their_images_alone() -> None:
    assert establish(evidence([0.0, 0.1, 0.2], sd=0.0, image=0.01))[0].tolist() == [False, True, True]
    assert not establish(evidence([0.0, 0.01, 0.02], sd=0.0, image=0.01)).any()


def test_what_all_models_find_hard_cancels() -> None:
    hard = np.full((3, 3), 100.0)
    assert establish(evidence([0.0, 1.0, 2.0], covariance=hard)).sum() == 3
    assert not establish(evidence([0.0, 1.0, 2.0], covariance=np.diag(np.diag(hard)))).any()


def test_below_the_resolution_all_are_ties_however_certain() -> None:
    e = evidence([0.0, 0.009, 0.02], sd=0.0, image=1e-6)
    assert establish(e).sum() == 3
    assert establish(replace(e, resolution=0.01)).astype(int).tolist() == [[0, 0, 1], [0, 0, 1], [0, 0, 0]]


def test_equal_scores_without_any_variance_are_a_tie_in_spite_of_rounding() -> None:
    assert not establish(evidence([0.1 + 0.2, 0.3], sd=0.0, image=0.0)).any()


def test_one_model_is_better_than_none() -> None:
    assert establish(evidence([1.0])).tolist() == [[False]]


def test_the_step_down_finds_what_one_step_misses() -> None:
    """A pair that the largest of all pairs hides is found once those that are clear are out of the way."""
    means = np.append(np.arange(12) * 10.0, 0.0)
    found = []
    for gap in np.arange(0.3, 1.0, 0.02):
        means[-1] = gap
        e = evidence(means.tolist())
        column = Column(e, luck(e), 78, generator(0))
        first = np.sort(column.maxima())[::-1][int(0.03 * 5001) - 1]
        found.append((establish(e)[0, -1], column.statistic[0, -1] > first))
    assert all(both for both, one in found if one)
    assert any(both and not one for both, one in found)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 10_000))
def test_the_short_cut_for_many_models_gives_the_largest_statistic_of_all_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    k = stepdown.MANY + 10
    e = evidence(rng.normal(size=k).tolist(), variance=rng.gamma(2, size=k), covariance=np.diag(rng.gamma(2, size=k)))
    column = Column(e, luck(e), k * (k - 1) // 2, generator(0))
    for _ in range(2):
        x, weight = column._draws[:, :50], column._weight
        bound = stepdown._bound(x, luck(e).variance, e.covariance)
        assert bound is not None
        assert stepdown._largest(x, weight, bound) == pytest.approx(stepdown._largest(x, weight, None), rel=1e-6)
        column.separate(0.5)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(0.01, 3)), min_size=2, max_size=8), st.integers(0, 100))
def test_what_is_separated_is_an_order_of_the_means(rows: list[tuple[float, float]], seed: int) -> None:
    means, sds = (np.array(column) for column in zip(*rows, strict=True))
    values = np.random.default_rng(seed).normal(size=(len(rows), 40))
    better = establish(evidence(means.tolist(), variance=sds**2, covariance=np.cov(values) / 40, images=40.0))
    assert (means[:, None] < means[None])[better].all()
    assert not (better & better.T).any()
