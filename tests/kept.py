"""Rooms of guests that serve test after test: a keeper takes three seconds to open, and runs no line of a guest's.

Every sitting is forked anew all the same. A room in which something went wrong is closed for good.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from suite.guests import GuestDied, rooms
from suite.guests.containment import Containment
from suite.guests.room import Room

#: Rooms that nobody lives in.
EMPTY: list[KeptRoom] = []


class KeptRoom(Room):
    """A room that is left as it was found, instead of being torn down."""

    def __init__(self, walls: Containment) -> None:
        super().__init__(walls)
        self.walls = walls

    def close(self) -> None:
        """Waits until nobody is seated, and hands the room on, once."""
        if self in EMPTY:
            return
        self.deadline = None
        try:
            self.rise()
            self.settle()
        except GuestDied:
            super().close()
        else:
            EMPTY.append(self)

    def end(self) -> None:
        """Tears the room down."""
        super().close()


def kept_room(walls: Containment) -> Room:
    """Returns an empty room with such walls, or a new one."""
    for room in EMPTY:
        if room.walls == walls:
            EMPTY.remove(room)
            return room
    return KeptRoom(walls)


@contextlib.contextmanager
def rooms_are_kept() -> Iterator[None]:
    """Has every room inside the block be one of these; closes them at its end."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rooms, "Room", kept_room)
        yield
    for room in EMPTY:
        room.end()
    EMPTY.clear()
