"""One trial from start to records: train a baseline or load it, then score every pending task on it.

No Ray and no MLflow: this runs anywhere torch runs. Whatever goes wrong becomes a record.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from suite import records, seeds
from suite.errors import ContractError, TrialTimeout, Unsupported
from suite.measuring import measured, save_png
from suite.plugins import loading, registry
from suite.running import limits
from suite.running.costs import Stopwatch
from suite.running.faults import fault_of_machine, stack_of, text_of
from suite.running.hosting import host
from suite.running.interrupt import stop_if_asked
from suite.running.isolation import isolated
from suite.running.preparation import Curves, Log, Prepared, prepare

if TYPE_CHECKING:
    from suite.measuring import Score, Subject
    from suite.planning import Cell, Trial
    from suite.records import Record

Report = Callable[["Record"], None]


def run_trial(trial: Trial, report: Report, log: Log | None = None) -> None:
    """Runs one trial and reports a record as each of its cells ends.

    A failure in training fails all cells of the trial, one in scoring its own cell alone.

    Args:
        trial: What to run.
        report: Takes each record.
        log: Takes events for people: ``{"phase": ...}`` and ``{"warning": ...}``.

    Raises:
        TrialTimeout: If an alarm rang; what was reported before stands.
    """
    owner, log = os.getpid(), log or (lambda event: None)

    def say(event: dict[str, Any]) -> None:
        _end_if_forked(owner)
        log(event)

    def tell(record: Record) -> None:
        _end_if_forked(owner)
        report(record)

    limits.reset_peak_memory()
    with limits.kept_heap(), isolated(trial.cells[0].seed, trial.threads) as replaced:
        loading.forget()
        _run(trial, tell, say)
    if replaced:
        say({"warning": f"{trial.name} replaced {', '.join(replaced[:5])}; put back"})


def _end_if_forked(owner: int) -> None:
    """Ends a process that a model has forked and that has come back from its code: it would run everything twice."""
    if os.getpid() != owner:
        os._exit(1)


def _run(trial: Trial, report: Report, say: Log) -> None:
    started, clock = records.now(), Stopwatch()
    try:
        with clock.timing("setup"):
            model = (host if trial.guarded else prepare)(trial, clock, say)
    except TrialTimeout:
        raise
    except BaseException as error:
        stop_if_asked()
        for cell in trial.cells:
            report(_failure(trial, cell, error, started))
        return
    try:
        for cell in trial.cells:
            record = _record(trial, cell, model, clock, say)
            if record.status == "ok":
                model.curves = {}  # the curves of training stand in one record of the trial
            record.env |= model.guest
            report(record)
    finally:
        model.close()


def _record(trial: Trial, cell: Cell, model: Prepared, clock: Stopwatch, say: Log) -> Record:
    """Scores one task and returns its record, whatever happens."""
    say({"phase": cell.task})
    limits.give_back()
    started = records.now()
    try:
        with clock.timing(cell.key):
            score, metrics = _score(trial, cell, model.subject)
            kept = _keep(trial.workspace, cell.key, score, model.curves)
    except TrialTimeout:
        raise
    except BaseException as error:
        stop_if_asked()
        return _failure(trial, cell, error, started)
    device = model.subject.device
    spent = {"setup_seconds": clock.seconds["setup"], "score_seconds": clock.seconds[cell.key]}
    if not trial.guarded:  # what a guest's own processes take is not told here
        spent["score_core_seconds"] = clock.core[cell.key]
    return cell.ended(
        trial.baseline,
        trial.tasks[cell.task],
        "ok",
        device=str(device),
        threads=trial.threads,
        started=started,
        metrics=metrics,
        notes=list(dict.fromkeys([*model.marks.values(), *score.notes, *model.subject.notes])),
        flags=list(dict.fromkeys([*model.marks, *score.flags, *model.subject.flags])),
        cost={**model.cost, **spent, "peak_memory_bytes": _peak_memory(device)},
        **kept,
    )


def _score(trial: Trial, cell: Cell, scored: Subject) -> tuple[Score, dict[str, dict[str, Any]]]:
    """Returns what a task says of a model, and its metrics as the record has them.

    Raises:
        ContractError: If the task changed the model, or its metrics are not those that it declares.
    """
    task = registry.load(trial.tasks[cell.task])(**copy.deepcopy(cell.task_params))
    weights = scored.model.parameter_hash()
    scored.flags, scored.notes = [], []
    with seeds.global_seed(cell.seed, "task", cell.task):
        score = task.score(scored)
    if scored.model.parameter_hash() != weights:
        raise ContractError(f"{cell.task} changed the model that it scored")
    metrics = measured(score.metrics, task.metrics)
    if task.primary not in metrics:
        raise ContractError(f"{cell.task} did not report its primary metric '{task.primary}'")
    return score, metrics


def _keep(workspace: str, key: str, score: Score, curves: Curves) -> dict[str, Any]:
    """Writes per-image values, curves and pictures beside the record; returns the record's fields about them."""
    arrays = {name: np.asarray(values) for name, values in score.per_image.items()}
    for name, curve in {**curves, **score.curves}.items():
        arrays[f"curve/{name}"] = np.asarray(curve, dtype=np.float64).reshape(-1, 2)
    if arrays:
        records.write_values(workspace, key, arrays)
    folder = records.pictures_path(workspace, key)
    for name, picture in score.pictures.items():
        save_png(folder / f"{name}.png", picture)
    return {"values": bool(arrays), "pictures": [f"{name}.png" for name in score.pictures]}


def _peak_memory(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else limits.peak_memory()


def _failure(trial: Trial, cell: Cell, error: BaseException, started: str) -> Record:
    if fault := fault_of_machine(error):
        status, reason, stack = "killed", fault, stack_of(error)
    elif issubclass(type(error), Unsupported):
        status, reason, stack = "unsupported", text_of(error), ""
    elif issubclass(type(error), SystemExit):
        status, reason, stack = "killed", f"the trial called sys.exit({text_of(getattr(error, 'code', None))})", ""
    else:
        lines = text_of(error).strip().splitlines() or [""]
        status, reason = "failed", f"{type(error).__name__[:100]}: {lines[0][:300]}".removesuffix(": ")
        stack = stack_of(error)
    return cell.ended(
        trial.baseline,
        trial.tasks[cell.task],
        status,
        reason=reason,
        traceback=stack[-4000:],
        device=trial.device,
        threads=trial.threads,
        started=started,
    )
