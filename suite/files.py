"""Where the package lies, and files that are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from suite.errors import Unwritable

#: The package's own folder.
PACKAGE = Path(__file__).resolve().parent


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
