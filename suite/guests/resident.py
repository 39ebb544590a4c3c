"""A model from outside that lives in two rooms: opened, trained, given weights, with an untrained twin beside it."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor

from suite.data import Dataset, DataSpec
from suite.guests import containment
from suite.guests.apprentice import pack_splits, report_of, weights_of
from suite.guests.company import Company
from suite.guests.room import Job
from suite.guests.rooms import Rooms
from suite.guests.schema import Schema
from suite.guests.wire import Frame
from suite.training import TrainingReport

#: Training images from which the looks of all answers are frozen.
SETTLING = 4
#: Training images from which an untrained twin takes its running statistics.
TWIN_IMAGES = 1_280
#: Seconds that training may take at most where the trial has no limit of its own.
TRAINING_SECONDS = 24 * 3600.0
#: Under which name a model lives in its rooms, where it is given none.
MODEL = "model"


class Resident:
    """What a guest is beside its answers.

    Args:
        job: Source, parameters and, once it is trained, weights.
        static: The declarations that were read from its text.
        spec: What it may know of the data.
        walls: From ``containment.available``.
        company: A secret from which the company of rows comes; empty draws one.
    """

    def __init__(
        self,
        job: Job,
        static: Mapping[str, Any],
        spec: DataSpec,
        walls: containment.Containment,
        company: str = "",
    ) -> None:
        self.job, self.static, self.spec, self.walls = job, static, spec, walls
        self.name = str(job.source["name"])
        self.core, self.supervision = str(static["core"]), str(static["supervision"])
        self.device = torch.device("cpu")
        self.trainable = self.own_features = False
        self._place = MODEL
        self._opened: Rooms | None = None
        self._fitting = False
        self._graphs = 0
        self._secret = company or secrets.token_hex(16)
        self._company = Company(self._secret)
        self._schema = Schema(self.name)
        self._ndim: dict[str, int] = {}
        self._twin: Self | None = None
        self._free_priors: dict[str, Frame] = {}

    # --- the rooms --------------------------------------------------------------------------------------------

    def open(self, rooms: Rooms | None = None, place: str = MODEL) -> None:
        """Opens the rooms of the sender and of the receiver, or moves into some that are open, under a name."""
        self._opened, self._place = rooms or Rooms(self.walls), place
        self._give(self.job)

    @property
    def rooms(self) -> Rooms:
        """Those that it lives in."""
        assert self._opened is not None
        return self._opened

    def close(self) -> None:
        """Ends all processes."""
        if self._opened is not None:
            self._opened.close()
        self._opened = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def until(self, deadline: float | None) -> None:
        """Sets when, on ``time.monotonic()``'s clock, every answer must have come."""
        self.rooms.until(deadline)

    def _give(self, job: Job) -> None:
        self.job, self._twin = job, None
        self._free_priors.clear()
        self.rooms.give(job, self._place)

    @contextlib.contextmanager
    def fitting(self) -> Iterator[None]:
        """Lets sittings last inside the block, where all that is asked comes from training images."""
        before, self._fitting = self._fitting, True
        self.rooms.rise()
        try:
            yield
        finally:
            self._fitting = before
            self.rooms.rise()

    def settle(self, images: Tensor) -> None:
        """Freezes what answers look like, from training images (N, C, H, W)."""
        raise NotImplementedError

    # --- training ---------------------------------------------------------------------------------------------

    def train(
        self, dataset: Dataset, budget: str, precision: str, report: Callable[[dict[str, Any]], None] | None = None
    ) -> TrainingReport:
        """Trains in the sender's room, which has seen no test image yet, and takes the weights to both rooms."""
        self.rooms.sender.sit(self._place)
        answer = self._trained(dataset, budget, precision, report)
        self._take_weights(answer)
        return report_of(answer.text)

    def _trained(
        self,
        dataset: Dataset,
        budget: str,
        precision: str = "float32",
        report: Callable[[dict[str, Any]], None] | None = None,
        **more: int,
    ) -> Frame:
        told, tensors = pack_splits(dataset, self.supervision != "none")
        request = Frame(
            "train", {**told, "seed": self.job.seed, "budget": budget, "precision": precision, **more}, tensors
        )
        return self.rooms.sender.ask(request, "trained", TRAINING_SECONDS, report)

    def train_again(
        self, dataset: Dataset, budget: str, before: Dataset | None = None
    ) -> tuple[dict[str, Tensor], list[str]]:
        """Trains another one, under random global streams, and keeps the weights that it has.

        Args:
            dataset: What it is trained on.
            budget: How long.
            before: What yet another one is trained on first, in the same process.

        Returns:
            The weights, and what was opened and who was called meanwhile, as the guest's process tells it.
        """
        self.rooms.rise()
        room = self.rooms.sender
        room.sit(self._place, watch=True)
        if before is not None:
            self._trained(before, budget)
        answer = self._trained(dataset, budget, streams=secrets.randbits(63))
        seen = room.ask(Frame("seen"), "seen").text
        self.rooms.rise()
        return weights_of(answer), [str(line) for line in seen] if isinstance(seen, list) else []

    def give_weights(self, state: Mapping[str, Tensor]) -> None:
        """Plays with these weights from now on."""
        self._give(replace(self.job, state=dict(state)))

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the weights that the rooms hold."""
        return dict(self.job.state)

    def untrained(self, images: Tensor) -> Self:
        """Returns the untrained twin, in the same rooms; its running statistics are those of these training images."""
        if self._twin is None:
            self.rooms.rise()
            room = self.rooms.sender
            room.sit(self._place)
            answer = room.ask(Frame("untrained", None, [images]), "trained")
            self._twin = self.sibling(f"{self._place}, untrained", replace(self.job, state=weights_of(answer)))
            self._twin.settle(images[:SETTLING])
        return self._twin

    def sibling(self, place: str, job: Job) -> Self:
        """Returns another guest that lives in the same rooms, under a name of its own."""
        other = type(self)(job, self.static, self.spec, self.walls, f"{self._secret}/{place}")
        other.open(self.rooms, place)
        return other

    def _take_weights(self, answer: Frame) -> None:
        self._give(replace(self.job, state=weights_of(answer)))

    def count(self) -> int:
        """Returns how many numbers are trained, as the guest counts them; notes which methods it has of its own."""
        self.trainable = bool(self._asked_number("trains"))
        self.own_features = bool(self._asked_number("probed"))
        return self._asked_number("parameters") or 0

    def _asked_number(self, what: str) -> int | None:
        room = self.rooms.sender
        if not room.seated(self._place):
            room.sit(self._place)
        told = room.ask(Frame(what), "number").text
        return told if is_count(told) else None


def is_count(told: object) -> bool:
    """Whether a guest told a number that can be how many there are of something."""
    return type(told) is int and 0 <= told < 2**62
