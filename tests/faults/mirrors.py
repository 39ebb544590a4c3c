"""Faults of what records are mirrored to: MLflow's server, its database, and a server that asks for a password."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tests.faults.findings import Finding, row, skipped
from tests.faults.processes import free_port, kill_tree, wait_for
from tests.faults.stage import Stage, staged

#: The administrator of a server with basic auth, as MLflow makes it.
ADMIN, PASSWORD = "admin", "password-of-a-stage"


class Server:
    """MLflow's server on a store."""

    def __init__(self, stage: Stage, store: str, *options: str) -> None:
        self.stage, self.port, self._options = stage, free_port(), options
        self._env = stage.env | {
            "MLFLOW_BACKEND_STORE_URI": store,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "of a stage",
            "MLFLOW_AUTH_CONFIG_PATH": str(stage.folder / "auth.ini"),
        }
        (stage.folder / "auth.ini").write_text(
            "[mlflow]\ndefault_permission = READ\nadmin_username = "
            f"{ADMIN}\nadmin_password = {PASSWORD}\ndatabase_uri = sqlite:///{stage.folder}/auth.db\n"
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        )
        self.uri = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--artifacts-destination", str(self.stage.folder / "mlartifacts")]
        with (self.stage.folder / "server.txt").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *self._options],
                cwd=self.stage.folder,
                env=self._env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for(self._answers, 240.0, "MLflow's server")

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                return True
        except OSError:
            return False

    def stop(self) -> None:
        kill_tree(self._process.pid)
        self._process.wait()


def _store(stage: Stage) -> str:
    return f"sqlite:///{stage.folder}/server.db"


@row("MLflow's server stopped in mid-run and started again")
def mlflow_restarted() -> Finding:
    def play(stage: Stage) -> Finding:
        server = Server(stage, _store(stage))
        driver = stage.start("--tracking", server.uri)
        stage.until(2)
        with stage.fault():
            server.stop()
        stage.until(4)
        stage.hold.touch()  # the server takes its time, and is to be back before the run ends
        server.start()
        stage.hold.unlink()
        driver.wait()
        stage.again("--tracking", server.uri)
        missing = stage.sync(server.uri)
        server.stop()
        return stage.finding(stage.says("run now"), more_lost=missing)

    return staged(play, "--executor", "local", pause=1.0)


@row("MLflow's server stopped in mid-run for good; `suite sync` once it is back")
def mlflow_away() -> Finding:
    def play(stage: Stage) -> Finding:
        server = Server(stage, _store(stage))
        driver = stage.start("--tracking", server.uri)
        stage.until(2)
        with stage.fault():
            server.stop()
        driver.wait()
        server.start()
        stage.again("--tracking", server.uri)
        stage.sync(server.uri)
        missing = stage.sync(server.uri)
        server.stop()
        return stage.finding(stage.says("not in MLflow yet"), more_lost=missing)

    return staged(play, "--executor", "local", pause=1.0)


class Postgres:
    """A database of the stage's own, run by the user ``postgres``, who must own it."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.port = stage, free_port()
        self._folder = stage.folder / "postgres"
        self._folder.mkdir()
        stage.folder.chmod(0o755)
        subprocess.run(["chown", "postgres", self._folder], check=True)
        self._run("initdb", "--auth=trust", "--username=suite")
        self._control("start", f"-o -p {self.port} -k {self._folder} -c listen_addresses=127.0.0.1")
        self.uri = f"postgresql+psycopg2://suite:secret@127.0.0.1:{self.port}/postgres"

    def restart(self) -> None:
        """Ends the database as a crash does, and starts it."""
        self._control("restart", "-m", "immediate")

    def stop(self) -> None:
        self._control("stop", "-m", "immediate")

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "-w", "-t", "240", "-l", str(self._folder / "log"), *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        path = next(iter(sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))))
        command = ["runuser", "-u", "postgres", "--", str(path), "-D", str(self._folder / "data"), *arguments]
        subprocess.run(
            command,
            cwd=self._folder,
            env=self.stage.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            check=True,
        )


def lacks_postgres() -> str:
    """Returns what of PostgreSQL is not here; empty where all is."""
    if os.geteuid() or not list(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")):
        return "no PostgreSQL that this user may start"
    return "" if importlib.util.find_spec("psycopg2") else "psycopg2 is not installed"


def _with_postgres(play: Callable[[Stage, Postgres], Finding]) -> Finding:
    if why := lacks_postgres():
        return skipped(why)

    def begin(stage: Stage) -> Finding:
        database = Postgres(stage)
        try:
            return play(stage, database)
        finally:
            database.stop()

    return staged(begin, "--executor", "local", pause=3.0)


@row("PostgreSQL crashed and restarted beneath a driver")
def postgres_restarted() -> Finding:
    def play(stage: Stage, database: Postgres) -> Finding:
        driver = stage.start("--tracking", database.uri)
        stage.until(2)
        with stage.fault():
            database.restart()
        driver.wait()
        stage.again("--tracking", database.uri)
        missing = stage.sync(database.uri)
        database.stop()
        found = stage.finding(stage.says("run now"), more_lost=missing)
        database.restart()
        return found

    return _with_postgres(play)


@row("PostgreSQL crashed and restarted beneath MLflow's server")
def postgres_behind_server() -> Finding:
    def play(stage: Stage, database: Postgres) -> Finding:
        server = Server(stage, database.uri)
        driver = stage.start("--tracking", server.uri)
        stage.until(2)
        with stage.fault():
            database.restart()
        driver.wait()
        stage.again("--tracking", server.uri)
        missing = stage.sync(server.uri)
        server.stop()
        database.stop()
        found = stage.finding(stage.says("run now"), more_lost=missing)
        database.restart()
        return found

    return _with_postgres(play)


@row("MLflow's server asks for a password (basic auth): first none, then the right one")
def basic_auth() -> Finding:
    if importlib.util.find_spec("flask_wtf") is None:
        return skipped("`mlflow[auth]` is not installed")

    def play(stage: Stage) -> Finding:
        server = Server(stage, _store(stage), "--app-name", "basic-auth")
        with stage.fault():
            stage.again("--tracking", server.uri)
        stage.env |= {"MLFLOW_TRACKING_USERNAME": ADMIN, "MLFLOW_TRACKING_PASSWORD": PASSWORD}
        stage.again("--tracking", server.uri)
        stage.sync(server.uri)
        missing = stage.sync(server.uri)
        server.stop()
        leaked = any(PASSWORD in driver.said() for driver in stage.drivers)
        return stage.finding(stage.says("not in MLflow yet"), more_lost=missing, more_wrong=leaked)

    return staged(play, "--executor", "local", seeds=2)
