"""The processes of a stage: found by the folder that they work in or by a mark in their environment, and ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import psutil

#: The variable that every process of a stage inherits; its value is the stage's folder.
MARK = "FAULTS_STAGE"


def alive(folder: Path) -> list[psutil.Process]:
    """Returns what runs for a stage: all that its commands have started, whoever its parent is by now."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid() and _is_of(process, folder):
                found.append(process)
    return found


def _is_of(process: psutil.Process, folder: Path) -> bool:
    with contextlib.suppress(psutil.Error):  # a process that renames itself overwrites its environment
        if Path(process.cwd()) == folder:
            return True
    return process.environ().get(MARK) == str(folder)


def kill_tree(pid: int) -> None:
    """Kills a process and all below it at once, as a power cut does."""
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                process.kill()


def below(pid: int, name: str) -> psutil.Process:
    """Returns the first process below another whose name begins so."""
    return next(p for p in psutil.Process(pid).children(recursive=True) if _name(p).startswith(name))


def _name(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return str(process.name())
    return ""


def free_port() -> int:
    """Returns a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], object], seconds: float = 300.0, what: str = "") -> None:
    """Waits until a condition holds.

    Raises:
        TimeoutError: If it does not.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:g} s in vain for {what or 'a condition'}")
        time.sleep(0.02)


def send(pid: int, number: signal.Signals) -> None:
    """Sends a signal to a process that may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
