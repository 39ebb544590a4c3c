"""Whitened coordinates: no units, no frame of their own, and degenerate codes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal, OneHotCategorical
from torch.nn import functional as F

from suite.contract import Discrete
from suite.measuring import whitening
from suite.measuring.whitening import Observed, observe, whiten_codes


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


IMAGES = torch.rand(400, 1, 4, 4, generator=_rng())
MIXING = torch.randn(5, 5, generator=_rng(1), dtype=torch.float64)


def _observed(encode: Any, images: Tensor = IMAGES) -> Observed:
    model: Any = SimpleNamespace(encode=encode, resolve=lambda name, group, earlier, n: group)
    return observe(model, images)


def _codes(images: Tensor) -> Tensor:
    return images.flatten(1)[:, :5] * torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0])


def test_training_codes_have_mean_zero_and_covariance_one_in_their_coordinates() -> None:
    codes = (_codes(IMAGES).double() @ MIXING.T).float()
    u = whiten_codes(codes, IMAGES).coordinates(codes).double()
    torch.testing.assert_close(u.mean(0), torch.zeros(5).double(), atol=1e-4, rtol=0)
    torch.testing.assert_close(u.T @ u / len(u), torch.eye(5).double(), atol=1e-4, rtol=0)


def test_values_and_coordinates_are_inverse_maps() -> None:
    codes = _codes(IMAGES)
    white = whiten_codes(codes, IMAGES)
    torch.testing.assert_close(white.values(white.coordinates(codes)), codes, atol=1e-4, rtol=1e-5)


def test_an_affine_map_of_a_code_leaves_its_coordinates_as_they_are_up_to_their_signs() -> None:
    plain = _codes(IMAGES)
    mapped = (plain.double() @ MIXING.T * 1000 + 7).float()
    first, second = (whiten_codes(codes, IMAGES).coordinates(codes) for codes in (plain, mapped))
    torch.testing.assert_close(first.abs(), second.abs(), atol=2e-3, rtol=0)


def test_the_axes_of_a_linear_code_are_those_along_which_images_vary_most() -> None:
    x = IMAGES.flatten(1) * torch.linspace(1, 4, 16)
    variances, axes = torch.linalg.eigh(torch.cov(x.T.double(), correction=0))
    codes = ((x - x.mean(0)).double() @ axes.flip(1)[:, :5]).float()
    white = whiten_codes((codes.double() @ MIXING.T).float(), x)
    expected = codes / variances.flip(0)[:5].sqrt()
    torch.testing.assert_close(white.coordinates((codes.double() @ MIXING.T).float()).abs(), expected.float().abs(),
                               atol=1e-2, rtol=0)  # fmt: skip


def test_wide_codes_are_scaled_and_not_turned() -> None:
    codes = torch.rand(400, 300, generator=_rng()) * torch.linspace(0.1, 10, 300)
    white = whiten_codes(codes, IMAGES)
    assert white.factor.shape == (300,)
    torch.testing.assert_close(white.coordinates(codes).std(0, correction=0), torch.ones(300), atol=1e-4, rtol=0)


@pytest.mark.parametrize("width", [3, 300])
def test_a_constant_code_and_a_collapsed_dimension_have_finite_coordinates(width: int) -> None:
    codes = torch.rand(400, width, generator=_rng())
    codes[:, 1] = 5.0
    collapsed = whiten_codes(codes, IMAGES)
    assert bool(torch.isfinite(collapsed.coordinates(codes)).all())
    torch.testing.assert_close(collapsed.values(collapsed.coordinates(codes)), codes, atol=1e-5, rtol=1e-5)
    for value in (0.0, 5.0):
        constant = whiten_codes(torch.full((400, width), value), IMAGES)
        moved = constant.values(torch.ones(1, width)) - value
        torch.testing.assert_close(moved.norm(), torch.tensor((value or 1.0) * width**0.5), atol=1e-3, rtol=1e-3)


def test_posteriors_are_whitened_by_their_mixture_over_images() -> None:
    sd = torch.tensor([0.5, 1.0, 2.0, 0.1, 3.0])
    normal = _observed(lambda x: {"z": Normal(_codes(x), sd.expand(len(x), 5))}).whitenings["z"]
    wanted = torch.cov(_codes(IMAGES).T.double(), correction=0) + torch.diag(sd.double().square())
    torch.testing.assert_close(normal.factor @ normal.factor.T, wanted, atol=1e-4, rtol=1e-4)
    cov = MIXING.float() @ MIXING.float().T
    full = _observed(lambda x: {"z": MultivariateNormal(_codes(x), cov)}).whitenings["z"]
    wanted = torch.cov(_codes(IMAGES).T.double(), correction=0) + cov.double()
    torch.testing.assert_close(full.factor @ full.factor.T, wanted, atol=1e-3, rtol=1e-3)


def test_typical_values_are_training_means_and_most_frequent_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whitening, "CHUNK", 2)
    codes = torch.tensor([0, 2, 2, 1, 2])
    images = (codes / 10).view(-1, 1, 1, 1).expand(-1, 1, 4, 4)

    def encode(x: Tensor) -> Any:
        k = (x.flatten(1)[:, :1] * 10).round().long()
        return {"k": Discrete(k, 11), "hot": OneHotCategorical(logits=9.0 * F.one_hot(k[:, 0], 11)), "z": x}

    found = _observed(encode, images)
    assert found.typical("k", torch.zeros(3, 1).long()).tolist() == [[2], [2], [2]]
    hot = found.typical("hot", torch.zeros(3, 11))
    assert (hot.argmax(1).tolist(), hot.sum(1).tolist()) == ([2, 2, 2], [1, 1, 1])
    torch.testing.assert_close(found.typical("z", images[:1])[0], images.mean(0))
