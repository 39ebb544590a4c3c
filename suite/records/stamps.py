"""Which sources passed ``suite check``, and what was said of records from elsewhere: small files of a workspace."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from suite.errors import UserError
from suite.files import read_object, write_atomically
from suite.records.record import now
from suite.version import ENGINE_VERSION, __version__

#: What a row may be: run again by a maintainer, taken at its word, or with weights that no training here made.
VERIFIED, CLAIMED, GIVEN = "verified", "claimed", "given weights"
STANDINGS = (VERIFIED, CLAIMED, GIVEN)

_MOST_BYTES = 10_000_000


def stamp_path(workspace: str | Path, digest: str) -> Path:
    """Where it is kept whether a source passed the check."""
    return Path(workspace) / "checks" / f"{digest[:32]}.json"


def write_stamp(workspace: str | Path, digest: str, passed: bool, **about: Any) -> None:
    """Keeps whether a source passed the check, with the version that tried it.

    Raises:
        UserError: If the workspace cannot be written.
    """
    stamp = {"passed": passed, "suite": __version__, "engine": ENGINE_VERSION, "when": now(), **about}
    write_atomically(stamp_path(workspace, digest), json.dumps(stamp, indent=1).encode())


def check_stamp(workspace: str | Path, digest: str) -> dict[str, Any]:
    """Returns what the check by this engine said of a source: passed, suite, engine, when; empty where it never ran."""
    raw = read_object(stamp_path(workspace, digest))
    fine = isinstance(raw.get("passed"), bool) and raw.get("engine") == ENGINE_VERSION
    return {name: raw.get(name) for name in ("passed", "suite", "engine", "when")} if fine else {}


def standings_folder(workspace: str | Path) -> Path:
    """Where it is kept what a merge was told of each submission's records."""
    return Path(workspace) / "standings"


def write_standing(workspace: str | Path, name: str, standing: str, keys: list[str], **about: Any) -> None:
    """Keeps how the records of a submission stand.

    Raises:
        UserError: If the workspace cannot be written.
    """
    content = {"standing": standing, "keys": sorted(keys), **about}
    write_atomically(standings_folder(workspace) / f"{name}.json", json.dumps(content, indent=1).encode())


def _told(folder: str | Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yields what a workspace, or the one that a folder of records lies in, keeps of how records stand.

    Raises:
        UserError: If a file does not say so: records that nobody has run would pass for one's own.
    """
    place = Path(folder).absolute()
    for root in (place, *([place.parent] if place.name == "records" else [])):
        for path in sorted(standings_folder(root).glob("*.json")):
            raw = read_object(path)
            if raw.get("standing") not in STANDINGS or not isinstance(raw.get("keys"), list):
                raise UserError(f"{path} does not say how its records stand: restore it, or remove them with it")
            yield path, raw


def carry_stamp(folder: str | Path, workspace: str | Path, digest: str) -> None:
    """Keeps in a workspace what the check said of a source in another, where it has not been tried here."""
    if (raw := read_object(stamp_path(folder, digest))) and not stamp_path(workspace, digest).exists():
        write_atomically(stamp_path(workspace, digest), json.dumps(raw, indent=1).encode())


def carry_standings(folder: str | Path, workspace: str | Path, keys: set[str]) -> set[str]:
    """Keeps in a workspace how records stand that it has taken from another; returns the keys of those that do.

    Raises:
        UserError: If the workspace cannot be written.
    """
    carried: set[str] = set()
    for path, raw in _told(folder):
        if taken := sorted(keys & {key for key in raw["keys"] if isinstance(key, str)}):
            carried |= set(taken)
            again = {key for key in taken if key in (raw.get("again") or ())}
            old = read_object(standings_folder(workspace) / path.name)
            if old.get("standing") == raw["standing"]:  # an earlier part of the same submission
                taken, again = sorted({*taken, *old["keys"]}), again | set(old.get("again") or ())
            write_standing(workspace, path.stem, raw["standing"], taken, again=sorted(again), card=raw.get("card"))
    return carried


def read_untried(folder: str | Path) -> set[str]:
    """Returns the keys of verified records whose cells a maintainer did not run again: they stand as claimed."""
    found: set[str] = set()
    run: set[str] = set()
    for _, raw in _told(folder):
        keys, again = raw["keys"], raw.get("again")
        if raw["standing"] == VERIFIED:
            found |= {key for key in keys if isinstance(key, str)}
            run |= {key for key in again if isinstance(key, str)} if isinstance(again, list) else set()
    return found - run


def read_standings(*folders: str | Path) -> dict[str, str]:
    """Returns key -> how a record from elsewhere stands; records of one's own have no entry.

    Of several words on one record the best founded counts: a run here, and what it found of the source.
    """
    found: dict[str, str] = {}
    weight = {standing: i for i, standing in enumerate((CLAIMED, VERIFIED, GIVEN))}
    for folder in folders:
        for _, raw in _told(folder):
            for key in (key for key in raw["keys"] if isinstance(key, str) and re.fullmatch(r"\w+", key)):
                found[key] = max(found.get(key, CLAIMED), raw["standing"], key=weight.__getitem__)
    return found
