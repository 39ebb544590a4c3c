"""A room whose keeper never started says nothing of the guest; one that ended in the midst of a sitting does."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

import pytest

from suite.errors import MachineFault
from suite.guests import available, containment
from suite.guests.room import GuestDied, Room
from suite.guests.wire import Frame
from suite.running.faults import fault_of_machine

#: What a keeper does instead of starting.
FALLEN = {"ends": "raise SystemExit('bwrap: no permissions')", "hangs": "import time; time.sleep(60)"}


@contextlib.contextmanager
def room(monkeypatch: pytest.MonkeyPatch, code: str) -> Iterator[Room]:
    """Opens a room with another program for a keeper."""
    monkeypatch.setattr(containment, "command", lambda walls, inner: [sys.executable, "-c", code])
    with contextlib.closing(Room(available())) as opened:
        opened.deadline = time.monotonic() + 3
        yield opened


@pytest.mark.parametrize("how", FALLEN)
def test_a_keeper_that_does_not_start_is_its_machines_fault(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    with room(monkeypatch, FALLEN[how]) as opened:
        with pytest.raises((MachineFault, GuestDied)) as error:
            opened.sit()
            opened.ask(Frame("encode"), "values")
        assert "no process for a guest could be started" in str(error.value)
        assert fault_of_machine(error.value)
        assert how != "ends" or "bwrap: no permissions" in str(error.value)
        with pytest.raises(MachineFault):
            opened.settle()


def test_a_keeper_that_started_and_ended_is_its_guests_doing(monkeypatch: pytest.MonkeyPatch) -> None:
    ready = "import socket, sys; from suite.guests.wire import *; send(socket.socket(fileno=%d), Frame('ready'))"

    def command(walls: containment.Containment, inner: list[str]) -> list[str]:
        return [sys.executable, "-c", ready % int(inner[-2])]

    monkeypatch.setattr(containment, "command", command)
    with contextlib.closing(Room(available())) as opened, pytest.raises(GuestDied):
        opened.sit()
        opened.ask(Frame("encode"), "values")
