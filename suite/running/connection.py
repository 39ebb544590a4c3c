"""Ray is started for a run, or joined; its end."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from suite.errors import UserError
from suite.files import PACKAGE, TemporaryFolder, sweep_temporary
from suite.running.executor import Execution
from suite.running.ray_environment import load_ray, python_path

#: Ray's own object store holds nothing but the trials' sources.
OBJECT_STORE_BYTES = 256 * 2**20

#: The execution for which this process has started a Ray of its own, while it lasts.
_own: list[Execution] = []

#: How long what was killed may take to be gone.
GONE_SECONDS = 5.0


@contextlib.contextmanager
def connected(execution: Execution, scratch: Path | None = None) -> Iterator[bool]:
    """Starts a private Ray, or joins the one at ``address`` (or of this process); yields whether it was joined.

    Inside of another such block it is that block's.

    Args:
        execution: The options.
        scratch: Where the engine is laid out from which it travels to nodes that do not see this checkout.
    """
    try:
        ray = load_ray()
    except ImportError as error:
        raise UserError(f"Ray cannot be imported ({error}); use --executor local") from error
    if ray.is_initialized():
        yield not _own
        return
    with _home() as home, _ended():
        _start(execution, scratch, home)
        _own.extend([] if execution.address else [execution])
        try:
            yield bool(execution.address)
        finally:
            _own.clear()


@contextlib.contextmanager
def _home() -> Iterator[Path]:
    """Yields the folder for the sockets and logs of a Ray of our own, which Ray itself would leave behind."""
    folder = TemporaryFolder(os.environ.get("RAY_TMPDIR"))
    try:
        yield folder.path
    finally:
        folder.close()
        sweep_temporary()  # workers that were killed with their node have folders of their own


def _start(execution: Execution, scratch: Path | None, home: Path) -> None:
    """Starts Ray or joins one.

    Args:
        execution: The options.
        scratch: See ``connected``.
        home: Takes the files of a Ray that is started.

    Raises:
        UserError: If it does not start, or nobody answers at the address.
    """
    ray = load_ray()

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "CRITICAL"}
    paths = _paths(execution, scratch) if execution.address else {}
    try:
        if execution.address:
            _knock(execution.address)
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
    except UserError:
        raise
    except Exception as error:  # a node that starts too slowly is a bare Exception of Ray's
        raise UserError(_refusal(execution.address, str(error).strip())) from error


def _paths(execution: Execution, scratch: Path | None) -> dict[str, Any]:
    """Returns where the workers of a cluster find the suite, as Ray's ``runtime_env``.

    Without a shared file system Ray copies the engine to every node and puts it before whatever is installed there. As
    ``working_dir``, since Ray would else put this process's working folder first, which may be another checkout there.
    """
    if execution.shared or scratch is None:
        return {"env_vars": {"PYTHONPATH": python_path()}}
    folder = scratch / "engine"
    shutil.copytree(PACKAGE, folder / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    return {"working_dir": str(folder)}


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
