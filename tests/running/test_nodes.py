"""How many trials nodes can hold."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from suite.errors import UserError
from suite.running import nodes
from suite.running.executor import Execution

FLEET = ({"CPU": 4.0}, {"CPU": 8.0, "GPU": 2.0}, {"GPU": 1.0})


@pytest.fixture(autouse=True)
def fleet(monkeypatch: pytest.MonkeyPatch) -> None:
    alive = [{"NodeID": str(i), "Resources": resources, "Alive": True} for i, resources in enumerate(FLEET)]
    ray = SimpleNamespace(nodes=lambda: [*alive, {"NodeID": "dead", "Resources": {"CPU": 99.0}, "Alive": False}])
    monkeypatch.setattr(nodes, "load_ray", lambda: ray)


@pytest.mark.parametrize(
    ("threads", "gpus", "holding", "at_once"),
    [(1, 0.0, 2, 12), (3, 0.0, 2, 3), (1, 0.25, 1, 8), (1, 0.4, 1, 4), (1, 1.0, 1, 2), (5, 0.5, 1, 1), (2, 2.0, 1, 1)],
)
def test_nodes_hold_as_many_trials_as_their_scarcest_resource(
    threads: int, gpus: float, holding: int, at_once: int
) -> None:
    found = nodes.capacity(Execution(threads=threads, gpus_per_trial=gpus))
    assert (found.nodes, found.holding, found.at_once, found.fault) == (3, holding, at_once, "")


def test_what_no_single_node_has_can_never_run_though_all_together_have_it() -> None:
    with pytest.raises(UserError, match="a trial asks for 1 CPU and 3 GPU, which no node has"):
        nodes.check_feasible(Execution(gpus_per_trial=3))


def test_ray_is_waited_for_until_it_counts_a_dead_node_as_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    states = [[{"NodeID": "a", "Alive": alive}] for alive in (True, True, False, True)]
    monkeypatch.setattr(nodes, "load_ray", lambda: SimpleNamespace(nodes=lambda: states.pop(0)))
    monkeypatch.setattr(nodes.time, "sleep", lambda seconds: None)
    nodes.await_gone({"a", ""})
    assert len(states) == 1
    nodes.await_gone({"b"})
    assert states == []
