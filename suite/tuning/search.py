"""A search: the trials of one model, what is known of each, and what it took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from suite.errors import UserError
from suite.planning import Cell, Plan, Selection, Trial, make_plan
from suite.plugins import TUNED, Source, digest, discover, label, read_params, resolve_all, write_params
from suite.records import Record, tuning_folder
from suite.training import BUDGETS
from suite.tuning.halving import Rule, Rung, rungs
from suite.tuning.sampling import draw

#: Version of all that decides on a price beside what stands in a cell's key.
VERSION = 1


@dataclass
class Candidate:
    """One trial of a search.

    Attributes:
        number: In the order of the draws; 0 is the model as it is declared.
        params: Drawn for it.
        cell: What it is scored on.
        prices: Time of a rung -> what the trial cost and scored there.
        end: Why it goes no further; empty while it does.
    """

    number: int
    params: dict[str, Any]
    cell: Cell
    prices: dict[int, dict[str, Any]] = field(default_factory=dict)
    end: str = ""

    def key(self, rung: Rung) -> str:
        """Returns the key of its price at a rung."""
        return digest({"cell": self.cell.key, "images": rung.images, "tuning": VERSION})

    @property
    def value(self) -> float | None:
        """The last price that is known of it; None where it never had one."""
        last = self.prices[max(self.prices)] if self.prices else {}
        return last.get("value")


@dataclass
class Search:
    """The trials of one model on one dataset.

    Attributes:
        model: Its name on the board without a search.
        name: The name that selects its source.
        held: Parameters that were given with the name, and are not searched.
        space: What is searched.
        budget: Of trials; the same for every model.
        plan: The cells of its trials.
        source: The model's.
        rungs: Where its trials are held against each other.
        candidates: Its trials.
        rule: Decides which go on; made anew for every run.
        stuck: Why it cannot end in this run.
    """

    model: str
    name: str
    held: dict[str, Any]
    space: dict[str, Any]
    budget: int
    plan: Plan
    source: Source
    rungs: list[Rung]
    candidates: list[Candidate]
    rule: Rule | None = None
    stuck: str = ""

    def rung(self, time: int) -> Rung | None:
        """Returns the rung of a time, None where the model has none."""
        return next((rung for rung in self.rungs if rung.time == time), None)

    def trial(self, candidate: Candidate, rung: Rung) -> Trial:
        """Returns what is run to price a trial at a rung."""
        cell, plan = candidate.cell, self.plan
        tasks = {cell.task: plan.tasks[cell.task]}
        return Trial(self.source, tasks, (cell,), plan.data_root, plan.workspace, rung=rung.images)

    @property
    def going(self) -> list[Candidate]:
        """The trials that nothing has ended, in their order."""
        return [candidate for candidate in self.candidates if not candidate.end]

    @property
    def winner(self) -> Candidate | None:
        """The trial with the best price at the end of its budget, of equal ones the first; None while there is none."""
        last = self.rungs[-1].time
        done = [c for c in self.going if c.prices.get(last, {}).get("value") is not None]
        sign = -1 if done and done[0].prices[last]["direction"] == "higher" else 1
        return min(done, key=lambda c: (sign * c.prices[last]["value"], c.number), default=None)

    def selector(self, candidate: Candidate) -> str:
        """Returns what selects the model with a trial's parameters, marked as tuned."""
        return _selector(self.name, self.held | candidate.params | {TUNED: self.budget})

    def cost(self) -> dict[str, float]:
        """Returns what all trials took: how many there were, seconds, operations and images of training."""
        found = {"trials": float(len(self.candidates)), "seconds": 0.0, "flops": 0.0, "images": 0.0}
        for candidate in self.candidates:
            own = [price for price in candidate.prices.values() if not price.get("repeated")]
            found["seconds"] += sum(price.get("score_seconds") or 0.0 for price in own)
            for cost, name in (("seconds", "train_seconds"), ("flops", "training_flops"), ("images", "images")):
                found[cost] += max(
                    (price.get(name) or 0.0 for price in own), default=0.0
                )  # each rung's includes the last
        return {name: value if name == "seconds" else int(value) for name, value in found.items()}


def price_of(record: Record, rung: Rung) -> dict[str, Any]:
    """Returns what is kept of a trial at a rung."""
    measure = record.metrics.get(record.primary, {})
    costs = {name: record.cost.get(name) for name in ("train_seconds", "training_flops")}
    scored = [record.cost.get(name) or 0.0 for name in ("setup_seconds", "score_seconds")]
    return {
        **{name: getattr(record, name) for name in ("baseline", "dataset", "seed", "budget", "precision", "task")},
        "time": rung.time,
        "status": record.status,
        "reason": record.reason,
        "value": measure.get("value") if record.status == "ok" else None,
        "direction": measure.get("direction", ""),
        "images": record.cost.get("training_images"),
        **costs,
        "score_seconds": sum(scored),
        "finished": record.finished,
    }


def objective(paths: Sequence[str] = ()) -> str:
    """Returns the task that prices an image: the official one that ranks nats, lower ones first.

    Raises:
        UserError: If there is none.
    """
    for name, entry in discover("task", paths).items():
        ranked = [(unit, better) for metric, unit, better in entry.facts.metrics if metric == entry.static["primary"]]
        if entry.static["official"] and ranked == [("nats", "lower")]:
            return name
    raise UserError("no official task ranks nats: name one with --objective")


def searches(selection: Selection, trials: int, seed: int, task: str, *, trust: bool = False) -> list[Search]:
    """Returns a search for every model that is selected, or for all that declare a space where none is.

    Args:
        selection: Models, the dataset, the budget, and where things are.
        trials: Of each model, at most.
        seed: Of the draws and of every training.
        task: Whose primary metric decides.
        trust: Whether models from outside run in the suite's own process, where they can stop at rungs.

    Raises:
        UserError: For an unknown name, a model without a space, a dataset that does not fit.
    """
    if trials < 1:
        raise UserError(f"--trials must be above 0, not {trials}")
    if len(selection.datasets) != 1:
        raise UserError("a search is on one dataset: give one --dataset")
    found: dict[str, Search] = {}
    for selector in selection.baselines or _searchable(selection.paths):
        for search in _searches(selection, selector, trials, seed, task, trust):
            found.setdefault(search.model, search)
    if not found:
        raise UserError("no model here declares a search space")
    return list(found.values())


def _searchable(paths: Sequence[str]) -> list[str]:
    return [name for name, entry in discover("baseline", paths).items() if entry.facts.space]


def _searches(selection: Selection, selector: str, trials: int, seed: int, task: str, trust: bool) -> Iterable[Search]:
    name, _, text = selector.partition(":")
    held = read_params(text, name)
    if TUNED in held:
        raise UserError(f"{selector}: {TUNED} marks what a search has chosen, and is not searched")
    if name.endswith(".py"):
        selection = replace(selection, paths=(*selection.paths, name))
    sources = resolve_all("baseline", selector, selection.paths)
    if not any(_axes(source, held) for source, _ in sources):
        known = ", ".join(_searchable(selection.paths)) or "none"
        what = "leaves nothing of its space to search" if any(_axes(s, {}) for s, _ in sources) else "declares no space"
        raise UserError(f"{selector} {what}; models that declare one: {known}")
    for source, declared in sources:
        space = _axes(source, held)
        if not space:  # another model of the same file
            continue
        drawn = draw(space, trials, seed, declared)
        labels = {label(*_one(_selector(source.name, held | params), selection.paths)): params for params in drawn}
        plan = make_plan(
            replace(
                selection,
                tasks=(task,),
                baselines=tuple(_selector(source.name, held | params) for params in drawn),
                seeds=(seed,),
                workspace=str(tuning_folder(selection.workspace)),
            )
        )
        refused = next((cell.reason for cell in plan.cells if cell.state == "unsupported"), "")
        if refused:
            raise UserError(refused)
        candidates = [Candidate(i, labels[cell.baseline], cell) for i, cell in enumerate(plan.cells)]
        yield Search(
            model=label(source, declared),
            name=source.name,
            held=held,
            space=space,
            budget=trials,
            plan=plan,
            source=source,
            rungs=_rungs(source, selection, whole=not (source.built_in or trust)),
            candidates=candidates,
        )


def _axes(source: Source, held: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what of a model's space is searched: what is not held."""
    return {name: axis for name, axis in source.static["space"].items() if name not in held}


def _rungs(source: Source, selection: Selection, whole: bool) -> list[Rung]:
    from suite import data

    images = data.info(selection.datasets[0]).sizes[0]
    return rungs(BUDGETS[selection.budget], source.static["batch_size"], images, whole=whole)


def _one(selector: str, paths: Sequence[str]) -> tuple[Source, dict[str, Any]]:
    return resolve_all("baseline", selector, paths)[0]


def _selector(name: str, params: Mapping[str, Any]) -> str:
    return f"{name}:{write_params(params)}" if params else name
