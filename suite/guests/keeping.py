"""What a keeper does around a sitting: closes what it inherits, ends it, wipes what it may have left."""

from __future__ import annotations

import ast
import contextlib
import ctypes
import gc
import os
import shutil
import signal
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from traceback import extract_tb
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from suite.guests.wire import Frame

if TYPE_CHECKING:
    from suite.plugins import Source

#: Bytes of a huge page, and Linux' advice to make one (6.1 and later).
HUGE, _MADV_COLLAPSE = 2**21, 25
#: Characters of an error's text that cross.
MOST_ERROR = 2_000
#: How far below its end the heap is looked through.
HEAP_PAGES = 128


def alone_with(descriptor: int) -> socket.socket:
    """Closes all that was inherited but one connection: a shared descriptor's position and flags outlive a sitting."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nothing, standard)
    os.dup2(descriptor, 3)
    os.closerange(4, os.sysconf("SC_OPEN_MAX"))
    return socket.socket(fileno=3)


def compact() -> None:
    """Gathers the memory of this process in huge pages, where the kernel can: a fork copies an entry for each page.

    There is no list of what is mapped where (no ``/proc``), so the places are those of Python's objects, and what the C
    library holds below the end of its heap. Where the kernel refuses, all stays as it is.
    """
    library = ctypes.CDLL(None)
    library.madvise.argtypes, library.sbrk.restype = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int), ctypes.c_size_t
    end = library.sbrk(0) // HUGE
    for page in {id(thing) // HUGE for thing in gc.get_objects()} | set(range(end - HEAP_PAGES, end)):
        library.madvise(page * HUGE, HUGE, _MADV_COLLAPSE)


def warm_up() -> None:
    """Loads and tries what every sitting needs, so that the fork has it already."""
    from suite import contract
    from suite.data import DataSpec
    from suite.plugins import loading
    from suite.training import Recipe, checkpoints

    _ = DataSpec, loading.load, Recipe, checkpoints.restore
    _ = [getattr(contract, name) for name in contract.__all__]
    torch.set_num_threads(1)
    layers = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ConvTranspose2d(4, 1, 3), torch.nn.Flatten())
    torch.nn.Linear(784, 8)(layers(torch.zeros(8, 1, 28, 28))).sum().backward()
    # What checks its arguments by torch._check imports sympy at the first call, half a second in every sitting.
    torch.nn.functional.max_unpool2d(torch.zeros(1, 1, 2, 2), torch.arange(4).view(1, 1, 2, 2), [2, 2])
    gc.collect()
    compact()
    gc.freeze()  # a fork that collects would copy every page


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
    for path, folders, files in os.walk(tempfile.gettempdir()):
        for name in (".", *folders, *files):  # when they were last read would be a number for the next sitting
            with contextlib.suppress(OSError):
                os.utime(Path(path, name), ns=(0, 0), follow_symlinks=False)


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


def told(error: BaseException, source: Any) -> dict[str, str]:
    """An error as text, with the line of the guest's own file; the referee cleans it."""
    from suite.plugins import loading

    where = loading.where(source, error) if source is not None else ""
    text = str(error)[:MOST_ERROR]
    if isinstance(error, OSError) and any("multiprocessing" in f.filename for f in extract_tb(error.__traceback__)):
        text += "; a model from outside starts no processes (of a DataLoader: num_workers=0)"
    return {"type": type(error).__name__, "text": text, "where": where}
