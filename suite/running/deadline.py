"""Trials that go on beyond their limit because their worker no longer ends them: the driver has to."""

from __future__ import annotations

import time
from dataclasses import dataclass

from suite.running.limits import GRACE


@dataclass(frozen=True)
class Worker:
    """Where a trial runs: the address of its node, and its process there."""

    address: str
    pid: int


class Deadline:
    """Knows which trials are overdue.

    A worker ends itself at the limit, by C code that nothing in it can hold up. One that is still there ``GRACE``
    seconds later was stopped from outside or hangs in its machine's kernel.

    Args:
        seconds: The limit of a trial; None for none.
    """

    def __init__(self, seconds: float | None) -> None:
        self._patience = None if seconds is None else seconds + GRACE
        self._running: dict[int, tuple[float, Worker]] = {}
        self.reasons: dict[int, str] = {}

    def began(self, index: int, worker: Worker) -> None:
        """A trial has begun; of several calls the first counts."""
        self._running.setdefault(index, (time.monotonic(), worker))

    def ended(self, index: int) -> None:
        """A trial has ended, in whichever way."""
        self._running.pop(index, None)

    def overdue(self) -> dict[int, Worker]:
        """Returns trial -> worker of those that should have ended long ago, each once; ``reasons`` then says why."""
        if self._patience is None:
            return {}
        now = time.monotonic()
        found = {i: worker for i, (since, worker) in self._running.items() if now - since > self._patience}
        for index in found:
            del self._running[index]
            self.reasons[index] = f"its worker did not end {GRACE:g} s after the time limit: it was stopped, or hangs"
        return found
