"""Sees that Ray has died before Ray's own library, in this process, ends it without a word."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Mapping

#: Seconds between two looks, how long an answer may take, and after how many looks in vain a part counts as dead.
INTERVAL, PATIENCE, LOOKS = 0.5, 5.0, 4


@contextlib.contextmanager
def watched(parts: Mapping[str, tuple[str, int]], died: Callable[[str], object]) -> Iterator[None]:
    """Looks after parts of Ray while the block runs, in a thread of its own.

    Args:
        parts: What must answer, for people -> host and port.
        died: Is called once, in that thread, with the part that no longer answers.
    """
    ended = threading.Event()

    def look() -> None:
        vain = dict.fromkeys(parts, 0)
        while not ended.wait(INTERVAL):
            for name, address in parts.items():
                vain[name] = 0 if answers(address) else vain[name] + 1
                if vain[name] >= LOOKS and not ended.is_set():
                    host, port = address
                    died(f"{name} at {host}:{port} no longer answers")
                    return

    threading.Thread(target=look, name="vigil", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def answers(address: tuple[str, int]) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection(address, timeout=PATIENCE).close()
    except OSError:
        return False
    return True
