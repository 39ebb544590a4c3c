"""Moderated variances: the formulas against scipy and by hand, and what a prior makes of extremes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from suite.boards.variances import Prior, fit_prior, inverse_trigamma


@pytest.mark.parametrize("x", [0.01, 0.5, 1.0, 7.3, 4000.0])
def test_trigamma_is_inverted(x: float) -> None:
    assert inverse_trigamma(float(special.polygamma(1, x))) == pytest.approx(x, rel=1e-8)


def test_equal_variances_are_pooled_and_then_known() -> None:
    prior = fit_prior(np.full(20, 0.3), np.full(20, 4.0))
    assert np.isinf(prior.df)
    moderated, df = prior.moderate(np.array([0.1, 0.3]), np.array([4.0, 4.0]))
    assert moderated == pytest.approx([0.3, 0.3])
    assert np.isinf(df).all()


def test_the_prior_of_many_models_is_found_again() -> None:
    rng = np.random.default_rng(0)
    true = 0.5 * 6 / rng.chisquare(6, 4000)
    prior = fit_prior(true * rng.chisquare(4, 4000) / 4, np.full(4000, 4.0))
    assert prior.variance == pytest.approx(0.5, rel=0.1)
    assert 4 < prior.df < 7  # one standard error towards fewer, on purpose


def test_a_moderated_variance_is_the_mean_weighted_by_degrees_of_freedom() -> None:
    moderated, df = Prior(6.0, 0.5, 10).moderate(np.array([1.0, 0.0]), np.array([4.0, 2.0]))
    assert moderated == pytest.approx([(6 * 0.5 + 4 * 1.0) / 10, 6 * 0.5 / 8])
    assert df.tolist() == [10, 8]


def test_an_outlier_is_one_by_the_f_distribution_and_keeps_its_own() -> None:
    prior, df = Prior(6.0, 0.5, 10), np.array([4.0])
    limit = 0.5 * stats.f.isf(0.05 / 10, 4, 6)
    assert not prior.outliers(np.array([0.99 * limit]), df)
    assert prior.outliers(np.array([1.01 * limit]), df)
    moderated, whole = prior.moderate(np.array([1.01 * limit]), df)
    assert (moderated[0], whole[0]) == (1.01 * limit, 4)


def test_two_wild_models_do_not_widen_the_others() -> None:
    variances = np.append(np.random.default_rng(1).chisquare(4, 25) / 4, [1e4, 1e4])
    prior = fit_prior(variances, np.full(27, 4.0))
    assert prior.outliers(variances, np.full(27, 4.0)).tolist() == [False] * 25 + [True] * 2
    assert prior.variance == pytest.approx(1, rel=0.4)


def test_two_models_have_no_prior() -> None:
    moderated, df = fit_prior(np.array([1.0, 2.0]), np.array([4.0, 4.0])).moderate(
        np.array([1.0, 2.0]), np.full(2, 4.0)
    )
    assert (moderated.tolist(), df.tolist()) == ([1, 2], [4, 4])


def test_a_variance_of_exactly_0_says_nothing_of_the_others() -> None:
    df = np.full(5, 4.0)
    assert fit_prior(np.array([0.0, 1, 1, 1, 1]), df).variance == pytest.approx(1)
