"""A guest's side of the wire: ``python -m suite.guests.player FD``, behind the walls.

A keeper, which never runs a line of the guest's, holds the source and the weights. For every sitting it forks a
process that loads the guest from them and answers; when the sitting ends, whatever is left of it is killed and wiped.
So nothing can be carried from one sitting to the next: not in a global, a file, a closure, a counter or a thread, and
not in what a process leaves outside itself (``suite.guests.filter``).
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from suite.guests.sitting import Sitting, source_of
from suite.guests.wire import Frame, WireError, receive, send

_PR_SET_DUMPABLE = 4


def main() -> None:
    """Serves the referee on the descriptor that the command line names, until it hangs up."""
    control, filtered = socket.socket(fileno=int(sys.argv[1])), sys.argv[2] == "filtered"
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)  # no sitting can read or write the keeper's memory
    _warm_up()
    from suite.plugins import loading

    job = Frame("none")
    sitting = 0
    send(control, Frame("ready"))
    with contextlib.suppress(WireError, EOFError):
        while True:
            frame = receive(control)
            if frame.kind == "job":
                job = frame
                if filtered:  # no sitting can touch what is written here
                    with contextlib.suppress(Exception):  # the sitting that loads it says what is wrong
                        loading.prepare(source_of(frame)[0])
            elif frame.kind == "sit":
                _end(sitting)
                _, (descriptor, *_), _, _ = socket.recv_fds(control, 1, 1)
                sitting = _sit(job, control, descriptor, frame.text)
            elif frame.kind == "end":
                _end(sitting)
                sitting = 0
            send(control, Frame("done"))
    _end(sitting)


def _warm_up() -> None:
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
    gc.collect()
    gc.freeze()  # a fork that collects would copy every page


def _sit(job: Frame, control: socket.socket, descriptor: int, limits: dict[str, Any]) -> int:
    """Forks the process of one sitting and returns its number."""
    child = os.fork()
    if child:
        os.close(descriptor)
        return child
    status = 1
    try:
        control.detach()
        Sitting(job, _alone_with(descriptor), limits).serve()
        status = 0
    finally:
        os._exit(status)


def _alone_with(descriptor: int) -> socket.socket:
    """Closes all that was inherited but one connection: a shared descriptor's position and flags outlive a sitting."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nothing, standard)
    os.dup2(descriptor, 3)
    os.closerange(4, os.sysconf("SC_OPEN_MAX"))
    return socket.socket(fileno=3)


def _end(sitting: int) -> None:
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


if __name__ == "__main__":
    main()
