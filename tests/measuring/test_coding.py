"""Charging: every rate against a value that mathematics gives."""

from __future__ import annotations

import pytest
import torch
from torch import distributions as D

from suite.contract import Discrete
from suite.errors import ContractError
from suite.measuring.drawing import draw
from suite.measuring.pricing import charge
from suite.measuring.priors import histogram, histogram_prior


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_discrete_code_costs_its_smoothed_frequency() -> None:
    counts = torch.tensor([[8.0, 0.0], [3.0, 5.0]])
    log_p = histogram(counts, 8)
    torch.testing.assert_close(log_p.exp(), torch.tensor([[9 / 10, 1 / 10], [4 / 10, 6 / 10]], dtype=torch.float64))
    z = torch.tensor([[0, 1], [1, 1]])
    rate, _, exact = charge(Discrete(z, 2), histogram_prior(log_p, z), z, "here")
    expected = -torch.tensor([0.9 * 0.6, 0.1 * 0.6], dtype=torch.float64).log()
    torch.testing.assert_close(rate, expected)
    assert exact


def test_prior_and_posterior_that_do_not_fit_are_a_breach_of_contract() -> None:
    q = D.Normal(torch.zeros(4, 3), torch.ones(4, 3))
    with pytest.raises(ContractError, match="do not fit"):
        charge(q, D.Normal(torch.zeros(2), torch.ones(2)), torch.zeros(4, 3), "here")
    with pytest.raises(ContractError, match="do not fit"):
        charge(q, D.Normal(torch.zeros(9, 4, 3), torch.ones(9, 4, 3)), torch.zeros(4, 3), "here")


def test_draws_follow_the_suites_own_noise_and_leave_the_global_streams_alone() -> None:
    q = D.Bernoulli(logits=torch.zeros(5, 20))
    before = torch.get_rng_state()
    first, second = draw(q, _rng(7)), draw(q, _rng(7))
    assert torch.equal(first, second) and torch.equal(before, torch.get_rng_state())
    assert not torch.equal(first, draw(q, _rng(8)))


def test_categorical_draws_have_the_right_frequencies() -> None:
    logits = torch.tensor([0.5, 0.3, 0.2]).log().expand(30000, 3)
    counts = torch.bincount(draw(D.Categorical(logits=logits), _rng()), minlength=3) / 30000
    torch.testing.assert_close(counts, torch.tensor([0.5, 0.3, 0.2]), atol=0.015, rtol=0)
