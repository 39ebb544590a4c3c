"""The linear reference: principal components, alone and around centroids."""

from __future__ import annotations

import torch
from torch import Tensor

from suite.measuring.reference import fit_linear, linear_outputs

SHAPE = (1, 6, 6)


def _images(n: int, seed: int) -> Tensor:
    """Images around three far centres, each with one direction of its own strength."""
    rng = torch.Generator().manual_seed(seed)
    centres, axis = torch.eye(36)[[3, 17, 30]] * 0.8 + 0.1, torch.zeros(36)
    axis[5] = 0.3
    labels = torch.arange(n) % 3
    return (centres[labels] + 0.5 * axis + axis * torch.randn(n, 1, generator=rng) / 4).view(n, *SHAPE)


def _error(output: Tensor, x: Tensor) -> float:
    return float((output - x).square().flatten(1).sum(1).mean())


def test_centroids_are_found_and_what_they_leave_over_is_what_the_axes_explain() -> None:
    train = _images(90, 0)
    linear = fit_linear(train.flatten(1), 1, 3)
    assert sorted(linear.centres.argmax(1).tolist()) == [3, 17, 30]
    assert int(linear.axes[:, 0].abs().argmax()) == 5


def test_as_many_centroids_as_there_are_clusters_beat_one_more_component() -> None:
    train, x = _images(90, 0), _images(12, 1)
    outputs = [
        linear_outputs(linear, train, x, (0.1,), 10, 20, torch.Generator())[0]
        for linear in (fit_linear(train.flatten(1), 2), fit_linear(train.flatten(1), 1, 3))
    ]
    assert _error(outputs[1], x) < 1e-4 < _error(outputs[0], x)


def test_a_single_centroid_is_the_mean() -> None:
    train = _images(90, 0)
    linear = fit_linear(train.flatten(1), 2)
    torch.testing.assert_close(linear.centres[0], train.flatten(1).mean(0))
    torch.testing.assert_close(linear.axes.T @ linear.axes, torch.eye(2), atol=1e-5, rtol=0)


def test_more_centroids_than_images_are_the_images() -> None:
    train = _images(6, 0)
    linear = fit_linear(train.flatten(1), 1, 10)
    found, projected = linear_outputs(linear, train, train, (0.1,), 1, 2, torch.Generator())
    assert _error(found, train) < 1e-8
    assert _error(projected, train) < 1e-8
