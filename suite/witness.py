"""Watches what a block of code opens and whom it calls, by Python's own audit events."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Any

#: What importing a module opens; data inside an installed package are not code.
CODE = {".py", ".pyc", ".so", ".pyd", ".dll", ".dylib"}
#: Folders in which packages describe themselves; libraries look there for plugins.
METADATA = {".dist-info", ".egg-info"}
#: Where the system tells about itself.
SYSTEM = ("/proc/", "/sys/", "/dev/", "/etc/")
CALLS = {"socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.posix_spawn"}


class Witness:
    """Inside ``with``, notes every file opened that is not code, every connection and every process started.

    An audit hook can't be taken out of a process, so this belongs into one that ends soon.

    Args:
        allowed: Names of files that may be opened.

    Attributes:
        seen: One line for each thing noted, ready to follow "the model".
    """

    def __init__(self, allowed: Collection[str] = ()) -> None:
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
            path = Path(args[0].decode() if isinstance(args[0], bytes) else args[0])
            known = path.suffix in CODE or path.name in self._allowed or str(path).startswith(SYSTEM)
            if not known and path.parent.suffix not in METADATA:
                self.seen.append(f"opens {path}")
