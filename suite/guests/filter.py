"""The system calls that a guest's sitting has left: those of reading, computing and answering, and no other.

What lies outside a process outlives it: a file's name, a shared memory segment, a key in a keyring, a limit set on
another process, a queue, a signal, a lock, a hint on a file. Each would carry something from one sitting to the next,
from the sender to the receiver, or from the guest of one trial to that of another. An allow-list in the kernel
(seccomp) leaves none of them, without walls too; of a call that does many things it leaves what stays in the process.
Refused calls end in ``EPERM``.
Counts of page faults are not told either: which pages of a library the kernel holds is a memory that no wall parts.
What is left of that is the clock: a page that is not held takes longer to read.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import subprocess
import sys

from suite.files import PACKAGE

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2
_ALLOW, _EPERM, _EAGAIN, _ENOSYS, _KILL = 0x7FFF0000, 0x00050001, 0x0005000B, 0x00050026, 0x80000000
_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
#: Where ``struct seccomp_data`` holds the call's number, the machine, and the lower half of the first argument.
_NUMBER, _MACHINE, _ARGUMENTS = 0, 4, 16

#: Machine -> its name in the kernel's audit, and the numbers of the calls below in its table, in their order.
_MACHINES = {
    "x86_64": (
        0xC000003E,
        "12 229 228 230 3 32 292 60 231 269 439 72 5 138 202 79 217 108 107 104 115 39 110 318 120 118 97 55 186 96 "
        "102 8 28 324 149 9 10 25 150 11 35 262 271 157 17 295 270 0 267 19 45 219 334 13 127 14 15 204 143 145 "
        "146 147 24 44 273 218 48 131 137 332 100 63 1 20 257 62 234 302 16 56 435",
    ),
    "aarch64": (
        0xC00000B7,
        "214 114 113 115 57 23 24 93 94 48 439 25 80 44 98 17 61 177 175 176 158 172 173 278 150 148 163 209 178 "
        "169 174 62 233 283 228 222 226 216 229 215 101 79 73 167 67 69 72 63 78 65 207 128 293 134 136 135 139 "
        "123 121 120 125 126 124 206 99 96 210 132 43 291 153 160 64 66 56 129 131 261 29 220 435",
    ),
}
_NAMES = (  # noqa: SIM905  # a list of its own lines would be as long as the file
    "brk clock_getres clock_gettime clock_nanosleep close dup dup3 exit exit_group faccessat faccessat2 fcntl fstat "
    "fstatfs futex getcwd getdents64 getegid geteuid getgid getgroups getpid getppid getrandom getresgid getresuid "
    "getrlimit getsockopt gettid gettimeofday getuid lseek madvise membarrier mlock mmap "
    "mprotect mremap munlock munmap nanosleep newfstatat ppoll prctl pread64 preadv pselect6 read readlinkat readv "
    "recvfrom restart_syscall rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigreturn sched_getaffinity "
    "sched_getparam sched_getscheduler sched_get_priority_max sched_get_priority_min sched_yield sendto "
    "set_robust_list set_tid_address shutdown sigaltstack statfs statx times uname write writev openat kill "
    "tgkill prlimit64 ioctl clone clone3"
).split()
#: Older forms of some of them that one machine has: access, arch_prctl, dup2, getpgrp, lstat, poll, readlink, select,
#: stat, time; and open.
_OLDER = {"x86_64": (21, 158, 33, 111, 6, 7, 89, 23, 4, 201)}
_OPEN = {"x86_64": 2}

#: Calls that are allowed with some arguments only.
_CONDITIONAL = ("openat", "kill", "tgkill", "prlimit64", "ioctl", "fcntl", "prctl", "futex", "clone", "clone3")
#: Opening for writing, creating, truncating, unnamed files.
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | (getattr(os, "O_TMPFILE", 0) & ~os.O_DIRECTORY)
#: What Python asks of a descriptor: whether it is a terminal, how much there is to read; and two flags of its own.
_REQUESTS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
#: What may be done to a descriptor: copies of it, and whether they are handed on. The rest locks and leases files,
#: writes hints into them, or has signals sent.
_DESCRIPTORS = (0, 1, 2, 3, 1030)
#: What a process may set of itself: its name and those of its memory; and ask: whether it is filtered or can be dumped.
_OWN = (3, 15, 16, 21, 0x53564D41)
#: Waiting and waking within the process alone. Elsewhere two processes that map the same library's page would meet.
_FUTEX_PRIVATE = 128
_CLONE_THREAD = 0x00010000


def works() -> bool:
    """Whether this machine's calls are known and its kernel takes the filter; tried once, in a process of its own."""
    if platform.machine() not in _MACHINES or platform.system() != "Linux":
        return False
    code = "import os, suite.guests.filter as f; f.apply(False) and os._exit(7)"
    environment = {"PYTHONPATH": str(PACKAGE.parent)}
    tried = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, timeout=60, check=False)
    return tried.returncode == 7


def apply(threads: bool) -> bool:
    """Leaves this process, for good, with what a sitting needs.

    Args:
        threads: Whether it may start threads of its own.

    Returns:
        Whether the kernel took the filter.
    """
    if platform.machine() not in _MACHINES:
        return False
    code = program(platform.machine(), os.getpid(), threads)
    held = ctypes.create_string_buffer(code, len(code))
    described = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(held))
    call = ctypes.CDLL(None, use_errno=True).prctl
    call.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    if call(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    pointer = ctypes.create_string_buffer(described, len(described))
    return bool(call(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(pointer), 0, 0) == 0)


def program(machine: str, own: int, threads: bool) -> bytes:
    """Returns the filter as the kernel's BPF takes it.

    Args:
        machine: ``"x86_64"`` or ``"aarch64"``.
        own: The number of the process, which may signal and limit itself alone.
        threads: Whether it may start threads.
    """
    audit, table = _MACHINES[machine]
    numbers = dict(zip(_NAMES, map(int, table.split()), strict=True))
    steps = [_step(_LOAD, _MACHINE), _step(_EQUAL, audit, 1, 0), _step(_RETURN, _KILL), _step(_LOAD, _NUMBER)]
    plain = [number for name, number in numbers.items() if name not in _CONDITIONAL]
    for number in (*plain, *_OLDER.get(machine, ())):
        steps += [_step(_EQUAL, number, 0, 1), _step(_RETURN, _ALLOW)]
    rules = {
        numbers["openat"]: _unless_bits(2, _WRITING),
        numbers["kill"]: _if_one_of(0, (own,)),
        numbers["tgkill"]: _if_one_of(0, (own,)),
        numbers["prlimit64"]: _if_one_of(0, (0, own)),
        numbers["ioctl"]: _if_one_of(1, _REQUESTS),
        numbers["fcntl"]: _if_one_of(1, _DESCRIPTORS),
        numbers["prctl"]: _if_one_of(0, _OWN),
        # The C library waits for a thread's end elsewhere than within the process: told to ask again, it does.
        numbers["futex"]: _if_bits(1, _FUTEX_PRIVATE, _EAGAIN if threads else _EPERM),
        numbers["clone3"]: [_step(_RETURN, _ENOSYS)],  # its flags lie in memory; the C library then takes clone
    }
    if machine in _OPEN:
        rules[_OPEN[machine]] = _unless_bits(1, _WRITING)
    if threads:
        rules[numbers["clone"]] = _if_bits(0, _CLONE_THREAD, _EPERM)
    for number, rule in rules.items():
        steps += [_step(_EQUAL, number, 0, len(rule)), *rule]
    return b"".join([*steps, _step(_RETURN, _EPERM)])


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def _unless_bits(argument: int, mask: int) -> list[bytes]:
    refused = [_step(_ANY_BIT, mask, 0, 1), _step(_RETURN, _EPERM), _step(_RETURN, _ALLOW)]
    return [_step(_LOAD, _ARGUMENTS + 8 * argument), *refused]


def _if_bits(argument: int, mask: int, otherwise: int) -> list[bytes]:
    allowed = [_step(_ANY_BIT, mask, 0, 1), _step(_RETURN, _ALLOW), _step(_RETURN, otherwise)]
    return [_step(_LOAD, _ARGUMENTS + 8 * argument), *allowed]


def _if_one_of(argument: int, values: tuple[int, ...]) -> list[bytes]:
    tests = [part for value in values for part in (_step(_EQUAL, value, 0, 1), _step(_RETURN, _ALLOW))]
    return [_step(_LOAD, _ARGUMENTS + 8 * argument), *tests, _step(_RETURN, _EPERM)]
