"""Latent ablation: copiers are worth nothing however they are cut, dead weight less, a bottleneck much."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from suite.contract import Baseline, Latents, Score, Values
from suite.plugins import registry
from tests import models

TASK = registry.load(registry.source(registry.discover("task")["latent_ablation"]))
MODULE = __import__(TASK.__module__, fromlist=["derangement"])


def _score(cls: type[Baseline], budget: str | None = None) -> Score:
    return TASK().score(models.subject_of(cls, budget))


def _weakest(score: Score) -> float:
    return score.metrics["weakest_net"].value


@given(st.integers(2, 60), st.integers(0, 10_000))
def test_a_derangement_is_a_permutation_without_fixed_points(n: int, seed: int) -> None:
    order = MODULE.derangement(n, torch.Generator().manual_seed(seed))
    assert sorted(order.tolist()) == list(range(n))
    assert not (order == torch.arange(n)).any()


def test_within_a_class_images_change_places_with_their_own_kind() -> None:
    labels = torch.tensor([0, 1, 0, 1, 2, 0])
    order = MODULE.derangement_within(labels, torch.Generator().manual_seed(0))
    assert torch.equal(labels[order], labels)
    assert order[4] == 4 and not (order == torch.arange(6))[[0, 1, 2, 3, 5]].any()


def test_an_ablated_pixel_costs_no_more_than_the_floor_on_average() -> None:
    ablated, floor = torch.tensor([[9.0, 0.1], [0.0, 0.3]]), torch.tensor([[1.0, 0.5], [2.0, 0.5]])
    torch.testing.assert_close(MODULE.capped(ablated, floor), torch.tensor([1.1, 2.3], dtype=torch.float64))


@pytest.mark.parametrize("cls", ["copy", models.CopyHalves], ids=["whole", "halves"])
def test_a_copier_saves_what_it_costs_however_it_is_cut(cls: type[Baseline] | str) -> None:
    score = _score(models.builtin(cls) if isinstance(cls, str) else cls)
    assert _weakest(score) == pytest.approx(0, abs=0.6)
    assert _weakest(score) <= 1e-6


def test_a_second_copy_is_dead_weight() -> None:
    score = _score(models.CopyTwice)
    assert score.metrics["rise/lower"].value == pytest.approx(0, abs=1e-6)
    assert _weakest(score) == pytest.approx(-score.metrics["rate/lower"].value)
    assert score.metrics["core_share"].value == 1


def test_a_bypassed_core_is_found_out() -> None:
    score = _score(models.Bypass)
    assert score.metrics["core_share"].value < 0.01
    assert _weakest(score) <= 0


def test_no_latents_is_worth_zero() -> None:
    assert _weakest(_score(models.builtin("pixel_marginals"))) == 0


def test_a_vaes_bottleneck_earns_far_more_than_it_costs() -> None:
    score = _score(models.builtin("vae"), "quick")
    assert _weakest(score) > 20
    assert score.metrics["return/z"].value > 1.5
    assert 3 <= score.metrics["active_units/z"].value <= 20
    assert score.metrics["rise_only/z"].value == pytest.approx(0, abs=0.05)  # there is no other group
    assert score.metrics["rise_shuffle_within_class/z"].value < score.metrics["rise/z"].value + 1e-6
    assert score.metrics["gradient/z"].value > 0


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_units_are_counted_however_deep_their_distributions_are_wrapped(depth: int) -> None:
    class Wrapped(Baseline):
        """Four blocks' ink, and four units that are always at their prior."""

        core = "z"

        def encode(self, x: Tensor) -> Latents:
            ink = torch.nn.functional.avg_pool2d(x, 14).flatten(1)
            return {"z": wrap(Normal(torch.cat([10 * ink, 0 * ink], 1), torch.tensor([0.1] * 4 + [1.0] * 4)))}

        def prior(self, name: str, earlier: Values) -> Distribution:
            return wrap(Normal(torch.zeros(1, 8), torch.ones(1, 8)))

        def decode(self, values: Values) -> Tensor:
            return values["z"][:, :1, None, None].expand(-1, *self.spec.shape) - 1

    def wrap(q: Distribution) -> Distribution:
        for level in range(depth):
            q = Independent(q, 1 - level)
        return q

    assert _score(Wrapped).metrics["active_units/z"].value == 4
