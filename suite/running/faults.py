"""Which errors of a trial are its machine's: they say nothing of the model, and the cell runs again by itself."""

from __future__ import annotations

import errno
import platform

from suite.errors import MachineFault, Unwritable

#: Errors of the system that no model can be blamed for.
_ERRORS = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENFILE))


def fault_of_machine(error: BaseException) -> str:
    """Returns what is wrong with this machine, with its name; empty where the error is the model's or the task's."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        inner = waiting.pop()
        if inner is None or id(inner) in seen:
            continue
        seen.add(id(inner))
        if _is_of_machine(inner):
            return f"machine {platform.node()}: {inner}"
        waiting += [inner.__context__, inner.__cause__]
    return ""


def _is_of_machine(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in _ERRORS
    return isinstance(error, MachineFault | Unwritable)
