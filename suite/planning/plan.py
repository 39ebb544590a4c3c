"""Which cells there are, which are done, stale or unsupported and why, and what is left to run."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite import records
from suite.errors import UserError, unknown
from suite.planning import keys
from suite.planning.cells import Cell, Trial
from suite.planning.forecast import Forecast
from suite.planning.selection import RETRIES, Selection, parse_seeds
from suite.planning.shards import costs, shard
from suite.plugins import Source, digest, registry
from suite.training import BUDGETS, PRECISIONS

if TYPE_CHECKING:
    from suite.data import DatasetInfo

__all__ = ["STATES", "Plan", "Selection", "make_plan", "parse_seeds"]

#: Every state of a cell, in the order of summaries.
STATES = ("done", "unsupported", "stale", "missing", "killed", "failed", "timeout")

#: Of a dataset that is not here, where there are records of it.
GRANTED = "; that its bytes are those of the records is taken for granted"

Resolved = dict[str, tuple[Source, dict[str, Any]]]


@dataclass(frozen=True)
class Plan:
    """The cells of a selection and what is known of each.

    Attributes:
        selection: What was asked for.
        cells: Every cell with its state; by seed first, so that an interrupted run has compared all models.
        baselines: Name on the board -> source.
        tasks: Name on the board -> source.
        workspace: Absolute path.
        data_root: Absolute path.
        history: The workspace's records where there is something to run; none where there is not.
        previous: Key of a stale cell -> the record it replaces.
        warnings: One line per corrupt record or alarm met on the way.
    """

    selection: Selection
    cells: list[Cell]
    baselines: dict[str, Source]
    tasks: dict[str, Source]
    workspace: str
    data_root: str
    history: list[dict[str, Any]] = field(default_factory=list, repr=False)
    previous: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)
    warnings: list[str] = field(default_factory=list)

    @property
    def pending(self) -> list[Cell]:
        """The cells that ``suite run`` would run."""
        return [cell for cell in self.cells if cell.run]

    def counts(self) -> dict[str, int]:
        """Returns state -> number of cells, for the states that occur."""
        states = [cell.state for cell in self.cells]
        return {state: states.count(state) for state in STATES if state in states}

    def trials(self) -> list[Trial]:
        """Returns the pending cells as trials, one per checkpoint."""
        groups: dict[str, list[Cell]] = {}
        for cell in self.pending:
            groups.setdefault(cell.checkpoint_key, []).append(cell)
        return [
            Trial(
                baseline=self.baselines[cells[0].baseline],
                tasks={cell.task: self.tasks[cell.task] for cell in cells},
                cells=tuple(cells),
                data_root=self.data_root,
                workspace=self.workspace,
            )
            for cells in groups.values()
        ]

    def refusals(self) -> list[records.Record]:
        """Returns records for the cells that the dataset rules out and that have none yet: nothing to run there."""
        refused = [cell for cell in self.cells if cell.state == "unsupported"]
        known = records.read_keys(self.workspace, (cell.key for cell in refused)) if refused else {}
        return [
            cell.ended(self.baselines[cell.baseline], self.tasks[cell.task], "unsupported", reason=cell.reason)
            for cell in refused
            if cell.key not in known
        ]

    def minutes(self) -> dict[str, float | None]:
        """Returns key -> expected minutes of each pending cell; None where no record is alike.

        The training of a checkpoint that does not exist yet counts with its first cell.
        """
        forecast = Forecast(self.history)
        trained: set[str] = set()
        expected: dict[str, float | None] = {}
        for cell in self.pending:
            parts = [forecast.seconds(cell.task, cell)]
            if cell.checkpoint_key not in trained and not self._has_checkpoint(cell):
                parts.append(forecast.seconds("", cell))
            trained.add(cell.checkpoint_key)
            known = [part for part in parts if part is not None]
            expected[cell.key] = sum(known) / 60 if len(known) == len(parts) else None
        return expected

    def _has_checkpoint(self, cell: Cell) -> bool:
        return (Path(self.workspace) / "checkpoints" / cell.checkpoint_key[:32] / "checkpoint.json").exists()


def longest_first(plan: Plan) -> list[Trial]:
    """Returns the trials, those of unknown length and the longest first, so that no worker idles at the end."""
    minutes = plan.minutes()

    def length(trial: Trial) -> float:
        known = [minutes[cell.key] for cell in trial.cells]
        return float("inf") if None in known else sum(m for m in known if m is not None)

    return sorted(plan.trials(), key=length, reverse=True)


def make_plan(selection: Selection, *, download: bool = True) -> Plan:
    """Finds the sources, computes the keys and looks up every cell. Imports and trains nothing.

    Args:
        selection: What is asked for.
        download: Whether a dataset that is missing is fetched; without it its cells count as missing.

    Raises:
        UserError: For an unknown name, a dataset that is not there, a workspace that is not a folder.
    """
    from suite import data

    _check(selection)
    workspace = Path(selection.workspace).expanduser().absolute()
    if workspace.exists() and not workspace.is_dir():
        raise UserError(f"the workspace {workspace} is not a folder")
    infos = {name: data.info(name) for name in selection.datasets}
    tasks = _resolve("task", selection.tasks, selection.paths)
    baselines = _resolve("baseline", selection.baselines, selection.paths)
    root = data.data_root(selection.data_root)
    absent = [] if download else [name for name in selection.datasets if not data.on_disk(name, root)]
    hashes = {name: data.content_hash(name, root) for name in selection.datasets if name not in absent}
    taken = _hashes_of_records(absent, workspace)
    hashes |= {name: taken.get(name, "") for name in absent}
    cells = _cells(selection, tasks, baselines, hashes)
    if selection.shard:
        history = records.read_raw([selection.costs]) if selection.costs else []
        cells = shard(cells, *selection.shard, costs(history))
    plan = Plan(
        selection=selection,
        cells=[],
        baselines={name: source for name, (source, _) in baselines.items()},
        tasks={name: source for name, (source, _) in tasks.items()},
        workspace=str(workspace),
        data_root=str(root),
        warnings=[f"{name} is not in {root}: `suite run` downloads it{GRANTED * (name in taken)}" for name in absent],
    )
    return _look_up(plan, cells, infos)


def _check(selection: Selection) -> None:
    for kind, name, choices in (
        ("budget", selection.budget, tuple(BUDGETS)),
        ("precision", selection.precision, PRECISIONS),
        *(("state to retry", state, RETRIES) for state in selection.retry),
    ):
        if name not in choices:
            raise unknown(kind, name, choices)


def _hashes_of_records(datasets: Sequence[str], workspace: Path) -> dict[str, str]:
    """Returns what most of one's own records of each dataset say of its bytes, for those that are not here."""
    foreign = records.read_standings(workspace)
    said: dict[str, Counter[str]] = {}
    for raw in records.read_raw([workspace]) if datasets else ():
        if raw["key"] not in foreign and (told := raw["ingredients"].get("checkpoint", {}).get("dataset")):
            said.setdefault(raw["dataset"], Counter())[told] += 1
    return {name: said[name].most_common(1)[0][0] for name in datasets if name in said}


def _resolve(kind: str, selectors: Sequence[str], paths: Sequence[str]) -> Resolved:
    """Returns name on the board -> (source, parameters); everything where nothing is selected."""
    found = [
        item
        for selector in selectors or registry.discover(kind, paths)
        for item in registry.resolve_all(kind, selector, paths)
    ]
    resolved: Resolved = {}
    for source, params in found:
        name = registry.label(source, params)
        if not records.fits_label(name):
            raise UserError(f"the name {name!a} of a {kind} holds more than ASCII letters, digits, _.- and parameters")
        other, _ = resolved.setdefault(name, (source, params))
        if other.origin != source.origin:
            raise UserError(f"two files provide the {kind} '{name}': {other.origin} and {source.origin}")
    return resolved


def _cells(selection: Selection, tasks: Resolved, baselines: Resolved, hashes: Mapping[str, str]) -> list[Cell]:
    cells = []
    for seed in selection.seeds:
        for dataset in selection.datasets:
            for baseline, (model, params) in baselines.items():
                checkpoint = keys.checkpoint_ingredients(
                    model, params, hashes[dataset], seed, selection.budget, selection.precision
                )
                checkpoint_key = digest(checkpoint)
                for task, (measure, task_params) in tasks.items():
                    ingredients = keys.cell_ingredients(checkpoint, measure, task_params)
                    cells.append(
                        Cell(
                            task=task,
                            task_params=task_params,
                            baseline=baseline,
                            baseline_params=params,
                            dataset=dataset,
                            seed=seed,
                            budget=selection.budget,
                            precision=selection.precision,
                            key=digest(ingredients),
                            checkpoint_key=checkpoint_key,
                            ingredients=ingredients,
                        )
                    )
    return cells


def _look_up(plan: Plan, cells: Sequence[Cell], infos: Mapping[str, DatasetInfo]) -> Plan:
    """Returns the plan with the state of every cell. The whole history is read only where there is something to run."""
    known = records.read_keys(plan.workspace, (cell.key for cell in cells), plan.warnings)
    lost = records.lost_values(plan.workspace)
    again = {key for key, raw in known.items() if key[:32] in lost or _runs(raw, plan.selection.retry)}
    complete = all(cell.key in known and cell.key not in again for cell in cells)
    history = [] if complete else records.read_raw([plan.workspace], plan.warnings)
    latest = {_names(raw): raw for raw in sorted(history, key=lambda raw: raw["finished"])}
    previous = {
        cell.key: latest[names] for cell in cells if cell.key not in known and (names := _names(vars(cell))) in latest
    }
    looked_up = []
    for cell in cells:
        refusal = _refusal(plan.tasks[cell.task], plan.baselines[cell.baseline], infos[cell.dataset])
        state, reason, run = _state(cell, refusal, known.get(cell.key), previous.get(cell.key), plan.selection.retry)
        if state == "done" and cell.key in again:
            state, reason, run = "missing", "its values of single images were corrupt", True
        looked_up.append(dataclasses.replace(cell, state=state, reason=reason, run=run))
    return dataclasses.replace(plan, cells=looked_up, history=history, previous=previous)


def _names(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a cell is called: a record with the same names and another key is a stale one."""
    return tuple(cell[name] for name in ("task", "baseline", "dataset", "seed", "budget", "precision"))


def _state(
    cell: Cell,
    refusal: str,
    record: Mapping[str, Any] | None,
    previous: Mapping[str, Any] | None,
    retry: Sequence[str],
) -> tuple[str, str, bool]:
    """Returns state, reason and whether the cell runs."""
    if refusal:
        return "unsupported", refusal, False
    if record is not None:
        state = "done" if record["status"] == "ok" else record["status"]
        return state, record["reason"], _runs(record, retry)
    if previous is not None:
        return (
            "stale",
            "; ".join(keys.changes(previous["ingredients"], cell.ingredients)) or "its ingredients changed",
            True,
        )
    return "missing", "not run", True


def _runs(record: Mapping[str, Any], retry: Sequence[str]) -> bool:
    """Whether a cell that has a record runs again: what was killed says nothing of the cell."""
    return record["status"] == "killed" or record["status"] in retry


def _refusal(task: Source, baseline: Source, info: DatasetInfo) -> str:
    """Returns why a dataset rules a cell out, as far as declarations tell; else the empty string."""
    requires = task.static["requires"]
    supervised = baseline.static["supervision"] != "none"
    if "labels" in requires and not info.labels:
        return f"{task.name} needs labels, which {info.name} does not have"
    if supervised and not info.labels:
        return f"{baseline.name} trains on labels, which {info.name} does not have"
    if "shared_classes" in requires and not info.shared_classes:
        return f"{task.name} needs test classes that occur in training, which {info.name} does not have"
    return ""
