"""Every cell of a trial ends in one record, also where nodes die; options that make no sense are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from suite.errors import UserError
from suite.planning.cells import Trial
from suite.planning.plan import make_plan
from suite.planning.selection import Selection
from suite.records.record import Record
from suite.running.executor import Execution, Tally
from tests.toys import write_baseline, write_task


class Watcher:
    """An observer that writes down what it is told."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.records: list[Record] = []
        self.over = 0

    def started(self, trial: Trial, where: str) -> None:
        pass

    def event(self, trial: Trial, event: dict[str, Any]) -> None:
        self.events.append(event)

    def record(self, trial: Trial, record: Record) -> None:
        self.records.append(record)

    def ended(self, trial: Trial) -> None:
        self.over += 1


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    write_task(tmp_path / "toys")
    write_baseline(tmp_path / "toys", "Toy")
    chosen = Selection(("error",), ("toy",), ("digits",), (0,), "smoke", paths=(str(tmp_path / "toys"),))
    return make_plan(chosen).trials()[0]


def test_a_trial_whose_nodes_die_is_killed_after_the_last_run_with_their_names(trial: Trial) -> None:
    watcher = Watcher()
    tally = Tally(trial, watcher)
    for name in ("a", "b"):
        tally.start("there", {"host": name})
        tally.lose(3)
        assert tally.again and not tally.closed
    assert tally.losses == "the nodes a and b died"
    assert watcher.events[0] == {"warning": "the node a died; toy/digits/seed 0 runs again on another"}
    tally.on("a node", "c")  # it dies before the trial has begun
    tally.lose(3)
    (record,) = watcher.records
    assert (record.status, record.reason) == ("killed", "the nodes a, b and c died; it was run 3 times")
    assert record.env["host"] == "c"
    assert tally.closed and not tally.again and watcher.over == 1


def test_on_a_shared_workspace_one_death_of_a_node_kills_a_trial(trial: Trial) -> None:
    watcher = Watcher()
    tally = Tally(trial, watcher)
    tally.start("there", {"host": "a"})
    tally.lose(1)
    assert [record.reason for record in watcher.records] == ["the node a died"]


def test_what_only_a_cluster_can_do_needs_ray() -> None:
    with pytest.raises(UserError, match="--no-shared needs --executor ray"):
        Execution("local", shared=False)


@pytest.mark.parametrize("option", ["workers", "threads", "timeout", "memory"])
@pytest.mark.parametrize("value", [float("inf"), 1e30, 10**30, float("nan"), 0])
def test_a_limit_that_the_system_cannot_count_is_refused(option: str, value: float) -> None:
    with pytest.raises(UserError, match=f"--{option} must be (at most|above)"):
        Execution(**{option: value})


def test_less_memory_than_a_trial_begins_with_is_refused() -> None:
    with pytest.raises(UserError, match=r"--memory must be at least 0\.5 \(GiB\), not 0\.01"):
        Execution(memory=0.01)


@pytest.mark.parametrize("share", [float("inf"), float("nan"), -1.0, 1.5, 1e30])
def test_a_share_of_a_gpu_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(UserError, match="--gpus-per-trial must be a share"):
        Execution(gpus_per_trial=share)
