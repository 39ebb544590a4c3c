"""A secret's noise: it follows the laws, and nothing that is sent comes from a generator that can be solved for."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import distributions as D

from suite.measuring.drawing import draw
from suite.measuring.stream import SecretGenerator, normal, uniform

N = 50_000
ZEROS, ONES, LOGITS = torch.zeros(40, 3), torch.ones(40, 3), torch.zeros(40, 2, 5)
FAMILIES = {
    "Normal": D.Normal(ZEROS, ONES),
    "Normal in float64": D.Normal(ZEROS.double(), ONES.double()),
    "Laplace": D.Laplace(ZEROS, ONES),
    "MultivariateNormal": D.MultivariateNormal(ZEROS, scale_tril=torch.eye(3).expand(40, 3, 3)),
    "Bernoulli": D.Bernoulli(logits=ZEROS),
    "Categorical": D.Categorical(logits=ZEROS),
    "OneHotCategorical": D.OneHotCategorical(logits=ZEROS),
    "a mixture": D.MixtureSameFamily(D.Categorical(logits=ZEROS), D.Normal(ZEROS, ONES)),
    "a mixture of bits": D.MixtureSameFamily(D.Categorical(logits=ZEROS), D.Bernoulli(logits=ZEROS)),
    "a mixture of classes": D.MixtureSameFamily(D.Categorical(logits=ZEROS[:, :2]), D.Categorical(logits=LOGITS)),
    "a mixture of one-hot vectors": D.MixtureSameFamily(
        D.Categorical(logits=ZEROS[:, :2]), D.OneHotCategorical(logits=LOGITS)
    ),
    "a mixture of bits together": D.MixtureSameFamily(
        D.Categorical(logits=ZEROS[:, :2]), D.Independent(D.Bernoulli(logits=LOGITS), 1)
    ),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_no_draw_of_a_secret_takes_anything_from_torchs_generators(name: str) -> None:
    """640 free numbers a row told the Mersenne Twister's state, and with it the noise of 32 that were not free."""
    rng = SecretGenerator("secret", 1)
    own, shared = rng.get_state(), torch.get_rng_state()
    first, second = draw(FAMILIES[name], rng), draw(FAMILIES[name], rng)
    public = draw(FAMILIES[name], torch.Generator().manual_seed(0))
    assert (first.shape, first.dtype) == (public.shape, public.dtype)
    assert not torch.equal(first, second)
    assert torch.equal(rng.get_state(), own) and torch.equal(torch.get_rng_state(), shared)
    assert torch.equal(draw(FAMILIES[name], SecretGenerator("secret", 1)), first)
    assert not torch.equal(draw(FAMILIES[name], SecretGenerator("secret", 2)), first)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_secrets_numbers_follow_their_laws(dtype: torch.dtype) -> None:
    rng = SecretGenerator("laws")
    assert stats.kstest(uniform(rng, (N,)).numpy(), "uniform").pvalue > 1e-3
    drawn = normal(rng, (N, 3), dtype)
    assert drawn.shape == (N, 3) and drawn.dtype == dtype
    assert stats.kstest(drawn.flatten().double().numpy(), "norm").pvalue > 1e-3
    assert float(torch.corrcoef(drawn.T).fill_diagonal_(0).abs().max()) < 5 / math.sqrt(N)


def test_counts_of_a_secret_follow_their_law() -> None:
    rng, logits = SecretGenerator("counts"), torch.tensor([-2.0, 0.0, 1.0])
    error = 5 * 0.5 / math.sqrt(N)
    bits = draw(D.Bernoulli(logits=logits.expand(N, 3)), rng)
    torch.testing.assert_close(bits.double().mean(0), logits.sigmoid().double(), atol=error, rtol=0)
    hot = draw(D.OneHotCategorical(logits=logits.expand(N, 3)), rng)
    assert bool((hot.sum(1) == 1).all())
    torch.testing.assert_close(hot.double().mean(0), logits.softmax(0).double(), atol=error, rtol=0)


def test_odd_and_empty_shapes_have_their_numbers() -> None:
    rng = SecretGenerator("shapes")
    assert [tuple(normal(rng, shape, torch.float32).shape) for shape in ((), (0,), (3, 5))] == [(), (0,), (3, 5)]
