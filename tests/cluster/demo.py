"""A cluster on this machine for anyone to try: the services of ``docker-compose.yml``, a machine each, and a board.

    python -m tests.cluster.demo [--keep FOLDER] [--install]

Ray's head, two workers and the driver, PostgreSQL, and MLflow's server on it run as processes with addresses and names
of their own. The board runs over both workers; then MLflow is held against the records, and the board against that of a
run without Ray. Nothing is left but the folder that ``--keep`` names.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.cluster import comparing, machines
from tests.cluster.composition import ROOT, child_environment
from tests.cluster.machines import Machine
from tests.cluster.services import Services, install_postgres, missing_programs, order, search_path

BOARD = ROOT / "tests" / "cluster" / "board.yaml"

#: Machine -> the service on it.
PLACES = {
    "postgres": "postgres",
    "mlflow": "mlflow",
    "ray-head": "ray-head",
    "worker-1": "ray-worker",
    "worker-2": "ray-worker",
    "driver": "suite",
}

WORKERS = [machine for machine, service in PLACES.items() if service == "ray-worker"]

#: With every character that has a meaning in a URI, a shell or a setting of PostgreSQL.
PASSWORD = f"p@ss:w/rd%40#?&'\" {secrets.token_hex(8)}"


class Demo:
    """The demonstration, inside its namespaces.

    Args:
        folder: An empty one.
        options: More options of ``suite run``.
        shared: Whether the workers see the workspace.
    """

    def __init__(self, folder: Path, options: str = "", shared: bool = True) -> None:
        self.folder, self.shared = folder, shared
        self.secrets = {"POSTGRES_PASSWORD": PASSWORD, "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        given = {"CPUS_PER_WORKER": "1", "SUITE_RUN_OPTIONS": options}
        self.runs = folder / "runs"
        self._folders = {
            "/runs": self.runs,
            "/data": folder / "data",
            "/artifacts": folder / "artifacts",
            "/board.yaml": BOARD,
            "/var/lib/postgresql/data": folder / "postgres",
        }
        for name in ("runs", "data", "artifacts", "logs", "machines"):
            (folder / name).mkdir()
        self.services = Services(self.secrets | given, self._folders, folder / "logs")
        self.machines: dict[str, Machine] = {}

    def make_machines(self) -> None:
        """Makes a machine for each service."""
        addresses = machines.make_network(list(PLACES), self.folder)
        for name, address in addresses.items():
            hidden = () if self.shared or name not in WORKERS else (self.runs, self._folders["/data"])
            self.machines[name] = Machine(name, address, self.folder / "machines", hidden)

    def start(self) -> None:
        """Starts all services but the board, each when those that it waits for are healthy."""
        services = self.services
        for service in order(services.services, sorted(set(PLACES.values()) - {"suite"})):
            hosts = [self.machines[name] for name, placed in PLACES.items() if placed == service]
            for host in hosts:
                services.start(service, host)
            for host in hosts:
                began = time.monotonic()
                services.wait(service, host)
                print(f"  {service:11} {host.name:9} {host.address:10} healthy after {time.monotonic() - began:.1f} s")

    def run_board(self) -> float:
        """Runs the board on the driver's machine; returns the seconds it took.

        Raises:
            RuntimeError: If it fails.
        """
        began = time.monotonic()
        driver = self.machines["driver"]
        code = self.services.start("suite", driver).wait()
        said = self.services.log("driver").read_text(errors="replace")
        print("\n".join(f"  {line}" for line in said.strip().splitlines()[-3:]))
        if code:
            raise RuntimeError(f"the board ended with exit code {code}:\n{said[-3000:]}")
        return time.monotonic() - began

    def run_locally(self) -> Path:
        """Runs the same board without Ray, in one process; returns its workspace."""
        workspace = self.folder / "local"
        command = [sys.executable, "-m", "suite", "run", "--file", str(BOARD), "--workspace", str(workspace)]
        env = child_environment() | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": search_path()}
        command += ["--executor", "local", "--tracking", "off"]
        subprocess.run(command, cwd=ROOT, env=env, check=True, stdin=subprocess.DEVNULL, capture_output=True)
        return workspace

    def faults(self) -> list[str]:
        """Returns what is not as it should be after the board has run."""
        records = comparing.read(self.runs)
        found = [f"{r.baseline} seed {r.seed}: {r.task} is {r.status}" for r in records if r.status != "ok"]
        ran = Counter(record.env["host"] for record in records)
        found += [f"nothing ran on {name}" for name in WORKERS if not ran[name]]
        found += [f"trials ran on {name}" for name in ran if name not in WORKERS]
        found += comparing.mirrored("http://mlflow:5000", records)
        found += [f"a secret stands in a command line: {line}" for line in comparing.told_arguments(self._shown())]
        local = self.run_locally()
        if comparing.numbers(records) != comparing.numbers(comparing.read(local)):
            found.append("the records' numbers are not those of a run without Ray")
        if comparing.board(self.runs) != comparing.board(local):
            found.append("the board is not that of a run without Ray")
        return found + [f"a secret stands in {path}" for path in comparing.leaks(self.folder, self._shown())]

    def _shown(self) -> list[str]:
        return list(self.secrets.values())

    def kill(self) -> None:
        """Kills all machines."""
        for machine in self.machines.values():
            machine.kill()


def inside(arguments: argparse.Namespace) -> int:
    """Runs the demonstration in the namespaces that this process is the first of."""
    machines.end_with_parent()
    options = arguments.options if arguments.shared else f"{arguments.options} --no-shared"
    demo = Demo(Path(arguments.folder), options, arguments.shared)
    try:
        print("machines:")
        demo.make_machines()
        demo.start()
        print("the board:")
        seconds = demo.run_board()
        show_places(demo)
        print(f"{seconds:.0f} s over {len(WORKERS)} workers; held against MLflow and against --executor local:")
        found = demo.faults()
    except RuntimeError as error:
        found = [str(error)]
    finally:
        demo.kill()
    print("\n".join(found) or "  MLflow holds what the records hold; the board is the same, number for number")
    return 1 if found else 0


def show_places(demo: Demo) -> None:
    """Prints where each trial ran."""
    trials = {(r.baseline, r.seed): r.env["host"] for r in comparing.read(demo.runs)}
    for (baseline, seed), host in sorted(trials.items()):
        print(f"  {baseline:22} seed {seed}  {host}")


def outside(arguments: argparse.Namespace) -> int:
    """Makes room for the demonstration, runs it apart from this machine, and tidies up."""
    if arguments.install and "initdb" in missing_programs():
        install_postgres()
    if missing := missing_programs():
        print(
            f"not found: {', '.join(missing)}; `make cluster-demo` installs MLflow and Ray, and as root on Debian "
            "PostgreSQL too",
            file=sys.stderr,
        )
        return 2
    if obstacle := machines.obstacle():
        print(f"no machines can be made here: {obstacle}", file=sys.stderr)
        return 2
    folder = Path(arguments.keep or tempfile.mkdtemp(prefix="suite-cluster-"))
    folder.mkdir(exist_ok=True)
    again = ["--inside", "--folder", str(folder), "--options", arguments.options]
    try:
        return machines.run_apart("tests.cluster.demo", [*again, "--shared" if arguments.shared else "--no-shared"])
    finally:
        if not arguments.keep:
            shutil.rmtree(folder)


def main() -> int:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", metavar="FOLDER", help="an empty folder to keep records, logs and artifacts in")
    parser.add_argument("--install", action="store_true", help="install Debian's PostgreSQL if there is none")
    parser.add_argument("--options", default="", help="more options of suite run")
    parser.add_argument(
        "--shared", action=argparse.BooleanOptionalAction, default=True, help="whether the workers see the workspace"
    )
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    os.umask(0o077)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    return inside(arguments) if arguments.inside else outside(arguments)


if __name__ == "__main__":
    sys.exit(main())
