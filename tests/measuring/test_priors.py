"""What the suite charges by where a model brings no prior, against values that mathematics gives."""

from __future__ import annotations

import pytest
import torch
from torch import distributions as D

from suite.measuring.priors import GaussianPrior, Moments, mean_code_rate


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _codes(n: int = 500, d: int = 5) -> torch.Tensor:
    return torch.randn(n, d, generator=_rng()) @ torch.randn(d, d, generator=_rng(1)) + 3


@pytest.mark.parametrize("d", [5, 300])
def test_moments_added_in_batches_are_those_of_the_whole(d: int) -> None:
    codes = _codes(d=d)
    moments = Moments.empty(d, torch.device("cpu"))
    for part in codes.split(130):
        moments = moments.add(part)
    covariance = torch.cov(codes.double().T, correction=0)
    torch.testing.assert_close(moments.mean, codes.double().mean(0))
    torch.testing.assert_close(moments.variances, covariance.diagonal())
    if d <= 256:
        torch.testing.assert_close(moments.covariance, covariance)


def test_posterior_variances_add_to_the_covariance() -> None:
    loc, variance = _codes(), torch.rand(500, 5, generator=_rng(2))
    with_variance = Moments.empty(5, loc.device).add(loc, variance)
    without = Moments.empty(5, loc.device).add(loc)
    expected = without.covariance + torch.diag(variance.double().mean(0))
    torch.testing.assert_close(with_variance.covariance, expected)


@pytest.mark.parametrize("full", [True, False])
def test_gaussian_rate_is_the_exact_divergence(full: bool) -> None:
    codes = _codes()
    moments = Moments.empty(5, codes.device).add(codes)
    covariance = moments.covariance if full else moments.variances
    prior = GaussianPrior(Moments(moments.mean, covariance, 500))
    scale = torch.rand(500, 5, generator=_rng(3)) + 0.1
    reference = D.MultivariateNormal(moments.mean, covariance if full else torch.diag(covariance))
    q = D.MultivariateNormal(codes.double(), torch.diag_embed(scale.double() ** 2))
    torch.testing.assert_close(prior.kl(codes, scale), D.kl_divergence(q, reference))
    torch.testing.assert_close(prior.log_prob(codes), reference.log_prob(codes.double()))


@pytest.mark.parametrize("d", [5, 300])
def test_mean_code_rate_is_the_mean_of_the_images_rates(d: int) -> None:
    codes, jitter = _codes(d=d), torch.tensor(0.03, dtype=torch.float64)
    moments = Moments.empty(d, codes.device).add(codes)
    scale = torch.rand(d, generator=_rng(4)).double() + 0.2
    prior = GaussianPrior(moments.plus(scale**2 + jitter))
    expected = prior.kl(codes, scale.expand(500, d)).mean()
    torch.testing.assert_close(mean_code_rate(moments, scale, jitter), expected, rtol=1e-9, atol=1e-9)


def test_a_channel_of_pure_noise_costs_nothing() -> None:
    moments = Moments.empty(5, torch.device("cpu")).add(_codes())
    huge = torch.full((5,), 1e4, dtype=torch.float64)
    assert float(mean_code_rate(moments, huge, torch.tensor(0.01).double())) < 1e-4


def test_prior_draws_have_the_priors_moments() -> None:
    moments = Moments.empty(5, torch.device("cpu")).add(_codes())
    like = torch.zeros(20000, 5)
    draws = GaussianPrior(moments).sample(like, torch.randn(20000, 5, generator=_rng())).double()
    torch.testing.assert_close(torch.cov(draws.T), moments.covariance, rtol=0.1, atol=0.2)
