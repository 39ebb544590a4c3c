"""Gives records the keys that their sources have today, where the way of hashing a source has changed and nothing else.

A key may only pass from an old source to today's where the two are equal. The proof needs the old one: a checkout
from which the records were made. Of every file that stands in a record's key, the file there must have the hash that
the record names, and must say the same as today's once imports are read as names taken from the engine.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from suite import records
from suite.errors import UserError
from suite.plugins import BUILT_IN, ENGINE, FACES, built_in_folder, digest, fingerprint
from suite.records import Record


@dataclass
class Rekeyed:
    """What a re-keying did.

    Attributes:
        renamed: How many records have a new key.
        kept: How many had today's key already.
        refused: Why records keep an old key -> how many.
    """

    renamed: int = 0
    kept: int = 0
    refused: dict[str, int] = field(default_factory=dict)


class _Unproven(Exception):
    """The sources behind a record are not shown to be equal to today's."""


def rekey(workspace: Path, checkout: Path) -> Rekeyed:
    """Renames the records of equal sources, with what lies beside them.

    Args:
        workspace: A workspace or a folder of published records.
        checkout: The repository as it was when the records were made.

    Raises:
        UserError: If the checkout holds no sources, or the workspace cannot be written.
    """
    if not all((checkout / folder).is_dir() for folder in (ENGINE, *BUILT_IN.values())):
        raise UserError(f"{checkout} is no checkout: it must hold {ENGINE}, {' and '.join(BUILT_IN.values())}")
    faces = frozenset(_modules(checkout / ENGINE)) | FACES
    done = Rekeyed()
    for record in records.read_all(workspace):
        try:
            ingredients = _of_today(record.ingredients, checkout, faces)
        except _Unproven as reason:
            done.refused[str(reason)] = done.refused.get(str(reason), 0) + 1
            continue
        key = digest(ingredients)
        if key == record.key:
            done.kept += 1
            continue
        _rename(workspace, record, key, ingredients)
        done.renamed += 1
    return done


def _modules(engine: Path) -> Iterator[str]:
    """Every module of an engine, as imports name it."""
    for path in [engine, *engine.rglob("*.py")]:
        parts = path.relative_to(engine.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _of_today(ingredients: dict[str, Any], checkout: Path, faces: frozenset[str]) -> dict[str, Any]:
    """Returns the ingredients with the hashes that equal sources have today.

    Raises:
        _Unproven: If a file is not equal, or not there.
    """
    found = copy.deepcopy(ingredients)
    if "baseline" not in found.get("checkpoint", {}) or "task" not in found:
        raise _Unproven("the record does not name its sources")
    for kind, identity in (("baseline", found["checkpoint"]["baseline"]), ("task", found["task"])):
        for name in [name for name in identity if name != "class"]:
            identity[name] = _hash_of_today(kind, name, identity[name], checkout, faces)
    return found


def _hash_of_today(kind: str, name: str, recorded: str, checkout: Path, faces: frozenset[str]) -> str:
    here, there = built_in_folder(kind) / name, checkout / BUILT_IN[kind] / name
    if not here.is_file():
        raise _Unproven(f"{name} is not there any more")
    new = here.read_bytes()
    if recorded == fingerprint(name, new):
        return recorded
    if not there.is_file():
        raise _Unproven(f"{there} does not exist")
    old = there.read_bytes()
    if recorded not in (fingerprint(name, old), fingerprint(name, old, frozenset())):
        raise _Unproven(f"{there} is not the file that the record was made with")
    if fingerprint(name, old, faces) != fingerprint(name, new):
        raise _Unproven(f"{name} is another today")
    return fingerprint(name, new)


def _rename(workspace: Path, record: Record, key: str, ingredients: dict[str, Any]) -> None:
    """The record goes last and its old file after it: a kill in between leaves a record under one of the keys."""
    old = record.key
    checkpoint = digest(ingredients["checkpoint"])
    for before, after in (
        (records.values_path(workspace, old), records.values_path(workspace, key)),
        (records.pictures_path(workspace, old), records.pictures_path(workspace, key)),
        (workspace / "checkpoints" / record.checkpoint_key[:32], workspace / "checkpoints" / checkpoint[:32]),
    ):
        if before.exists() and not after.exists():
            before.rename(after)
    record.key, record.checkpoint_key, record.ingredients = key, checkpoint, ingredients
    records.write(workspace, record)
    records.record_path(workspace, old).unlink()
