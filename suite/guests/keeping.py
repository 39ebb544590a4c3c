"""What a keeper does around a sitting: closes what it inherits, ends it, wipes what it may have left."""

from __future__ import annotations

import ast
import contextlib
import os
import shutil
import signal
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from suite.guests.wire import Frame

if TYPE_CHECKING:
    from suite.plugins import Source


def alone_with(descriptor: int) -> socket.socket:
    """Closes all that was inherited but one connection: a shared descriptor's position and flags outlive a sitting."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nothing, standard)
    os.dup2(descriptor, 3)
    os.closerange(4, os.sysconf("SC_OPEN_MAX"))
    return socket.socket(fileno=3)


def torch_folder() -> None:
    """Makes the folder that torch's optimizers look for when they are first used: a sitting may make none."""
    folder = Path(tempfile.gettempdir()) / "torch"
    folder.mkdir(exist_ok=True)
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)


def end(sitting: int) -> None:
    """Kills a sitting and wipes what it may have left in the scratch folder, which is this keeper's alone."""
    if sitting:
        with contextlib.suppress(ProcessLookupError):
            os.kill(sitting, signal.SIGKILL)
        os.waitpid(sitting, 0)
        if os.getpid() == 1:  # the first of a namespace of its own
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)  # all else in this namespace
    from suite.plugins import loading

    kept = [Path(folder.name) for folder in loading._folders]
    for entry in Path(tempfile.gettempdir()).glob("*"):
        if entry in kept:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
    torch_folder()


@dataclass(frozen=True)
class Job:
    """What a keeper was given to play.

    Attributes:
        text: As it came.
        source: The model's.
        state: Its weights by name; empty before training.
    """

    text: dict[str, Any]
    source: Source
    state: dict[str, Tensor]

    @staticmethod
    def of(frame: Frame) -> Job:
        """Reads what ``suite.guests.room.Job`` wrote."""
        from suite.plugins import Source

        names = frame.text["files"]
        files = {name: bytes(tensor.numpy()) for name, tensor in zip(names, frame.tensors, strict=False)}
        source = Source(files=files, **ast.literal_eval(frame.text["source"]))
        return Job(frame.text, source, dict(zip(frame.text["state"], frame.tensors[len(names) :], strict=True)))
