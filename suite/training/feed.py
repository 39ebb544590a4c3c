"""Training batches: shuffled rows of the resident tensor, binarized afresh at every step."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from suite.data import Batch, Dataset
from suite.seeds import derive, torch_rng

#: Random bits per pixel: the probability is off by at most 2^-16, where 8-bit images are themselves off by 1/510.
BITS = 15


class Feed:
    """Batches of one dataset: shuffled rows of the resident tensor, binarized afresh."""

    def __init__(self, dataset: Dataset, trains_on: str, labels: bool, batch: int) -> None:
        grey = dataset.train.grey
        self.images, self.device, self.batch, self.shape = len(grey), grey.device, batch, grey.shape[1:]
        self.labels = dataset.train.labels if labels else None
        self.binary = trains_on == "binary"
        self.rows = grey.flatten(1)
        if self.binary:
            self.rows = _thresholds(self.rows)

    def epoch(self, seed: int, epoch: int, steps: range, total: int) -> Iterator[Batch]:
        """Yields the batches of an epoch's first steps.

        Args:
            seed: The trial's seed.
            epoch: Which epoch; each has a permutation and a noise of its own.
            steps: The steps' numbers within the whole run.
            total: Steps of the whole run.
        """
        order = torch.randperm(self.images, generator=torch_rng(seed, "batches", epoch)).to(self.device)
        noise = torch.Generator(self.device).manual_seed(derive(seed, "binarization", epoch))
        for i, step in enumerate(steps):
            index = order[i * self.batch : (i + 1) * self.batch]
            x = self.rows.index_select(0, index)
            if self.binary:
                # Comparing straight into floats costs a tenth of converting the booleans.
                ones = torch.empty(x.shape, dtype=torch.float32, device=self.device)
                x = torch.le(self._bits(x.numel(), noise).view_as(x), x, out=ones)
            y = self.labels.index_select(0, index) if self.labels is not None else None
            yield Batch(x.view(-1, *self.shape), y, index, step / total)

    def _bits(self, n: int, noise: torch.Generator) -> Tensor:
        """Returns n random integers of 15 bits: four from each random word, which is what makes them cheap."""
        words = torch.empty(math.ceil(n / 4), dtype=torch.int64, device=self.device).random_(generator=noise)
        return words.view(torch.int16)[:n].bitwise_and_(2**BITS - 1)


def _thresholds(rows: Tensor) -> Tensor:
    """Returns what ``BITS`` random bits may be at most for a pixel to be 1: -1 for intensity 0, all for 1."""
    thresholds = torch.empty(rows.shape, dtype=torch.int16, device=rows.device)
    for start in range(0, len(rows), 256):  # in the processor's cache, without a float copy of all images
        thresholds[start : start + 256] = (rows[start : start + 256] * 2**BITS).round_().sub_(1).clamp_(-1, 2**BITS - 1)
    return thresholds
