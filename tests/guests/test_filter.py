"""Nothing that a sitting could leave outside itself is left to it: refused by the kernel, walls or not."""

from __future__ import annotations

import struct
import subprocess
import sys
import textwrap

import pytest

from suite.guests import filter
from suite.guests.containment import PACKAGE

#: What would outlive a process, each an expression that raises or returns a negative number where it is refused.
LEFT_BEHIND = {
    "a file's name": "os.mkdir('/tmp/left-by-a-guest')",
    "a file": "os.open('/tmp/left-by-a-guest', os.O_CREAT | os.O_WRONLY)",
    "a link": "os.symlink('/', '/tmp/left-by-a-guest')",
    "a file's time": "os.utime('/tmp', ns=(1, 1))",
    "a shared memory segment": "c.shmget(4711, 4096, 0o1666)",
    "a message queue": "c.msgget(4711, 0o1666)",
    "a semaphore": "c.semget(4711, 1, 0o1666)",
    "a POSIX queue": "c.syscall(240, b'left', os.O_CREAT | os.O_RDWR, 0o666, None)",
    "a key in a keyring": "c.syscall(248, b'user', b'left', b'x', 1, -4)",
    "another process's limit": "resource.prlimit(os.getppid(), resource.RLIMIT_STACK, (2**23, -1))",
    "another process's priority": "os.setpriority(os.PRIO_PROCESS, os.getppid(), 19)",
    "another process's processors": "os.sched_setaffinity(os.getppid(), {0})",
    "a signal": "os.kill(os.getppid(), 0)",
    "a socket": "socket.socket(socket.AF_UNIX)",
    "a pipe": "os.pipe()",
    "a process": "os.fork() or os._exit(0)",
    "a thread": "threading.Thread(target=print).start()",
    "an io_uring": "c.syscall(425, 8, ctypes.create_string_buffer(256))",
    "a watched process": "c.ptrace(16, os.getppid(), 0, 0)",
    "a namespace": "c.unshare(0x10000000)",
    "a hint on a file": "len(fcntl.fcntl(library, 1036, struct.pack('Q', 2)))",
    "a hint that another has left": "len(fcntl.fcntl(library, 1035, struct.pack('Q', 0)))",
    "a lock on a file": "len(fcntl.fcntl(library, 6, struct.pack('hhqqi4x', 0, 0, 0, 1, 0)))",
    "a lock that another holds": "len(fcntl.fcntl(library, 5, struct.pack('hhqqi4x', 1, 0, 0, 1, 0)))",
    "a lease of a file": "fcntl.fcntl(library, 1024, 0)",
    "a signal at the next byte": "fcntl.fcntl(0, 8, os.getppid())",
    "the kind of that signal": "fcntl.fcntl(0, 10, 9)",
    "signals at all": "fcntl.fcntl(0, 4, fcntl.fcntl(0, 3) | os.O_ASYNC)",
    "somebody who waits at a library's page": "c.syscall(futex, ctypes.byref(ctypes.c_int(0)), 1, 1, None, None, 0)",
    "how much the machine holds": "c.sysinfo(ctypes.create_string_buffer(256))",
    "a core shared with another": "c.prctl(62, 0, 0, 0, 0)",
}

SCRIPT = """
import ctypes, fcntl, os, resource, socket, struct, sys, threading
import suite.guests.filter as f
c = ctypes.CDLL(None)
library = os.open(os.__file__, os.O_RDONLY)
futex = {{"x86_64": 202, "aarch64": 98}}[os.uname().machine]
assert f.apply(threads=False)
{lines}
import numpy, json
print(sum(numpy.arange(4)), open(__import__('os').__file__).read(6)[:0])
"""

LINE = """
try:
    found = {expression}
    print({name!r} if not isinstance(found, int) or found >= 0 else "", end=";")
except BaseException:
    pass
"""


@pytest.mark.skipif(not filter.works(), reason="the kernel takes no filter here")
def test_a_filtered_process_computes_and_reads_but_leaves_nothing() -> None:
    lines = "".join(LINE.format(name=name, expression=e) for name, e in LEFT_BEHIND.items())
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT).format(lines=lines)],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(PACKAGE.parent), "OMP_NUM_THREADS": "1"},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.replace(";", "").strip() == "6"


@pytest.mark.skipif(not filter.works(), reason="the kernel takes no filter here")
def test_a_process_that_may_start_threads_also_sees_them_end() -> None:
    code = """
        import threading, torch, suite.guests.filter as f
        assert f.apply(threads=True)
        found = []
        some = [threading.Thread(target=found.append, args=(i,)) for i in range(8)]
        [thread.start() for thread in some], [thread.join() for thread in some]
        torch.set_num_threads(2)
        x = torch.randn(300, 300)
        assert torch.isfinite(x @ x).all() and len(found) == 8
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(PACKAGE.parent), "OMP_NUM_THREADS": "2"},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_jump_of_the_filter_ends_inside_it(machine: str) -> None:
    code = filter.program(machine, 4711, threads=True)
    steps = list(struct.iter_unpack("HBBI", code))
    assert steps[-1][0] == 0x06  # a return
    for place, (kind, if_true, if_false, _) in enumerate(steps):
        if kind in (0x15, 0x45):
            assert place + 1 + max(if_true, if_false) < len(steps)
