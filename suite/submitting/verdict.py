"""What a maintainer's run says of a submission, kept where the submitter cannot write it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from suite import records
from suite.errors import UserError
from suite.files import write_atomically
from suite.plugins import digest
from suite.submitting import folder as folders
from suite.version import ENGINE_VERSION, __version__

REFUSED = "refused"


@dataclass
class Verdict:
    """What was tried and what was found.

    Attributes:
        standing: ``verified``, ``given weights`` or ``refused``.
        reasons: A sentence for each thing that is off.
        findings: What the lint saw, with file and line.
        cells: Of each cell that ran again: its name, metric, what was claimed and found, and what is tolerated.
        guests: What the new records say of how the model was contained.
        contained: Whether all of them had walls and a filter of system calls: else a model could read test images.
        private: Of each cell on another test set: what was claimed, what was found, and the interval's half-width.
        files: File of the submission -> SHA-256, of all that the verdict speaks of.
        suite, engine, when: Who says so.
    """

    standing: str = REFUSED
    reasons: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    cells: list[dict[str, Any]] = field(default_factory=list)
    guests: list[Any] = field(default_factory=list)
    contained: bool = False
    private: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict, repr=False)
    suite: str = __version__
    engine: int = ENGINE_VERSION
    when: str = field(default_factory=records.now)


def told(found: Mapping[str, Any]) -> str:
    """Returns a verdict's standing as people read it: one that rests on a model without walls says so."""
    return found["standing"] + ("" if found.get("contained") or found["standing"] == REFUSED else ", not contained")


def path_in(workspace: str | Path, files: dict[str, str]) -> Path:
    """Returns where a workspace keeps its verdict on a submission that consists of these files."""
    return Path(workspace) / "verdicts" / f"{digest(files)[:32]}.json"


def records_in(workspace: str | Path, files: dict[str, str]) -> Path:
    """Returns the folder in which a workspace keeps the records of its own runs of such a submission."""
    return path_in(workspace, files).with_suffix("")


def write(verdict: Verdict, folder: Path, workspace: str | Path) -> None:
    """Writes a verdict into the submission, for its readers, and into the workspace, for ``suite merge``.

    Raises:
        UserError: If one of them cannot be written.
    """
    text = json.dumps(dataclasses.asdict(verdict), indent=1, ensure_ascii=False, default=str).encode()
    write_atomically(folder / folders.VERDICT, text)
    write_atomically(path_in(workspace, verdict.files), text)


def read(folder: Path, workspace: str | Path) -> dict[str, Any]:
    """Returns the workspace's own verdict on a submission as it is now.

    The file in the submission's folder counts for nothing: anybody could have written it.

    Raises:
        UserError: If there is none.
    """
    path = path_in(workspace, folders.hashes(folder))
    if not path.is_file():
        raise UserError(f"{workspace} holds no verdict on {folder} as it is now: suite verify {folder} -w {workspace}")
    return folders.read_json(path)
