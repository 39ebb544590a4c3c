"""How fast tasks score. Ratios are medians of interleaved pairs, one thread each side, in ``extra_info``."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from suite.contract import Baseline, DataSpec
from suite.measuring import logistic
from suite.measuring.inputs import lay_out, model_decoder, search
from suite.measuring.trust import Frozen
from suite.measuring.whitening import observe

SHAPE, CLASSES = (1, 28, 28), 10
ROUNDS = 3


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _seconds(run: Callable[[], object]) -> float:
    """Processor time, which with one thread is what the run takes on a machine that does nothing else."""
    begin = time.process_time()
    run()
    return time.process_time() - begin


def _labelled(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Overlapping classes in 64 dimensions whose variances fall as those of images do."""
    rng = torch.Generator().manual_seed(seed)
    means = torch.randn(CLASSES, 64, generator=torch.Generator().manual_seed(0))
    y = torch.arange(n) % CLASSES
    x = (means[y] + 2 * torch.randn(n, 64, generator=rng)) / torch.arange(1, 65).sqrt()
    return x, y


def test_a_warm_started_path_against_cold_starts(benchmark: Any) -> None:
    (x, y), (val_x, val_y) = _labelled(5_000, 1), _labelled(2_000, 2)

    def warm() -> object:
        return logistic.fit_path(logistic.solver(x, y), val_x, val_y)

    def cold() -> object:
        return logistic.fit_path(lambda c: logistic.solver(x, y)(c), val_x, val_y)

    warm()  # imports
    ratios = [_seconds(warm) / _seconds(cold) for _ in range(ROUNDS)]
    benchmark.extra_info["warm over cold"] = round(statistics.median(ratios), 3)
    benchmark.extra_info["wanted"] = "at most 0.8"
    benchmark.pedantic(warm, rounds=1)


class _Generator(Baseline):
    """A decoder of 20 numbers, fully connected or convolutional, untrained: only its speed matters."""

    def __init__(self, kind: str) -> None:
        super().__init__(DataSpec("toy", SHAPE, CLASSES, 100))
        dense = (nn.Linear(20, 512), nn.ReLU(), nn.Linear(512, 784), nn.Unflatten(1, SHAPE))
        conv = (
            nn.Linear(20, 64 * 49), nn.ReLU(), nn.Unflatten(1, (64, 7, 7)),
            nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(32, 1, 4, 2, 1),
        )  # fmt: skip
        self.decoder = nn.Sequential(*(dense if kind == "dense" else conv))

    def encode(self, x: Tensor) -> dict[str, Tensor]:
        return {"z": x.flatten(1)[:, :20]}

    def decode(self, values: Any) -> Tensor:
        return self.decoder(values["z"])


@pytest.mark.parametrize(("kind", "wanted"), [("dense", 8), ("conv", 4)])
def test_input_optimization_in_one_batch_against_one_image_at_a_time(benchmark: Any, kind: str, wanted: int) -> None:
    model = Frozen(_Generator(kind))
    images = torch.rand(100, *SHAPE, generator=torch.Generator().manual_seed(0))
    few = images[:10]  # one at a time; the rest would only repeat them

    observed = observe(model, images)

    def optimize(x: Tensor) -> object:
        return search(model_decoder(model), lay_out(model, x, observed), x, (0.1,), 1, 10, torch.Generator())

    optimize(few)
    ratios = []
    for _ in range(ROUNDS):
        alone = _seconds(lambda: [optimize(x) for x in few.split(1)]) * len(images) / len(few)
        ratios.append(alone / _seconds(lambda: optimize(images)))
    benchmark.extra_info["times faster in one batch"] = round(statistics.median(ratios), 2)
    benchmark.extra_info["wanted"] = f"at least {wanted}"
    benchmark.pedantic(lambda: optimize(images), rounds=1)
