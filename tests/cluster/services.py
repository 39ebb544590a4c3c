"""The services of ``docker-compose.yml`` as processes, each on a machine of its own: their commands, their environment
and their health checks are the file's."""

from __future__ import annotations

import graphlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.cluster import composition
from tests.cluster.composition import ROOT
from tests.cluster.machines import Machine

#: Where Debian keeps PostgreSQL's programs.
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))

#: Seconds that a service may take to become healthy.
PATIENCE = 300.0


def order(services: Mapping[str, Any], wanted: Sequence[str]) -> list[str]:
    """Returns the wanted services, each after those that it waits for."""
    needs = {name: set(services[name].get("depends_on", {})) & set(wanted) for name in wanted}
    return list(graphlib.TopologicalSorter(needs).static_order())


def search_path() -> str:
    """Returns the search path of all processes: this environment's programs and PostgreSQL's come first."""
    places = [str(Path(sys.executable).parent), *(str(place) for place in POSTGRES[-1:]), os.environ.get("PATH", "")]
    return os.pathsep.join(places)


def missing_programs() -> list[str]:
    """Returns which of the programs that the services are made of are not here."""
    programs = ("postgres", "initdb", "mlflow", "ray")
    missing = [name for name in programs if not shutil.which(name, path=search_path())]
    return missing + [name for name in ("psycopg2",) if importlib.util.find_spec(name) is None]


def install_postgres() -> None:
    """Installs Debian's PostgreSQL, without a database that starts by itself; elsewhere, or without rights, nothing."""
    if os.geteuid() or not shutil.which("apt-get"):
        return
    settings = Path("/etc/postgresql-common/createcluster.conf")
    settings.parent.mkdir(exist_ok=True)
    if not settings.exists():
        settings.write_text("create_main_cluster = false\n")
    apt = ["apt-get", "--yes", "--quiet", "--no-install-recommends", "-o", "Dpkg::Options::=--force-confold"]
    for words in (["update"], ["install", "postgresql"]):
        subprocess.run([*apt, *words], check=True)
    POSTGRES[:] = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))


class Services:
    """Starts services and waits until their health checks pass.

    Args:
        env: What a user would set in ``.env``.
        folders: Path in a container -> folder here, of every volume that a service's environment names.
        logs: A folder for what they print.
    """

    def __init__(self, env: Mapping[str, str], folders: Mapping[str, Path], logs: Path) -> None:
        self.services = composition.read(env)
        self._folders = {place: str(folder) for place, folder in folders.items()}
        self._logs = logs
        self._running: dict[str, tuple[str, Machine, subprocess.Popen]] = {}

    def environment(self, name: str) -> dict[str, str]:
        """Returns the environment of a service, with the folders that stand here for its volumes."""
        given = composition.environment(self.services[name])
        places = {key: self._folders.get(value, value) for key, value in given.items()}
        # An image has its own search path and engine, and its users have no folders of ours.
        return {"PATH": search_path(), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **places}

    def start(self, name: str, machine: Machine) -> subprocess.Popen:
        """Starts a service on a machine."""
        words = composition.words(self.services[name]["command"])
        env = self.environment(name)
        if name == "postgres":
            words, env = self._postgres(words, env)
        process = machine.start(words, env, self.log(machine.name))
        self._running[machine.name] = (name, machine, process)
        return process

    def _restart(self) -> None:
        """Starts again every service that has ended, as Compose would: Ray gives up where its head is slow to start."""
        for name, machine, process in list(self._running.values()):
            if process.poll() is not None:
                self.start(name, machine)

    def log(self, machine: str) -> Path:
        """Returns the file that holds what the service on a machine prints."""
        return self._logs / f"{machine}.log"

    def wait(self, name: str, machine: Machine) -> None:
        """Waits until the service's health check passes; meanwhile every service that ends is started again.

        Raises:
            RuntimeError: If it does not pass in time.
        """
        check = machine.command(composition.health(self.services[name]))
        env = composition.child_environment() | self.environment(name)
        began, said = time.monotonic(), ""
        while time.monotonic() - began < PATIENCE:
            self._restart()
            asked = subprocess.run(check, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            if asked.returncode == 0:
                return
            said = asked.stdout + asked.stderr
            time.sleep(0.2)
        last = self.log(machine.name).read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{name} on {machine.name} does not become healthy:\n{last}\nits health check: {said}")

    def _postgres(self, words: list[str], env: dict[str, str]) -> tuple[list[str], dict[str, str]]:
        """Makes the database as the image's entry point would, and returns the command and environment to run it.

        The programs refuse to run as root; they run as somebody in user namespaces of their own.
        """
        data = Path(self._folders["/var/lib/postgresql/data"])
        user = next(entry for entry in pwd.getpwall() if entry.pw_uid)
        somebody = ["unshare", "--user", f"--map-user={user.pw_uid}", f"--map-group={user.pw_gid}"]
        if not data.exists():
            self._make_database(data, somebody, env)
        login = {"PGPASSWORD": env["POSTGRES_PASSWORD"], "PGDATA": str(data)}
        return [*somebody, *words, "-c", "unix_socket_directories="], env | login

    def _make_database(self, data: Path, somebody: list[str], env: dict[str, str]) -> None:
        password = data.with_name("password")
        password.touch(mode=0o600)
        password.write_text(env["POSTGRES_PASSWORD"])
        options = [*env["POSTGRES_INITDB_ARGS"].split(), "--username", env["POSTGRES_USER"], "--no-sync"]
        initdb = ["initdb", *options, "--pwfile", str(password), "--pgdata", str(data)]
        quiet = {"stdout": subprocess.DEVNULL, "check": True, "env": composition.child_environment() | env}
        try:
            subprocess.run([*somebody, *initdb], **quiet)
        finally:
            password.unlink()
        with (data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all all scram-sha-256\n")
        create = f"CREATE DATABASE {env['POSTGRES_DB']}"
        single = ["postgres", "--single", "-D", str(data), "postgres"]
        subprocess.run([*somebody, *single], input=create, text=True, stderr=subprocess.DEVNULL, **quiet)
