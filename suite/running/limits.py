"""A trial's limits, time and memory, the note that a dying worker leaves, and the heap between two tensors."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from suite.errors import TrialTimeout

#: glibc's mallopt: parameter -> value. A tensor of more than 16 MiB gets pages of its own. In the heap one that lies
#: between two small things that live on leaves a hole in which the next of its size finds no room, aligned as torch
#: wants it: a loop over tensors of 27 MiB that kept a few numbers of each grew to 11 GiB. Up to here a threshold moves
#: the time of no model's training by more than 2 %.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_HEAP = {_M_MMAP_THRESHOLD: 2**24, _M_TRIM_THRESHOLD: 2**31 - 1, _M_TOP_PAD: 2**26}


#: How long a trial that is out of time may go on in a process that others need as well.
GRACE = 30.0


@contextlib.contextmanager
def alarm(seconds: float | None, again: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Raises ``TrialTimeout`` inside the block once it has run for ``seconds``.

    Works in the main thread alone, the only one that receives signals; elsewhere there is no limit. It
    rings again every second, for code that swallows exceptions.

    Args:
        seconds: The limit; None for none.
        again: Is called once, at the second ring.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    rings = 0

    def ring(number: int, frame: FrameType | None) -> None:
        nonlocal rings
        rings += 1
        if rings == 2:
            again()
        raise TrialTimeout(f"not done after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def memory(gibibytes: float | None) -> Iterator[None]:
    """Lets the process hold at most this much memory of its own inside the block; beyond it allocations fail.

    The limit is on private writable memory, not on address space, which CUDA reserves by the terabyte.
    """
    if gibibytes is None:
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (int(gibibytes * 2**30), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


@contextlib.contextmanager
def kept_heap() -> Iterator[None]:
    """Keeps what is freed inside the block for the next tensor, and hands it back to the system at its end.

    Left alone, glibc returns the memory of every large tensor at once and the kernel clears each page of the next
    one: a sixth of the time of a small conv net on a CPU. Where malloc is not glibc's, nothing happens.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        yield
        return
    for parameter, value in _HEAP.items():
        libc.mallopt(parameter, value)
    try:
        yield
    finally:
        give_back()


def give_back() -> None:
    """Hands what is free in the heap back to the system, so that one part of a trial does not carry another's holes."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


@contextlib.contextmanager
def last_resort(path: Path, seconds: float | None) -> Iterator[None]:
    """Ends the process ``GRACE`` after a block's limit, whatever it does; ``path`` then says so.

    Done by C code that needs neither the interpreter nor its lock: no code swallows it.
    """
    if seconds is None:
        yield
        return
    with path.open("w") as file:
        faulthandler.dump_traceback_later(seconds + GRACE, exit=True, file=file)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def black_box(path: Path, seconds: float | None) -> Iterator[None]:
    """Ends the process after ``seconds``, and has a crash or the end leave its stack in ``path``.

    Both are done by C code that needs neither the interpreter nor its lock, so that a loop that never
    returns to Python is ended too. The file goes away when the block ends.
    """
    with path.open("w") as file:
        faulthandler.enable(file)
        if seconds is not None:
            faulthandler.dump_traceback_later(seconds, exit=True, file=file)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            faulthandler.disable()
    path.unlink(missing_ok=True)


def cause_of_death(path: Path, seconds: float | None, host: str = "") -> tuple[str, str, str]:
    """Returns (status, reason, stack) of a process that ended inside ``black_box(path, seconds)``; takes the note."""
    worker = f"the worker on {host}" if host else "the worker"
    note = path.read_text(errors="replace").strip() if path.is_file() else ""
    path.unlink(missing_ok=True)
    if note.startswith("Timeout"):
        return "timeout", f"not done after {seconds:g} s", _stack(note)
    if note.startswith("Fatal Python error"):
        first = note.splitlines()[0].removeprefix("Fatal Python error: ")
        return "killed", f"{worker} crashed: {first}", _stack(note)
    return "killed", f"{worker} died: SIGKILL, out of memory, or an exit of the process", ""


def _stack(note: str, lines: int = 30) -> str:
    return "\n".join(note.splitlines()[:lines])


def reset_peak_memory() -> None:
    """Starts the count of ``peak_memory`` anew, so that a warm worker's trials have figures of their own."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """Returns the most memory this process has held since ``reset_peak_memory``, in bytes."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
