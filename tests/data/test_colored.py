"""Coloured variants: the same images and labels, with ink and stroke that are known and independent of them."""

from __future__ import annotations

import colorsys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from suite import data
from suite.data import colored
from suite.errors import UserError


@pytest.fixture(scope="module")
def grey() -> data.Dataset:
    return data.load("digits")


@pytest.fixture(scope="module")
def inked() -> data.Dataset:
    return data.load("colored:digits")


def test_images_labels_and_splits_are_those_of_the_grey_dataset(grey: data.Dataset, inked: data.Dataset) -> None:
    for split in ("train", "val", "test"):
        plain, painted = getattr(grey, split), getattr(inked, split)
        assert torch.equal(plain.labels, painted.labels)
        assert painted.grey.shape == (len(plain), 3, 28, 28)
        assert painted.grey.min() >= 0 and painted.grey.max() <= 1
        strokes = painted.grey.amax(1, keepdim=True)  # a pure hue is full in one channel
        assert torch.all(strokes >= plain.grey - 1e-6), "a stroke never loses ink"
    assert inked.spec.shape == (3, 28, 28) and inked.hash != grey.hash


def test_the_factors_are_what_made_the_image(grey: data.Dataset, inked: data.Dataset) -> None:
    split, factors = inked.val, inked.val.factors
    assert set(factors) == set(inked.info.factors) == {"colour", "thickness"}
    thickest = torch.nn.functional.max_pool2d(grey.val.grey, 3, 1, 1)
    stroke = torch.lerp(grey.val.grey, thickest, factors["thickness"].view(-1, 1, 1, 1))
    assert torch.allclose(split.grey, stroke * factors["colour"].view(-1, 3, 1, 1), atol=1e-6)


def test_the_factors_say_nothing_of_each_other_or_of_the_class(inked: data.Dataset) -> None:
    split = inked.train
    known = torch.cat([split.factors["colour"], split.factors["thickness"]], 1).double()
    columns = torch.cat([known, torch.nn.functional.one_hot(split.labels).double()], 1).T
    correlation = torch.corrcoef(columns)
    assert correlation[3, :3].abs().max() < 4 / len(split) ** 0.5
    assert correlation[:4, 4:].abs().max() < 4 / len(split) ** 0.5


def test_every_split_has_a_stream_of_its_own_and_the_same_one_each_time(inked: data.Dataset) -> None:
    again = data.load("colored:digits")
    assert again.hash == inked.hash and torch.equal(again.train.grey, inked.train.grey)
    few = [getattr(inked, split).factors["thickness"][:100] for split in ("train", "val", "test")]
    assert not any(torch.equal(a, b) for a, b in ((few[0], few[1]), (few[0], few[2]), (few[1], few[2])))


@given(st.floats(0, 1, exclude_max=True))
def test_pure_hues_are_the_hsv_circle(hue: float) -> None:
    assert colored.pure(torch.tensor([hue], dtype=torch.float64))[0].tolist() == pytest.approx(
        colorsys.hsv_to_rgb(hue, 1, 1), abs=1e-9
    )


def test_a_misspelt_coloured_name_is_told_the_nearest() -> None:
    with pytest.raises(UserError, match="unknown dataset 'colored:mnst'; did you mean 'colored:mnist'"):
        data.info("colored:mnst")
    with pytest.raises(UserError, match="unknown dataset 'colored:colored:mnist'"):
        data.info("colored:colored:mnist")
