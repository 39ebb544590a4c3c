"""Records of other folders, taken into a workspace: machines' shares of a board, or a board to publish."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from suite.records import store as records
from suite.records.agreement import differs
from suite.records.record import Record


@dataclass(frozen=True)
class Merged:
    """What a merge did, as keys of records.

    Attributes:
        taken: New in the workspace.
        present: There already with the same result.
        conflicts: There already with another result; both are kept, and every board tells.
    """

    taken: tuple[str, ...]
    present: tuple[str, ...]
    conflicts: tuple[str, ...]


def merge(
    folders: Sequence[str | Path],
    workspace: str | Path,
    *,
    keys: Collection[str] | None = None,
    slim: bool = False,
    values: Sequence[str] = (),
    warnings: list[str] | None = None,
) -> Merged:
    """Takes the records of folders into a workspace, with their per-image values and pictures.

    Args:
        folders: Workspaces or folders of records.
        workspace: Where to; made if need be.
        keys: Take the records of these keys alone; None takes all.
        slim: Of what lies beside the records, take the per-image values of the ranked metric alone, which a paired
            comparison needs: what is small enough to publish.
        values: Patterns (``rise/*``) of further metrics whose per-image values a slim merge takes.
        warnings: Takes one line per corrupt record and per alarm.

    Raises:
        UserError: If the workspace cannot be written.
    """
    outcome: dict[str, list[str]] = {"taken": [], "present": [], "conflicts": []}
    found = [r for r in records.read_all(*folders, warnings=warnings) if keys is None or r.key in keys]
    known = records.read_keys(workspace, (record.key for record in found), warnings)
    for record in found:
        old = known.get(record.key)
        conflict = False
        if old is None or differs(old, vars(record)):
            conflict = records.write(workspace, record) != records.record_path(workspace, record.key)
        outcome["conflicts" if conflict else "present" if old else "taken"].append(record.key)
        if slim and not conflict:
            _copy_values(folders, workspace, record, values)
        elif not conflict:
            _copy_beside(folders, workspace, record.key)
    return Merged(*(tuple(outcome[name]) for name in ("taken", "present", "conflicts")))


def _copy_beside(folders: Sequence[str | Path], workspace: str | Path, key: str) -> None:
    """Copies a record's values and pictures from the first folder that has them, where the workspace has none."""
    for locate in (records.values_path, records.pictures_path):
        target = locate(workspace, key)
        source = next((path for folder in folders if (path := locate(folder, key)).exists()), None)
        if source is None or target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy2(source, target)


def _copy_values(folders: Sequence[str | Path], workspace: str | Path, record: Record, patterns: Sequence[str]) -> None:
    """Adds the per-image values of a record's ranked metric, and of those that match, to what the workspace has."""
    there = records.load_values(workspace, record.key)
    found = dict(there)
    for folder in folders:
        for name, values in records.load_values(folder, record.key).items():
            if name in record.metrics and any(fnmatchcase(name, p) for p in (record.primary, *patterns)):
                found.setdefault(name, values)
    if found.keys() > there.keys():
        records.write_values(workspace, record.key, found)
