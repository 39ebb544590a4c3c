"""Ray is started for a run, or joined; what its nodes can hold and whether they are like the driver; its end."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from suite.errors import UserError
from suite.files import TemporaryFolder, sweep_temporary
from suite.running import likeness as likenesses
from suite.running.executor import Execution
from suite.running.likeness import likeness, refusal
from suite.running.ray_environment import load_ray, python_path

#: Ray's own object store holds nothing but the trials' sources.
OBJECT_STORE_BYTES = 256 * 2**20

#: How long what was killed may take to be gone.
GONE_SECONDS = 5.0

#: How long a node may take to say what it has: its first worker imports the suite.
ANSWER_SECONDS = 120.0


@contextlib.contextmanager
def connected(execution: Execution) -> Iterator[bool]:
    """Starts a private Ray, or joins the one at ``address`` (or of this process); yields whether it was joined."""
    try:
        ray = load_ray()
    except ImportError as error:
        raise UserError(f"Ray cannot be imported ({error}); use --executor local") from error
    if ray.is_initialized():
        yield True
        return
    with _home() as home, _ended():
        _start(execution, home)
        yield bool(execution.address)


@contextlib.contextmanager
def _home() -> Iterator[Path]:
    """Yields the folder for the sockets and logs of a Ray of our own, which Ray itself would leave behind."""
    folder = TemporaryFolder(os.environ.get("RAY_TMPDIR"))
    try:
        yield folder.path
    finally:
        folder.close()
        sweep_temporary()  # workers that were killed with their node have folders of their own


def _start(execution: Execution, home: Path) -> None:
    """Starts Ray or joins one.

    Args:
        execution: The options.
        home: Takes the files of a Ray that is started.

    Raises:
        UserError: If it does not start, or nobody answers at the address.
    """
    ray = load_ray()

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "CRITICAL"}
    try:
        if execution.address:
            _knock(execution.address)
            paths = {"env_vars": {"PYTHONPATH": python_path()}}
            ray.init(address=execution.address, runtime_env=paths, **quiet)
        else:
            ray.init(
                address="local",
                num_cpus=execution.at_once * execution.threads,
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                _temp_dir=str(home),
                **quiet,
            )
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, OSError) as error:
        raise UserError(_refusal(execution.address, str(error).strip())) from error


def _refusal(address: str | None, cause: str) -> str:
    """Returns in one line why Ray did not start, or was not joined."""
    first = (cause.splitlines() or ["no reason given"])[0]
    if address:
        return f"no Ray cluster answers at '{address}': {first}"
    way_out = f"; TMPDIR={tempfile.gettempdir()} is too long for Ray, TMPDIR=/tmp is not" if "AF_UNIX" in cause else ""
    return f"Ray does not start: {first}{way_out}"


@contextlib.contextmanager
def _ended() -> Iterator[None]:
    """Ends Ray after the block, with all processes of its own node.

    A node that is interrupted while it starts is killed by Ray before it has ended its agents, and these would only
    notice a minute later.
    """
    ray = load_ray()

    processes: list[Any] = []
    try:
        yield
    finally:
        processes = _node()
        try:
            ray.shutdown()
        finally:
            _kill(processes)


def _node(names: tuple[str, ...] = ("raylet",)) -> list[Any]:
    """Returns the processes of a Ray that this process has started, with all that they have started."""
    import psutil

    processes: list[Any] = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            processes += [child, *child.children(recursive=True)] if child.name() in names else []
    return processes


def _kill(processes: list[Any]) -> None:
    import psutil

    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(processes, timeout=GONE_SECONDS)


def kill_node() -> None:
    """Kills what is left of a Ray that this process has started and that has died."""
    import psutil

    _kill(_node(("raylet", "gcs_server")))
    for process in psutil.process_iter(["name"]):  # workers whose daemon is dead belong to nobody
        with contextlib.suppress(psutil.Error):
            if (process.info["name"] or "").startswith("ray::") and process.ppid() == 1 and _is_ours(process):
                process.kill()


def _is_ours(process: Any) -> bool:
    return bool(process.environ().get("RAY_AUTH_TOKEN") == os.environ.get("RAY_AUTH_TOKEN"))


def _knock(address: str) -> None:
    """Asks at ``HOST:PORT`` whether this process may come in: Ray itself would try for half a minute and not say why.

    Raises:
        OSError: If nobody listens.
        UserError: If the token is missing or wrong.
    """
    host, _, port = address.rpartition(":")
    if not port.isdigit() or "/" in host:
        return
    socket.create_connection((host, int(port)), timeout=5).close()
    ray = load_ray()
    try:
        ray._raylet.GcsClient(address=address)
    except ray.exceptions.AuthenticationError as error:
        has = os.environ.get("RAY_AUTH_TOKEN") and os.environ.get("RAY_AUTH_MODE") == "token"
        what = "refuses this token" if has else "asks for a token"
        raise UserError(f"the Ray cluster at '{address}' {what}: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN") from error
    except Exception as error:
        raise ConnectionError(str(error)) from error


def parts() -> dict[str, tuple[str, int]]:
    """Returns what of Ray this process cannot do without, for people -> host and port."""
    ray = load_ray()

    context = ray.get_runtime_context()
    host, _, port = context.gcs_address.rpartition(":")
    found = {"Ray's head": (host, int(port))}
    for node in ray.nodes():
        if node["NodeID"] == context.get_node_id():
            found["Ray's daemon on this machine"] = (node["NodeManagerAddress"], int(node["NodeManagerPort"]))
    return found


def check_feasible(execution: Execution) -> None:
    """Checks that some node can hold a trial: Ray would wait for one for ever."""
    ray = load_ray()

    need = {"CPU": float(execution.threads), "GPU": execution.gpus_per_trial}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if any(all(node.get(kind, 0.0) >= amount for kind, amount in need.items()) for node in nodes):
        return
    wanted = " and ".join(f"{amount:g} {kind}" for kind, amount in need.items() if amount)
    present = "; ".join(f"{node.get('CPU', 0):g} CPU, {node.get('GPU', 0):g} GPU" for node in nodes)
    raise UserError(f"a trial asks for {wanted}, which no node has (nodes: {present})")


def check_nodes(execution: Execution, scratch: Path) -> None:
    """Asks every node that may get a trial what it measures with, and whether it sees the workspace.

    Raises:
        UserError: Naming each node that differs.
    """
    ray = load_ray()

    here, folder = likeness(), str(scratch)
    ray.cloudpickle.register_pickle_by_value(likenesses)

    def ask() -> str:
        return refusal(here, folder)

    asked = {}
    for node in ray.nodes():
        if node["Alive"] and node["Resources"].get("CPU", 0) >= execution.threads:
            there = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            question = ray.remote(num_cpus=0, max_retries=0)(ask).options(scheduling_strategy=there)
            asked[f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"] = question.remote()
    faults = {name: _answer(question) for name, question in asked.items()}
    told = "; ".join(f"node {name} {fault}" for name, fault in faults.items() if fault)
    if told:
        raise UserError(f"{told}: every node needs the same checkout, packages and workspace")


def _answer(question: Any) -> str:
    ray = load_ray()

    try:
        return str(ray.get(question, timeout=ANSWER_SECONDS))
    except Exception as error:
        return f"cannot run the suite ({str(error).strip().splitlines()[-1][:200]})"


def end_worker(address: str, pid: int) -> None:
    """Kills a worker that answers nobody, from beside it: a task on its node does, which is not waited for."""
    ray = load_ray()

    def end() -> None:
        import contextlib

        import psutil

        with contextlib.suppress(psutil.Error):
            worker = psutil.Process(pid)
            if worker.name().startswith("ray::"):
                worker.kill()

    for node in ray.nodes():
        if node["Alive"] and node["NodeManagerAddress"] == address:
            there = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ray.remote(num_cpus=0, max_retries=0)(end).options(scheduling_strategy=there).remote()
