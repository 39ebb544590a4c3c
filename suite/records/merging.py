"""Records of other folders, taken into a workspace: machines' shares of a board, or a board to publish."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from suite.files import write_atomically
from suite.records import arrays
from suite.records import store as records
from suite.records.agreement import differs
from suite.records.record import Record
from suite.records.schema import digest_of
from suite.records.stamps import carry_stamp, carry_standings
from suite.records.values import load_values, values_path, write_values

#: Bytes of a picture.
MOST_PICTURE = 20_000_000


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
        warnings: Takes one line per corrupt record and per alarm, and per link or file that is left out: what comes
            from elsewhere is taken where it is a plain file of the expected kind and size.

    Raises:
        UserError: If the workspace cannot be written.
    """
    outcome: dict[str, list[str]] = {"taken": [], "present": [], "conflicts": []}
    told: list[str] = [] if warnings is None else warnings
    places: dict[str, int] = {}
    read = [Record(**raw) for raw in records.read_raw(folders, warnings, foreign=True, places=places)]
    found = [r for r in read if keys is None or r.key in keys]
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
            _copy_all_values(folders, workspace, record.key, told)
            _copy_pictures(folders, workspace, record, told)
    for place, folder in enumerate(folders):
        stand = carry_standings(folder, workspace, {key for key in outcome["taken"] if places[key] == place})
        sources = [r.ingredients.get("checkpoint", {}).get("baseline") for r in found if r.key in stand]
        for source in {digest_of(source) for source in sources}:
            carry_stamp(folder, workspace, source)
    return Merged(*(tuple(outcome[name]) for name in ("taken", "present", "conflicts")))


def _copy_all_values(folders: Sequence[str | Path], workspace: str | Path, key: str, warnings: list[str]) -> None:
    """Copies a record's values from the first folder that has them, where the workspace has none."""
    target = values_path(workspace, key)
    source = next((path for folder in folders if (path := values_path(folder, key)).exists()), None)
    if source is None or target.exists():
        return
    if records.is_link(source):
        warnings.append(f"{source} is a link and was left out")
        return
    try:
        arrays.read(source)
    except arrays.Unreadable as error:
        warnings.append(f"{source} was left out: {error}")
        return
    write_atomically(target, source.read_bytes())


def _copy_pictures(folders: Sequence[str | Path], workspace: str | Path, record: Record, warnings: list[str]) -> None:
    """Copies the pictures that a record names from the first folder that has some, where the workspace lacks them."""
    target = records.pictures_path(workspace, record.key)
    source = next((path for folder in folders if (path := records.pictures_path(folder, record.key)).is_dir()), None)
    if source is None:
        return
    for picture in (source / name for name in record.pictures):
        if not picture.exists() or (target / picture.name).exists():
            continue
        if records.is_link(picture) or records.is_link(source):
            warnings.append(f"{picture} is a link and was left out")
        elif not picture.is_file():
            warnings.append(f"{picture} is no regular file and was left out")
        elif picture.stat().st_size > MOST_PICTURE:
            warnings.append(f"{picture} is larger than {MOST_PICTURE:,} bytes and was left out")
        else:
            write_atomically(target / picture.name, picture.read_bytes())


def _copy_values(folders: Sequence[str | Path], workspace: str | Path, record: Record, patterns: Sequence[str]) -> None:
    """Adds the per-image values of a record's ranked metric, and of those that match, to what the workspace has."""
    there = load_values(workspace, record.key)
    found = dict(there)
    for folder in folders:
        if records.is_link(values_path(folder, record.key)):
            continue
        for name, values in load_values(folder, record.key).items():
            if name in record.metrics and any(fnmatchcase(name, p) for p in (record.primary, *patterns)):
                found.setdefault(name, values)
    if found.keys() > there.keys():
        write_values(workspace, record.key, found)
