"""What a cell left of single images, and its curves: arrays beside the record (npz)."""

from __future__ import annotations

import io
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from suite.files import write_atomically
from suite.records import arrays
from suite.records.store import set_aside

if TYPE_CHECKING:
    import numpy as np

_log = logging.getLogger("suite")


def values_path(workspace: str | Path, key: str) -> Path:
    """Where a cell's per-image values and curves lie (npz)."""
    return Path(workspace) / "values" / f"{key[:32]}.npz"


def lost_values(workspace: str | Path) -> set[str]:
    """Returns the keys (their first 32 characters) whose values were corrupt and have not been measured again."""
    aside = (Path(workspace) / "values").glob("*.npz.corrupt")
    return {path.name[:32] for path in aside if not path.with_suffix("").exists()}


def load_values(
    workspace: str | Path, key: str, names: Collection[str] | None = None, prefix: str = ""
) -> dict[str, np.ndarray]:
    """Returns a cell's arrays by name (curves as ``curve/<name>``); empty where they are missing or unreadable.

    An unreadable file is renamed to ``*.corrupt``, and the next run measures its cell again.

    Args:
        workspace: The folder that may hold them.
        key: The cell's.
        names: The arrays to read; None reads all.
        prefix: What the names of the arrays to read begin with.
    """
    path = values_path(workspace, key)
    if not path.exists():
        return {}
    try:
        found = arrays.read(path, names)
        return {name: array for name, array in found.items() if name.startswith(prefix)}
    except arrays.Unreadable as error:
        again = "the next `suite run` of its cell measures it again"
        _log.warning("corrupt values %s (%s): %s; %s", path, error, set_aside(path), again)
        return {}


def load_curves(workspace: str | Path, key: str) -> dict[str, np.ndarray]:
    """Returns a cell's curves by name, each (steps, 2): step and value; empty where there are none."""
    return {n.removeprefix("curve/"): curve for n, curve in load_values(workspace, key, prefix="curve/").items()}


def write_values(workspace: str | Path, key: str, values: Mapping[str, np.ndarray]) -> None:
    """Writes a cell's arrays beside its record, atomically."""
    import numpy as np

    buffer = io.BytesIO()
    np.savez_compressed(buffer, **values)  # type: ignore[arg-type]
    write_atomically(values_path(workspace, key), buffer.getvalue())
