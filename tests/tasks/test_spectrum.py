"""Spectrum: nothing is lost between the octaves, the floor is 1 in each, and groups are credited with their own."""

from __future__ import annotations

import functools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.contract import Baseline, Score
from suite.plugins import registry
from tasks.spectrum import IMAGES, Spectrum, band, energy, high_frequency_error, octaves
from tests import models

OCTAVES = 6


@functools.cache
def _score(cls: type[Baseline]) -> Score:
    return Spectrum().score(models.subject_of(cls))


def _errors(score: Score, prefix: str = "error") -> list[float]:
    return [score.metrics[f"{prefix}/octave_{k}"].value for k in range(OCTAVES)]


def test_the_task_is_found_under_its_name() -> None:
    assert registry.discover("task")["spectrum"].static["primary"] == Spectrum.primary


def test_every_coefficient_is_in_one_octave_and_the_first_are_known_by_counting() -> None:
    counts = octaves(28, 28).flatten().bincount().tolist()
    assert sum(counts) == 784
    assert counts[:3] == [1, 4, 8]  # r = 0; r = 1; r = sqrt 2 and 2
    assert len(counts) == OCTAVES


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 3), st.integers(5, 30), st.integers(5, 30), st.integers(0, 10_000))
def test_the_octaves_energies_sum_to_the_squared_norm(channels: int, height: int, width: int, seed: int) -> None:
    x = torch.randn(3, channels, height, width, generator=torch.Generator().manual_seed(seed)).double()
    torch.testing.assert_close(energy(x).sum(1), x.square().flatten(1).sum(1), rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize(
    ("cycles", "octave"), [(0, 0), (1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (8, 4), (9, 5), (14, 5)]
)
def test_a_wave_lies_in_the_octave_of_its_frequency(cycles: int, octave: int) -> None:
    wave = (2 * math.pi * cycles * torch.arange(28) / 28).cos().expand(28, 28)
    for image in (wave, wave.T):
        found = energy(image.reshape(1, 1, 28, 28))[0]
        assert float(found[octave]) == pytest.approx(float(image.square().sum()), rel=1e-6)


def test_an_image_is_the_sum_of_its_octaves() -> None:
    x = models.digits().test.grey[:5]
    torch.testing.assert_close(sum(band(x, k) for k in range(OCTAVES)), x, rtol=0, atol=1e-5)


def test_an_octave_worse_than_the_floor_counts_as_the_floor_and_low_ones_do_not_count() -> None:
    errors = torch.tensor([[9.0, 9, 9, 9, 0.2, 3.0], [9.0, 9, 9, 9, 0.4, 0.0]])
    torch.testing.assert_close(high_frequency_error(errors), torch.tensor([0.6, 0.7]))


def test_the_pixel_marginals_score_1_in_every_octave() -> None:
    score = _score(models.builtin("pixel_marginals"))
    assert _errors(score) == pytest.approx([1] * OCTAVES)
    assert score.metrics["high_frequency_error"].value == pytest.approx(1)
    assert sum(_errors(score, "energy")) == pytest.approx(1)


def test_a_copier_errs_by_the_noise_of_the_bits_and_no_more() -> None:
    digits, score = models.digits(), _score(models.builtin("copy"))
    p = (digits.train.binary.sum(0) + 1) / (len(digits.train) + 2)
    noise = energy(digits.test.grey - digits.test.binary)[:IMAGES].mean(0)
    expected = noise / energy(digits.test.grey - p)[:IMAGES].mean(0)
    assert _errors(score) == pytest.approx(expected.tolist(), rel=1e-4)
    assert score.metrics["high_frequency_error"].value == pytest.approx(1)  # digits hold next to nothing up there


def test_a_group_that_the_decoder_ignores_raises_no_octave_and_the_other_all() -> None:
    score = _score(models.Bypass)
    assert _errors(score, "rise/z") == [0] * OCTAVES
    assert all(1 < rise < 3 for rise in _errors(score, "rise/upper"))


def test_each_half_of_an_image_contributes_to_every_octave() -> None:
    score, whole = _score(models.CopyHalves), _score(models.builtin("copy"))
    assert _errors(score) == pytest.approx(_errors(whole))
    for k in range(OCTAVES):
        assert score.metrics[f"rise/upper/octave_{k}"].value + score.metrics[f"rise/lower/octave_{k}"].value > 0.5
