"""What every test stands on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator

import pytest

# A shell that starts the tests in the background, or nohup, lets them and every command they start ignore these.
if threading.current_thread() is threading.main_thread():
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(autouse=True, scope="session")
def _kept_rooms() -> Iterator[None]:
    """Guests of this process's tests move into rooms that are open already."""
    from tests.kept import rooms_are_kept

    with rooms_are_kept():
        yield
