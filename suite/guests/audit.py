"""Watches what a submitted file opens and whom it calls, by Python's own audit events."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from suite.plugins import PREFIX as SUBMITTED

#: What importing a module opens; data inside an installed package are not code.
CODE = {".py", ".pyc", ".so", ".pyd", ".dll", ".dylib"}
#: Where the system tells about itself, and folders in which packages do: libraries look there for plugins.
SYSTEM = ("/proc/", "/sys/", "/dev/", "/etc/")
METADATA = {".dist-info", ".egg-info"}
CALLS = {"socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.posix_spawn"}


class Witness:
    """Inside ``with``, notes every file read that is not code, every connection and every process started.

    What an installed library reads while it is being imported is its own business. An audit hook can't be
    taken out of a process, so this belongs into one that ends soon.

    Args:
        allowed: Names of files that may be read.

    Attributes:
        seen: One line for each thing noted, ready to follow "the model".
    """

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self.seen: list[str] = []
        self._allowed = frozenset(allowed)
        self._watching = False
        sys.addaudithook(self._note)

    def __enter__(self) -> Witness:
        self._watching = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._watching = False

    def _note(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._watching:
            return
        if event in CALLS:
            self.seen.append(f"reaches outside its process ({event})")
        elif event == "open" and isinstance(args[0], str | bytes) and not args[2] & os.O_EXCL:  # a new file is empty
            path = Path(os.fsdecode(args[0]))
            if not self._known(path) and not _library_import(sys._getframe(1)):
                self.seen.append(f"opens {path}")

    def _known(self, path: Path) -> bool:
        ours = path.suffix in CODE or path.name in self._allowed
        return ours or path.parent.suffix in METADATA or str(path).startswith(SYSTEM)


def _library_import(frame: FrameType | None) -> bool:
    """Whether a library is being imported here, rather than a submitted file at work."""
    while frame:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        if frame.f_globals.get("__name__", "").startswith(SUBMITTED):
            return False
        frame = frame.f_back
    return False
