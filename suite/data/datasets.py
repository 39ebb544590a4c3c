"""Datasets as resident tensors: names, splits, the frozen binarization, content hashes."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from suite.data import raw as sources
from suite.errors import UserError, unknown

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor

    from suite.data.spec import DataSpec, TrainSet

    Uniform = Callable[[tuple[int, ...]], Tensor | np.ndarray]

#: Seed of the stream that binarizes every split (``numpy.random.RandomState``, frozen by NumPy's promise).
BINARIZATION_SEED = 20
#: What the names of the coloured variants begin with, what is known of their images, and the version of their making.
COLORED, FACTORS, COLORING = "colored:", ("colour", "thickness"), 1
#: Seed of the fixed split of ``digits``.
SPLIT_SEED = 20


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a dataset without reading it.

    Attributes:
        name: As on the command line.
        summary: One line for lists.
        shape: (channels, height, width).
        classes: Number of labels.
        sizes: Images in train, val and test.
        labels: Whether images have labels.
        shared_classes: Whether the classes of the test split occur in the training split.
        factors: What else is known of every image, by name (``Split.factors``).
    """

    name: str
    summary: str
    shape: tuple[int, int, int]
    classes: int
    sizes: tuple[int, int, int]
    labels: bool = True
    shared_classes: bool = True
    factors: tuple[str, ...] = ()


_MNIST_SIZES = (55_000, 5_000, 10_000)

DATASETS: dict[str, DatasetInfo] = {
    info.name: info
    for info in (
        DatasetInfo("digits", "scikit-learn's 8x8 digits, enlarged; embedded", (1, 28, 28), 10, (1_200, 197, 400)),
        DatasetInfo("mnist", "MNIST; the official board", (1, 28, 28), 10, _MNIST_SIZES),
        DatasetInfo("fashion_mnist", "Fashion-MNIST: clothes", (1, 28, 28), 10, _MNIST_SIZES),
        DatasetInfo("kmnist", "Kuzushiji-MNIST: cursive hiragana", (1, 28, 28), 10, _MNIST_SIZES),
        DatasetInfo("emnist", "EMNIST balanced: digits and letters", (1, 28, 28), 47, (103_400, 9_400, 18_800)),
        DatasetInfo(
            "omniglot",
            "Omniglot: background characters in train and val, other characters in test",
            (1, 28, 28),
            1_623,
            (17_674, 1_606, 13_180),
            shared_classes=False,
        ),
    )
}


@dataclass(frozen=True, eq=False)
class Split:
    """One split, resident on the device.

    Attributes:
        grey: float32 in [0, 1], shape (N, C, H, W).
        labels: int64 (N,).
        factors: Name -> (N, k) float32: what is known of how each image was made; never handed to a model.
    """

    grey: Tensor = field(repr=False)
    labels: Tensor = field(repr=False)
    factors: dict[str, Tensor] = field(default_factory=dict, repr=False)

    @property
    def binary(self) -> Tensor:
        """The one fixed binarized draw of ``grey``, float32 in {0, 1}: a copy, for it is kept in a byte a pixel."""
        return self._bits.float()

    def redrawn(self, uniform: Uniform) -> Split:
        """Returns the same images with another binarized draw, as ``binarize`` makes it."""
        other = replace(self)
        other.__dict__["_bits"] = binarize(self.grey, uniform).byte()
        return other

    @functools.cached_property
    def _bits(self) -> Tensor:
        return binarize(self.grey).byte()

    def __len__(self) -> int:
        return len(self.grey)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Train and validation split, and the test split once somebody asks for it.

    Attributes:
        info: What is known without reading.
        spec: What a baseline may know of it.
        hash: The content hash.
        read_test: Reads the test split; called at the first access to ``test``.
    """

    info: DatasetInfo
    spec: DataSpec
    hash: str
    train: Split
    val: Split
    read_test: Callable[[], Split] = field(repr=False)

    @functools.cached_property
    def test(self) -> Split:
        """The test split, read at the first access: after the checkpoint is sealed."""
        return self.read_test()

    def train_set(self, labels: bool) -> TrainSet:
        """Returns the training split as ``fit`` sees it, with labels only where they are declared."""
        return _train_set(self.train, labels)

    def val_set(self, labels: bool) -> TrainSet:
        """Returns the validation split as ``after_epoch`` sees it."""
        return _train_set(self.val, labels)


def info(name: str) -> DatasetInfo:
    """Returns what is known of a dataset.

    Raises:
        UserError: If there is none of that name, with the nearest one.
    """
    plain = _plain(name)
    if plain not in DATASETS:
        raise unknown("dataset", name, names())
    if plain == name:
        return DATASETS[name]
    grey = DATASETS[plain]
    if grey.shape[0] != 1:
        raise UserError(f"dataset '{name}': {plain} has {grey.shape[0]} channels, and only grey images can be inked")
    summary = f"{plain}, each image with ink and stroke of its own"
    return replace(grey, name=name, summary=summary, shape=(3, *grey.shape[1:]), factors=FACTORS)


def names() -> list[str]:
    """Returns the name of every dataset: the grey ones, then their coloured variants."""
    return [*DATASETS, *(COLORED + name for name in DATASETS)]


def _plain(name: str) -> str:
    """The grey dataset behind a coloured one's name."""
    return name.removeprefix(COLORED)


def data_root(explicit: str | Path | None = None) -> Path:
    """Returns the folder of the datasets: the option, else ``SUITE_DATA``, else ``~/.cache/latent-suite``."""
    chosen = explicit or os.environ.get("SUITE_DATA") or "~/.cache/latent-suite"
    return Path(chosen).expanduser().absolute()


def content_hash(name: str, root: str | Path | None = None) -> str:
    """Returns the SHA-256 over the dataset's raw bytes and preparation, without importing torch.

    Raises:
        UserError: If a file is missing and cannot be downloaded, is truncated or is not the genuine one.
    """
    plain = _plain(info(name).name)
    digest = sources.content_hash(plain, data_root(root))
    return digest if plain == name else hashlib.sha256(f"{digest} {COLORED} {COLORING}".encode()).hexdigest()


def on_disk(name: str, root: str | Path | None = None) -> bool:
    """Whether a dataset's files are there, without reading or downloading them."""
    return sources.on_disk(_plain(info(name).name), data_root(root))


def load(name: str, root: str | Path | None = None, device: str | torch.device = "cpu") -> Dataset:
    """Loads the train and validation split as tensors on a device; the test split waits for its first access.

    Raises:
        UserError: As ``content_hash``.
    """
    from suite.data.spec import DataSpec

    known, folder = info(name), data_root(root)
    digest, plain = content_hash(name, folder), _plain(name)
    n, m, _ = known.sizes
    images, labels = sources.read(plain, "train", folder)
    if plain == "digits":
        order = stratified_order(labels, known.sizes)
        images, labels = _enlarge(images)[order], labels[order]

    def part(split: str, a: int, b: int | None) -> Split:
        return finish(_split(images[a:b], labels[a:b], device), split)

    def read_test() -> Split:
        if plain == "digits":
            return part("test", n + m, None)
        return finish(_split(*sources.read(plain, "test", folder), device), "test")

    def finish(grey: Split, split: str) -> Split:
        return grey if plain == name else _painted(grey, split)

    spec = DataSpec(name, known.shape, known.classes, n)
    return Dataset(known, spec, digest, part("train", 0, n), part("val", n, n + m), read_test)


def without_test(dataset: Dataset) -> Dataset:
    """Returns the same data without their test split: whoever asks for test images gets the validation split."""
    n, m, _ = dataset.info.sizes
    return replace(dataset, info=replace(dataset.info, sizes=(n, m, m)), read_test=lambda: dataset.val)


def binarize(grey: Tensor, uniform: Uniform | None = None) -> Tensor:
    """Returns ``u < grey`` as float32, drawn in chunks of one stream.

    Args:
        grey: (N, C, H, W) in [0, 1].
        uniform: Draws u of [0, 1) in a shape, float64; by default a fresh ``RandomState(20)`` does.
    """
    import numpy as np
    import torch

    draw = uniform or np.random.RandomState(BINARIZATION_SEED).random_sample
    x = grey.cpu().numpy()
    bits = np.empty(x.shape, np.float32)
    for start in range(0, len(x), 1_000):
        chunk = x[start : start + 1_000]
        bits[start : start + 1_000] = np.asarray(draw(chunk.shape)) < chunk
    return torch.from_numpy(bits).to(grey.device)


def stratified_order(labels: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """Returns a fixed order of all images that, cut into parts of these sizes, has every class in proportion.

    Sorting by each image's quantile within its class spreads all classes evenly; then each part is shuffled,
    so that no position within it says anything about the class.
    """
    import numpy as np

    stream = np.random.RandomState(SPLIT_SEED)
    quantile = np.empty(len(labels))
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        quantile[rows] = (stream.permutation(len(rows)) + 0.5) / len(rows)
    order = np.argsort(quantile, kind="stable")
    parts = np.split(order, np.cumsum(sizes)[:-1])
    return np.concatenate([stream.permutation(part) for part in parts])


def _enlarge(images: np.ndarray) -> np.ndarray:
    import torch
    from torch.nn import functional as F

    small = torch.from_numpy(images).float().unsqueeze(1)
    return F.interpolate(small, size=(28, 28), mode="bilinear", align_corners=False).squeeze(1).numpy()


def _split(images: np.ndarray, labels: np.ndarray, device: str | torch.device) -> Split:
    import numpy as np
    import torch

    grey = torch.from_numpy(np.array(images, order="C")).to(device, torch.float32).unsqueeze(1)
    if images.dtype == np.uint8:
        grey /= 255
    return Split(grey, torch.from_numpy(np.array(labels)).to(device))


def _painted(split: Split, name: str) -> Split:
    from suite.data import colored

    images, factors = colored.paint(split.grey, name)
    return Split(images, split.labels, factors)


def _train_set(split: Split, labels: bool) -> TrainSet:
    from suite.data.spec import TrainSet

    return TrainSet(split.grey, split.binary, split.labels if labels else None)
