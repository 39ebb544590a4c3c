"""The files of a workspace: records written atomically and read back whatever their age, and pictures.

Of a key, file names hold 32 characters: ``records/<key>.json``, ``values/<key>.npz``, ``pictures/<key>/<name>.png``. A
folder of published records may also hold the JSON files directly.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import hashlib
import itertools
import json
import logging
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from suite.errors import UserError
from suite.files import write_atomically
from suite.records import schema
from suite.records.agreement import alarm, differs
from suite.records.record import SCHEMA, SETTLED, Record, readable
from suite.records.schema import Malformed

#: Field of a record's file that is no field of the record: SHA-256 over the JSON of all others. Older files lack it.
CHECKSUM = "sha256"

_NAME = re.compile(r"([0-9a-f]{32})(\.conflict-\d+)?\.json")
_log = logging.getLogger("suite")
_FIELDS = frozenset(f.name for f in dataclasses.fields(Record))


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Pauses the garbage collector, which would walk every record read so far, again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def record_path(workspace: str | Path, key: str) -> Path:
    """Where the record of a cell lies."""
    return Path(workspace) / "records" / f"{key[:32]}.json"


def pictures_path(workspace: str | Path, key: str) -> Path:
    """The folder of a cell's pictures."""
    return Path(workspace) / "pictures" / key[:32]


def write(workspace: str | Path, record: Record) -> Path:
    """Writes a record atomically and returns its path.

    A settled record (ok, unsupported) is never replaced by one with other values: the newcomer is kept beside
    it as ``<key>.conflict-N.json`` and the alarm is logged.

    Raises:
        UserError: If the workspace cannot be written, or has a record of the cell that is too new to be read.
    """
    path = record_path(workspace, record.key)
    raw = _fit(record)
    check_replaceable(workspace, [record.key])
    old = _there(path)
    if old is not None and old["status"] in SETTLED and differs(old, raw):
        path = _conflict_path(path, raw)
        if path.exists():
            return path
        _log.warning("%s: %s measured again with other values, kept as %s", alarm(old, raw), _title(raw), path.name)
    text = json.dumps(raw, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    data = text.encode()
    write_atomically(path, data[:-1] + f',"{CHECKSUM}":"{_checksum(orjson.loads(data))}"}}'.encode())
    return path


def check_replaceable(workspace: str | Path, keys: Iterable[str]) -> None:
    """Checks that no record of these keys is of a newer suite, which may know an answer that this one cannot read.

    Raises:
        UserError: Naming the file.
    """
    for path in (record_path(workspace, key) for key in keys):
        with contextlib.suppress(Malformed):
            if path.is_file() and (schema := _parse(str(path))["schema"]) > SCHEMA:
                raise UserError(
                    f"{path} has schema {schema}, newer than this suite writes ({SCHEMA}), and is not replaced: "
                    "use the newer suite, or another workspace"
                )


def _checksum(raw: Mapping[str, Any]) -> str:
    """Returns the checksum of a record, whatever the spaces and the order of its file."""
    return hashlib.sha256(orjson.dumps(raw, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _fit(record: Record) -> dict[str, Any]:
    """Returns a record's fields as they can be read back; what a cell left that no record can hold is a failure."""
    raw: dict[str, Any] = json.loads(json.dumps(readable(dataclasses.asdict(record)), allow_nan=False))
    try:
        schema.checked(raw)
    except Malformed as error:
        _log.warning("%s: %s", _title(raw), error)
        left = {"metrics": {}, "notes": [], "flags": [], "pictures": [], "values": False, "cost": {}, "traceback": ""}
        return raw | left | {"status": "failed", "reason": f"no record can hold what it left: {error}"}
    return raw


def _there(path: Path) -> dict[str, Any] | None:
    """Returns the record of a file; None where there is none, or none that can be read."""
    try:
        raw = _parse(str(path)) if path.exists() else None
    except Malformed:
        return None
    return None if raw is None or raw["schema"] > SCHEMA else raw


def read_raw(
    folders: Iterable[str | Path],
    warnings: list[str] | None = None,
    *,
    foreign: bool = False,
    places: dict[str, int] | None = None,
) -> list[dict[str, Any]]:
    """Reads every record below the folders (workspaces or folders of records) as plain dicts, one per key.

    A corrupt file is renamed to ``*.corrupt`` and its cell counts as missing; a key with two different results
    is flagged ``not reproducible``, or with what else was another: the version of Python, torch or NumPy.

    Args:
        folders: Where to look; a folder that does not exist holds no records.
        warnings: Takes one line per corrupt file and per alarm; without it they are logged.
        foreign: Whether the folders are somebody else's: nothing in them is renamed, and a record that is a link, which
            could lead anywhere, is left out.
        places: Takes for every key in which of the folders the record lies that is returned.
    """
    lines: list[str] = []
    found: dict[str, dict[str, Any]] = {}
    with uncollected():
        for place, path, conflict in ((i, *item) for i, folder in enumerate(folders) for item in _files(Path(folder))):
            if foreign and is_link(path):
                lines.append(f"{path} is a link and was left out")
                continue
            raw = _read(path, lines, foreign)
            if raw is not None:
                taken = _merge(found, raw, conflict, path, lines)
                if taken and places is not None:
                    places[raw["key"]] = place
    _tell(lines, warnings)
    return list(found.values())


def is_link(path: str | Path) -> bool:
    """Whether a file, or the folder in which it lies, is a symbolic link."""
    return Path(path).is_symlink() or Path(path).parent.is_symlink()


def read_all(*folders: str | Path, warnings: list[str] | None = None, foreign: bool = False) -> list[Record]:
    """Reads every record below the folders; see ``read_raw``."""
    return [Record(**raw) for raw in read_raw(folders, warnings, foreign=foreign)]


def read_keys(folder: str | Path, keys: Iterable[str], warnings: list[str] | None = None) -> dict[str, dict[str, Any]]:
    """Reads the records of these keys (or of their first 32 characters) alone: key -> plain dict."""
    lines: list[str] = []
    root = Path(folder) / "records"
    present = {path for path, conflict in _files_of(root) if not conflict}
    wanted = {key: f"{root}/{key[:32]}.json" for key in keys}
    with uncollected():
        records = {key: _read(path, lines) for key, path in wanted.items() if path in present}
    _tell(lines, warnings)
    return {key: raw for key, raw in records.items() if raw is not None and raw["key"].startswith(key)}


def _tell(lines: list[str], warnings: list[str] | None) -> None:
    if warnings is not None:
        warnings.extend(lines)
        return
    for line in lines:
        _log.warning(line)


def _files(folder: Path) -> list[tuple[str, bool]]:
    """Returns (path, whether it is a conflict) of the records in a folder or workspace, those in conflict last."""
    files = [*_files_of(folder / "records"), *_files_of(folder)]
    return sorted(files, key=lambda file: file[1])


def _files_of(root: Path) -> Iterator[tuple[str, bool]]:
    # Paths are plain strings here: a hundred thousand Path objects would take longer than reading the files.
    if root.is_dir():
        for name in sorted(os.listdir(root)):  # noqa: PTH208
            if match := _NAME.fullmatch(name):
                yield f"{root}/{name}", bool(match[2])


def _merge(
    found: dict[str, dict[str, Any]], raw: dict[str, Any], conflict: bool, path: str, warnings: list[str]
) -> bool:
    """Adds a record to those found; returns whether it is the one that stands there now."""
    other = found.setdefault(raw["key"], raw)
    if other is raw:
        return True
    if conflict or (raw["status"] in SETTLED and other["status"] in SETTLED and differs(other, raw)):
        told = alarm(other, raw)
        warnings.append(f"{told}: {_title(raw)} has other values in {path}")
        if told not in other["flags"]:
            other["flags"] = [*other["flags"], told]
    elif raw["status"] in SETTLED and other["status"] not in SETTLED:
        found[raw["key"]] = raw
    return found[raw["key"]] is raw


def _read(path: str, warnings: list[str], foreign: bool = False) -> dict[str, Any] | None:
    """Returns the record of a file, or None: a corrupt one is set aside, one that is too new or foreign left alone."""
    try:
        raw = _parse(path)
        if raw["schema"] > SCHEMA:
            warnings.append(f"{path} has schema {raw['schema']}, newer than this suite reads ({SCHEMA}); left out")
            return None
        if not path.rpartition("/")[2].startswith(raw["key"][:32]):
            raise Malformed("its file is named by another key")
    except Malformed as error:
        aside = "left out" if foreign else set_aside(Path(path))
        warnings.append(f"corrupt record {path} ({schema.clean(str(error))}): {aside}; its cell counts as missing")
        return None
    return raw


def _parse(path: str) -> dict[str, Any]:
    """Returns the fields of a record file, checked, defaults filled in.

    Raises:
        Malformed: If it is not a record.
        UserError: If the file cannot be read.
    """
    try:
        data = _bytes(path)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise Malformed(f"it is no file: {error.strerror}") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    if len(data) > schema.MOST_BYTES:
        raise Malformed(f"it is larger than {schema.MOST_BYTES:,} bytes")
    try:
        raw = orjson.loads(data)
    except ValueError:
        raise Malformed("it is not JSON") from None
    if isinstance(raw, dict) and type(raw.get("schema")) is int and raw["schema"] > SCHEMA:
        return {"schema": raw["schema"]}  # whatever it holds
    if isinstance(raw, dict) and CHECKSUM in raw and raw.pop(CHECKSUM) != _checksum(raw):
        raise Malformed("its checksum is not that of its content")
    fields = schema.checked(raw)
    return fields if fields.keys() == _FIELDS else vars(Record(**fields))


def _bytes(path: str) -> bytes:
    """Reads a regular file, or a little more of it than a record may have; a pipe would be waited for."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Malformed("it is no regular file")
        return file.read(schema.MOST_BYTES + 1)


def set_aside(path: Path) -> str:
    """Renames a corrupt file to ``*.corrupt``; returns what became of it, in a few words."""
    try:
        path.replace(f"{path}.corrupt")
    except OSError as error:
        return f"could not be set aside ({error.strerror})"
    return f"set aside as {path.name}.corrupt"


def _conflict_path(path: Path, raw: Mapping[str, Any]) -> Path:
    """Returns where a record is kept beside the one that it contradicts: where it lies already, or a new place."""
    for number in itertools.count(1):
        other = path.with_name(f"{path.stem}.conflict-{number}.json")
        there = _there(other)
        if not other.exists() or (there is not None and not differs(there, raw)):
            break
    return other


def _title(raw: Mapping[str, Any]) -> str:
    return f"{raw['task']} of {raw['baseline']} on {raw['dataset']}, seed {raw['seed']}"
