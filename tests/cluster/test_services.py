"""The services of the Compose file as processes: in an order that holds, with their own commands and environment."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.cluster.composition import ROOT
from tests.cluster.demo import PLACES
from tests.cluster.machines import obstacle
from tests.cluster.services import Services, missing_programs, order, search_path

SECRETS = {"POSTGRES_PASSWORD": "p@ss", "RAY_AUTH_TOKEN": "t" * 32}


def services(folder: Path) -> Services:
    return Services(SECRETS, {"/runs": folder / "runs", "/artifacts": folder / "artifacts"}, folder)


def test_every_service_starts_after_those_that_it_waits_for(tmp_path: Path) -> None:
    found = services(tmp_path).services
    started = order(found, sorted(set(PLACES.values())))
    for number, name in enumerate(started):
        assert set(found[name].get("depends_on", {})) & set(PLACES.values()) <= set(started[:number])
    assert started.index("suite") == len(started) - 1


def test_a_volume_s_path_becomes_a_folder_and_every_other_value_stays(tmp_path: Path) -> None:
    env = services(tmp_path).environment("mlflow")
    assert env["MLFLOW_ARTIFACTS_DESTINATION"] == str(tmp_path / "artifacts")
    assert env["PGPASSWORD"] == "p@ss"
    assert env["PATH"].startswith(str(Path(sys.executable).parent))
    assert search_path() == env["PATH"]


class Here:
    """A machine that is this one."""

    def __init__(self, name: str) -> None:
        self.name, self.starts = name, 0

    def start(self, words: Sequence[str], env: Mapping[str, str], log: Path) -> subprocess.Popen:
        self.starts += 1
        return subprocess.Popen(list(words), env=dict(env))

    def command(self, words: Sequence[str]) -> list[str]:
        return list(words)


def test_a_service_that_ends_is_started_again_while_another_is_waited_for(tmp_path: Path) -> None:
    some = services(tmp_path)
    twice = f"test -e {tmp_path}/two || {{ test -e {tmp_path}/one && touch {tmp_path}/two || touch {tmp_path}/one; }}"
    some.services = {
        "weak": {"command": ["sh", "-c", twice]},
        "strong": {"command": "true", "healthcheck": {"test": ["CMD", "test", "-e", str(tmp_path / "two")]}},
    }
    weak, strong = Here("weak"), Here("strong")
    some.start("weak", weak)  # type: ignore[arg-type]
    some.start("strong", strong)  # type: ignore[arg-type]
    some.wait("strong", strong)  # type: ignore[arg-type]
    assert weak.starts >= 2


@pytest.mark.journey
@pytest.mark.timeout(1800)
def test_a_board_over_the_cluster_is_that_of_one_process() -> None:
    if reason := obstacle() or ", ".join(missing_programs()):
        pytest.skip(reason)
    done = subprocess.run([sys.executable, "-m", "tests.cluster.demo"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the board is the same, number for number" in done.stdout
