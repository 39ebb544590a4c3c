"""What is asked of the nodes of a cluster: how many trials they hold, and whether they are like the driver."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.errors import UserError
from suite.running import likeness as likenesses
from suite.running.connection import connected
from suite.running.executor import Execution
from suite.running.likeness import likeness, refusal
from suite.running.ray_environment import load_ray, ray_environment

#: How long a node may take to say what it has: its first worker imports the suite.
ANSWER_SECONDS = 120.0

#: How long Ray may take to notice that a node has died.
GONE_SECONDS = 60.0


def check_feasible(execution: Execution) -> None:
    """Checks that some node can hold a trial: Ray would wait for one for ever.

    Raises:
        UserError: With what a trial asks for and what the nodes have.
    """
    if fault := capacity(execution).fault:
        raise UserError(fault)


@dataclass(frozen=True)
class Capacity:
    """How many trials a cluster can hold; resources are logical.

    Attributes:
        nodes: Nodes that are alive.
        holding: Those of them that can hold a trial.
        at_once: Trials that they can hold at once.
        fault: Why no trial can ever run; empty where one can.
    """

    nodes: int
    holding: int
    at_once: int
    fault: str


def capacity(execution: Execution) -> Capacity:
    """Returns how many trials the cluster that this process has joined can hold."""
    ray = load_ray()

    need = {"CPU": float(execution.threads), "GPU": execution.gpus_per_trial}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    held = [min(_held(node.get(kind, 0.0), amount) for kind, amount in need.items() if amount) for node in nodes]
    wanted = " and ".join(f"{amount:g} {kind}" for kind, amount in need.items() if amount)
    present = "; ".join(f"{node.get('CPU', 0):g} CPU, {node.get('GPU', 0):g} GPU" for node in nodes)
    fault = "" if any(held) else f"a trial asks for {wanted}, which no node has (nodes: {present})"
    return Capacity(len(nodes), sum(map(bool, held)), sum(held), fault)


def capacity_at(execution: Execution) -> Capacity:
    """Returns how many trials the cluster at an address can hold.

    Raises:
        UserError: If no cluster answers there.
    """
    with ray_environment(private=False), connected(execution):
        return capacity(execution)


def _held(present: float, amount: float) -> int:
    """How many shares there are room for; a share of one GPU never lies on two."""
    return int(present) * int(1 / amount) if amount < 1 else int(present / amount)


def takers(execution: Execution) -> dict[str, str]:
    """Returns the nodes that may get a trial: what Ray calls them -> name and address."""
    ray = load_ray()

    return {
        node["NodeID"]: f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU", 0) >= execution.threads
    }


def own_node() -> str:
    """Returns what Ray calls the node that this process runs on."""
    ray = load_ray()

    return str(ray.get_runtime_context().get_node_id())


def check_nodes(execution: Execution, scratch: Path) -> None:
    """Asks every node that may get a trial what it measures with, and whether it sees the workspace.

    Where the workspace is not shared, this machine's own must see it none the less: from there it is handed out.

    Raises:
        UserError: Naming each node that differs.
    """
    ray = load_ray()

    here, own = likeness(), own_node()
    ray.cloudpickle.register_pickle_by_value(likenesses)

    def ask(folder: str) -> str:
        return refusal(here, folder)

    nodes = takers(execution) if execution.shared else {own: "of this machine", **takers(execution)}
    asked = [
        (name, on_node(ask, node).remote(str(scratch) if execution.shared or node == own else ""))
        for node, name in nodes.items()
    ]
    if execution.shared:
        refuse(asked, "every node needs the same checkout, packages and workspace; without a shared one: --no-shared")
    refuse(asked, "every node needs the same packages")


def await_gone(nodes: Set[str]) -> None:
    """Waits until Ray counts nodes that have died as dead: until then it would send them the next trial."""
    ray = load_ray()

    until = time.monotonic() + GONE_SECONDS
    while nodes & {node["NodeID"] for node in ray.nodes() if node["Alive"]} and time.monotonic() < until:
        time.sleep(0.5)


def on_node(function: Callable[..., Any], node: str) -> Any:
    """Returns a function whose ``remote`` calls it on a node, whatever trials run there."""
    ray = load_ray()

    there = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
    return ray.remote(num_cpus=0, max_retries=0)(function).options(scheduling_strategy=there)


def refuse(asked: Iterable[tuple[str, Any]], way_out: str) -> None:
    """Waits for what nodes answer.

    Args:
        asked: A node's name, and its answer to come: what is wrong with it, or nothing.
        way_out: What is to be done about it.

    Raises:
        UserError: Naming each node that something is wrong with.
    """
    faults = [(name, _answer(question)) for name, question in asked]
    told = "; ".join(f"node {name} {fault}" for name, fault in faults if fault)
    if told:
        raise UserError(f"{told}: {way_out}")


def _answer(question: Any) -> str:
    ray = load_ray()

    try:
        return str(ray.get(question, timeout=ANSWER_SECONDS))
    except (ray.exceptions.TaskUnschedulableError, ray.exceptions.NodeDiedError):
        return ""  # the node has just left the cluster, or died, and gets no trial
    except Exception as error:
        return f"cannot run the suite ({str(error).strip().splitlines()[-1][:200]})"
