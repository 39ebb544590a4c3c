"""Where the package lies, files that are written whole or not at all, and folders that no killed process leaves."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import orjson

from suite.errors import Unwritable

#: The package's own folder.
PACKAGE = Path(__file__).resolve().parent

#: Begin of the names of folders for temporary files, and the file in each that its process holds a lock on.
TEMPORARY, HELD = "latent-suite-", ".held"

#: A file of ours beside the records is no longer than this.
_MOST_BYTES = 10_000_000


def write_atomically(path: Path, data: bytes) -> None:
    """Writes a file that is there whole or not at all (temporary file, fsync, rename).

    Raises:
        Unwritable: If the folder cannot be written or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise Unwritable(f"cannot write to {path.parent}: {error.strerror or error}") from error


def read_object(path: Path) -> dict[str, Any]:
    """Returns the JSON object in a file of ours; one that is missing, damaged or overlong counts as empty."""
    try:
        with open(path, "rb", opener=_at_once) as file:
            raw = orjson.loads(file.read(_MOST_BYTES)) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else {}
    except (OSError, ValueError):
        return {}
    return raw if isinstance(raw, dict) else {}


def _at_once(path: str, flags: int) -> int:
    """Opens without waiting for the other end of a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


class TemporaryFolder:
    """A new folder for temporary files, which goes with this process however it ends.

    In order, at ``close`` or with the interpreter; after a kill, when anybody of the same user makes the next one:
    the system lets go of a lock whatever happens to its holder.

    Args:
        parent: The folder in which it lies; None for the system's own.

    Attributes:
        path: Where it is.
        close: Removes it; a second call does nothing.
    """

    def __init__(self, parent: str | None = None) -> None:
        sweep_temporary(parent)
        self.path = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=parent))
        early = self.path / f"{HELD}.new"
        lock = early.open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        early.rename(self.path / HELD)  # whoever sweeps finds it locked or does not find it
        self.close = weakref.finalize(self, _remove, self.path, lock)


def _remove(folder: Path, lock: TextIO) -> None:
    _clear(folder)
    lock.close()


def _clear(folder: Path) -> None:
    """Removes a folder, its lock last: what a kill leaves without one would be nobody's to sweep, for ever."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != HELD:
                path.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def sweep_temporary(parent: str | None = None) -> None:
    """Removes the folders for temporary files of processes that were killed, and ends what these left running."""
    for folder in Path(parent or tempfile.gettempdir()).glob(f"{TEMPORARY}*"):
        with contextlib.suppress(OSError), _unheld(folder):
            _end_users(folder)
            _clear(folder)


@contextlib.contextmanager
def _unheld(folder: Path) -> Iterator[None]:
    """Holds the folder of a killed process of this user.

    Raises:
        OSError: If it is none, or somebody else's.
    """
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise PermissionError
    with (folder / HELD).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _end_users(folder: Path) -> None:
    """Kills the processes of this user that write to files of a folder: what a killed process had started."""
    import psutil

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            mine = process.uids().real == os.getuid() and process.pid != os.getpid()
            if mine and any(f.mode != "r" and Path(f.path).is_relative_to(folder) for f in process.open_files()):
                process.kill()
