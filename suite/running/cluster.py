"""Trials on Ray: the plan's trials through one ``tune.Tuner``.

Workers stay warm between trials unless each is to have a process of its own. The driver hears of each record
as the cell ends; a worker that dies costs its own trial's unfinished cells and nothing else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.running import likeness as likenesses
from suite.running import limits, parcels
from suite.running.apart import RUNS, Apart
from suite.running.connection import connected, end_worker, kill_node, parts
from suite.running.deadline import Deadline, Worker
from suite.running.executor import Execution, Observer, Tally
from suite.running.interrupt import interruptible
from suite.running.likeness import likeness, refusal
from suite.running.nodes import await_gone, capacity, check_feasible, check_nodes
from suite.running.ray_environment import load_ray, load_tune, ray_environment
from suite.running.vigil import watched

if TYPE_CHECKING:
    from suite.planning import Trial

#: A trial whose worker was lost together with Ray's own run is started once more, not for ever.
ATTEMPTS = 2

#: Trials that travel together with one copy of their sources.
PARCEL = 200


def run_ray(
    trials: Sequence[Trial],
    observer: Observer,
    execution: Execution,
    scratch: Path,
    died: Callable[[str], object] = lambda cause: None,
) -> None:
    """Runs the trials on Ray, in the order given, as many at once as there is room for.

    Args:
        trials: What to run.
        observer: Is told, in this thread, of all that happens.
        execution: The options.
        scratch: An empty folder for this run alone, on the file system that all workers share, if they do.
        died: Is called in a thread if Ray itself dies, with the cause; Ray ends this process soon after.

    Raises:
        UserError: If Ray is missing, does not answer, or no node can hold a trial.
    """
    tallies = [Tally(execution.apply(trial), observer) for trial in trials]
    with (
        ray_environment(private=not execution.address),
        connected(execution, scratch) as remote,
        interruptible(),
        watched(parts(), partial(_died, died, remote)),
    ):  # Ray takes SIGTERM for itself
        check_feasible(execution)
        if remote:
            check_nodes(execution, scratch)
        apart = None if execution.shared or not trials else Apart.of(trials[0].workspace, scratch)
        if apart is not None:
            apart.check(trials, execution)
        with apart.swept(execution) if apart is not None else contextlib.nullcontext():
            _passes(tallies, execution, lambda waiting: _fit(waiting, execution, scratch, remote, apart))


def _passes(tallies: Sequence[Tally], execution: Execution, fit: Callable[[Sequence[Tally]], str | None]) -> None:
    """Runs what is left until every trial has ended: one whose node died, and all that Ray lost, are run again."""
    losses = 0
    while waiting := [tally for tally in tallies if not tally.closed]:
        again = [tally for tally in waiting if tally.again]
        await_gone({tally.node for tally in again})
        if again and capacity(execution).fault:
            for tally in again:
                tally.close("killed", f"{tally.losses}, and no other can hold the trial")
            continue
        for tally in waiting:
            tally.again, tally.node = False, ""
        lost = fit(waiting)
        losses += lost is not None
        for tally in waiting:
            if losses == ATTEMPTS:
                tally.close("killed", f"Ray lost the trial {ATTEMPTS} times: {lost}")
            elif lost is None and not tally.again:
                tally.close()


def _died(died: Callable[[str], object], joined: bool, cause: str) -> None:
    if not joined:
        kill_node()
    died(cause)


def _fit(
    tallies: Sequence[Tally], execution: Execution, scratch: Path, remote: bool, apart: Apart | None
) -> str | None:
    """Runs one Tuner over the trials; returns why Ray gave up, or None."""
    tune = load_tune()

    trials = [dataclasses.replace(tally.trial, cells=tuple(tally.left.values())) for tally in tallies]
    folder = str(scratch) if apart is None else ""
    function = tune.with_parameters(
        _compared(), parcels=_packed(trials, apart), scratch=folder, memory=execution.memory
    )
    resources = {"cpu": execution.threads, "gpu": execution.gpus_per_trial}
    watch = _callback(tallies, scratch, apart, Deadline(execution.timeout))
    tuner = tune.Tuner(
        tune.with_resources(function, resources),
        param_space={"trial": tune.grid_search(list(range(len(tallies))))},
        tune_config=tune.TuneConfig(
            reuse_actors=not execution.fresh,
            max_concurrent_trials=execution.workers if remote else execution.at_once,
            scheduler=_scheduler(),
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


def _scheduler() -> Any:
    """Returns what says which trial is next: the first that waits.

    Tune's own looks through the trials that have ended as well, at every step: at ten thousand it did little else.
    """
    base: Any = load_tune().schedulers.FIFOScheduler

    class First(base):
        def choose_trial_to_run(self, tune_controller: Any) -> Any:
            waiting = [trial for trial in tune_controller.get_live_trials() if trial.status == "PENDING"]
            return min(waiting, key=lambda trial: int(trial.config["trial"]), default=None)

    return First()


def _compared() -> Callable[..., None]:
    """Returns what a worker runs: its trial, unless it measures with something else than this process.

    It travels by value, with all that it needs to compare.
    """
    ray = load_ray()

    ray.cloudpickle.register_pickle_by_value(likenesses)
    here = likeness()

    def compared(config: dict[str, Any], parcels: list[bytes], scratch: str, memory: float | None) -> None:
        import json
        import platform

        tune = load_tune()

        if fault := refusal(here, scratch):
            tune.report({"refused": json.dumps({"host": platform.node(), "fault": fault})})
            return
        from suite.running.cluster import _work

        _work(config["trial"], parcels, Path(scratch), memory)

    return compared


def _work(index: int, parcels: list[bytes], scratch: Path, memory: float | None) -> None:
    """One trial in a worker."""
    ray, tune = load_ray(), load_tune()

    from suite.running.worker import work

    (trial, apart), gpu = _opened(parcels, index), bool(ray.get_gpu_ids())
    if apart is None:
        work(trial, tune.report, _note(scratch, index), memory, gpu)
    else:
        apart.work(trial, index, tune.report, memory, gpu)


def _packed(trials: Sequence[Trial], apart: Apart | None) -> list[bytes]:
    """Returns the trials sealed, since another engine may be unable to open them, and in parcels of which one is."""
    pickle = load_ray().cloudpickle

    return [pickle.dumps((trials[at : at + PARCEL], apart)) for at in range(0, len(trials), PARCEL)]


def _opened(parcels: Sequence[bytes], index: int) -> tuple[Trial, Apart | None]:
    trials, apart = load_ray().cloudpickle.loads(parcels[index // PARCEL])
    return trials[index % PARCEL], apart


def _note(scratch: Path, index: int) -> Path:
    return scratch / f"trial-{index}.txt"


def _callback(tallies: Sequence[Tally], scratch: Path, apart: Apart | None, deadline: Deadline) -> Any:
    """Returns the Tune callback that passes on what the trials report, and ends workers that no longer end them."""
    from suite.records import Record

    tune = load_tune()
    base: Any = tune.Callback

    class Watch(base):
        failure: BaseException | None = None

        def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict, **info: Any) -> None:
            index = trial.config["trial"]
            tally = tallies[index]
            deadline.began(index, Worker(result.get("node_ip", ""), result.get("pid", 0)))
            with self.fatal():
                tally.on(result.get("node", ""), result.get("hostname", ""))
                parcels.unpack(tally.trial.workspace, result.pop("files", []))  # Tune keeps the last result
                if "start" in result:
                    tally.start(**json.loads(result["start"]))
                elif "refused" in result:
                    tally.refuse(**json.loads(result["refused"]))
                elif "event" in result:
                    tally.event(json.loads(result["event"]))
                elif "record" in result:
                    tally.record(Record(**json.loads(result["record"])))

        def on_step_end(self, iteration: int, trials: list, **info: Any) -> None:
            for worker in deadline.overdue().values():
                end_worker(worker.address, worker.pid)

        def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
            deadline.ended(trial.config["trial"])
            with self.fatal():
                tallies[trial.config["trial"]].close()

        def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
            index = trial.config["trial"]
            tally = tallies[index]
            deadline.ended(index)
            with self.fatal():
                error = _error(trial)
                if reason := deadline.reasons.get(index):
                    tally.close("killed", f"machine {tally.host}: {reason}")
                elif _node_died(error, apart, tally, index, _note(scratch, index)):
                    tally.lose(RUNS)
                else:
                    tally.close(*_cause(error, _note(scratch, index), tally))

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


def _error(trial: Any) -> Any:
    """Returns what a Tune trial ended with; None where nobody can say."""
    ray = load_ray()

    try:
        return ray.cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    except Exception:  # it may be missing, or hold a class that is not here
        return None


def _node_died(error: Any, apart: Apart | None, tally: Tally, index: int, note: Path) -> bool:
    """Whether a trial ended because its node died; if not, its worker's note is where it is looked for."""
    ray = load_ray()

    if isinstance(error, ray.exceptions.RayTaskError):
        return False
    if not (tally.host or tally.node):  # its worker never said a word: it was the node, or what Ray did there
        return isinstance(error, ray.exceptions.RayActorError) and len(ray.nodes()) > 1
    if apart is None:
        return "its node has died" in str(error)
    return not apart.bring_note(tally.node, index, note)


def _cause(error: Any, note: Path, tally: Tally) -> tuple[str, str, str]:
    """Returns (status, reason, stack) of a trial that ended with an error."""
    ray = load_ray()

    if isinstance(error, ray.exceptions.RayTaskError):
        cause = error.cause
        return "failed", f"the worker failed: {type(cause).__name__}: {cause}", str(error)[-4000:]
    if isinstance(error, ray.exceptions.RuntimeEnvSetupError):
        return "killed", f"a node could not take the engine: {str(error).strip().splitlines()[-1][:200]}", ""
    return limits.cause_of_death(note, tally.trial.timeout, tally.host)
