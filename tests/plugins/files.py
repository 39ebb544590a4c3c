"""Files of a user, as tests of finding and loading them write them."""

from __future__ import annotations

from pathlib import Path

HEAD = "from suite.contract import Baseline, Task\n"


METHODS = "    def encode(self, x): return {}\n    def decode(self, values): pass\n"


def first(source_and_params: tuple[object, dict[str, object]]) -> object:
    return source_and_params[0]


def write(folder: Path, text: str, name: str = "mine.py") -> str:
    (folder / name).write_text(HEAD + text)
    return str(folder / name)
