"""What a trial costs: seconds, and those of the processors, by what they went into."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator


class Stopwatch:
    """Adds up time by name. Of two names at once the inner one is charged: no second counts twice.

    Attributes:
        seconds: Name -> seconds so far.
        core: Name -> seconds of the processors so far, all threads of this process: other work hardly moves them.
    """

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.core: defaultdict[str, float] = defaultdict(float)
        self._names: list[str] = []
        self._since = 0.0, 0.0

    @contextlib.contextmanager
    def timing(self, name: str) -> Iterator[None]:
        """Charges the time that the block takes to a name."""
        self._charge()
        self._names.append(name)
        try:
            yield
        finally:
            self._charge()
            self._names.pop()

    def _charge(self) -> None:
        now = time.perf_counter(), time.process_time()
        if self._names:
            self.seconds[self._names[-1]] += now[0] - self._since[0]
            self.core[self._names[-1]] += now[1] - self._since[1]
        self._since = now
