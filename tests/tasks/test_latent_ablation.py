"""Latent ablation: copiers are worth nothing however they are cut, dead weight less, a bottleneck much."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch import distributions as D

from suite.contract import Baseline, DataSpec, Latents, Measure, Score, Values
from suite.plugins import registry
from tests import models

TASK = registry.load(registry.source(registry.discover("task")["latent_ablation"]))
MODULE = __import__(TASK.__module__, fromlist=["derangement"])


def _score(cls: type[Baseline], budget: str | None = None) -> Score:
    return TASK().score(models.subject_of(cls, budget))


def _net(score: Score) -> float:
    return score.metrics["message_net"].value


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
    for net in (_net(score), _weakest(score)):
        assert net == pytest.approx(0, abs=0.6)
        assert net <= 1e-6


def test_a_second_copy_is_dead_weight() -> None:
    score = _score(models.CopyTwice)
    assert score.metrics["rise/lower"].value == pytest.approx(0, abs=1e-6)
    assert _weakest(score) == pytest.approx(-score.metrics["rate/lower"].value)
    assert _net(score) == pytest.approx(-score.metrics["rate/lower"].value, abs=0.6)
    assert score.metrics["core_share"].value == 1


def test_a_bypassed_core_is_found_out() -> None:
    score = _score(models.Bypass)
    assert score.metrics["core_share"].value < 0.01
    assert _weakest(score) <= 0
    assert _net(score) == pytest.approx(-score.metrics["rate/z"].value, abs=0.6)


def test_no_latents_is_worth_zero() -> None:
    assert _net(_score(models.builtin("pixel_marginals"))) == 0


def test_a_vaes_bottleneck_earns_far_more_than_it_costs() -> None:
    score = _score(models.builtin("vae"), "quick")
    assert _net(score) == _weakest(score) > 20
    assert score.metrics["return/z"].value > 1.5
    assert 3 <= score.metrics["active_units/z"].value <= 20
    assert score.metrics["rise_only/z"].value == pytest.approx(0, abs=0.05)  # there is no other group
    assert score.metrics["rise_shuffle_within_class/z"].value < score.metrics["rise/z"].value + 1e-6
    assert score.metrics["gradient/z"].value > 0


class Units(Baseline):
    """Six pooled pixels as a posterior N(x, 0.3^2) with prior N(0, 1), as one group or cut after the fourth."""

    core = "z"

    def __init__(self, spec: DataSpec, cut: bool = False, wrapped: int = 0, shuffled: bool = False) -> None:
        super().__init__(spec)
        self.cut, self.wrapped, self.shuffled = cut, wrapped, shuffled
        self.register_buffer("writer", torch.zeros(7, spec.pixels))

    def _wrap(self, loc: Tensor, scale: float) -> D.Distribution:
        q: D.Distribution = D.Normal(loc.view(*loc.shape[:-1], -1, 2), scale)
        for _ in range(self.wrapped):
            q = D.Independent(q, 1)
        return q

    def _codes(self, x: Tensor) -> Tensor:
        codes = 3 * nn.functional.avg_pool2d(x, 7)[:, 0].flatten(1)[:, [5, 6, 9, 10, 2, 13]]
        return codes.flip(1) if self.shuffled else codes

    def fit(self, train: Any) -> None:
        codes = nn.functional.pad(self._codes(train.binary), (0, 1), value=1.0)
        self.writer.copy_(torch.linalg.lstsq(codes, train.binary.flatten(1)).solution)

    def encode(self, x: Tensor) -> Latents:
        codes = self._codes(x)
        parts = {"z": codes[:, :4], "w": codes[:, 4:]} if self.cut else {"z": codes}
        return {name: self._wrap(part, 0.3) for name, part in parts.items()}

    def prior(self, name: str, earlier: Values) -> D.Distribution:
        return self._wrap(torch.zeros({"w": 2, "z": 4 if self.cut else 6}[name]), 1.0)

    def decode(self, values: Values) -> Tensor:
        codes = torch.cat([value.flatten(1) for value in values.values()], 1)
        means = nn.functional.pad(codes, (0, 1), value=1.0) @ self.writer
        return means.clamp(0.02, 0.98).logit().view(-1, *self.spec.shape)


@functools.cache
def _units(**params: Any) -> Score:
    return TASK().score(models.subject_of(Units, **params))


def test_the_whole_messages_net_does_not_care_how_the_message_is_cut_and_the_weakest_groups_does() -> None:
    one, two, other = _units(), _units(cut=True), _units(cut=True, shuffled=True)
    assert abs(_net(one)) > 5
    for cut in (two, other):
        assert _net(cut) == pytest.approx(_net(one), abs=0.5)
        assert abs(_weakest(cut) - _weakest(one)) > 5
    assert _net(one) == _weakest(one)


def test_the_weakest_group_is_ranked_among_equal_groupings_alone_and_nothing_counts_in_the_overall_order() -> None:
    found = {"one": _units(), "two": _units(cut=True)}
    ranked = {m.name: m.direction for m in TASK.metrics}
    assert ranked["weakest_net"] == "" and ranked["weakest_net/*"] == ranked[TASK.primary] == "higher"
    assert not TASK.official
    names = [{n for n in score.per_image if n.startswith("weakest_net")} for score in found.values()]
    assert names == [{"weakest_net/z:6"}, {"weakest_net/z:4/w:2"}]
    assert found["two"].metrics["weakest_net/z:4/w:2"] == found["two"].metrics["weakest_net"]


def test_units_count_as_active_however_often_their_normal_is_wrapped() -> None:
    once, twice = (score.metrics.get("active_units/z") for score in (_units(), _units(wrapped=2)))
    assert once == twice == Measure(6.0)


def test_active_units_summed_over_batches_are_those_of_the_whole() -> None:
    rng = torch.Generator().manual_seed(0)
    loc = torch.randn(50, 40, generator=rng) * torch.logspace(-2, 0, 40) + 100.0
    scale, prior = torch.logspace(-1, 0, 40).expand(50, 40), (torch.full((50, 40), 100.0), torch.ones(50, 40))
    activity = MODULE._Activity()
    for start in range(0, 50, 20):
        activity.add(*(tensor[start : start + 20] for tensor in (loc, scale, *prior)))
    kl = D.kl_divergence(D.Normal(loc, scale), D.Normal(*prior)).mean(0)
    expected = int(((loc.var(0) > MODULE.ACTIVE) & (kl > MODULE.ACTIVE)).sum())
    assert 0 < activity.count() == expected < 40
