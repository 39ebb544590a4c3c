"""The sender's and the receiver's room: who is seated when, and for how long.

Never are both seated at the same time, but while something is fitted on training images. A sitting answers one
request, or one message: the priors of its groups in turn and its decoding, each of which the receiver may know when it
is asked for the next. Where the receiver is asked time and again, its next sitting loads the guest while the referee
works on an answer; the one before it has ended by then.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from suite.guests.containment import Containment
from suite.guests.room import Job, Room
from suite.guests.wire import Frame

#: What the receiver's sitting has been asked for.
NOTHING, MESSAGE, GRADIENTS, FIT = "nothing", "a message", "gradients", "a fit"


class Rooms:
    """Two rooms, whose keepers start at once and are waited for when they are needed.

    Args:
        walls: From ``containment.available``.
    """

    def __init__(self, walls: Containment) -> None:
        others = replace(walls, uid=walls.uid + 1) if walls.apart else walls
        self.sender, self.receiver = Room(walls), Room(others)
        self._received = NOTHING
        self._in_turn = False
        self._heard: Mapping[str, Tensor] = {}

    def give(self, job: Job, name: str) -> None:
        """Hands both keepers a job under a name."""
        self.rise()
        for room in (self.sender, self.receiver):
            room.give(job, name)

    def until(self, deadline: float | None) -> None:
        """Sets when, on ``time.monotonic()``'s clock, every answer must have come."""
        self.sender.deadline = self.receiver.deadline = deadline

    def rise(self) -> None:
        """Ends both sittings and waits until they have ended."""
        for room in (self.sender, self.receiver):
            room.rise()
        for room in (self.sender, self.receiver):
            room.emptied()
        self._received = NOTHING

    @contextlib.contextmanager
    def counting(self) -> Iterator[list[Any]]:
        """Has sittings count the operations of their answers; yields a list that at the end has what each has told."""
        told: list[Any] = []
        for room in (self.sender, self.receiver):
            room.counts = True
        try:
            yield told
            told += [r.ask(Frame("counted"), "number").text for r in (self.sender, self.receiver) if r.open]
        finally:
            for room in (self.sender, self.receiver):
                room.counts = False

    def close(self) -> None:
        """Ends all processes."""
        for room in (self.sender, self.receiver):
            room.close()

    def ask_for_fit(self, room: Room, name: str, request: Frame, kind: str, most_bytes: int) -> Frame:
        """Asks a sitting that lasts, about training images."""
        if not room.seated(name):
            room.sit(name)
        self._received = FIT
        return room.ask(request, kind, most_bytes=most_bytes)

    def ask_sender(self, name: str, request: Frame, kind: str, most_bytes: int) -> Frame:
        """Asks a sender that saw nothing else."""
        self._only(self.sender)
        self._in_turn = False
        self.sender.sit(name)
        answer = self.sender.ask(request, kind, most_bytes=most_bytes)
        self.sender.rise()
        return answer

    def ask_receiver(
        self, name: str, request: Frame, told: Mapping[str, Tensor], kind: str, most_bytes: int, *, stays: bool
    ) -> Frame:
        """Asks a receiver that saw nothing else but what it is told again now.

        Args:
            name: Of the job.
            request: What is asked.
            told: The values in it, before rows were mixed.
            kind: Of the answer.
            most_bytes: Of the answer.
            stays: Whether this is not the last that is asked about the message.
        """
        self._only(self.receiver)
        goes_on = self._received == NOTHING or (self._received == MESSAGE and _tells_again(told, self._heard))
        if not (self.receiver.seated(name) and goes_on):
            self.receiver.sit(name)
        self._received, self._heard = MESSAGE, told
        answer = self.receiver.ask(request, kind, most_bytes=most_bytes)
        if not stays:
            if self._in_turn:  # where sender and receiver alternate, the next one would load in vain
                self.receiver.sit(name, early=True)
            else:
                self.receiver.rise()
            self._received, self._in_turn = NOTHING, True
        return answer

    def ask_gradients(self, name: str, request: Frame, kind: str, *, fitting: bool) -> Frame:
        """Asks the receiver's sitting that keeps the graphs of its decoder; what it says is no score."""
        if not fitting:
            self._only(self.receiver)
        wanted = FIT if fitting else GRADIENTS
        if not (self.receiver.seated(name) and self._received in (NOTHING, wanted)):
            self.receiver.sit(name)
        self._received = wanted
        return self.receiver.ask(request, kind)

    def _only(self, room: Room) -> None:
        """Has the other room empty before this one is asked."""
        other = self.sender if room is self.receiver else self.receiver
        if other.open:
            other.rise()
            if other is self.receiver:
                self._received = NOTHING
        other.emptied()


def values_of(request: Frame) -> dict[str, Tensor]:
    """Returns the values that a request to the receiver tells."""
    names = request.text["names"] if isinstance(request.text, dict) else request.text
    return dict(zip(names, request.tensors, strict=True))


def _tells_again(told: Mapping[str, Tensor], heard: Mapping[str, Tensor]) -> bool:
    """Whether all that was heard is told again: the rest of the same message."""
    return all(name in told and torch.equal(value, told[name]) for name, value in heard.items())
