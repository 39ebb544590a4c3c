"""Machines with addresses, names, processes and temporary files of their own, out of Linux namespaces.

All of them lie in one outer set of namespaces, which the kernel takes down with its first process: however that ends,
no process, interface or mount is left. It needs no rights where the kernel lets users make namespaces.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.cluster.composition import ROOT, child_environment

#: The network of the machines; nothing beyond this one can reach it.
NETWORK = "10.77.0"

#: Where Ray keeps its sockets and logs: each machine has its own.
RAY_FOLDER = Path("/tmp/ray")

TOOLS = ("unshare", "nsenter", "ip", "mount")

#: What a machine has of its own.
KINDS = ("--net", "--pid", "--mount", "--uts")

#: The first process of a machine: a shell that collects the processes that others leave behind.
IDLE = "while :; do sleep 1000; done"


def outer() -> list[str]:
    """Returns the command that runs another in namespaces of its own, as their root."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *user, *KINDS, "--fork", "--kill-child", "--mount-proc"]


def obstacle() -> str:
    """Returns why no machines can be made here; empty where they can."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)} not found (Debian: util-linux, iproute2)"
    tried = subprocess.run([*outer(), "true"], capture_output=True, text=True, check=False)
    return tried.stderr.strip() if tried.returncode else ""


def run_apart(module: str, arguments: Sequence[str]) -> int:
    """Runs a module of this repository in outer namespaces; returns its exit code.

    Its standard input is a pipe that nobody writes to: when this process ends, however it does, ``end_with_parent``
    notices there.
    """
    made = not RAY_FOLDER.exists()
    RAY_FOLDER.mkdir(exist_ok=True)
    command = [*outer(), sys.executable, "-m", module, *arguments]
    try:
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE) as process:
            try:
                return process.wait()
            finally:
                process.kill()
    finally:
        if made:
            with contextlib.suppress(OSError):
                RAY_FOLDER.rmdir()


def end_with_parent() -> None:
    """Ends this process, and with it all machines, when the one that called ``run_apart`` has ended."""

    def wait() -> None:
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def make_network(names: Sequence[str], folder: Path) -> dict[str, str]:
    """Makes the network of the machines to be, and a hosts file that knows their names; returns name -> address."""
    _call("mount", "--make-rprivate", "/")
    _call("ip", "link", "set", "lo", "up")
    _call("ip", "link", "add", "machines", "type", "bridge")
    _call("ip", "address", "add", f"{NETWORK}.1/24", "dev", "machines")
    _call("ip", "link", "set", "machines", "up")
    addresses = {name: f"{NETWORK}.{number}" for number, name in enumerate(names, start=2)}
    hosts = folder / "hosts"
    lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in addresses.items())]
    hosts.write_text("\n".join(lines) + "\n")
    _call("mount", "--bind", str(hosts), "/etc/hosts")
    nobody = folder / "resolv.conf"  # a server of names that cannot be reached from here would be waited for
    nobody.touch()
    _call("mount", "--bind", str(nobody), "/etc/resolv.conf")
    return addresses


class Machine:
    """One machine of the network. What it writes to the folders of others is seen there: they share a file system.

    Args:
        name: Its host name.
        address: Its own.
        folder: Where its temporary files lie.
        hidden: Folders of which it sees an empty one of its own, as a machine without a shared file system would.
    """

    def __init__(self, name: str, address: str, folder: Path, hidden: Sequence[Path] = ()) -> None:
        self.name, self.address = name, address
        self._processes: list[subprocess.Popen] = []
        self._folder = folder / name
        mounts = [self._mount(place) for place in (RAY_FOLDER, *hidden)]
        start = "; ".join([f"hostname {name}", *mounts, IDLE])
        words = ["unshare", *KINDS, "--fork", "--kill-child", "--mount-proc", "sh", "-c", f"set -e; {start}"]
        self._keeper = subprocess.Popen(words, stdin=subprocess.DEVNULL)
        self._first = _child(self._keeper.pid)
        self._connect()

    def _mount(self, place: Path) -> str:
        own = self._folder / place.name
        own.mkdir(parents=True)
        return f"mount --bind {own} {place}"

    def _connect(self) -> None:
        cable = f"to-{self._first}"
        _call("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", str(self._first))
        _call("ip", "link", "set", cable, "master", "machines", "up")
        inside = ["nsenter", "--target", str(self._first), "--net", "ip"]
        _call(*inside, "link", "set", "lo", "up")
        _call(*inside, "address", "add", f"{self.address}/24", "dev", "eth0")
        _call(*inside, "link", "set", "eth0", "up")
        _call(*inside, "route", "add", "default", "via", f"{NETWORK}.1")

    def command(self, words: Sequence[str]) -> list[str]:
        """Returns the command that runs ``words`` on this machine."""
        return ["nsenter", "--target", str(self._first), *KINDS, f"--wd={ROOT}", "--", *words]

    def start(self, words: Sequence[str], env: Mapping[str, str], log: Path) -> subprocess.Popen:
        """Starts a process on this machine that writes what it says to a file."""
        with log.open("ab") as file:
            process = subprocess.Popen(
                self.command(words),
                cwd=ROOT,
                env=child_environment() | dict(env),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        self._processes.append(process)
        return process

    def kill(self) -> None:
        """Kills the machine with all that runs on it."""
        self._keeper.kill()
        for process in [self._keeper, *self._processes]:
            process.wait()


def _child(pid: int) -> int:
    """Returns the only child of a process, as soon as it has taken its names and mounts."""
    for _ in range(200):
        time.sleep(0.05)
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if children and "sleep" in _commands_below(int(children[0])):
            return int(children[0])
    raise RuntimeError("a machine does not start")


def _commands_below(pid: int) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            yield Path(f"/proc/{child}/comm").read_text().strip()


def _call(*words: str) -> None:
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
