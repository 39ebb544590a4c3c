from __future__ import annotations

import math

import pytest
import torch

from suite.measuring.likelihood import bernoulli_nats, floor_logits, image_nats


def test_nats_are_minus_the_log_of_the_bits_probability() -> None:
    p = torch.tensor([0.25, 0.5, 0.9], dtype=torch.float64)
    nats = bernoulli_nats(torch.logit(p), torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64))
    assert nats.tolist() == pytest.approx([math.log(4), math.log(2), -math.log(0.9)])


def test_nats_of_both_values_of_a_pixel_are_of_one_distribution() -> None:
    logits = torch.linspace(-30, 30, 41, dtype=torch.float64)
    both = [torch.exp(-bernoulli_nats(logits, torch.full_like(logits, bit))) for bit in (0.0, 1.0)]
    torch.testing.assert_close(both[0] + both[1], torch.ones_like(logits))


def test_nats_broadcast_over_draws_and_are_finite_for_logits_of_any_size() -> None:
    logits = torch.full((3, 2, 1, 2, 2), 1e4)
    nats = bernoulli_nats(logits, torch.zeros(2, 1, 2, 2))
    assert nats.shape == (3, 2, 1, 2, 2)
    assert nats.unique().tolist() == [1e4]


def test_the_floor_knows_each_pixel_s_frequency_and_adds_one_of_each_kind() -> None:
    bits = torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]]).view(2, 1, 1, 3)
    floor = floor_logits(bits)
    assert floor.shape == (1, 1, 3)
    assert torch.sigmoid(floor).flatten().tolist() == pytest.approx([3 / 4, 1 / 4, 2 / 4])


def test_an_images_nats_are_the_sum_of_its_pixels() -> None:
    logits, bits = torch.randn(3, 1, 4, 4), torch.randint(0, 2, (3, 1, 4, 4)).float()
    expected = -torch.distributions.Bernoulli(logits=logits).log_prob(bits).sum((1, 2, 3))
    torch.testing.assert_close(image_nats(logits, bits), expected)
    torch.testing.assert_close(image_nats(logits, bits), bernoulli_nats(logits, bits).sum((1, 2, 3)))


def test_a_coin_costs_a_bit_per_pixel() -> None:
    assert image_nats(torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4)).tolist() == [16 * 0.6931471824645996] * 2
