"""What a trial costs: seconds by what they went into."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator


class Stopwatch:
    """Adds up wall time by name. Of two names at once the inner one is charged: no second counts twice.

    Attributes:
        seconds: Name -> seconds so far.
    """

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._names: list[str] = []
        self._since = 0.0

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
        now = time.perf_counter()
        if self._names:
            self.seconds[self._names[-1]] += now - self._since
        self._since = now
