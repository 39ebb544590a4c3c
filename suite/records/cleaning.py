"""What a workspace holds, and what of it can go: files of records that are not wanted, leftovers of killed runs."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from suite.errors import UserError
from suite.records.store import pictures_path, record_path
from suite.records.values import values_path

#: The parts of a workspace.
PARTS = ("records", "values", "pictures", "checkpoints", "tuning", "artifacts", "mlflow.db")

#: Scratch folders of runs that were killed, and files that were never finished.
LEFTOVERS = (".run-*", ".*.tmp", "*/.*.tmp", "checkpoints/*/.*.tmp", "tuning/*/.*.tmp")


def sizes(workspace: Path) -> dict[str, tuple[int, int]]:
    """Returns part of the workspace -> (number of files, bytes), for the parts that are there."""
    found = {name: measure([workspace / name]) for name in PARTS}
    return {name: size for name, size in found.items() if size[0]}


def measure(paths: Iterable[Path]) -> tuple[int, int]:
    """Returns how many files these files and folders hold, and their bytes."""
    files = [f for path in paths for f in ([path] if path.is_file() else path.rglob("*")) if f.is_file()]
    return len(files), sum(file.stat().st_size for file in files)


def leftovers(workspace: Path) -> list[Path]:
    """Returns what runs that were killed have left; of a workspace that no run uses now."""
    return sorted({path for pattern in LEFTOVERS for path in workspace.glob(pattern)})


def files_of(workspace: Path, raws: Iterable[Mapping[str, Any]], going: Collection[str]) -> list[Path]:
    """Returns the files of the records that are to go: they, their values and pictures, and checkpoints of no other.

    Args:
        workspace: A workspace.
        raws: All of its records.
        going: The keys of those that are to go.
    """
    all_ = list(raws)
    staying = {raw["checkpoint_key"] for raw in all_ if raw["key"] not in going}
    found: list[Path] = []
    for raw in all_:
        if raw["key"] not in going:
            continue
        record, key = record_path(workspace, raw["key"]), raw["key"]
        found += [record, *record.parent.glob(f"{record.stem}.conflict-*.json")]
        found += [values_path(workspace, key), pictures_path(workspace, key)]
        if raw["checkpoint_key"] and raw["checkpoint_key"] not in staying:
            found.append(workspace / "checkpoints" / raw["checkpoint_key"][:32])
    return [path for path in dict.fromkeys(found) if path.exists()]


def remove(paths: Iterable[Path]) -> None:
    """Removes files and folders.

    Raises:
        UserError: If one of them cannot be removed.
    """
    for path in paths:
        try:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"cannot remove {path}: {error.strerror or error}") from error
