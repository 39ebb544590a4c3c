"""One trial from start to records: train a baseline or load it, then score every pending task on it.

No Ray and no MLflow: this runs anywhere torch runs. Whatever goes wrong becomes a record.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from suite import data, records, seeds, training
from suite.errors import ContractError, TrialTimeout, Unsupported
from suite.measuring import flops, measured, save_png, subject
from suite.plugins import loading, registry
from suite.running import limits
from suite.running.isolation import isolated
from suite.training import checkpoints

if TYPE_CHECKING:
    from suite.measuring import Score
    from suite.planning import Cell, Trial
    from suite.records import Record

Report = Callable[["Record"], None]
Log = Callable[[dict[str, Any]], None]

#: Training tells how far it is this often: each word to the driver holds it up a little.
PROGRESS_SECONDS = 2.0

Curves = dict[str, list[tuple[float, float]]]


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
    say = log or (lambda event: None)
    limits.reset_peak_memory()
    with limits.kept_heap(), isolated(trial.cells[0].seed, trial.threads) as replaced:
        loading.forget()
        _run(trial, report, say)
    if replaced:
        say({"warning": f"{trial.name} replaced {', '.join(replaced[:5])}; put back"})


@dataclass
class _Model:
    """A trained baseline, ready to be scored, and what it cost."""

    subject: subject.Subject
    curves: Curves
    cost: dict[str, Any]


def _run(trial: Trial, report: Report, say: Log) -> None:
    started = records.now()
    try:
        model = _prepare(trial, say)
    except TrialTimeout:
        raise
    except (Exception, SystemExit) as error:
        for cell in trial.cells:
            report(_failure(trial, cell, error, started))
        return
    for cell in trial.cells:
        record = _score(trial, cell, model, say)
        if record.status == "ok":
            model.curves = {}  # the curves of training stand in one record of the trial
        report(record)


def _prepare(trial: Trial, say: Log) -> _Model:
    """Loads the data, trains the baseline or loads its checkpoint; the test split stays unread until it is scored."""
    began, training_now = time.perf_counter(), 0.0
    cell, device = trial.cells[0], torch.device(_device(trial.device))
    cls = registry.load(trial.baseline)
    dataset = data.load(cell.dataset, Path(trial.data_root), str(device))
    _check_data(cell, dataset.hash)
    folder = Path(trial.workspace) / "checkpoints" / trial.checkpoint_key[:32]

    def build() -> Any:
        return training.build(cls, dataset.spec, cell.baseline_params, cell.seed, device)

    baseline = build()
    meta = _load(folder, baseline, say)
    if meta is None:
        baseline = build()  # what a corrupt checkpoint may have left in it is gone
        clock = time.perf_counter()
        meta = _train(folder, baseline, dataset, cell, trial, say)
        training_now = time.perf_counter() - clock
    scored = subject.make_subject(
        baseline,
        cls,
        cell.baseline_params,
        dataset,
        cell.seed,
        cell.budget,
        device,
        folder / "kept",
        noise=trial.noise,
    )
    cost = {
        "parameters": sum(p.numel() for p in baseline.parameters()),
        "flops_per_image": flops.flops_per_image(scored.model, dataset),
        "train_seconds": meta["train_seconds"],
        "images_per_second": meta["images_per_second"],
    }
    cost["setup_seconds"] = time.perf_counter() - began - training_now
    return _Model(scored, {f"train/{name}": curve for name, curve in meta["curves"].items()}, cost)


def _device(name: str) -> str:
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name


def _check_data(cell: Cell, found: str) -> None:
    planned = cell.ingredients.get("checkpoint", {}).get("dataset", found)
    if found != planned:
        raise ContractError(f"dataset '{cell.dataset}' on this machine is not the planned one ({found[:12]})")


def _load(folder: Path, baseline: Any, say: Log) -> dict[str, Any] | None:
    """Loads a checkpoint and returns what is written beside it; None where there is none. Sets a corrupt one aside."""
    if not folder.is_dir():
        return None
    try:
        return checkpoints.load(folder, baseline)
    except FileNotFoundError:
        return None
    except checkpoints.CorruptCheckpoint as error:
        aside = checkpoints.set_aside(folder)
        say({"warning": f"corrupt checkpoint ({error}) set aside as {aside.name}; training again"})
        return None


def _train(folder: Path, baseline: Any, dataset: Any, cell: Cell, trial: Trial, say: Log) -> dict[str, Any]:
    say({"phase": "training"})
    last = time.monotonic()

    def tell(state: dict[str, Any]) -> None:
        nonlocal last
        if time.monotonic() - last > PROGRESS_SECONDS:
            last = time.monotonic()
            say({"phase": f"training {100 * state['step'] // state['steps']} %"})

    report = training.train(
        baseline,
        dataset,
        seed=cell.seed,
        budget=cell.budget,
        precision=cell.precision,
        resume=folder / "resume",
        report=tell,
    )
    meta = {
        "train_seconds": report.seconds,
        "images_per_second": report.images_per_second,
        "images": report.images,
        "steps": report.steps,
        "curves": report.curves,
        "ingredients": cell.ingredients.get("checkpoint", {}),
    }
    checkpoints.save(folder, baseline, meta)
    return meta


def _score(trial: Trial, cell: Cell, model: _Model, say: Log) -> Record:
    """Scores one task and returns its record, whatever happens."""
    say({"phase": cell.task})
    started, clock = records.now(), time.perf_counter()
    scored = model.subject
    try:
        task = registry.load(trial.tasks[cell.task])(**cell.task_params)
        weights = scored.model.parameter_hash()
        with seeds.global_seed(cell.seed, "task", cell.task):
            score = task.score(scored)
        if scored.model.parameter_hash() != weights:
            raise ContractError(f"{cell.task} changed the model that it scored")
        metrics = measured(score.metrics, task.metrics)
        if task.primary not in metrics:
            raise ContractError(f"{cell.task} did not report its primary metric '{task.primary}'")
        kept = _keep(trial.workspace, cell.key, score, model.curves)
    except TrialTimeout:
        raise
    except (Exception, SystemExit) as error:
        return _failure(trial, cell, error, started)
    return cell.ended(
        trial.baseline,
        trial.tasks[cell.task],
        "ok",
        device=str(scored.device),
        threads=trial.threads,
        started=started,
        metrics=metrics,
        notes=list(score.notes),
        flags=list(score.flags),
        cost={
            **model.cost,
            "score_seconds": time.perf_counter() - clock,
            "peak_memory_bytes": _peak_memory(scored.device),
        },
        **kept,
    )


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
    if isinstance(error, Unsupported):
        status, reason, stack = "unsupported", str(error), ""
    elif isinstance(error, SystemExit):
        status, reason, stack = "killed", f"the trial called sys.exit({error.code})", ""
    else:
        lines = str(error).strip().splitlines() or [""]
        status, reason = "failed", f"{type(error).__name__}: {lines[0][:300]}".removesuffix(": ")
        stack = "".join(traceback.format_exception(error, limit=-8))
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
