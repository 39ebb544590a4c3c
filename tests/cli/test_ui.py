"""`suite ui` opens MLflow's UI on real runs, leaves no process behind, and says what is wrong in one line."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from suite import tracking
from suite.cli.ui import ui
from suite.errors import UserError
from suite.records.record import Record
from suite.records.store import pictures_path, write
from suite.tracking import server


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_port_in_use_is_named_with_a_free_one():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"port {port} .* --port \d+") as error:
            server.check_port("127.0.0.1", port)
    free = int(str(error.value).rpartition(" ")[2])
    assert free != port
    assert server.is_free("127.0.0.1", free)


def test_an_address_of_another_machine_is_not_taken_for_a_port_in_use():
    with pytest.raises(UserError, match=r"cannot listen on '198\.51\.100\.77'"):
        server.check_port("198.51.100.77", 5000)


def test_a_store_of_an_unknown_kind_is_named_in_one_line(tmp_path):
    with pytest.raises(UserError, match=r"^tracking store foo://x: [^\n]+$"):
        ui(tmp_path, tracking="foo://x", port=free_port())


def test_the_ui_of_a_workspace_without_runs_says_how_to_make_some(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(UserError, match="suite sync"):
        ui(tmp_path)


def commands() -> Iterator[str]:
    """The command lines of all processes."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield path.read_bytes().decode(errors="replace")


def fetch(url: str, body: dict | None = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.read()


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    """A workspace with one record and its picture, in MLflow."""
    folder = tmp_path_factory.mktemp("mirrored")
    record = Record("a" * 64, "ok", "probe", "vae", "digits", 0, checkpoint_key="b" * 64, budget="quick")
    record.pictures = ["grid.png"]
    write(folder, record)
    pictures_path(folder, record.key).mkdir(parents=True)
    (pictures_path(folder, record.key) / "grid.png").write_bytes(b"picture")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        tracking.sync(folder)
    return folder


@pytest.mark.journey
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_ui_serves_the_runs_and_pictures_it_names_and_its_end_ends_every_process(mirrored, monkeypatch, number):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    port = free_port()
    command = [sys.executable, "-m", "suite", "ui", "--workspace", str(mirrored), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        server_url = f"http://127.0.0.1:{port}"
        assert re.fullmatch(rf"digits/quick: {server_url}/#/experiments/\d+/runs\?viewStateShareKey=suite\n", line)
        query = {"experiment_ids": [line.split("/")[-2]]}
        (run,) = json.loads(fetch(f"{server_url}/api/2.0/mlflow/runs/search", query))["runs"]
        assert run["info"]["run_name"] == "vae seed 0"
        place = f"path=pictures/probe/grid.png&run_uuid={run['info']['run_id']}"
        assert fetch(f"{server_url}/get-artifact?{place}") == b"picture"
    finally:
        process.send_signal(number)
        assert process.wait(30) == 0
    assert not [command for command in commands() if str(mirrored) in command], "a server is left"
