"""Trials on Ray: workers that stay warm, workers that die, and what no node can hold."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import suite
from suite.errors import UserError
from suite.planning.cells import Trial
from suite.planning.plan import make_plan
from suite.planning.selection import Selection
from suite.records.record import Record
from suite.running.cluster import PARCEL, _node_died, _opened, _packed, _scheduler, run_ray
from suite.running.connection import _knock, _refusal, _start, connected
from suite.running.executor import Execution
from suite.running.likeness import likeness
from suite.running.nodes import check_nodes, takers
from suite.running.ray_environment import ray_environment
from suite.running.run import execute
from tests.running.test_trial import DIRT
from tests.toys import write_baseline, write_task


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """Starting Ray takes seconds: all tests here share one."""
    execution = Execution(workers=2)
    with ray_environment(private=True), connected(execution):
        yield


#: Fails in a thread whose memory comes from a heap that is not the process's first: glibc marks such a chunk in the
#: third bit of its size, which lies before it. A block of 64 kB is cached by no thread.
OWN_HEAP = (
    "import ctypes; libc = ctypes.CDLL(None); libc.malloc.restype = ctypes.c_void_p; "
    "assert not ctypes.c_size_t.from_address(libc.malloc(2**16) - 8).value & 4, 'a heap of its own'"
)


class Witness:
    """An observer that writes down what it is told."""

    def __init__(self) -> None:
        self.workers: dict[str, str] = {}
        self.records: dict[tuple[str, int, str], Record] = {}
        self.open: set[str] = set()
        self.warnings: list[str] = []

    def started(self, trial: Trial, where: str) -> None:
        self.workers[trial.name] = where
        self.open.add(trial.name)

    def event(self, trial: Trial, event: dict[str, Any]) -> None:
        self.warnings += [event["warning"]] if "warning" in event else []

    def record(self, trial: Trial, record: Record) -> None:
        self.records[record.baseline, record.seed, record.task] = record

    def ended(self, trial: Trial) -> None:
        self.open.discard(trial.name)

    def outcomes(self, baseline: str, task: str = "error") -> list[str]:
        return [r.status for (name, _, measured), r in self.records.items() if (name, measured) == (baseline, task)]


def select(folder: Path, baselines: tuple[str, ...], tasks: tuple[str, ...], seeds: int) -> Selection:
    return Selection(tasks, baselines, ("digits",), tuple(range(seeds)), "smoke", paths=(str(folder / "toys"),))


def run(folder: Path, *selections: Selection, **options: Any) -> Witness:
    witness = Witness()
    (folder / "scratch").mkdir()
    trials = [trial for selection in selections for trial in make_plan(selection).trials()]
    run_ray(trials, witness, Execution(**{"trust": True, **options}), folder / "scratch")
    return witness


@pytest.mark.journey
def test_a_worker_that_dies_takes_nobody_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    toys = tmp_path / "toys"
    write_task(toys)
    write_task(toys, "Second", score="if subject.model.name == 'Half': import os; os.kill(os.getpid(), 9)")
    write_baseline(toys, "Toy")
    write_baseline(toys, "Half")
    write_baseline(toys, "Dirty", encode=DIRT)
    write_baseline(toys, "Quitter", loss="sys.exit(3)")
    write_baseline(toys, "Raiser", loss="raise ValueError('no')")
    write_baseline(toys, "Sleeper", loss="time.sleep(100)")
    bad = select(tmp_path, ("sleeper", "dirty", "half", "quitter", "raiser"), ("error", "second"), 1)
    good = select(tmp_path, ("toy",), ("error", "second"), 2)
    found = run(tmp_path, bad, good, workers=2, timeout=15.0)

    assert len(found.records) == 2 * 7
    assert not found.open
    assert found.outcomes("toy") == found.outcomes("toy", "second") == ["ok", "ok"]
    assert found.outcomes("half") == ["ok"]
    assert found.outcomes("half", "second") == ["killed"]
    half = found.records["half", 0, "second"]
    assert half.reason.startswith(f"the worker on {half.env['host']} died: SIGKILL")
    assert half.env["host"] == found.workers["half/digits/seed 0"].split(":")[0]
    assert found.outcomes("quitter") == ["killed"]
    assert found.outcomes("raiser") == ["failed"]
    assert found.records["raiser", 0, "error"].reason == "ValueError: no"
    assert found.outcomes("sleeper") == ["timeout"]
    assert "sleeper.py" in found.records["sleeper", 0, "error"].traceback
    assert len(set(found.workers.values())) < len(found.workers)  # warm workers served several trials

    local = execute(select(tmp_path, ("toy",), ("error",), 2), Execution("local", trust=True), quiet=True).records
    assert [raw["metrics"] for raw in local] == [found.records["toy", seed, "error"].metrics for seed in (0, 1)]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the heaps of glibc's malloc")
def test_the_thread_of_a_trial_has_no_heap_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A heap outlives its thread, and what a trial left dirty in it: a warm worker grew by 60 MB a trial."""
    monkeypatch.chdir(tmp_path)
    write_baseline(tmp_path / "toys", "Toy")
    write_task(tmp_path / "toys", score=OWN_HEAP)
    found = run(tmp_path, select(tmp_path, ("toy",), ("error",), 2), workers=1)
    assert found.outcomes("toy") == ["ok", "ok"]

    alone = (
        "import threading\ndef score():\n    " + OWN_HEAP + "\nthread = threading.Thread(target=score)\nthread.start()"
    )
    free = {k: v for k, v in os.environ.items() if k != "MALLOC_ARENA_MAX"}
    own = subprocess.run([sys.executable, "-c", alone], env=free, capture_output=True, text=True, check=False)
    assert "AssertionError: a heap of its own" in own.stderr  # what is asked can fail


def test_a_worker_with_another_engine_is_refused_by_the_name_of_its_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_task(tmp_path / "toys")
    write_baseline(tmp_path / "toys", "Toy")
    chosen = select(tmp_path, ("toy",), ("error",), 1)
    monkeypatch.setitem(vars(suite), "_likeness", likeness() | {"engine": "another", "torch": "1.0"})
    with monkeypatch.context() as late:  # a node that joins later is not asked beforehand
        late.setattr("suite.running.cluster.check_nodes", lambda *arguments: None)
        record = run(tmp_path, chosen, workers=1).records["toy", 0, "error"]
    assert record.status == "killed"
    assert re.fullmatch(
        r"machine \S+ was refused: it has engine \w{12} instead of another, torch \S+ instead of 1.0", record.reason
    )
    assert not list(tmp_path.glob("**/checkpoint.json"))
    with pytest.raises(UserError, match=r"node \S+ \([\d.]+\) has engine \w+ instead of another.*the same checkout"):
        check_nodes(Execution(), tmp_path)
    monkeypatch.undo()
    check_nodes(Execution(), tmp_path)
    with monkeypatch.context() as late:
        late.setattr("suite.running.nodes.takers", lambda execution: {"ab" * 28: "that has left", **takers(execution)})
        check_nodes(Execution(), tmp_path)
    with pytest.raises(UserError, match=f"does not see the workspace {tmp_path / 'away'}"):
        check_nodes(Execution(), tmp_path / "away" / "run")


@pytest.mark.journey
def test_fresh_gives_each_trial_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_task(tmp_path / "toys")
    write_baseline(tmp_path / "toys", "Toy", init="type(self).loss = Baseline.loss")  # untrained: the process counts
    found = run(tmp_path, select(tmp_path, ("toy",), ("error",), 2), workers=1, fresh=True)
    assert found.outcomes("toy") == ["ok", "ok"]
    assert len(set(found.workers.values())) == 2


def test_the_first_trial_that_waits_is_next_whatever_has_ended() -> None:
    statuses = ["RUNNING", *["PENDING"] * 10]
    trials = [SimpleNamespace(status=status, config={"trial": i}) for i, status in enumerate(statuses)]
    controller = SimpleNamespace(get_live_trials=lambda: trials[::-1])
    assert _scheduler().choose_trial_to_run(controller).config["trial"] == 1
    assert _scheduler().choose_trial_to_run(SimpleNamespace(get_live_trials=lambda: trials[:1])) is None


def test_trials_are_packed_in_parcels_and_each_comes_out_of_its_own() -> None:
    trials: Any = [f"trial {i}" for i in range(2 * PARCEL + 1)]
    parcels = _packed(trials, None)
    assert len(parcels) == 3
    assert [_opened(parcels, index)[0] for index in range(len(trials))] == trials


def test_what_no_node_can_hold_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a trial asks for 1 CPU and 7 GPU, which no node has \(nodes: 2 CPU"):
        run_ray([], Witness(), Execution(gpus_per_trial=7), tmp_path)


def test_an_address_where_no_cluster_is_is_told_at_once() -> None:
    with pytest.raises(OSError, match="refused"):
        _knock("127.0.0.1:1")


@pytest.mark.parametrize(("token", "told"), [("", "asks for a token"), ("a" * 64, "refuses this token")])
def test_a_missing_token_and_a_wrong_one_are_told_at_once(token: str, told: str) -> None:
    import ray

    address = ray.get_runtime_context().gcs_address
    code = f"from suite.running.connection import _knock; _knock({address!r})"
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    env |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token} if token else {}
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert f"the Ray cluster at '{address}' {told}: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN" in done.stderr
    assert time.monotonic() - start < 20


def test_what_is_wrong_with_a_token_is_told_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(address: str) -> None:
        raise UserError(f"the Ray cluster at '{address}' refuses this token")

    monkeypatch.setattr("suite.running.connection._knock", refused)
    with pytest.raises(UserError, match=r"^the Ray cluster at 'there:1' refuses this token$"):
        _start(Execution(workers=1, address="there:1"), None, Path("nowhere"))


def test_a_temporary_folder_too_long_for_ray_is_told_with_the_way_out() -> None:
    long = "validate_socket_filename failed: AF_UNIX path length cannot exceed 107 bytes: /far/away/plasma_store"
    assert _refusal(None, long).endswith("is too long for Ray, TMPDIR=/tmp is not")
    assert _refusal("there:1", "no\nway") == "no Ray cluster answers at 'there:1': no"


def test_a_node_that_starts_too_slowly_is_an_error_of_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(**options: Any) -> None:
        raise Exception("The current node timed out during startup.\nMore of it.")

    monkeypatch.setattr("suite.running.connection.load_ray", lambda: SimpleNamespace(init=slow))
    with pytest.raises(UserError, match=r"^Ray does not start: The current node timed out during startup\.$"):
        _start(Execution(workers=1), None, Path("nowhere"))


def test_trials_that_ray_loses_again_and_again_are_killed_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_task(tmp_path / "toys")
    write_baseline(tmp_path / "toys", "Toy")
    monkeypatch.setattr("suite.running.cluster._fit", lambda *arguments: "OutOfMemoryError")
    found = run(tmp_path, select(tmp_path, ("toy",), ("error",), 2))
    assert found.outcomes("toy") == ["killed", "killed"]
    assert found.records["toy", 0, "error"].reason == "Ray lost the trial 2 times: OutOfMemoryError"


def test_an_error_of_the_driver_ends_the_run_and_is_not_blamed_on_a_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_task(tmp_path / "toys")
    write_baseline(tmp_path / "toys", "Toy")
    monkeypatch.setattr(Witness, "started", lambda self, trial, where: (_ for _ in ()).throw(UserError("disk full")))
    with pytest.raises(UserError, match="disk full"):
        run(tmp_path, select(tmp_path, ("toy",), ("error",), 1), workers=1)


@pytest.mark.parametrize(
    ("says", "heard", "nodes", "died"),
    [
        ("the actor died because its node has died", True, 2, True),
        ("the actor died because its node has died", False, 2, True),
        ("the actor died unexpectedly", False, 2, True),  # it was sent to a node that Ray still took for alive
        ("the actor died unexpectedly", True, 2, False),
        ("the actor died unexpectedly", False, 1, False),
    ],
)
def test_a_trial_that_a_node_took_down_is_told_from_one_that_took_its_worker_down(
    monkeypatch: pytest.MonkeyPatch, says: str, heard: bool, nodes: int, died: bool
) -> None:
    class Died(Exception):
        pass

    exceptions = SimpleNamespace(RayTaskError=ZeroDivisionError, RayActorError=Died)
    ray = SimpleNamespace(exceptions=exceptions, nodes=lambda: [{}] * nodes)
    monkeypatch.setattr("suite.running.cluster.load_ray", lambda: ray)
    tally: Any = SimpleNamespace(host="a" if heard else "", node="")
    assert _node_died(Died(says), None, tally, 0, Path("note")) == died
    assert not _node_died(ZeroDivisionError(says), None, tally, 0, Path("note"))
