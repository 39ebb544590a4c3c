"""From a trial to a frozen model that can be scored: trained and sealed, or loaded.

What is scored is what the checkpoint holds: a model built anew and loaded from it, also right after training.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from suite import data, training
from suite.errors import MachineFault, UserError
from suite.measuring import flops, make_subject, seal
from suite.plugins import confirm, registry
from suite.running import effort
from suite.training import Recipe, checkpoints

if TYPE_CHECKING:
    from torch import Tensor

    from suite.data import Dataset
    from suite.measuring import Subject
    from suite.planning import Cell, Trial
    from suite.running.costs import Stopwatch
    from suite.training import Baseline, TrainingReport

#: Takes events for people: ``{"phase": ...}`` and ``{"warning": ...}``.
Log = Callable[[dict[str, Any]], None]
Loaded = TypeVar("Loaded")
#: Name -> points (x, y).
Curves = dict[str, list[tuple[float, float]]]

#: Training tells how far it is this often: each word to the driver holds it up a little.
PROGRESS_SECONDS = 2.0


@dataclass
class Prepared:
    """A trained baseline, ready to be scored.

    Attributes:
        subject: What tasks are given.
        curves: Of training.
        cost: What the model is and what its training took, for the record.
        marks: Flags that every record of the model bears, each with a note that says why.
        guest: How a guest was kept, for the record; empty for the suite's own models.
        close: Ends the processes that answer for the model.
    """

    subject: Subject
    curves: Curves
    cost: dict[str, Any]
    marks: dict[str, str] = field(default_factory=dict)
    guest: dict[str, Any] = field(default_factory=dict)
    close: Callable[[], None] = lambda: None


def prepare(trial: Trial, clock: Stopwatch, say: Log) -> Prepared:
    """Loads the data, trains the baseline where it has no checkpoint, and loads it from there.

    The test split stays unread until it is scored.

    Args:
        trial: What is run.
        clock: Is charged with ``training``; the rest is the caller's.
        say: Takes phases and warnings.
    """
    cell, device = trial.cells[0], device_of(trial.device)
    dataset = load_data(trial, device)
    cls = registry.load(trial.baseline)
    recipe = Recipe(cls, dataset.spec, cell.model_params, cell.seed, device)
    folder = Path(trial.workspace) / "checkpoints" / trial.checkpoint_key[:32]
    store: Path | None = folder / "kept"
    if trial.rung is None:
        baseline, meta = found(folder, lambda: _loaded(folder, recipe, cell), say) or _trained(
            folder, recipe, dataset, trial, clock, say
        )
    else:
        store, (baseline, meta) = None, _on_its_way(folder, recipe, dataset, trial, clock, say)
    confirm(trial.baseline, baseline)
    subject = make_subject(baseline, recipe, dataset, cell.budget, store=store, noise=trial.noise)
    coding = flops.coding(subject.model, dataset)
    cost = cost_of(sum(p.numel() for p in baseline.parameters()), coding, meta)
    marks = effort.marks(trial, meta, coding, dataset, cls.loss is not training.Baseline.loss, folder)
    guest = {} if trial.baseline.built_in else {"guest": {"kind": "none"}}
    return Prepared(subject, curves_of(meta), cost, marks, guest)


def cost_of(parameters: int, coding: flops.Coding | None, note: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a record says of a model's cost; ``note`` stands beside its checkpoint."""
    return {
        "parameters": parameters,
        "flops_per_image": coding.per_image if coding else None,
        "training_flops": note.get("training_flops"),
        "train_seconds": note["train_seconds"],
        "train_core_seconds": note.get("train_core_seconds"),
        "images_per_second": note["images_per_second"],
        "training_images": note.get("images"),
    }


def device_of(name: str) -> torch.device:
    """Returns the device of a trial.

    Raises:
        MachineFault: If it is a GPU and this machine's cannot be used.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda":
        try:
            torch.zeros(1, device=device)
        except Exception as error:
            raise MachineFault(f"its GPU cannot be used: {' '.join(str(error).split())[:200]}") from error
    return device


def load_data(trial: Trial, device: torch.device) -> Dataset:
    """Returns the planned dataset of a trial; a search's trial has none of its test images.

    Raises:
        MachineFault: If it is not here, or other data have its name: the plan has read them on another machine.
    """
    cell = trial.cells[0]
    try:
        dataset = data.load(cell.dataset, Path(trial.data_root), str(device))
    except (UserError, OSError) as error:
        raise MachineFault(f"dataset '{cell.dataset}': {error}") from error
    planned = cell.ingredients.get("checkpoint", {}).get("dataset", dataset.hash)
    if dataset.hash != planned:
        raise MachineFault(f"dataset '{cell.dataset}' is not the planned one here ({dataset.hash[:12]})")
    return dataset if trial.rung is None else data.without_test(dataset)


def _loaded(folder: Path, recipe: Recipe, cell: Cell) -> tuple[Baseline, dict[str, Any]]:
    """Returns a new model with the checkpoint's tensors, and what is written beside them."""
    baseline = recipe.build()
    note = checkpoints.load(folder, baseline)
    check_own(folder, note, cell)
    return baseline, note


def check_own(folder: Path, note: Mapping[str, Any], cell: Cell) -> None:
    """Checks that a checkpoint is of a cell's trial: a folder may have been copied over another.

    Hashes of sources are not compared: ``suite rekey`` gives a checkpoint a new name and leaves what is in it.

    Raises:
        CorruptCheckpoint: If it is of another model, or of another seed, dataset or budget.
    """
    if _of_whom(note.get("ingredients", {})) != _of_whom(cell.ingredients.get("checkpoint", {})):
        raise checkpoints.CorruptCheckpoint(f"{folder}: the checkpoint of another trial")


def _of_whom(ingredients: Mapping[str, Any]) -> str:
    names = ("params", "seed", "dataset", "budget", "precision")
    told = {name: ingredients.get(name) for name in names} | {"files": sorted(ingredients.get("baseline") or {})}
    return json.dumps(told, sort_keys=True)


def found(folder: Path, load: Callable[[], Loaded], say: Log) -> Loaded | None:
    """Returns what an earlier trial has sealed, None where there is nothing. Sets a corrupt checkpoint aside.

    Args:
        folder: Of the checkpoint.
        load: Reads it.
        say: Takes a warning.
    """
    if not folder.is_dir():
        return None
    try:
        return load()
    except FileNotFoundError:
        return None
    except checkpoints.CorruptCheckpoint as error:
        aside = checkpoints.set_aside(folder)
        say({"warning": f"corrupt checkpoint ({error}) set aside as {aside.name}; training again"})
        return None


def _trained(
    folder: Path, recipe: Recipe, dataset: Dataset, trial: Trial, clock: Stopwatch, say: Log
) -> tuple[Baseline, dict[str, Any]]:
    """Trains a model, seals it, and returns what the checkpoint holds."""
    baseline, note = _train(folder, recipe, dataset, trial, clock, say)
    seal(folder, baseline, recipe, dataset.train.grey, note)
    return _loaded(folder, recipe, trial.cells[0])


def _on_its_way(
    folder: Path, recipe: Recipe, dataset: Dataset, trial: Trial, clock: Stopwatch, say: Log
) -> tuple[Baseline, dict[str, Any]]:
    """Trains a model up to its rung and returns what a checkpoint would hold; the next rung goes on from there."""
    baseline, note = _train(folder, recipe, dataset, trial, clock, say)
    anew = recipe.build()
    checkpoints.restore(anew, checkpoints.state_of(baseline), folder)
    return anew, note


def _train(
    folder: Path, recipe: Recipe, dataset: Dataset, trial: Trial, clock: Stopwatch, say: Log
) -> tuple[Baseline, dict[str, Any]]:
    cell, baseline = trial.cells[0], recipe.build()
    confirm(trial.baseline, baseline)  # the loop goes by what it says of labels
    with clock.timing("training"):
        report = training.train(
            baseline,
            dataset,
            seed=cell.seed,
            budget=cell.budget,
            precision=cell.precision,
            resume=folder / "resume",
            report=teller(say),
            until=trial.rung,
        )
    held = (*baseline.parameters(), *baseline.buffers())
    return baseline, note_of(report, cell.ingredients.get("checkpoint", {}), baseline.parameters(), held)


def note_of(
    report: TrainingReport, ingredients: Mapping[str, Any], weights: Iterable[Tensor], held: Iterable[Tensor]
) -> dict[str, Any]:
    """Returns what a checkpoint says of its training, with the hash of what was trained and how much it holds."""
    return {
        "numbers": sum(tensor.numel() for tensor in held),
        "training_flops": report.flops,
        "backward_flops": report.backward,
        "outside_flops": report.outside,
        "own_steps": report.own_steps,
        "lingered_seconds": report.lingered,
        "elsewhere_seconds": report.elsewhere,
        "uncounted_share": statistics.median(report.shares) if len(report.shares) >= effort.PAIRS else 0.0,
        "weights": effort.fingerprint(weights),
        "train_seconds": report.seconds,
        # Of a guest, unknown; and of a process that a model has forked, whose clock began anew.
        "train_core_seconds": report.core_seconds if report.core_seconds > 0 else None,
        "images_per_second": report.images_per_second,
        "images": report.images,
        "steps": report.steps,
        "curves": report.curves,
        "ingredients": dict(ingredients),
    }


def curves_of(note: Mapping[str, Any]) -> Curves:
    """Returns the curves of training that a checkpoint's note holds, as a record names them."""
    return {f"train/{name}": curve for name, curve in note["curves"].items()}


def teller(say: Log) -> Callable[[dict[str, Any]], None]:
    """Returns what tells people how far training is, now and then."""
    say({"phase": "training"})
    last = time.monotonic()

    def tell(state: dict[str, Any]) -> None:
        nonlocal last
        if time.monotonic() - last > PROGRESS_SECONDS:
            last = time.monotonic()
            say({"phase": f"training {100 * state['step'] // state['steps']} %"})

    return tell
