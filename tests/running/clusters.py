"""Ray clusters of processes on this machine: nodes with a name, temporary folder and files of their own."""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

#: How long a node may take to come up, or to be noticed as gone.
PATIENCE = 90.0

RAY = str(Path(sys.executable).with_name("ray"))


def walls() -> list[str]:
    """Returns the command before a process that is to have mounts and a host name of its own; empty where none may."""
    for command in (["unshare", "--mount", "--uts"], ["unshare", "--map-root-user", "--mount", "--uts"]):
        with contextlib.suppress(OSError):
            if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
                return command
    return []


class Cluster:
    """A head on this machine, without a CPU, and nodes that see other files than it.

    Attributes:
        address: Of the head.
        env: What a driver needs in its environment.
        nodes: Name -> process, as started last.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # a socket's path must be short
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        self.env |= {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_memory_monitor_refresh_ms": "0",
            "RAY_USAGE_STATS_ENABLED": "0",
            "OMP_NUM_THREADS": "1",
        }
        self.nodes: dict[str, subprocess.Popen[bytes]] = {}
        port = self.address.rpartition(":")[2]
        head = ["--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false", f"--temp-dir={self.folder}"]
        self._start("head", [], head, self.env)

    def add(
        self,
        name: str,
        *,
        hidden: tuple[Path, ...] = (),
        instead: Mapping[Path, Path] | None = None,
        env: Mapping[str, str] | None = None,
        resources: tuple[str, ...] = ("--num-cpus=1",),
    ) -> None:
        """Adds a node.

        Args:
            name: Of its machine.
            hidden: Folders that are empty there.
            instead: Folder -> what lies there in its place.
            env: What its environment has besides.
            resources: Options of ``ray start``.
        """
        self.temporary(name).mkdir(parents=True, exist_ok=True)
        own = f"mount --bind {self.temporary(name).parent} {self.folder}"  # as on a machine of its own
        lines = [f"hostname {shlex.quote(name)}", own]
        lines += [
            f"mount --bind {shlex.quote(str(there))} {shlex.quote(str(at))}" for at, there in (instead or {}).items()
        ]
        lines += [f"mount -t tmpfs none {shlex.quote(str(folder))}" for folder in hidden]
        before = [*walls(), "sh", "-c", " && ".join([*lines, 'cd / && exec "$@"']), "sh"]
        self._start(
            name,
            before,
            [f"--address={self.address}", *resources],
            self.env | {"TMPDIR": str(self.folder / "tmp")} | dict(env or {}),
        )

    def temporary(self, name: str) -> Path:
        """Where a node keeps its temporary files."""
        return self.folder / name / "tmp"

    def lodgings(self, name: str) -> list[Path]:
        """The folders that a node has of trials that go on."""
        return list(self.temporary(name).glob("latent-suite-*-*"))

    def kill(self, name: str) -> None:
        """Ends a node and all that it has started, as if its machine were switched off."""
        process = psutil.Process(self.nodes.pop(name).pid)
        for part in [*process.children(recursive=True), process]:
            with contextlib.suppress(psutil.Error):
                part.kill()
        shutil.rmtree(self.folder / name, ignore_errors=True)

    def close(self) -> None:
        """Ends every node, the head last, and removes what they wrote."""
        for name in reversed(list(self.nodes)):
            self.kill(name)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, name: str, before: list[str], options: list[str], env: Mapping[str, str]) -> None:
        log = self.folder / f"{name}.log"
        command = [*before, RAY, "start", "--block", "--disable-usage-stats", *options]
        with log.open("wb") as out:
            self.nodes[name] = subprocess.Popen(command, env=dict(env), stdout=out, stderr=out, start_new_session=True)
        until = time.monotonic() + PATIENCE
        while "--block" not in log.read_text():  # the last that it says once it has joined
            assert self.nodes[name].poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.1)


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    """Yields a cluster that is only a head, and ends all of it."""
    found = Cluster()
    try:
        yield found
    finally:
        found.close()
