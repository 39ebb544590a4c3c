"""Whether a worker runs what the driver runs: the engine's sources, and the versions beneath it.

These functions travel to the workers by value, since what compares must not come from the checkout that is compared.
So they use the standard library alone, and import it themselves.
"""

from __future__ import annotations


def likeness() -> dict[str, str]:
    """Returns what this process measures with, read once: name -> digest of the engine's sources, or a version.

    Tasks and baselines are no part of the engine: they travel with the trial. Of torch's version the part that names
    the build is left out, so that machines with and without a GPU are alike.
    """
    import hashlib
    import importlib
    import platform
    from importlib import metadata
    from pathlib import Path

    suite = importlib.import_module("suite")  # whichever this process has
    if "_likeness" not in vars(suite):  # kept there: a function that came by value has no memory of its own
        root = Path(str(suite.__file__)).parent
        digest = hashlib.sha256()
        for path in sorted(root.rglob("*.py")):
            inside = path.relative_to(root)
            if inside.parts[0] not in ("tasks", "baselines"):
                digest.update(f"{inside.as_posix()}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
        found = {"engine": digest.hexdigest()[:12], "Python": platform.python_version()}
        for name, package in (("torch", "torch"), ("NumPy", "numpy")):
            found[name] = metadata.version(package).partition("+")[0]
        vars(suite)["_likeness"] = found
    return dict(vars(suite)["_likeness"])


def differences(here: dict[str, str], there: dict[str, str]) -> str:
    """Returns in what another process differs from this one, in a few words; empty where they are alike."""
    return ", ".join(
        f"{name} {there.get(name, 'unknown')} instead of {value}"
        for name, value in here.items()
        if there.get(name) != value
    )


def refusal(here: dict[str, str], folder: str) -> str:
    """Returns why this process cannot take trials of a driver that is like ``here``; empty where it can.

    Args:
        here: The driver's likeness.
        folder: Of the run, in the workspace; empty where the workspace need not be seen.
    """
    import os.path

    unlike = differences(here, likeness())
    if unlike:
        return f"has {unlike}"
    return "" if not folder or os.path.isdir(folder) else f"does not see the workspace {os.path.dirname(folder)}"  # noqa: PTH112, PTH120
