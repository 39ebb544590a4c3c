"""What is planned and what is run: cells and trials. Plain data, picklable, free of torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from suite.plugins import Source, of_constructor
from suite.records import Record, environment, now, readable


@dataclass(frozen=True)
class Cell:
    """One (task, baseline, dataset, seed, budget, precision): the unit that is done or not done.

    Attributes:
        key: SHA-256 of ``ingredients``; the record's name.
        ingredients: The printable dict behind the key.
        checkpoint_key: The key of the trained model that the cell scores.
        state: ``done``, ``unsupported``, ``stale``, ``missing``, ``killed``, ``failed`` or ``timeout``.
        reason: Why it is in that state.
        run: Whether ``suite run`` would run it.
    """

    task: str
    task_params: dict[str, Any]
    baseline: str
    baseline_params: dict[str, Any]
    dataset: str
    seed: int
    budget: str
    precision: str
    key: str
    checkpoint_key: str
    ingredients: dict[str, Any] = field(repr=False)
    state: str = "missing"
    reason: str = ""
    run: bool = True

    @property
    def model_params(self) -> dict[str, Any]:
        """What the model's constructor is given: the parameters without the mark of a search."""
        return of_constructor(self.baseline_params)

    def ended(
        self,
        baseline: Source,
        task: Source,
        status: str,
        *,
        reason: str = "",
        device: str = "cpu",
        threads: int = 1,
        started: str = "",
        **rest: Any,
    ) -> Record:
        """Returns the record of the cell, which has just ended.

        Args:
            baseline: The baseline's source, for family and supervision.
            task: The task's source, for version, primary metric and whether it is official.
            status: One of ``STATUSES``.
            reason: One line, where the status is not ``ok``.
            device: Where it ran.
            threads: Threads it ran with.
            started: As ``now()`` gave it; empty: this moment.
            rest: Further fields of ``Record``: metrics, cost, notes, flags, pictures, values, traceback.
        """
        finished = now()
        return Record(
            key=self.key,
            status=status,
            task=self.task,
            baseline=self.baseline,
            dataset=self.dataset,
            seed=self.seed,
            ingredients=self.ingredients,
            checkpoint_key=self.checkpoint_key,
            reason=readable(" ".join(reason.split())),
            task_version=task.static["version"],
            task_params=self.task_params,
            official=task.static["official"],
            family=baseline.static["family"],
            baseline_params=self.baseline_params,
            supervision=baseline.static["supervision"],
            budget=self.budget,
            precision=self.precision,
            primary=task.static["primary"],
            env={**environment(), "device": device, "threads": threads},
            started=started or finished,
            finished=finished,
            **readable(rest),
        )


@dataclass(frozen=True)
class Trial:
    """One baseline trained (or loaded) once on one dataset and seed, then scored on all its pending cells.

    Attributes:
        baseline: Source of the model.
        tasks: Task name -> its source.
        cells: The cells to run, all of one checkpoint key.
        data_root: Where datasets lie (absolute).
        workspace: Absolute path of the runs folder: checkpoints, values and pictures go below it.
        threads: torch threads of this trial.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        timeout: Seconds the whole trial may take; None for no limit.
        noise: Extra name in every scoring stream: "" for published numbers, a secret for re-scoring.
        trust: Whether a model from outside runs in the trial's own process.
        rung: Of a search's trial the images after which it is priced, on the validation split: there is no test
            split in its process. None for a trial that trains to the end of its budget.
    """

    baseline: Source
    tasks: dict[str, Source]
    cells: tuple[Cell, ...]
    data_root: str
    workspace: str
    threads: int = 1
    device: str = "auto"
    timeout: float | None = None
    noise: str = ""
    trust: bool = False
    rung: int | None = None

    @property
    def guarded(self) -> bool:
        """Whether the model is a guest: from outside, and in processes of its own."""
        return not (self.baseline.built_in or self.trust)

    @property
    def checkpoint_key(self) -> str:
        """The key shared by all cells of the trial."""
        return self.cells[0].checkpoint_key

    @property
    def name(self) -> str:
        """``baseline/dataset/seed``, for people."""
        first = self.cells[0]
        return f"{first.baseline}/{first.dataset}/seed {first.seed}"
