"""Calibration: exact where mathematics says so, never worse than the floor, and no free parameters."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.measuring import calibration
from suite.measuring.calibration import Calibration
from suite.measuring.likelihood import bernoulli_nats, floor_logits


def _bits(n: int = 4000, d: int = 12, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Bits with known logits, shapes (n, 1, 1, d)."""
    rng = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, 1, 1, d, generator=rng)
    return (torch.rand(n, 1, 1, d, generator=rng) < logits.sigmoid()).float(), logits


def _mean_nats(c: Calibration, logits: torch.Tensor, bits: torch.Tensor) -> float:
    return float(bernoulli_nats(c(logits), bits).flatten(1).sum(1).mean())


def test_bernoulli_nats_is_minus_the_log_probability() -> None:
    logits, bits = torch.tensor([-3.0, 0.0, 2.0]), torch.tensor([1.0, 0.0, 1.0])
    expected = -torch.distributions.Bernoulli(logits=logits).log_prob(bits)
    torch.testing.assert_close(bernoulli_nats(logits, bits), expected)


def test_floor_is_the_add_one_histogram() -> None:
    bits = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    torch.testing.assert_close(floor_logits(bits).sigmoid(), torch.tensor([3 / 5, 1 / 5]))


def test_identity_gives_the_logits_back_to_the_last_bit() -> None:
    _, logits = _bits()
    assert torch.equal(Calibration.identity(torch.randn(1, 1, 12))(logits), logits)


def test_the_marginals_themselves_are_left_alone() -> None:
    bits, _ = _bits(n=300)
    floor = floor_logits(bits)
    fitted = calibration.fit(floor.expand_as(bits), bits, floor)
    assert float(fitted.scale) == 1.0 and not fitted.offset.any()


def test_an_exact_copy_is_left_alone() -> None:
    bits, _ = _bits(n=300)
    fitted = calibration.fit(80 * bits - 40, bits, floor_logits(bits))
    assert _mean_nats(fitted, 80 * bits - 40, bits) < 1e-6


def test_a_model_that_knows_its_scale_keeps_it() -> None:
    bits, logits = _bits()
    fitted = calibration.fit(logits, bits, floor_logits(bits))
    assert float(fitted.scale) == pytest.approx(1, abs=0.05) and not fitted.offset.any()


@settings(max_examples=10, deadline=None)
@given(st.floats(0.1, 8.0), st.integers(0, 100))
def test_a_wrong_scale_is_undone(factor: float, seed: int) -> None:
    bits, logits = _bits(seed=seed)
    floor = floor_logits(bits)
    distorted = floor + factor * (logits - floor)
    fitted = calibration.fit(distorted, bits, floor)
    assert float(fitted.scale) * factor == pytest.approx(1, abs=0.08)


def test_an_offset_is_found_where_it_pays_and_agrees_with_a_general_optimizer() -> None:
    bits, logits = _bits()
    floor, shifted = floor_logits(bits), 0.5 * logits + torch.linspace(-2, 2, 12)
    fitted = calibration.fit(shifted, bits, floor)
    a = torch.ones((), dtype=torch.float64, requires_grad=True)
    u = torch.zeros(1, 1, 12, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([a, u], max_iter=500, tolerance_grad=1e-9, tolerance_change=1e-12)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        total = bernoulli_nats(Calibration(floor.double(), a, u)(shifted.double()), bits.double()).sum()
        total = total + 0.5 * ((a - 1) ** 2 + u.square().sum())
        total.backward()
        return total

    optimizer.step(closure)
    assert float(fitted.scale) == pytest.approx(float(a.detach()), abs=1e-3)
    torch.testing.assert_close(fitted.offset.double(), u.detach(), atol=1e-3, rtol=1e-3)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.floats(0.01, 50.0))
def test_nonsense_is_never_worse_than_the_floor(seed: int, size: float) -> None:
    bits, _ = _bits(n=500)
    floor = floor_logits(bits)
    nonsense = size * torch.randn(bits.shape, generator=torch.Generator().manual_seed(seed))
    fitted = calibration.fit(nonsense, bits, floor)
    slack = math.log(500) / 2 / 500
    assert (
        _mean_nats(fitted, nonsense, bits)
        <= _mean_nats(Calibration.identity(floor), floor.expand_as(bits), bits) + slack
    )
    assert float(fitted.scale) >= 0


def test_sums_in_float32_within_chunks_are_those_in_float64() -> None:
    bits, logits = _bits(n=3000, d=784)
    floor = floor_logits(bits)
    at = Calibration(floor, torch.tensor(0.7), torch.full_like(floor, 0.1))
    exact = Calibration(floor.double(), at.scale.double(), at.offset.double())
    assert calibration._total_nats(at, logits, bits) == pytest.approx(
        float(bernoulli_nats(exact(logits.double()), bits.double()).sum()), rel=1e-7
    )
    found = calibration._derivatives(at, logits, bits, free_offset=True)
    expected = calibration._derivatives(exact, logits.double(), bits.double(), free_offset=True)
    for sums, right in zip(found, expected, strict=True):
        torch.testing.assert_close(sums, right, rtol=1e-5, atol=1e-3)
