"""Machines out of namespaces: with names and addresses of their own, and gone without a trace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cluster.machines import Machine, end_with_parent, make_network, obstacle, run_apart

SERVER = "from socket import *; create_server(('0.0.0.0', 7000)).accept()[0].sendall(gethostname().encode())"
CLIENT = "from socket import *; print(create_connection(('one', 7000), 10).recv(99).decode(), gethostname())"


@pytest.fixture(autouse=True)
def namespaces() -> None:
    if reason := obstacle():
        pytest.skip(reason)


def until(holds: object, seconds: float = 30.0) -> bool:
    """Waits until a function says yes, or for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():  # type: ignore[operator]
            return True
        time.sleep(0.1)
    return False


def running(mark: Path) -> list[str]:
    """Returns the processes whose command line or environment names a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if str(mark).encode() in told and process.name != str(os.getpid()):
            found.append(process.name)
    return found


def test_two_machines_talk_by_name_and_nothing_of_them_is_left(tmp_path: Path) -> None:
    assert run_apart("tests.cluster.test_machines", ["talk", str(tmp_path)]) == 0
    told = json.loads((tmp_path / "told.json").read_text())
    assert told == {"answer": "one two", "addresses": {"one": "10.77.0.2", "two": "10.77.0.3"}, "seen": ["", "two"]}
    assert until(lambda: not running(tmp_path))
    assert "machines" not in os.listdir("/sys/class/net")
    assert str(tmp_path) not in Path("/proc/mounts").read_text()


def test_machines_end_with_whoever_made_them_also_when_he_is_killed(tmp_path: Path) -> None:
    call = f"run_apart('tests.cluster.test_machines', ['stay', {str(tmp_path)!r}])"
    code = f"from tests.cluster.machines import run_apart; {call}"
    with subprocess.Popen([sys.executable, "-c", code]) as maker:
        assert until((tmp_path / "up").exists)
        assert running(tmp_path)
        maker.kill()
    assert until(lambda: not running(tmp_path))


def talk(folder: Path) -> None:
    """Two machines: the second asks the first for its name, and writes where only it looks."""
    addresses = make_network(["one", "two"], folder)
    hidden = folder / "hidden"
    hidden.mkdir()
    one = Machine("one", addresses["one"], folder / "machines")
    two = Machine("two", addresses["two"], folder / "machines", hidden=[hidden])
    log = folder / "log"
    one.start([sys.executable, "-c", SERVER], {"MARK": str(folder)}, log)
    retry = f'until {sys.executable} -c "{CLIENT}" 2> /dev/null; do sleep 0.2; done; echo two > {hidden}/name'
    two.start(["sh", "-c", retry], {}, log).wait()
    seen = ["".join(path.name for path in hidden.iterdir()), (folder / "machines/two/hidden/name").read_text().strip()]
    told = {"answer": log.read_text().strip(), "addresses": addresses, "seen": seen}
    (folder / "told.json").write_text(json.dumps(told))
    for machine in (one, two):
        machine.kill()


def stay(folder: Path) -> None:
    """A machine that works until somebody ends it."""
    addresses = make_network(["one"], folder)
    machine = Machine("one", addresses["one"], folder / "machines")
    process = machine.start(["sleep", "1000"], {"MARK": str(folder)}, folder / "log")
    (folder / "up").touch()
    process.wait()


if __name__ == "__main__":
    end_with_parent()
    {"talk": talk, "stay": stay}[sys.argv[1]](Path(sys.argv[2]))
