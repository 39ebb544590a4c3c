"""Interpolation: who knows the way stays among images, and who copies, jumps or says nothing scores the cross-fade."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import Tensor, nn

from suite import data, training
from suite.contract import Baseline, DataSpec, Latents, Score, Unsupported, Values
from suite.measuring import judge
from suite.measuring.judge import Verdict
from suite.measuring.subject import make_subject
from suite.plugins import registry
from tasks.interpolation import Interpolation, blend, lies_between, nearest
from tests import models

SIDE = 12


def bars(position: Tensor) -> Tensor:
    """A bright upright bar, three pixels wide, for each position (N,) in [0, 9], (N, 1, 12, 12)."""
    columns = torch.arange(SIDE)
    bar = (2 - (columns - 1 - position.unsqueeze(1)).abs()).clamp(0, 1)
    return (0.02 + 0.96 * bar).view(-1, 1, 1, SIDE).expand(-1, 1, SIDE, SIDE).contiguous()


@functools.cache
def sliding() -> data.Dataset:
    """Bars at every position; the class is the side, and those of two classes are far apart."""

    def split(n: int, seed: int) -> data.Split:
        position = 9 * torch.rand(n, generator=torch.Generator().manual_seed(seed))
        return data.Split(bars(position), (position > 4.5).long())

    test = split(200, 1)
    spec = DataSpec("sliding", (1, SIDE, SIDE), 2, 2000)
    return data.Dataset(data.info("digits"), spec, "", split(2000, 0), test, lambda: test)


class Sides(nn.Module):
    """Sees on which side the ink is."""

    def look(self, x: Tensor) -> Verdict:
        ink = x.sum((1, 2))
        return Verdict(torch.stack([ink[:, : SIDE // 2].sum(1), ink[:, SIDE // 2 :].sum(1)], 1), {})


class Position(Baseline):
    """The bar's position, decoded as the bar."""

    def encode(self, x: Tensor) -> Latents:
        weight = x.sum((1, 2)) - x.sum((1, 2)).amin(1, keepdim=True)
        return {"z": (weight * (torch.arange(SIDE) - 1)).sum(1, keepdim=True) / weight.sum(1, keepdim=True)}

    def decode(self, values: Values) -> Tensor:
        return torch.logit(bars(values["z"].squeeze(1)))


class Snap(Position):
    """Decodes every position as one of the two ends' usual ones: a jump in disguise of a real code."""

    def decode(self, values: Values) -> Tensor:
        z = values["z"].squeeze(1)
        return torch.logit(bars(torch.where(z > 4.5, 7.0, 2.0)))


class Mute(Position):
    """Decodes one likely image, whatever it is sent."""

    def decode(self, values: Values) -> Tensor:
        return torch.logit(bars(torch.full((len(values["z"]),), 2.0)))


class Mirror(Position):
    """Goes a way among images, but not from the one that it was given to the other."""

    def decode(self, values: Values) -> Tensor:
        return torch.logit(bars(9 - values["z"].squeeze(1)))


class Speckled(Position):
    """Salt and pepper on whatever is not near the middle between two sides."""

    def decode(self, values: Values) -> Tensor:
        z = values["z"].squeeze(1)
        noise = torch.rand(SIDE, SIDE, generator=torch.Generator().manual_seed(0)) < 0.15
        images = bars(z)
        return torch.logit(torch.where(noise & ((z - 4.5).abs() > 1.5).view(-1, 1, 1, 1), 1 - images, images))


def score(cls: type[Baseline], dataset: data.Dataset) -> Score:
    recipe = training.Recipe(cls, dataset.spec)
    return Interpolation().score(make_subject(recipe.build(), recipe, dataset, "smoke"))


@pytest.fixture
def _sides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "of", lambda subject: Sides())
    monkeypatch.setattr(judge, "facts", lambda judge, dataset: "sides")


def value(found: Score, name: str = "midpoint_excess_nats") -> float:
    return found.metrics[name].value


def test_the_task_is_found_under_its_name() -> None:
    assert registry.discover("task")["interpolation"].static["primary"] == Interpolation.primary


@pytest.mark.usefixtures("_sides")
def test_a_model_that_knows_the_way_stays_among_images_and_the_pixels_do_not() -> None:
    found = score(Position, sliding())
    assert value(found, "interpolated") > 0.95
    assert 0 <= value(found) < 6
    assert value(found, "crossfade") > 30
    assert value(found, "nearest") == pytest.approx(0, abs=10)


@pytest.mark.usefixtures("_sides")
def test_ends_that_are_rarer_than_their_images_gain_nothing() -> None:
    plain, speckled = score(Position, sliding()), score(Speckled, sliding())
    assert value(speckled, "end_nats") > value(speckled, "image_nats") + 20
    assert value(speckled, "image_nats") == value(plain, "image_nats")
    assert value(speckled, "interpolated") > 0.5
    assert value(speckled, "ungated_excess_nats") >= value(plain, "ungated_excess_nats")
    assert value(speckled) >= value(plain) - 1e-9


@pytest.mark.usefixtures("_sides")
@pytest.mark.parametrize("cls", [Position, Speckled, Snap])
def test_no_pairs_excess_is_below_zero(cls: type[Baseline]) -> None:
    found = score(cls, sliding())
    assert found.per_image["midpoint_excess_nats"].min() >= 0
    assert min(excess for _, excess in found.curves["excess_nats"]) >= 0
    assert found.curves["excess_nats"][4] == (0.5, pytest.approx(value(found, "ungated_excess_nats")))


@pytest.mark.usefixtures("_sides")
@pytest.mark.parametrize("cls", [Snap, Mute, Mirror])
def test_a_jump_a_constant_or_another_way_counts_as_the_cross_fade(cls: type[Baseline]) -> None:
    found = score(cls, sliding())
    assert value(found, "interpolated") == 0
    assert value(found) == value(found, "crossfade")
    assert value(found, "ungated_excess_nats") < 6  # the cheat that the gate is there for


@pytest.mark.parametrize(("name", "tolerance"), [("copy", 0), ("raw_pixels", 0.2)])
def test_copiers_score_the_cross_fade(name: str, tolerance: float) -> None:
    found = Interpolation().score(models.subject_of(models.builtin(name)))
    for suffix in ("", "_within"):
        fade = value(found, f"crossfade{suffix}")
        assert value(found, f"midpoint_excess_nats{suffix}") == pytest.approx(fade, abs=tolerance)
    assert value(found, "crossfade") > value(found, "nearest") + 20
    assert value(found, "interpolated") == (0 if name == "copy" else 1)


def test_no_latents_is_unsupported() -> None:
    with pytest.raises(Unsupported, match="no latents"):
        Interpolation().score(models.subject_of(models.builtin("pixel_marginals")))


def test_the_pairs_and_the_floor_are_the_same_for_every_model() -> None:
    found = [Interpolation().score(models.subject_of(cls)) for cls in (models.Bypass, models.CopyHalves)]
    assert value(found[0], "crossfade") == value(found[1], "crossfade")
    assert value(found[0], "nearest_within") == value(found[1], "nearest_within")


def test_real_groups_go_straight_and_discrete_ones_change_in_the_middle() -> None:
    first = {"z": torch.tensor([[0.0, 2.0]]), "k": torch.tensor([3])}
    last = {"z": torch.tensor([[4.0, 2.0]]), "k": torch.tensor([5])}
    for share, z, k in ((0.0, 0.0, 3), (0.25, 1.0, 3), (0.5, 2.0, 5), (1.0, 4.0, 5)):
        found = blend(first, last, share, {"k"})
        assert found["z"].tolist() == [[z, 2.0]] and found["k"].tolist() == [k]


def test_the_middle_of_a_straight_way_lies_between_and_an_end_does_not() -> None:
    a, b = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    assert lies_between((a + b) / 2, a, b).all()
    assert not lies_between(a, a, b) and not lies_between(b, a, b) and not lies_between(a, a, a)


def test_the_nearest_image_is_the_image_itself_where_it_is_among_them() -> None:
    x = models.digits().train.grey[:50]
    assert torch.equal(nearest(x[7:9] + 0.01, x), x[7:9])
