"""What a record says about where it was measured: host, processor, versions, commit."""

from __future__ import annotations

import functools
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from suite.files import PACKAGE

#: The packages whose versions stand in every record, where they are installed.
PACKAGES = (
    "latent-suite",
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "scikit-image",
    "safetensors",
    "ray",
    "mlflow",
    "kornia",
)


@functools.cache
def environment() -> dict[str, Any]:
    """Returns host, cpu, python, torch, versions, commit and dirty of this process (read once, imports nothing)."""
    versions = {name: found for name in PACKAGES if (found := _version(name))}
    commit, dirty = _commit(PACKAGE.parent)
    return {
        "host": platform.node(),
        "cpu": _cpu(),
        "python": platform.python_version(),
        "torch": versions.get("torch"),
        "versions": versions,
        "commit": commit,
        "dirty": dirty,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.processor() or platform.machine()


def _commit(root: Path) -> tuple[str | None, bool | None]:
    """Returns the commit of the checkout and whether it has local changes; (None, None) for an installed wheel."""
    if not (root / ".git").exists():
        return None, None

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None, None
