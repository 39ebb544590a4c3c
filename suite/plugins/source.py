"""A baseline's or task's file with everything it imports: what is hashed, sent to a worker and run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Source:
    """A baseline's or task's file with everything it imports, as the bytes that were hashed.

    Attributes:
        kind: ``"baseline"`` or ``"task"``.
        name: The name on the board (a variant's name, a task's file name).
        attribute: The class inside the entry file.
        entry: Path of the entry file relative to the root of ``files``.
        files: Relative path -> bytes of the closure (imported project files and declared weight files).
        digest: SHA-256 of the closure as parsed syntax; comments, docstrings and formatting do not count.
        origin: Where the file lies on this machine, for messages.
        static: The class attributes that could be read without importing (summary, version, requires, ...).
        declared: Those of them that the class must have, to the letter, when its file runs.
        built_in: Whether it is the suite's own.
    """

    kind: str
    name: str
    attribute: str
    entry: str
    files: dict[str, bytes] = field(repr=False)
    digest: str
    origin: str
    static: dict[str, Any] = field(repr=False)
    declared: dict[str, Any] = field(default_factory=dict, repr=False)
    built_in: bool = False

    def __hash__(self) -> int:
        return hash((self.kind, self.name, self.digest))
