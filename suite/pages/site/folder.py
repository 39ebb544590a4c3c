"""The folder that a site is written to: nothing there is overwritten that a site did not write."""

from __future__ import annotations

import json
from pathlib import Path

from suite.errors import UserError

#: The file that tells a site's folder, and lists what it wrote there.
LIST = "site.json"


class Folder:
    """Takes the files of a site.

    Args:
        path: Of the folder; made where it is missing.

    Raises:
        UserError: If something else lies there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before = self._listed()
        self._written: set[str] = set()
        if self._before is None and path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UserError(f"{path} holds other files: name a new folder, or one that `suite site` made")

    def write(self, name: str, data: bytes | str) -> None:
        """Writes a file below the folder.

        Raises:
            UserError: If it cannot be written.
        """
        file = self._path / name
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data.encode() if isinstance(data, str) else data)
        except OSError as error:
            raise UserError(f"cannot write {file}: {error.strerror or error}") from error
        self._written.add(name)

    def finish(self) -> int:
        """Removes what an earlier site left here and this one has not; returns how many files there are."""
        for name in (self._before or set()) - self._written:
            (self._path / name).unlink(missing_ok=True)
        self.write(LIST, json.dumps(sorted(self._written), indent=0) + "\n")
        return len(self._written)

    def _listed(self) -> set[str] | None:
        """Returns the names of an earlier site's files; None where there is none. A name that leads out is no name."""
        try:
            names = json.loads((self._path / LIST).read_bytes())
        except (OSError, ValueError):
            return None
        if not isinstance(names, list):
            return None
        return {name for name in names if isinstance(name, str) and self._inside(name)}

    def _inside(self, name: str) -> bool:
        return (self._path / name).resolve().is_relative_to(self._path.resolve())
