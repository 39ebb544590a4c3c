"""The only file that imports Ray: the plan's trials through one ``tune.Tuner``.

Workers stay warm between trials unless each is to have a process of its own. The driver hears of each record
as the cell ends; a worker that dies costs its own trial's unfinished cells and nothing else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.errors import UserError
from suite.running import limits
from suite.running.executor import Execution, Observer, Tally
from suite.running.interrupt import interruptible
from suite.running.ray_environment import python_path, ray_environment

if TYPE_CHECKING:
    from suite.planning import Trial

#: A trial whose worker was lost together with Ray's own run is started once more, not for ever.
ATTEMPTS = 2

#: Ray's own object store holds nothing but the trials' sources.
OBJECT_STORE_BYTES = 256 * 2**20


def run_ray(trials: Sequence[Trial], observer: Observer, execution: Execution, scratch: Path) -> None:
    """Runs the trials on Ray, in the order given, as many at once as there is room for.

    Args:
        trials: What to run.
        observer: Is told, in this thread, of all that happens.
        execution: The options.
        scratch: An empty folder for this run alone, on a file system that all workers share.

    Raises:
        UserError: If Ray is missing, does not answer, or no node can hold a trial.
    """
    tallies = [Tally(execution.apply(trial), observer) for trial in trials]
    with (
        ray_environment(private=not execution.address),
        _connected(execution) as remote,
        interruptible(),
    ):  # Ray takes SIGTERM for itself
        _check_feasible(execution)
        for _ in range(ATTEMPTS):
            waiting = [tally for tally in tallies if not tally.closed]
            if not waiting:
                return
            lost = _fit(waiting, execution, scratch, remote)
            for tally in tallies if lost is None else ():
                if not tally.closed:
                    tally.close()
    for tally in tallies:
        if not tally.closed:
            tally.close("killed", f"Ray lost the trial {ATTEMPTS} times: {lost}")


@contextlib.contextmanager
def _connected(execution: Execution) -> Iterator[bool]:
    """Starts a private Ray, or joins the one at ``address`` (or of this process); yields whether it was joined."""
    try:
        import ray
    except ImportError as error:
        raise UserError(f"Ray cannot be imported ({error}); use --executor local") from error
    if ray.is_initialized():
        yield True
        return
    with _ended():
        _start(execution)
        yield bool(execution.address)


def _start(execution: Execution) -> None:
    """Starts Ray or joins one.

    Raises:
        UserError: If it does not start, or nobody answers at the address.
    """
    import ray

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
                **quiet,
            )
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, OSError) as error:
        where = f"no Ray cluster answers at '{execution.address}'" if execution.address else "Ray does not start"
        raise UserError(f"{where}: {str(error).strip().splitlines()[0]}") from error


@contextlib.contextmanager
def _ended() -> Iterator[None]:
    """Ends Ray after the block, with all processes of its own node.

    A node that is interrupted while it starts is killed by Ray before it has ended its agents, and these would only
    notice a minute later.
    """
    import psutil
    import ray

    processes: list[Any] = []
    try:
        yield
    finally:
        for child in psutil.Process().children():
            with contextlib.suppress(psutil.Error):
                processes += [child, *child.children(recursive=True)] if child.name() == "raylet" else []
        try:
            ray.shutdown()
        finally:
            for process in processes:
                with contextlib.suppress(psutil.Error):
                    process.kill()


def _knock(address: str) -> None:
    """Raises an OSError where nobody listens at ``HOST:PORT``: Ray itself would wait for minutes."""
    host, _, port = address.rpartition(":")
    if port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=5).close()


def _check_feasible(execution: Execution) -> None:
    """Checks that some node can hold a trial: Ray would wait for one for ever."""
    import ray

    need = {"CPU": float(execution.threads), "GPU": execution.gpus_per_trial}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if any(all(node.get(kind, 0.0) >= amount for kind, amount in need.items()) for node in nodes):
        return
    wanted = " and ".join(f"{amount:g} {kind}" for kind, amount in need.items() if amount)
    present = "; ".join(f"{node.get('CPU', 0):g} CPU, {node.get('GPU', 0):g} GPU" for node in nodes)
    raise UserError(f"a trial asks for {wanted}, which no node has (nodes: {present})")


def _fit(tallies: Sequence[Tally], execution: Execution, scratch: Path, remote: bool) -> str | None:
    """Runs one Tuner over the trials; returns why Ray gave up, or None."""
    from ray import tune

    trials = [dataclasses.replace(tally.trial, cells=tuple(tally.left.values())) for tally in tallies]
    function = tune.with_parameters(_work, trials=trials, scratch=str(scratch), memory=execution.memory)
    resources = {"cpu": execution.threads, "gpu": execution.gpus_per_trial}
    watch = _callback(tallies, scratch)
    tuner = tune.Tuner(
        tune.with_resources(function, resources),
        param_space={"trial": tune.grid_search(list(range(len(tallies))))},
        tune_config=tune.TuneConfig(
            reuse_actors=not execution.fresh,
            max_concurrent_trials=execution.workers if remote else execution.at_once,
        ),
        run_config=tune.RunConfig(name="tune", storage_path=str(scratch), verbose=0, callbacks=[watch]),
    )
    try:
        tuner.fit()
    except RuntimeError as error:  # the memory monitor of a cluster that is not ours ends the whole Tuner
        return str(error.__cause__ or error).strip().splitlines()[0]
    finally:
        if watch.failure is not None:
            raise watch.failure
    return None


def _work(config: dict[str, Any], trials: list[Trial], scratch: str, memory: float | None) -> None:
    """One trial in a worker."""
    import platform

    import ray
    from ray import tune

    from suite.running.trial import run_trial

    trial = trials[config["trial"]]
    if trial.device == "auto":
        trial = dataclasses.replace(trial, device="cuda" if ray.get_gpu_ids() else "cpu")

    def send(kind: str, what: dict[str, Any]) -> None:
        tune.report({kind: json.dumps(what)})

    send("start", {"where": f"{platform.node()}:{os.getpid()}"})
    with limits.black_box(_note(Path(scratch), config["trial"]), trial.timeout), limits.memory(memory):
        run_trial(trial, lambda record: send("record", dataclasses.asdict(record)), lambda event: send("event", event))


def _note(scratch: Path, index: int) -> Path:
    return scratch / f"trial-{index}.txt"


def _callback(tallies: Sequence[Tally], scratch: Path) -> Any:
    """Returns the Tune callback that passes on what the trials report."""
    from ray import tune

    from suite.records import Record

    class Watch(tune.Callback):
        failure: BaseException | None = None

        def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict, **info: Any) -> None:
            tally = tallies[trial.config["trial"]]
            with self.fatal():
                if "start" in result:
                    tally.start(json.loads(result["start"])["where"])
                elif "event" in result:
                    tally.event(json.loads(result["event"]))
                elif "record" in result:
                    tally.record(Record(**json.loads(result["record"])))

        def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
            with self.fatal():
                tallies[trial.config["trial"]].close()

        def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
            index = trial.config["trial"]
            tally = tallies[index]
            with self.fatal():
                tally.close(*_cause(trial, _note(scratch, index), tally.trial.timeout))

        @contextlib.contextmanager
        def fatal(self) -> Iterator[None]:
            """Tune would blame the trial for an error in here; a full disk, say, ends the run instead."""
            try:
                yield
            except Exception as error:
                self.failure = error
                raise KeyboardInterrupt from error

        def __reduce__(self) -> Any:  # Tune pickles its callbacks; this one is of use in this process alone
            return tune.Callback, ()

    return Watch()


def _cause(trial: Any, note: Path, timeout: float | None) -> tuple[str, str, str]:
    """Returns (status, reason, stack) of a Tune trial that ended with an error."""
    import ray

    try:
        error = ray.cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    except Exception:  # it may be missing, or hold a class that is not here
        error = None
    if isinstance(error, ray.exceptions.RayTaskError):
        cause = error.cause
        return "failed", f"the worker failed: {type(cause).__name__}: {cause}", str(error)[-4000:]
    return limits.cause_of_death(note, timeout)
