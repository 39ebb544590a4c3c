"""Prints what the project and the named extras require, so that an image's layer of packages outlives an edit.

python docker/requirements.py [EXTRA...]
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def requirements(pyproject: Path, extras: list[str]) -> list[str]:
    """Returns the project's dependencies with those of the extras."""
    project = tomllib.loads(pyproject.read_text())["project"]
    return [*project["dependencies"], *(one for extra in extras for one in project["optional-dependencies"][extra])]


if __name__ == "__main__":
    print(*requirements(Path("pyproject.toml"), sys.argv[1:]), sep="\n")
