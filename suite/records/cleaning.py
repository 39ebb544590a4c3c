"""What a workspace holds, and what of it can go: files of records that are not wanted, leftovers of killed runs."""

from __future__ import annotations

import itertools
import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from suite.errors import UserError
from suite.records.store import pictures_path, record_path
from suite.records.values import values_path

#: The parts of a workspace.
PARTS = ("records", "values", "pictures", "checkpoints", "tuning", "artifacts", "mlflow.db")

#: Scratch folders of runs that were killed.
SCRATCH = ".run-*"

#: Parts that the suite writes itself, whole files alone, and the name of a file until it is whole.
_OWN, _UNFINISHED = ("records", "values", "pictures", "checkpoints", "tuning"), re.compile(r"\..+\.(\d+)\.tmp")


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
    return sorted([*workspace.glob(SCRATCH), *(path for path, _ in _unfinished(workspace))])


def sweep_unfinished(workspace: Path) -> None:
    """Removes the files that killed processes of this machine were writing; of a workspace that this process holds."""
    import psutil

    for path, process in _unfinished(workspace):
        if not psutil.pid_exists(process):
            path.unlink(missing_ok=True)


def _unfinished(workspace: Path) -> Iterator[tuple[Path, int]]:
    """Yields the files that are not whole, each with the process that writes or wrote it."""
    walks = (os.walk(workspace / part) for part in _OWN)
    files = ((folder, names) for walk in walks for folder, _, names in walk)
    top = [(str(workspace), [path.name for path in workspace.glob(".*.tmp")])]
    for folder, names in itertools.chain(top, files):
        for name in names:
            if name.startswith(".") and (match := _UNFINISHED.fullmatch(name)):
                yield Path(folder, name), int(match[1])


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
