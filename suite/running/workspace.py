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
from suite.records import sweep_unfinished

LOCK, LOG, SCRATCH = ".lock", "driver.log", ".run-"


@contextlib.contextmanager
def locked(workspace: Path) -> Iterator[None]:
    """Holds the workspace for this process; the system lets go of it however the process ends.

    Raises:
        UserError: If another run holds it (with its process id), or it cannot be written.
    """
    with _writing(workspace):
        workspace.mkdir(parents=True, exist_ok=True)
        lock = (workspace / LOCK).open("a+", errors="replace")
    with lock:
        with _writing(workspace):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                name = lock.read().strip() or "unknown"
                raise UserError(f"another run (process {name}) is using {workspace}: wait for it or stop it") from None
            lock.truncate(0)
            lock.write(f"{os.getpid()} on {platform.node()}")
            lock.flush()
        yield


@contextlib.contextmanager
def _writing(workspace: Path) -> Iterator[None]:
    """Says in one line what the system refuses in a workspace, whichever of its files it is about.

    Raises:
        UserError: If it refuses anything.
    """
    try:
        yield
    except OSError as error:
        name = f"{error.filename}" if error.filename else f"{workspace}"
        raise UserError(f"cannot write to {name}: {error.strerror or error}") from error


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
    with _writing(workspace):
        folder = Path(tempfile.mkdtemp(prefix=SCRATCH, dir=workspace))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(workspace: Path) -> None:
    """Removes what killed runs have left in a locked workspace: scratch folders, and files that are not whole."""
    sweep_unfinished(workspace)
    for old in workspace.glob(f"{SCRATCH}*"):
        shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def silenced(workspace: Path) -> Iterator[None]:
    """Sends whatever is printed inside, by Python or by C++ code, to the workspace's log."""
    with _writing(workspace):
        opened = (workspace / LOG).open("a", buffering=1, errors="replace")
    with (
        opened as log,
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
