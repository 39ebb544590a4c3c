"""What is planned and what is run: sources, cells, trials. Plain data, picklable, free of torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

#: Budget -> training images presented, so that batch size buys nothing.
BUDGETS: dict[str, int] = {"smoke": 1_024, "quick": 60_000, "standard": 1_100_000, "long": 11_000_000}
#: Budget -> version, raised when the effort at this budget alone changes: part of its keys. Without one it is 1.
BUDGET_VERSIONS: dict[str, int] = {"quick": 2}
PRECISIONS = ("float32", "bf16")


@dataclass(frozen=True)
class Source:
    """A baseline's or task's file with everything it imports, as the bytes that were hashed.

    Attributes:
        kind: ``"baseline"`` or ``"task"``.
        name: The name on the board (a variant's name, a task's file name).
        attribute: The class inside the entry file.
        entry: Path of the entry file relative to the root of ``files``.
        files: Relative path -> bytes of the closure (imported project files and declared weight files).
        digest: SHA-256 of the closure as parsed syntax; comments, docstrings and formatting do not count.
        origin: Where the file lies on this machine, for messages.
        static: The class attributes that could be read without importing (summary, version, requires, ...).
    """

    kind: str
    name: str
    attribute: str
    entry: str
    files: dict[str, bytes] = field(repr=False)
    digest: str
    origin: str
    static: dict[str, Any] = field(repr=False)

    def __hash__(self) -> int:
        return hash((self.kind, self.name, self.digest))


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

    @property
    def checkpoint_key(self) -> str:
        """The key shared by all cells of the trial."""
        return self.cells[0].checkpoint_key

    @property
    def name(self) -> str:
        """``baseline/dataset/seed``, for people."""
        first = self.cells[0]
        return f"{first.baseline}/{first.dataset}/seed {first.seed}"
