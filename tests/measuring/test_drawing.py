"""Draws: they follow their law to the tails, and tell nothing that the law does not."""

from __future__ import annotations

import math

import pytest
import torch
from torch import distributions as D

from suite.contract import Discrete
from suite.measuring.drawing import draw, send

N = 100_000


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("family", [D.Normal, D.MultivariateNormal])
def test_the_last_digit_of_a_location_does_not_show_in_the_grid_of_the_noise(family: type, dtype: torch.dtype) -> None:
    """Where location and noise cancel, their sum is finer than the noise; its last digit must be worth a coin."""
    digit = 2.0 ** (-14 if dtype == torch.float32 else -43)
    hidden = torch.randint(2, (N, 1), generator=_rng(1))
    loc, scale = -1000 + hidden.to(dtype) * digit, torch.full((N, 1), 1000.0, dtype=dtype)
    q = D.Normal(loc, scale) if family is D.Normal else D.MultivariateNormal(loc, scale_tril=scale.unsqueeze(-1))

    def guessed(z: torch.Tensor) -> float:
        return float((((z.double() / digit).remainder(2) != 0) == hidden).double().mean())

    naive = guessed(loc + scale * torch.randn((N, 1), generator=_rng(), dtype=dtype))
    assert naive > 0.55  # the test can see it
    assert guessed(draw(q, _rng())) == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(N))


def test_a_draw_is_its_centre_and_deviation_rounded_once_and_leaves_the_published_stream_alone() -> None:
    q, rng, stream = D.Normal(torch.randn(1000, 2) * 50, torch.rand(1000, 2) + 0.1), _rng(3), _rng(3)
    first, second = send(q, rng), send(q, rng)
    for sent in (first, second):
        assert sent.centre is not None
        published = q.loc + q.scale * torch.randn(q.loc.shape, generator=stream)
        torch.testing.assert_close(sent.value, published, rtol=1e-6, atol=1e-5)
        torch.testing.assert_close(sent.value.double(), sent.centre + sent.deviation, rtol=1e-7, atol=1e-7)
        assert sent.value.dtype == torch.float32 and sent.deviation.dtype == torch.float64


def test_laplace_draws_reach_beyond_sixteen_scales_as_often_as_they_should() -> None:
    deviation = send(D.Laplace(torch.zeros(N, 10), torch.ones(N, 10)), _rng()).deviation
    for reach in (1.0, 5.0, 10.0):
        expected = N * 10 * math.exp(-reach)
        assert float((deviation.abs() > reach).sum()) == pytest.approx(expected, abs=5 * math.sqrt(expected))
    assert float(deviation.mean()) == pytest.approx(0, abs=5 * math.sqrt(2 / (10 * N)))


def test_a_mixture_draws_components_by_weight_and_each_from_its_law() -> None:
    weights = torch.tensor([0.2, 0.8])
    components = D.MultivariateNormal(torch.tensor([[-9.0, 0.0], [9.0, 5.0]]), scale_tril=torch.eye(2) * 0.5)
    z = draw(D.MixtureSameFamily(D.Categorical(probs=weights), components).expand((N,)), _rng())
    right = z[:, 0] > 0
    assert z.shape == (N, 2) and bool(z.isfinite().all())
    assert float(right.float().mean()) == pytest.approx(0.8, abs=0.01)
    torch.testing.assert_close(z[right].mean(0), torch.tensor([9.0, 5.0]), atol=0.02, rtol=0)
    torch.testing.assert_close(z[~right].std(0), torch.tensor([0.5, 0.5]), atol=0.02, rtol=0)


def test_counts_are_sent_as_they_are() -> None:
    code = Discrete(torch.tensor([[1], [0]]), 2)
    assert draw(code, _rng()) is code.values
    assert draw(D.Bernoulli(logits=torch.zeros(5, 2)), _rng()).dtype == torch.long
    assert draw(D.OneHotCategorical(logits=torch.zeros(5, 3)), _rng()).sum(-1).eq(1).all()
