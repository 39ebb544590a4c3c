"""Which errors of a trial are its machine's: they say nothing of the model, and the cell runs again by itself."""

from __future__ import annotations

import errno
import platform
from collections.abc import Callable
from typing import Any

from suite.errors import MachineFault, TrialTimeout, Unwritable
from suite.plugins import traceback_of
from suite.running.interrupt import stop_if_asked

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
            return f"machine {platform.node()}: {text_of(inner)}"
        waiting += [inner.__context__, inner.__cause__]
    return ""


def _is_of_machine(error: BaseException) -> bool:
    kind = type(error)  # `isinstance` would ask the error itself for its class
    if issubclass(kind, OSError):
        return getattr(error, "errno", None) in _ERRORS
    return issubclass(kind, (MachineFault, Unwritable))


def text_of(error: object) -> str:
    """Returns what an error says; a model's own may fail at that too, in any way."""
    return _asked(str, error)


def stack_of(error: BaseException) -> str:
    """Returns the traceback of an error, empty where it has none that can be written down."""
    return _asked(traceback_of, error)


def _asked(question: Callable[[Any], str], error: Any) -> str:
    try:
        return question(error)
    except TrialTimeout:
        raise
    except BaseException:
        stop_if_asked()
        return ""
