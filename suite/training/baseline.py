"""What a baseline is: the class that every model derives from, and what its methods hand over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from suite.data import Batch, DataSpec, TrainSet


@dataclass(frozen=True)
class Discrete:
    """A discrete code: integers below ``classes`` (pooling switches, cluster ids, binary maps).

    Attributes:
        values: int64, shape (N, ...), each in ``[0, classes)``.
        classes: How many values each position can take.
    """

    values: Tensor
    classes: int


#: What one group of latents may be: a stochastic posterior, a deterministic code (floating, shape
#: (N, ...)), a discrete code, or a function of the values of the earlier groups that returns one of these.
Group = Distribution | Tensor | Discrete | Callable[[Mapping[str, Tensor]], Any]


#: What ``encode`` returns: an ordered mapping from group name to group.
Latents = Mapping[str, Group]


#: What ``decode`` receives: one tensor (N, ...) per group, drawn or disturbed by the suite; int64 for
#: discrete groups and Categorical posteriors, floating otherwise.
Values = Mapping[str, Tensor]


class Baseline(nn.Module):
    """One model with its training objective. Subclass it in one file of ``baselines/``.

    Declare the class attributes as plain literals (they are read without importing the file), take
    hyperparameters as keyword arguments of ``__init__``, and implement ``encode`` and ``decode``, with
    ``loss`` (gradient training) or ``fit`` (closed form) or neither (a model that is not trained).
    Parameters *and buffers* are the checkpoint; anything else is rebuilt by ``__init__``.

    Class attributes:
        summary: One line for lists.
        paper: Where the model is described.
        family: Of a family's baselines the best counts in the overall order. Empty: the file's name.
        supervision: ``"none"``, ``"labels"`` or ``"semi"``; without it no label is ever handed over.
        core: The group that is meant to hold the content.
        groups: Group name -> one line on what it holds and of which kind it is.
        variants: Name of each baseline this class provides -> its parameters. Empty: the class name in
            snake case, with the defaults.
        space: Parameter -> where ``suite tune`` searches it: ``[64, 128]`` (choices), ``(low, high)`` or ``(low, high,
            "log")``. Read as text; not there when the model runs.
        trains_on: ``"binary"`` (a fresh draw per step) or ``"grey"``.
        batch_size, learning_rate: Of the training loop (Adam).
        files: Weight files beside the source that belong to the model; hashed into its key.
    """

    summary: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    family: ClassVar[str] = ""
    supervision: ClassVar[str] = "none"
    core: ClassVar[str] = "z"
    groups: ClassVar[dict[str, str]] = {}
    variants: ClassVar[dict[str, dict[str, Any]]] = {}
    space: ClassVar[dict[str, Any]] = {}
    trains_on: ClassVar[str] = "binary"
    batch_size: ClassVar[int] = 128
    learning_rate: ClassVar[float] = 1e-3
    files: ClassVar[tuple[str, ...]] = ()

    def __init__(self, spec: DataSpec) -> None:
        """Builds the network. Subclasses add keyword parameters with defaults after ``spec``."""
        super().__init__()
        self.spec = spec

    def fit(self, train: TrainSet) -> None:
        """Closed-form training, run once before the first step. Optional."""

    def begin(self, train: TrainSet) -> None:
        """Called whenever training starts or goes on, after ``fit`` and before the first step. Optional.

        The place to take hold of training images that later steps need: the checkpoint should not carry them, and a
        run that goes on from an epoch checkpoint does not call ``fit`` again.
        """

    def monitor(self, batch: Batch) -> dict[str, Tensor | float]:
        """Returns named numbers that are logged after every epoch, measured on its last batch. Optional.

        They are no terms of the loss: a gradient's norm, say, that would be too costly at every step.
        """
        return {}

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Returns ``{"loss": ..., other named terms}``, each of shape (N,), in nats where it is a likelihood.

        The loop minimizes the batch mean of ``"loss"``; the other terms are logged. Optional: a baseline
        that does not override it takes no gradient steps.
        """
        raise NotImplementedError

    def after_epoch(self, epoch: int, train: TrainSet, val: TrainSet) -> bool:
        """Called after every epoch (clusterings, schedules). Returns True to stop early."""
        return False

    def encode(self, x: Tensor) -> Latents:
        """Encodes images (N, C, H, W) into an ordered mapping of groups; see ``Group``.

        Row i of every group depends on image i alone. Runs in eval mode under ``no_grad``.
        """
        raise NotImplementedError

    def prior(self, name: str, earlier: Values) -> Distribution | None:
        """Returns the prior of a group given the earlier groups as the decoder receives them, or None.

        Its parameters broadcast against (N, \\*group shape). None asks for the suite's default: a Gaussian
        with the moments of the training posteriors or codes, a histogram for discrete codes.
        """
        return None

    def decode(self, values: Values) -> Tensor:
        """Returns the logits of the pixels' Bernoullis, (N, C, H, W), from the values of all groups alone."""
        raise NotImplementedError

    def features(self, values: Values) -> Tensor:
        """Returns what the probe reads, (N, d), from the core group's means and codes.

        Optional: by default these, flat. An index is no quantity, so the suite, which knows the number of classes
        from ``encode``, reads a discrete core of more than two as indicators, one column a position and class.
        """
        value = values[self.core]
        return value.reshape(len(value), -1).to(torch.get_default_dtype())
