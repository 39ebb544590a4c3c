"""What a keeper does around a sitting: closes what it inherits, ends it, wipes what it may have left."""

from __future__ import annotations

import ast
import contextlib
import os
import shutil
import signal
import socket
import tempfile
from pathlib import Path
from typing import Any

from torch import Tensor

from suite.guests.wire import Frame


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

    kept = [folder.path for folder in loading._folders]
    for entry in Path(tempfile.gettempdir()).glob("*"):
        if entry in kept:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
    torch_folder()


def source_of(job: Frame) -> tuple[Any, list[Tensor]]:
    """Returns the source of a job, and the tensors of its weights."""
    from suite.plugins import Source

    names = job.text["files"]
    files = {name: bytes(tensor.numpy()) for name, tensor in zip(names, job.tensors, strict=False)}
    return Source(files=files, **ast.literal_eval(job.text["source"])), job.tensors[len(names) :]
