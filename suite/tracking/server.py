"""MLflow's own server on one store, as a child process that leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

from suite.errors import UserError

#: How long the server may take to start.
PATIENCE = 120.0


def check_port(host: str, port: int) -> None:
    """Raises unless the port is free.

    Raises:
        UserError: Naming a port that is free; or if the address is none of this machine.
    """
    if is_free(host, port):
        return
    if not is_free(host, 0):
        raise UserError(f"cannot listen on '{host}': not an address of this machine; 127.0.0.1 always is")
    other = next((p for p in [*range(port + 1, 65536), *range(1024, port)] if is_free(host, p)), None)
    free = "" if other is None else f"; free: --port {other}"
    raise UserError(f"port {port} of {host} is in use or not ours to take{free}")


def is_free(host: str, port: int) -> bool:
    """Whether the port can be bound."""
    try:
        with socket.socket() as probe:
            # A port whose last connections are only fading out is free, as the server sees it too.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError:
        return False
    return True


def start(uri: str, host: str, port: int) -> subprocess.Popen[bytes]:
    """Starts MLflow's server: one worker and none of its job runners, which cost 15 s and 800 MB here."""
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
    environment = os.environ | {
        "MLFLOW_BACKEND_STORE_URI": uri,  # an argument could be read by everybody on this machine
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    return subprocess.Popen(
        [*command, "--host", host, "--port", str(port)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait(server: subprocess.Popen[bytes], host: str, port: int) -> None:
    """Waits until the server answers.

    Raises:
        UserError: If it ends or stays silent.
    """
    address = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}/health"
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise UserError(f"MLflow's server did not start on {host}:{port}; `mlflow server` says why")


def stop(server: subprocess.Popen[bytes]) -> None:
    """Ends the server with its workers: all that runs in the session it was started in."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, sign)
            server.wait(10)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
