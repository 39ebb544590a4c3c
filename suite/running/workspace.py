"""The folder of a run: one run at a time, a scratch folder of its own, and a log for what Ray prints."""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from suite.errors import UserError

LOCK, LOG, SCRATCH = ".lock", "driver.log", ".run-"


@contextlib.contextmanager
def locked(workspace: Path) -> Iterator[None]:
    """Holds the workspace for this process; the system lets go of it however the process ends.

    Raises:
        UserError: If another run holds it (with its process id), or it cannot be written.
    """
    try:
        workspace.mkdir(parents=True, exist_ok=True)
        lock = (workspace / LOCK).open("a+")
    except OSError as error:
        raise UserError(f"cannot write to {workspace}: {error.strerror or error}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise UserError(f"another run (process {holder}) is using {workspace}: wait for it or stop it") from None
        lock.truncate(0)
        lock.write(f"{os.getpid()} on {platform.node()}")
        lock.flush()
        yield


def holder(workspace: Path) -> str:
    """Returns the run that uses the workspace (its process id and machine); empty where none does."""
    try:
        with (workspace / LOCK).open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return lock.read().strip() or "unknown"
    except OSError:  # no run has ever used it
        return ""
    return ""


@contextlib.contextmanager
def scratch(workspace: Path) -> Iterator[Path]:
    """Yields an empty folder in a locked workspace, and removes it and those of runs that were killed."""
    sweep(workspace)
    folder = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=workspace))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(workspace: Path) -> None:
    """Removes the scratch folders of killed runs from a locked workspace."""
    for old in workspace.glob(f"{SCRATCH}*"):
        shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def silenced(workspace: Path) -> Iterator[None]:
    """Sends whatever is printed inside, by Python or by C++ code, to the workspace's log."""
    with (
        (workspace / LOG).open("a", buffering=1, errors="replace") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
        _standard_error_to(log),
    ):
        yield


@contextlib.contextmanager
def _standard_error_to(log: TextIO) -> Iterator[None]:
    before = os.dup(2)
    os.dup2(log.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def console_file() -> TextIO:
    """Returns standard error as a file of its own, which ``silenced`` does not touch."""
    try:
        return os.fdopen(os.dup(sys.stderr.fileno()), "w", buffering=1, errors="replace")
    except (OSError, ValueError):  # a test's or a notebook's stand-in for a file
        return sys.stderr
