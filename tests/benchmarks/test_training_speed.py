"""The training loop beside what it could be: the bare matrix product, the textbook loop, pythae, bfloat16, two at once.

Every figure is the median of ratios of runs side by side, in ``extra_info``; nothing timed is asserted.
"""

from __future__ import annotations

import contextlib
import io
import logging
import statistics
import struct
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from baselines.vae import VAE
from suite import data, training
from suite.contract import Batch

ROUNDS = 5
BATCH, STEPS = 128, 279
MULTIPLY_ADDS = 784 * 512 + 512 * 32 + 16 * 512 + 512 * 784
COPIES = 10  # of the digits: 93 steps an epoch


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    training.BUDGETS["benchmark"] = BATCH * STEPS


@pytest.fixture(scope="module")
def digits() -> data.Dataset:
    return many_digits()


def many_digits() -> data.Dataset:
    digits = data.load("digits")
    train = data.Split(digits.train.grey.repeat(COPIES, 1, 1, 1), digits.train.labels.repeat(COPIES))
    return replace(digits, train=train)


def ours(dataset: data.Dataset, precision: str = "float32") -> float:
    """Images a second of the suite's loop on a 784-512-16 VAE."""
    baseline = training.Recipe(VAE, dataset.spec, {"latent": 16, "hidden": 512}).build()
    return training.train(baseline, dataset, seed=0, budget="benchmark", precision=precision).images_per_second


def side_by_side(benchmark: Any, one: Callable[[], float], other: Callable[[], float], **info: Any) -> None:
    """Runs both in turn; records the median of the ratios of their rates, ``one`` over ``other``."""
    rates: list[list[float]] = [[], []]
    other(), one()  # warm
    benchmark.pedantic(
        lambda: rates[0].append(one()), setup=lambda: rates[1].append(other()), rounds=ROUNDS, iterations=1
    )
    ratios = [a / b for a, b in zip(*rates, strict=True)]
    benchmark.extra_info.update(
        ratio=statistics.median(ratios),
        ratios=sorted(round(ratio, 3) for ratio in ratios),
        rates=[statistics.median(rate) for rate in rates],
        **info,
    )


def bare(dataset: data.Dataset) -> float:
    """Images a second of a loop over one batch, made ready beforehand: loss, gradient and torch's fused Adam."""
    model = training.Recipe(VAE, dataset.spec, {"latent": 16, "hidden": 512}).build()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    batch = Batch(dataset.train.binary[:BATCH].clone(), None, torch.arange(BATCH), 0.0)
    start = time.perf_counter()
    for _ in range(STEPS):
        optimizer.zero_grad()
        model.loss(batch)["loss"].mean().backward()
        optimizer.step()
    return STEPS * BATCH / (time.perf_counter() - start)


def product(dtype: torch.dtype = torch.float32) -> float:
    """FLOP a second of a 2048-cubed matrix product."""
    a, b = torch.randn(2, 2_048, 2_048).to(dtype)
    a @ b
    times = []
    for _ in range(5):
        start = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - start)
    return 2 * 2_048**3 / statistics.median(times)


def test_the_loop_against_the_bare_matrix_product(benchmark: Any, digits: data.Dataset) -> None:
    """At least 0.75: shuffling, binarization, optimizer and logging in a quarter of the time.

    How much a processor leaves to reach varies, so ``bare_loop`` tells what a loop reaches that does none of it.
    """
    bare(digits)
    reached = statistics.median(6 * MULTIPLY_ADDS * bare(digits) / product() for _ in range(ROUNDS))
    side_by_side(benchmark, lambda: 6 * MULTIPLY_ADDS * ours(digits), product, bare_loop=reached)


def test_the_loop_against_a_data_loader_with_transforms(benchmark: Any, digits: data.Dataset, tmp_path: Path) -> None:
    """At least 1.4: same network, same loss, written as in the textbooks."""
    pytest.importorskip("torchvision")
    write_mnist(tmp_path, digits.train)
    side_by_side(benchmark, lambda: ours(digits), lambda: textbook(digits, tmp_path))


def test_the_loop_against_pythae(benchmark: Any, digits: data.Dataset, tmp_path: Path) -> None:
    """At least 1.4: its own VAE of the same layers, its own trainer, on images binarized once."""
    pytest.importorskip("pythae", reason="pythae is not installed")
    logging.getLogger("pythae").setLevel(logging.CRITICAL)
    side_by_side(benchmark, lambda: ours(digits), lambda: pythaes(digits.train.binary, tmp_path))


def test_bfloat16_against_float32(benchmark: Any, digits: data.Dataset) -> None:
    """At least 1.8 where the processor multiplies bfloat16 about four times as fast; ``product`` tells."""
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this processor has no bfloat16 instructions")
    ratio = statistics.median(product(torch.bfloat16) / product() for _ in range(ROUNDS))
    side_by_side(benchmark, lambda: ours(digits, "bf16"), lambda: ours(digits), product=ratio)


def test_two_trials_at_once_against_one(benchmark: Any) -> None:
    """At least 1.7 on two cores, one thread each."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:

        def rate(trials: int) -> float:
            return sum(pool.map(_trial, range(trials)))

        rate(2)
        side_by_side(benchmark, lambda: rate(2), lambda: rate(1))


def _trial(_: int) -> float:
    """The rate in a process of its own."""
    torch.set_num_threads(1)
    training.BUDGETS["benchmark"] = BATCH * STEPS
    return ours(many_digits())


def textbook(dataset: data.Dataset, root: Path) -> float:
    """Images a second of a DataLoader over torchvision's MNIST, with transforms, and a plain loop."""
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    transform = transforms.Compose([transforms.ToTensor(), torch.bernoulli])
    loader = DataLoader(datasets.MNIST(str(root), transform=transform), batch_size=BATCH, shuffle=True, drop_last=True)
    model = VAE(dataset.spec, latent=16, hidden=512)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    start, total = time.perf_counter(), 0.0
    for x, y in loader:
        optimizer.zero_grad()
        loss = model.loss(Batch(x, None, y, 0.0))["loss"].mean()
        loss.backward()
        optimizer.step()
        total += loss.item()
    return len(loader) * BATCH / (time.perf_counter() - start)


def write_mnist(root: Path, split: data.Split) -> None:
    """Writes a split as torchvision's MNIST lies on disk."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    images = (split.grey[:, 0] * 255).round().byte().numpy()
    arrays = {"train-images-idx3": images, "train-labels-idx1": split.labels.numpy().astype(np.uint8)}
    arrays |= {"t10k-images-idx3": images[:1], "t10k-labels-idx1": split.labels[:1].numpy().astype(np.uint8)}
    for name, array in arrays.items():
        header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
        (folder / f"{name}-ubyte").write_bytes(header + array.tobytes())


def pythaes(images: torch.Tensor, folder: Path) -> float:
    """Images a second of pythae's trainer over one epoch, its final save included as in ours the set-up."""
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE as PythaeVAE
    from pythae.models import VAEConfig
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    model = PythaeVAE(VAEConfig(input_dim=(1, 28, 28), latent_dim=16, reconstruction_loss="bce"))
    config = BaseTrainerConfig(
        output_dir=str(folder),
        num_epochs=1,
        per_device_train_batch_size=BATCH,
        learning_rate=1e-3,
        keep_best_on_train=True,
        no_cuda=True,
    )
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        trainer = BaseTrainer(model, BaseDataset(images, torch.zeros(len(images))), training_config=config)
        start = time.perf_counter()
        trainer.train()
        return len(images) / (time.perf_counter() - start)
