"""Reconstruction: the anchors to their last digit, and the cheats at their price."""

from __future__ import annotations

import dataclasses
import functools

import pytest
import torch

from suite import training
from suite.contract import Score
from suite.measuring import noise
from suite.measuring.channel import fit_channel
from suite.measuring.likelihood import bernoulli_nats
from suite.measuring.subject import Subject
from suite.plugins import registry
from tests import models

TASK = registry.load(registry.source(registry.discover("task")["reconstruction"]))


@functools.cache
def _scored(name: str, budget: str | None = None, **params: object) -> tuple[Subject, Score]:
    subject = models.subject_of(models.builtin(name), budget, **params)
    return subject, TASK().score(subject)


def _value(score: Score, metric: str) -> float:
    return score.metrics[metric].value


def test_the_floor_is_the_pixel_marginals_own_likelihood() -> None:
    _, score = _scored("pixel_marginals")
    train, test = models.digits().train.binary, models.digits().test.binary
    p = (train.double().sum(0) + 1) / (len(train) + 2)
    expected = -(test * p.log() + (1 - test) * (1 - p).log()).flatten(1).sum(1).mean()
    assert _value(score, "nats") == pytest.approx(float(expected), abs=1e-3)
    assert _value(score, "rate") == 0 and _value(score, "calibration_scale") == 1


def test_copying_buys_nothing() -> None:
    _, score = _scored("copy")
    assert _value(score, "distortion") < 1e-6 and _value(score, "distortion_mode") < 1e-6
    assert _value(score, "nats") == pytest.approx(_value(score, "floor"), abs=1e-3)


@pytest.mark.parametrize("posterior", ["code", "exact", "sqrt"])
def test_a_mixture_is_charged_what_mathematics_says(posterior: str) -> None:
    subject, score = _scored("bernoulli_mixture", posterior=posterior)
    bits = models.digits().test.binary
    mixture = subject.model.unwrap()
    log_p = -mixture.exact_nats(bits).double()
    log_responsibility = mixture._log_joint(bits.flatten(1)).log_softmax(1).amax(1).double()
    excess = _value(score, "nats") - float(-log_p.mean())
    assert _value(score, "calibration_scale") == 1
    if posterior == "code":
        assert excess == pytest.approx(float(-log_responsibility.mean()), abs=1e-3)
    elif posterior == "exact":
        assert excess == pytest.approx(0, abs=1e-3)
    else:
        assert excess > 1e-4
        assert _value(score, "nats_same_images") > _value(score, "nats_iwae") > float(-log_p[::10].mean())


def test_a_vaes_nats_are_its_own_negative_elbo() -> None:
    subject, score = _scored("vae", "quick")
    bits, vae = models.digits().test.binary, subject.model.unwrap()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        elbo = torch.stack([vae.loss(_batch(bits))["loss"] for _ in range(20)]).mean()
    gained = float(elbo) - _value(score, "nats")
    assert -0.3 < gained < (0.3 if _value(score, "calibration_scale") == 1 else 30)
    assert _value(score, "nats") > _value(score, "nats_iwae") - 0.5
    assert _value(score, "nats") == pytest.approx(_value(score, "distortion") + _value(score, "rate"))


def _batch(x: torch.Tensor) -> object:
    from suite.contract import Batch

    return Batch(x, None, torch.arange(len(x)), 0.0)


def test_a_lossless_real_code_is_charged_near_the_floor() -> None:
    _, score = _scored("raw_pixels")
    assert _value(score, "distortion_mode") < 1
    assert _value(score, "nats") > 0.75 * _value(score, "floor")


def test_nothing_scores_above_the_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "MAX_BLOCKS", 3)
    score = TASK().score(models.subject_of(models.Nonsense))
    assert _value(score, "nats") <= _value(score, "floor") + 0.5
    assert "above floor" not in score.flags


def test_a_group_that_costs_more_than_it_saves_is_left_out() -> None:
    score = TASK().score(models.subject_of(models.CopyTwice))
    floor = _value(score, "floor")
    assert _value(score, "nats") == _value(score, "rate/upper") == pytest.approx(floor, abs=1e-2)
    assert _value(score, "rate/lower") == 0
    assert _value(score, "nats_unmuted") == pytest.approx(2 * floor, abs=2e-2)
    assert "left out, since it costs more than it saves: lower" in score.notes


def test_groups_that_are_worthless_alone_and_too_dear_together_are_all_left_out() -> None:
    cheap = TASK().score(models.subject_of(models.Handshake))
    floor, price = _value(cheap, "floor"), _value(cheap, "rate/one")
    saved = floor + 2 * price - _value(cheap, "nats")
    assert not any("left out" in note for note in cheap.notes)
    copies = round(0.75 * saved / price)
    assert saved / 2 < copies * price < saved  # without one, the other saves nothing; with both, sending costs more
    dear = TASK().score(models.subject_of(models.Handshake, copies=copies))
    assert _value(dear, "nats_unmuted") == pytest.approx(floor - saved + 2 * copies * price, abs=1)
    assert _value(dear, "nats_unmuted") > floor + 1
    assert _value(dear, "nats") == pytest.approx(floor, abs=1e-2)
    assert "left out, since it costs more than it saves: one, other" in dear.notes


def test_a_posterior_that_tells_the_decoder_nothing_is_not_paid_for() -> None:
    score = TASK().score(models.subject_of(models.builtin("vae"), hidden=16))
    assert _value(score, "rate") == 0
    assert _value(score, "nats") == pytest.approx(_value(score, "floor"), abs=0.5)
    assert _value(score, "nats_unmuted") > _value(score, "floor") + 0.2
    assert score.flags == []


def test_where_every_group_earns_its_price_all_are_sent() -> None:
    _, score = _scored("copy")
    assert _value(score, "nats_unmuted") == _value(score, "nats")
    assert not any("left out" in note for note in score.notes)


def test_dimensions_that_the_decoder_ignores_are_switched_off() -> None:
    subject = models.subject_of(models.HalfUseful)
    noise = fit_channel(subject).noise["z"]
    spread = subject.model.means(models.digits().train.binary)["z"].std(0)
    assert float((noise / spread)[:5].max()) < 0.6
    assert float((noise / spread)[5:].min()) > 3


def test_the_best_start_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "MAX_BLOCKS", 3)

    def nats(*starts: float) -> float:
        monkeypatch.setattr(noise, "STARTS", starts)
        subject = models.subject_of(models.HalfUseful)
        fitted = fit_channel(subject)
        judged = models.digits().train.binary[:1000]
        message = fitted.send(fitted.model.encode(judged), 1000, subject.rng("x"))
        return float((fitted.distortion(message.values, judged) + message.rate).mean())

    assert nats(0.1, 1.0, 30.0) <= min(nats(0.1), nats(1.0), nats(30.0)) + 0.2


def test_the_core_alone_is_worth_what_remains_when_the_rest_is_constant() -> None:
    score = TASK().score(models.subject_of(models.CopyHalves))
    floor = bernoulli_nats(
        fit_channel(models.subject_of(models.CopyHalves)).calibration.floor, models.digits().test.binary
    )
    # The upper half is paid and known, the lower half is as good as its pixel marginals.
    assert _value(score, "core_nats") == pytest.approx(float(floor.flatten(1).sum(1).mean()), abs=2)
    assert _value(score, "rate/upper") == pytest.approx(float(floor[:, :, :14].flatten(1).sum(1).mean()), abs=1e-3)


def test_secret_noise_moves_a_score_by_monte_carlo_error_only() -> None:
    _, public = _scored("vae", "quick")
    subject, _ = _scored("vae", "quick")
    recipe = training.Recipe(models.builtin("vae"), models.digits().spec)
    secret = models.make_subject(subject.model.unwrap(), recipe, models.digits(), "quick", noise="secret")
    assert _value(TASK().score(secret), "nats") == pytest.approx(_value(public, "nats"), abs=0.5)


def test_scores_that_are_too_good_raise_an_alarm() -> None:
    alarms = TASK.score.__globals__["_alarms"]
    assert alarms("mnist", 76.9, 205.9) == ["suspect"]
    assert alarms("mnist", 99.5, 205.9) == []
    assert alarms("digits", 207.0, 206.0) == ["above floor"]


@pytest.mark.parametrize("name", ["conv_autoencoder", "swwae"])
def test_a_small_training_split_is_encoded_once_and_to_the_same_end(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "MAX_BLOCKS", 2)
    monkeypatch.setattr(noise, "STARTS", (1.0,))
    monkeypatch.setattr(noise, "BLOCK_STEPS", 5)

    def fit(most: int) -> tuple[dict[str, torch.Tensor], int]:
        monkeypatch.setattr(noise, "MOST_ENCODED", most)
        subject = models.subject_of(models.builtin(name))
        encode, encoded = subject.model.encode, []
        monkeypatch.setattr(subject.model, "encode", lambda x: encoded.append(len(x)) or encode(x))
        return fit_channel(subject).noise, sum(encoded)

    (once, few), (anew, many) = fit(10_000), fit(0)
    drawn = len(noise.STARTS) * 2 * noise.BLOCK_STEPS * noise.FIT_BATCH
    assert many - few == drawn - len(models.digits().train)
    for group, scale in anew.items():
        assert torch.allclose(once[group], scale, rtol=1e-3)


def test_a_quick_fit_takes_fewer_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "TOLERANCE", -1.0)  # every block gains enough
    price, priced = noise.price, []
    monkeypatch.setattr(noise, "price", lambda *a: priced.append(1) or price(*a))
    monkeypatch.setattr(noise, "MAX_BLOCKS", 10)
    monkeypatch.setattr(noise, "BLOCK_STEPS", 2)
    for budget, blocks in (("quick", noise.BLOCKS["quick"]), ("standard", 10)):
        priced.clear()
        fit_channel(dataclasses.replace(models.subject_of(models.HalfUseful), budget=budget))
        assert len(priced) == len(noise.STARTS) * (1 + blocks)
