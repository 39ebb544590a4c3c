"""Ctrl-C, SIGTERM and a terminal that closes: one way to end a run."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

#: Set from the moment of a Ctrl-C to the end of the block that it ends.
_asked = threading.Event()

#: Set while the block tidies up.
_ending = threading.Event()

#: How many blocks the main thread is in, one within the other.
_depth = 0


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Makes SIGTERM, and a terminal that closes, end the block as Ctrl-C does; in the main thread."""
    global _depth
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        if _ending.is_set():
            return
        _asked.set()
        raise KeyboardInterrupt

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in numbers}
    _depth += 1
    try:
        yield
    except KeyboardInterrupt:
        end()
        raise
    finally:
        _depth -= 1
        if not _depth:
            _asked.clear()
            _ending.clear()
        for number, handler in before.items():
            signal.signal(number, handler)


def end() -> None:
    """Says that an ``interruptible`` block is on its way out: further signals would only break what it tidies up."""
    if _asked.is_set():
        _ending.set()


def stop_if_asked() -> None:
    """Raises KeyboardInterrupt again where a signal in an ``interruptible`` block was swallowed, as in an import.

    A KeyboardInterrupt without a signal is an error of whoever raised it.
    """
    if _asked.is_set():
        raise KeyboardInterrupt
