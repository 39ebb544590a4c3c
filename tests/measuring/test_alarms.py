"""Alarms: each rings for its mistake, and for no honest model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from suite.contract import Baseline, DataSpec, Latents, Values
from suite.measuring import noise
from suite.measuring.alarms import OFF_SCALE, PROBABILITIES, only_probabilities
from suite.measuring.channel import fit_channel
from suite.measuring.subject import Subject
from tests.models import builtin, subject_of


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "STARTS", (0.1,))
    monkeypatch.setattr(noise, "MAX_BLOCKS", 2)


class Blocks(Baseline):
    """Mean ink of 16 blocks, decoded as the probability of each pixel; the code as a tensor or as a Normal."""

    core = "z"
    answer: str = "logits"

    def __init__(self, spec: DataSpec, deviation: float = 0.0) -> None:
        super().__init__(spec)
        self.deviation = deviation
        self.register_buffer("mean", torch.zeros(spec.pixels))

    def encode(self, x: Tensor) -> Latents:
        z = nn.functional.avg_pool2d(x, 7).flatten(1)
        wrapped = Independent(Independent(Normal(z, max(self.deviation, 1e-9)), 1), 0)
        return {"z": wrapped if self.deviation else z}

    def decode(self, values: Values) -> Tensor:
        z = values["z"].view(-1, 1, 4, 4)
        probabilities = z.repeat_interleave(7, 2).repeat_interleave(7, 3).clamp(0.02, 0.98)
        return {
            "logits": torch.logit(probabilities),
            "sigmoid": probabilities,
            "wild": 30 * torch.logit(probabilities),
            "reversed": -9 * torch.logit(probabilities),
        }[self.answer]


def _fitted(answer: str, **params: Any) -> Subject:
    subject = subject_of(type("Blocks", (Blocks,), {"answer": answer}), **params)
    fit_channel(subject)
    return subject


def test_decoded_values_that_never_leave_zero_to_one_are_flagged() -> None:
    wrong, right = _fitted("sigmoid"), _fitted("logits")
    assert PROBABILITIES in wrong.flags and any("no final sigmoid" in note for note in wrong.notes)
    assert right.flags == [] and right.notes == []


@pytest.mark.parametrize(
    ("low", "high", "odd"),
    [(0.0, 1.0, True), (0.1, 0.5, True), (0.1, 0.2, False), (-0.01, 1, False), (0, 1.01, False), (0, 0, False)],
)
def test_what_hardly_varies_or_leaves_the_range_once_is_no_sigmoid(low: float, high: float, odd: bool) -> None:
    assert only_probabilities(low, high) == odd


@pytest.mark.parametrize("answer", ["wild", "reversed"])
def test_logits_that_cost_more_than_none_until_they_are_calibrated_are_flagged(answer: str) -> None:
    wrong = _fitted(answer)
    assert wrong.flags == [OFF_SCALE] and "calibration" in wrong.notes[0]


def test_a_decoder_that_was_hardly_trained_is_off_no_scale() -> None:
    subject = subject_of(builtin("vae"), "smoke")
    fit_channel(subject)
    assert subject.flags == []


def test_a_code_in_the_guise_of_a_narrow_normal_is_told_to_be_handed_over_as_a_tensor() -> None:
    narrow, wide = _fitted("logits", deviation=1e-4), _fitted("logits", deviation=0.1)
    assert narrow.flags == [] and [note.startswith("z: ") for note in narrow.notes] == [True]
    assert "as a tensor" in narrow.notes[0]
    assert wide.notes == []


def test_an_alarm_is_heard_by_every_task_that_prices_the_model() -> None:
    subject = _fitted("sigmoid")
    subject.flags, subject.notes = [], []
    fit_channel(subject)
    assert PROBABILITIES in subject.flags
