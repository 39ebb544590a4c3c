"""A submission's folder, read as something that may come from anybody: sizes bounded, no links, nothing is run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from suite import records
from suite.checking import Finding, lint
from suite.errors import UserError
from suite.plugins import Entry, Source, registry
from suite.records import clean
from suite.submitting import card

MANIFEST, CARD, SOURCE, ENVIRONMENT, VERDICT = (
    "submission.json",
    "card.yaml",
    "source",
    "environment.json",
    "verdict.json",
)
FORMAT = 1

#: Files of a submission, and bytes of all of them.
MOST_FILES, MOST_BYTES = 20_000, 500_000_000
#: Folders in each other.
MOST_DEPTH = 16

#: What may lie at the top of a submission.
TOP = {MANIFEST, CARD, SOURCE, ENVIRONMENT, VERDICT, "records", "values"}


@dataclass(frozen=True)
class Submission:
    """What a folder holds.

    Attributes:
        folder: Where.
        entry: The file with the models, below ``source``.
        card: Who, after which paper, under which licence, with how much compute.
        records: As plain dicts, by key.
        sources: Name of a model -> its source, read anew from the folder.
        findings: What the lint saw.
    """

    folder: Path
    entry: Path
    card: dict[str, Any]
    records: dict[str, dict[str, Any]] = field(repr=False)
    sources: dict[str, Source] = field(repr=False)
    findings: list[Finding] = field(default_factory=list)

    def source_of(self, record: Mapping[str, Any]) -> Source:
        """Returns the source of a record's model."""
        return self.sources[record["baseline"].partition(":")[0]]


def read(folder: Path) -> Submission:
    """Reads a submission.

    Raises:
        UserError: A sentence that says what is off.
    """
    _check_tree(folder)
    entry = _entry(folder)
    warnings: list[str] = []
    found = {raw["key"]: raw for raw in records.read_raw([folder], warnings, foreign=True)}
    if warnings:
        raise UserError(f"a record of the submission is none: {warnings[0]}")
    if not found:
        raise UserError(f"{folder / 'records'} holds no record")
    entries = registry.read_file("baseline", entry)
    if not entries:
        raise UserError(f"{entry} holds no baseline")
    sources = {entry.name: registry.source(entry) for entry in entries}
    _check_names(entries)
    files = {name: data for source in sources.values() for name, data in source.files.items()}
    return Submission(folder, entry, card.read(folder / CARD), found, sources, lint(files))


def _check_tree(folder: Path) -> None:
    if folder.is_symlink() or not folder.is_dir():
        raise UserError(f"{folder} is not a folder")
    files = total = 0
    for root, folders, names in os.walk(folder):
        if len(Path(root).relative_to(folder).parts) > MOST_DEPTH:
            raise UserError(f"{folder} holds folders in each other, more than {MOST_DEPTH} deep")
        for name in (*folders, *names):
            path = Path(root) / name
            if path.is_symlink():
                raise UserError(f"{_shown(path)} is a link: a submission holds plain files alone")
            if not (path.is_file() or path.is_dir()):  # a pipe would be waited for
                raise UserError(f"{_shown(path)} is no plain file: a submission holds plain files alone")
        files += len(names)
        total += sum((Path(root) / name).stat().st_size for name in names)
    if files > MOST_FILES or total > MOST_BYTES:
        raise UserError(f"{folder} holds {files:,} files of {total:,} bytes: at most {MOST_FILES:,} and {MOST_BYTES:,}")
    if strange := sorted({path.name for path in folder.iterdir()} - TOP):
        raise UserError(f"{folder} holds {clean(strange[0])!a}, which no submission has")


def _entry(folder: Path) -> Path:
    raw = read_json(folder / MANIFEST)
    if raw.get("format") != FORMAT:
        raise UserError(f"{folder / MANIFEST} is not of format {FORMAT}")
    name = raw.get("entry")
    parts = PurePosixPath(name).parts if isinstance(name, str) else ()
    if not parts or ".." in parts or parts[0] == "/" or not (folder / SOURCE).joinpath(*parts).is_file():
        raise UserError(f"{folder / MANIFEST} names no file below {SOURCE} as its entry")
    return (folder / SOURCE).joinpath(*parts).resolve()


def read_json(path: Path) -> dict[str, Any]:
    """Returns a small JSON object.

    Raises:
        UserError: If the file is missing, too large or none.
    """
    try:
        with path.open("rb") as file:
            data = file.read(1_000_001)
        raw = orjson.loads(data) if len(data) <= 1_000_000 else None
    except (OSError, ValueError):
        raw = None
    if not isinstance(raw, dict):
        raise UserError(f"{path} is missing, larger than 1 MB or no JSON object")
    return raw


def _check_names(entries: list[Entry]) -> None:
    """A name that the suite has already would pass for that model."""
    known = registry.discover("baseline")
    for entry in entries:
        if entry.name in known:
            raise UserError(f"there is a baseline '{entry.name}' already: give the model a name of its own")


def hashes(folder: Path) -> dict[str, str]:
    """Returns every file but the verdict -> its SHA-256: what a verdict speaks of."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / VERDICT)
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _shown(path: Path) -> str:
    return clean(str(path))
