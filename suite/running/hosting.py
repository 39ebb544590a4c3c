"""From a trial of a guest to a model that can be scored: its processes are opened, it is trained or given weights."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from suite.guests import CONTAINED, SETTLING, TWIN_IMAGES, Guest, Job, Rooms, available, of_source
from suite.measuring import Frozen, Subject
from suite.running import effort
from suite.running.preparation import Log, Prepared, check_own, cost_of, curves_of, found, load_data, note_of, teller
from suite.training import checkpoints

if TYPE_CHECKING:
    from suite.data import Dataset
    from suite.guests import Containment
    from suite.planning import Cell, Trial
    from suite.running.costs import Stopwatch


def host(trial: Trial, clock: Stopwatch, say: Log) -> Prepared:
    """Opens a guest's processes and returns the model that they answer for.

    The noise of its scores comes from a secret that no process of the guest's can know; its record reveals it
    afterwards, and whoever runs the cell again with it gets the same numbers.

    Args:
        trial: What is run; the test split of its data is not touched here.
        clock: Is charged with ``training``; the rest is the caller's.
        say: Takes phases and warnings.
    """
    walls = available()
    rooms = Rooms(walls)  # they take seconds to open, in which there is other work
    try:
        return _hosted(trial, clock, say, walls, rooms)
    except BaseException:
        rooms.close()
        raise


def _hosted(trial: Trial, clock: Stopwatch, say: Log, walls: Containment, rooms: Rooms) -> Prepared:
    cell = trial.cells[0]
    dataset = load_data(trial, torch.device("cpu"))
    if walls.kind != CONTAINED:
        say({"warning": "bubblewrap is not here: models from outside run in processes of their own, not contained"})
    noise = trial.noise or secrets.token_hex(16)
    source, files = of_source(trial.baseline)
    job = Job(source, files, cell.model_params, asdict(dataset.spec), cell.seed, 1, {})  # a sitting starts no thread
    guest = Guest(job, trial.baseline.static, dataset.spec, walls, noise)
    guest.open(rooms)
    guest.until(None if trial.timeout is None else time.monotonic() + trial.timeout)
    # Weights that were trained behind other walls, or in process, may hold what a guest must not see.
    folder = Path(trial.workspace) / "checkpoints" / f"{trial.checkpoint_key[:32]}-{walls.kind}"
    note = found(folder, lambda: _loaded(folder, guest, cell), say) or _trained(
        folder, guest, trial, dataset, clock, say
    )
    guest.settle(dataset.train.grey[:SETTLING])
    parameters, coding = guest.count(), guest.coding(dataset)
    cost = cost_of(parameters, coding, note)
    marks = effort.marks(trial, note, coding, dataset, guest.trainable, folder)
    subject = Subject(
        model=Frozen(guest),
        dataset=dataset,
        seed=cell.seed,
        budget=cell.budget,
        device=guest.device,
        untrained=lambda: Frozen(guest.untrained(dataset.train.grey[:TWIN_IMAGES])),
        store=None,
        noise=noise,
    )
    told = asdict(walls) | {"noise": noise, "noise_sha256": hashlib.sha256(noise.encode()).hexdigest()}
    told["operations"] = "self-reported"
    told["threads"] = 1  # of the guest's processes, whatever the trial has
    told["noise_given"] = bool(trial.noise)  # then it was known before, to whoever wrote the model
    return Prepared(subject, curves_of(note), cost, marks, {"guest": told}, guest.close)


def _loaded(folder: Path, guest: Guest, cell: Cell) -> dict[str, Any]:
    """Gives a guest the weights of a checkpoint and returns its note."""
    state, note = checkpoints.read(folder)
    check_own(folder, note, cell)
    guest.give_weights(state)
    return note


def _trained(folder: Path, guest: Guest, trial: Trial, dataset: Dataset, clock: Stopwatch, say: Log) -> dict[str, Any]:
    cell = trial.cells[0]
    with clock.timing("training"):
        began = time.perf_counter()
        report = guest.train(dataset, cell.budget, cell.precision, teller(say))
        report.seconds = time.perf_counter() - began  # by the referee's own clock
    state = guest.state_dict()
    note = note_of(report, cell.ingredients.get("checkpoint", {}), state.values(), state.values())
    checkpoints.write(folder, state, note)
    return note
