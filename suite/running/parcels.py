"""What travels between a workspace and a node that does not see it: checkpoints, values and pictures, as bytes.

Knows nothing of who carries them. A node keeps a trial's files in a folder for temporary files, one a trial, whose
names begin alike for all runs of one workspace: what a run left that was killed, the next one removes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.errors import UserError
from suite.files import write_atomically

if TYPE_CHECKING:
    from suite.planning import Trial

#: Path in a workspace -> bytes, in the order in which they are to be written.
Files = list[tuple[str, bytes]]

#: What stands beside a checkpoint's tensors and is written last, as in ``suite.training.checkpoints``, which takes
#: torch to import: the driver can do without.
META = "checkpoint.json"

#: What a checkpoint's folder holds besides, and what stays where it is: a training that was interrupted, and features,
#: which are large and computed again where they are needed.
STAYING = (("resume",), ("kept",))

#: Name of the file in which a dying worker leaves its stack.
NOTE = "note.txt"


def prefix_of(workspace: str | Path) -> str:
    """Returns what the names of a workspace's folders begin with on every node."""
    return f"latent-suite-{hashlib.sha256(f'{platform.node()}:{workspace}'.encode()).hexdigest()[:12]}-"


@contextlib.contextmanager
def lodging(name: str) -> Iterator[Path]:
    """Yields an empty folder of this node, and removes it in the end.

    Raises:
        OSError: If this node has no place for it.
    """
    folder = Path(tempfile.gettempdir()) / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(prefix: str) -> None:
    """Removes what runs have left on this node."""
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        shutil.rmtree(folder, ignore_errors=True)


def take_note(name: str) -> str:
    """Returns what a dead worker of this node has left to say, and removes its folder."""
    folder = Path(tempfile.gettempdir()) / name
    try:
        return (folder / NOTE).read_text(errors="replace")
    except OSError:
        return ""
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def data_root(planned: str) -> str:
    """Returns where datasets lie on this node: where its own ``SUITE_DATA`` says, else where the plan has them."""
    return os.environ.get("SUITE_DATA") or planned


def lacks(prefix: str, planned: Mapping[str, str], root: str) -> str:
    """Returns what this node lacks to take trials, in a few words; removes what earlier runs have left on it.

    Args:
        prefix: From ``prefix_of``.
        planned: Name of each dataset -> content hash.
        root: Where the plan has them.
    """
    from suite import data

    sweep(prefix)
    try:
        with lodging(f"{prefix}probe-{os.getpid()}"):
            pass
    except OSError as error:
        return f"cannot write to {tempfile.gettempdir()}: {error.strerror or error}"
    root = data_root(root)
    for name, wanted in planned.items():
        try:
            found = data.content_hash(name, root) if data.on_disk(name, root) else ""
        except (UserError, OSError) as error:
            return f"cannot use the dataset '{name}': {error}"
        if not found:
            return f"does not have the dataset '{name}' in {root}"
        if found != wanted:
            return f"has another dataset '{name}' in {root} ({found[:12]} instead of {wanted[:12]})"
    return ""


def fault(error: Exception) -> str:
    """Returns, as a worker tells it, that this node has no room for a trial."""
    return json.dumps({"host": platform.node(), "fault": f"cannot keep the trial's files: {error}"})


def pack(workspace: str, key: str, ingredients: Mapping[str, Any]) -> Files:
    """Returns a trial's checkpoint as far as a workspace holds it, and what stands beside those of its other seeds.

    Args:
        workspace: Where they lie.
        key: Of the checkpoint.
        ingredients: The dict behind the key.
    """
    root, own, others = Path(workspace), f"checkpoints/{key[:32]}", []
    mine = _without_seed(ingredients)
    for path in sorted(root.glob(f"checkpoints/*/{META}")):
        if path.relative_to(root).as_posix().startswith(own):
            continue
        try:
            data = path.read_bytes()
            theirs = json.loads(data)["meta"]["ingredients"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if isinstance(theirs, dict) and _without_seed(theirs) == mine:
            others.append((path.relative_to(root).as_posix(), data))
    folders = [folder for folder in root.glob(f"{own}*") if ".corrupt" not in folder.name]
    return [*others, *((path.relative_to(root).as_posix(), path.read_bytes()) for path in _files(folders))]


def _without_seed(ingredients: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps({name: value for name, value in ingredients.items() if name != "seed"}))


def unpack(workspace: str | Path, files: Files) -> None:
    """Writes files into a workspace, each atomically.

    Raises:
        Unwritable: If the workspace cannot be written.
    """
    for name, data in files:
        write_atomically(Path(workspace) / name, data)


class Outgoing:
    """What a trial leaves in a folder, as it comes to be.

    Args:
        folder: The trial's workspace on this node; what lies in it already does not go out.
        trial: Whose files go out; nothing else does.
    """

    def __init__(self, folder: Path, trial: Trial) -> None:
        self._folder, self._trial = folder, trial
        self._sent: dict[Path, tuple[int, int]] = {}
        self.new()

    def new(self) -> Files:
        """Returns the files that were written since the last call."""
        found: Files = []
        for path in _files(self._roots()):
            stat = path.stat()
            if self._sent.get(path) != (stat.st_mtime_ns, stat.st_ino):
                self._sent[path] = stat.st_mtime_ns, stat.st_ino
                found.append((path.relative_to(self._folder).as_posix(), path.read_bytes()))
        return found

    def _roots(self) -> list[Path]:
        keys = [cell.key[:32] for cell in self._trial.cells]
        patterns = [f"checkpoints/{self._trial.checkpoint_key[:32]}*"]
        patterns += [f"{kind}/{key}*" for kind in ("values", "pictures") for key in keys]
        return [path for pattern in patterns for path in self._folder.glob(pattern)]


def _files(roots: list[Path]) -> list[Path]:
    """Returns the files at and below some paths, a checkpoint's note after its tensors."""
    found = [
        (path, path.relative_to(root)) for root in roots for path in ([root] if root.is_file() else root.rglob("*"))
    ]
    travelling = [
        path
        for path, inside in found
        if path.is_file()
        and not path.is_symlink()
        and not path.name.startswith(".")
        and inside.parts[:1] not in STAYING
    ]
    return sorted(travelling, key=lambda path: (path.name == META, path))
