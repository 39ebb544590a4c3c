"""Intervals, comparisons: exact values, properties, and how often an interval holds what it is said to hold."""

from __future__ import annotations

import numpy as np
import pytest

from suite.boards import statistics
from suite.boards.statistics import Moments


def test_quantiles_are_students() -> None:
    assert statistics.quantile(4) == pytest.approx(2.776445, abs=1e-6)
    assert statistics.quantile(np.inf) == pytest.approx(1.959964, abs=1e-6)


def test_without_image_variance_the_interval_is_the_t_interval_of_the_seed_means() -> None:
    m = statistics.moments([1.0, 2.0, 3.0, 4.0, 5.0], [0.0] * 5, None)
    assert m.mean == 3
    assert statistics.half_width(m) == pytest.approx(2.776445 * np.sqrt(2.5 / 5), rel=1e-6)


def test_equal_seeds_leave_the_image_part_which_more_seeds_do_not_shrink() -> None:
    three = statistics.half_width(statistics.moments([7.0] * 3, [0.5] * 3, 10_000))
    assert three == pytest.approx(0.5 * 1.960201, rel=1e-5)
    assert statistics.half_width(statistics.moments([7.0] * 9, [0.5] * 9, 10_000)) == three


def test_parts_add_as_squares_of_half_widths() -> None:
    m = statistics.moments([1.0, 2.0, 3.0], [0.3, 0.4, 0.5], None)
    seed, image = 4.302653 * np.sqrt(1 / 3), 1.959964 * np.sqrt((0.09 + 0.16 + 0.25) / 3)
    assert statistics.half_width(m) == pytest.approx(np.hypot(seed, image), rel=1e-6)


def test_few_images_take_students_quantile_too() -> None:
    assert statistics.half_width(statistics.moments([1.0], [1.0], 5)) == pytest.approx(2.776445, rel=1e-6)


def test_a_number_that_never_varied_and_is_no_mean_over_images_has_no_interval() -> None:
    assert np.isnan(statistics.half_width(statistics.moments([5.0, 5.0, 5.0], [None] * 3, None)))
    assert statistics.half_width(statistics.moments([5.0, 5.1, 5.2], [None] * 3, None)) > 0


def test_welchs_df_lie_between_the_smaller_and_the_sum() -> None:
    equal = Moments(0.0, 1.0, 5, 0.0)
    assert statistics.welch_df(equal, equal) == pytest.approx(8)
    assert statistics.welch_df(equal, Moments(0.0, 0.0, 3, 0.0)) == pytest.approx(4)
    assert np.isinf(statistics.welch_df(Moments(0.0, 0.0, 3, 0.0), Moments(0.0, 0.0, 3, 0.0)))


def test_difference_of_two_samples_is_welchs_where_images_do_not_matter() -> None:
    from scipy.stats import ttest_ind

    x, y = [1.0, 2.0, 3.0, 4.0], [2.0, 4.0, 6.0, 8.0, 10.0]
    welch = ttest_ind(x, y, equal_var=False).confidence_interval()
    difference, half = statistics.difference(*(statistics.moments(v, [0.0] * len(v), None) for v in (x, y)))
    assert (difference - half, difference + half) == pytest.approx((welch.low, welch.high), rel=1e-9)


def test_where_neither_seeds_nor_images_tell_of_a_spread_there_is_no_interval() -> None:
    ratio, other = statistics.moments([0.6], [None], None), statistics.moments([0.1], [0.01], 100)
    difference, half = statistics.difference(ratio, other)
    assert difference == pytest.approx(0.5)
    assert np.isnan(half)
    two = statistics.moments([0.6, 0.7], [None, None], None)
    assert statistics.difference(two, other)[1] > statistics.quantile(1.0) * 0.05 * 0.99


def test_pairing_removes_what_both_models_find_hard() -> None:
    rng = np.random.default_rng(0)
    hard = rng.normal(100, 10, 500)
    a, b = (np.stack([hard + shift + rng.normal(0, 0.1, 500) for _ in range(3)]) for shift in (0.0, 0.5))
    difference, half = statistics.paired_difference(a, b)
    assert abs(difference) > half
    ses = [10 / 500**0.5] * 3
    means = [statistics.moments(list(v.mean(axis=1)), ses, 500) for v in (a, b)]
    difference, half = statistics.difference(*means)
    assert abs(difference) < half


def test_paired_difference_by_hand() -> None:
    a, b = np.array([[1.0, 2.0, 6.0], [3.0, 2.0, 4.0]]), np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    # d = (1, 1, 4): mean 2, variance 3; seed means of a are 3 and 3, so all that varies are images.
    difference, half = statistics.paired_difference(a, b)
    assert difference == pytest.approx(2)
    assert half == pytest.approx(4.302653 * np.sqrt(3 / 3), rel=1e-6)


def test_values_of_different_images_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="same images"):
        statistics.paired_difference(np.zeros((2, 3)), np.zeros((2, 4)))


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(
    ("image", "interaction", "most"),
    [(0.0, 0.0, 0.958), (3.0, 0.1, 0.98), (20.0, 0.1, 0.96), (3.0, 3.0, 0.998)],
    ids=["seeds alone", "both", "images alone", "an interaction, which is counted twice"],
)
def test_intervals_hold_the_truth_at_least_as_often_as_they_say(
    seeds: int, image: float, interaction: float, most: float
) -> None:
    rng = np.random.default_rng(7)
    repeats, n = 3000, 60
    shared = rng.normal(0, image, (repeats, 1, n))
    values = rng.normal(0, 0.5, (repeats, seeds, 1)) + shared + rng.normal(0, interaction, (repeats, seeds, n))
    means, ses = values.mean(axis=2), values.std(axis=2, ddof=1) / n**0.5
    m = Moments(
        means.mean(axis=1),
        means.var(axis=1, ddof=1) / seeds,
        np.full(repeats, seeds),
        statistics.image_part(np.sqrt((ses**2).mean(axis=1)), n),
    )
    covered = np.mean(np.abs(m.mean) <= statistics.half_width(m))
    assert 0.942 < covered < most


@pytest.mark.parametrize("seeds", [3, 5])
def test_paired_intervals_hold_the_truth_at_least_as_often_as_they_say(seeds: int) -> None:
    rng = np.random.default_rng(8)
    covered, repeats = 0, 1500
    for _ in range(repeats):
        shared = rng.normal(0, 5, 40)
        a, b = (
            rng.normal(0, 0.2, (seeds, 1)) + shared + rng.normal(0, 1, 40) + rng.normal(0, spread, (seeds, 40))
            for spread in (0.5, 1.5)
        )
        difference, half = statistics.paired_difference(a, b)
        covered += abs(difference) <= half
    assert 0.942 < covered / repeats < 0.995


def test_a_linearized_ratio_has_the_ratios_mean_and_its_spread_over_samples() -> None:
    rng = np.random.default_rng(0)

    def sample() -> tuple[np.ndarray, np.ndarray]:
        whole = rng.gamma(4.0, size=400)
        return whole * rng.beta(2, 3, size=400) + 0.3, whole

    part, whole = sample()
    values = statistics.linearized_ratio(part, whole)
    assert values.mean() == pytest.approx(part.mean() / whole.mean(), rel=1e-12)
    ratios = [p.mean() / w.mean() for p, w in (sample() for _ in range(4000))]
    assert values.std(ddof=1) / np.sqrt(400) == pytest.approx(np.std(ratios), rel=0.1)
    assert statistics.linearized_ratio(whole, whole) == pytest.approx(np.ones(400))
