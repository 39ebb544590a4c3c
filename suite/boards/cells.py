"""Seeds -> rows: one row per (section, task column, model), with a value and its moments, or why it has none."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np

from suite.boards import statistics
from suite.boards.outcome import Outcome
from suite.boards.reference import OwnTasks, chosen, heard, shared_seeds
from suite.boards.rows import APART, MIN_SEEDS, MODEL, SECTION, Row
from suite.errors import UserError, nearest

if TYPE_CHECKING:
    import pandas as pd

#: The state of a seed without a record, and of one whose record nobody here ran again.
NOT_RUN, NOT_AGAIN = "not run", "claimed and not run again"

#: Metric -> the metric that it is a fixed multiple of. It has no spread of its own in the records: its standard error
#: over images, and its per-image values, are that metric's in its unit.
MULTIPLES = {"bits_per_dim": "nats"}


@dataclass(frozen=True)
class _Section:
    dataset: str
    budget: str
    precision: str
    engine: int
    preliminary: bool
    older: int
    apart: frozenset[str]


@dataclass(frozen=True)
class _Metric:
    name: str
    unit: str
    direction: str


@dataclass(frozen=True)
class _Column:
    """A task's metric, as the suite's own task or else most models have it."""

    task: str
    version: int
    params: str
    metric: _Metric
    official: bool
    floor: float


@dataclass(frozen=True)
class _Cell:
    """One model's seeds in one column."""

    status: str
    reason: str
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    images: int
    flags: tuple[str, ...]
    notes: tuple[str, ...]
    records: int
    keys: tuple[str, ...]
    moments: statistics.Moments


def cells(data: pd.DataFrame, metrics: Sequence[str], tasks: OwnTasks) -> Iterator[Row]:
    """Yields one row per (section, task column, model), also where the model has no record for the column.

    Args:
        data: Records as ``board.current`` leaves them.
        metrics: Names or patterns; empty takes what each task ranks.
        tasks: The suite's own: what they say of themselves counts.

    Raises:
        UserError: If a metric does not occur.
    """
    values = [name for name in data.columns if name.startswith("metric:") and data[name].notna().any()]
    _check(metrics, [name.removeprefix("metric:") for name in values])
    for _, part in data.groupby(SECTION, sort=True):
        found = [Outcome(*row) for row in zip(*(part[name].tolist() for name in Outcome._fields), strict=True)]
        known = part.sort_values("untried", ascending=False, kind="stable")  # who ran it here knows best what it costs
        about: list[dict[str, Any]] = known[["baseline", "standing", *MODEL]].to_dict("records")  # type: ignore[assignment]
        models: dict[str, dict[str, Any]] = {facts.pop("baseline"): facts for facts in about}
        columns: dict[tuple[str, int], list[Outcome]] = {}
        for outcome in sorted(found, key=lambda outcome: (outcome.task, outcome.task_version)):
            columns.setdefault((outcome.task, outcome.task_version), []).append(outcome)
        seeds = {place: shared_seeds(outcomes) for place, outcomes in columns.items()}
        counted = _counted(columns, tasks)
        apart = frozenset(o.baseline for o in found if APART & {*o.flags})
        dataset, budget, precision, engine, older = (part[name].iloc[0] for name in (*SECTION, "older"))
        few = min(len(seeds[place]) for place in counted) < MIN_SEEDS
        section = _Section(dataset, budget, precision, int(engine), few, int(older), apart)
        for place, outcomes in columns.items():
            yield from _column(section, outcomes, seeds[place], models, _metrics(outcomes, metrics, tasks), tasks)


def _counted(columns: Mapping[tuple[str, int], Sequence[Outcome]], tasks: OwnTasks) -> list[tuple[str, int]]:
    """Returns the columns whose seeds say whether a section is preliminary.

    A column that few models have decides nothing for the others: anybody can add one. The official ones come first,
    then those that the suite has a task for.
    """
    models = {place: {o.baseline for o in outcomes if not o.foreign} for place, outcomes in columns.items()}
    every = set().union(*models.values())
    common = [place for place in columns if 2 * len(models[place]) >= len(every)] or list(columns)
    official = [place for place in common if tasks.official(*place, columns[place])]
    return official or [place for place in common if tasks.known(place[0])] or common


def _check(patterns: Sequence[str], names: Sequence[str]) -> None:
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UserError(f"no records of metric '{pattern}'{nearest(pattern, names)}")


def _column(
    section: _Section,
    outcomes: Sequence[Outcome],
    expected: tuple[int, ...],
    models: Mapping[str, Mapping[str, Any]],
    metrics: Sequence[_Metric],
    tasks: OwnTasks,
) -> Iterator[Row]:
    """Yields the rows of one task: a cell per model and metric."""
    by_model: dict[str, dict[int, Outcome]] = {}
    for outcome in outcomes:
        by_model.setdefault(outcome.baseline, {})[outcome.seed] = outcome
    task, version = outcomes[-1].task, outcomes[-1].task_version
    params = chosen(outcomes, lambda outcome: outcome.task_params)
    official, primary = tasks.official(task, version, outcomes), tasks.primary(task, version, outcomes)
    for metric in metrics:
        ranked = metric.name == primary
        floor = _floor(outcomes) if ranked else math.nan
        column = _Column(task, version, params, metric, ranked and official, floor)
        for name, facts in models.items():
            own = by_model.get(name, {})
            wanted = tuple(sorted({*expected, *own}))
            yield _row(section, column, wanted, name, facts, _cell(own, metric, wanted))


def _row(
    section: _Section,
    column: _Column,
    expected: tuple[int, ...],
    model: str,
    facts: Mapping[str, Any],
    cell: _Cell,
) -> Row:
    return Row(
        **facts,
        dataset=section.dataset,
        budget=section.budget,
        precision=section.precision,
        engine=section.engine,
        preliminary=section.preliminary,
        older=section.older,
        task=column.task,
        task_version=column.version,
        expected=expected,
        metric=column.metric.name,
        unit=column.metric.unit,
        direction=column.metric.direction,
        official=column.official,
        floor=column.floor,
        task_params=column.params,
        model=model,
        supervised=facts["supervision"] not in (None, "none"),
        apart=model in section.apart,
        status=cell.status,
        reason=cell.reason,
        value=cell.moments.mean,
        seeds=cell.seeds,
        seed_values=cell.values,
        images=cell.images,
        flags=cell.flags,
        notes=cell.notes,
        records=cell.records,
        keys=cell.keys,
        seed_variance=cell.moments.seed_variance,
        image_quantile=cell.moments.image_quantile,
    )


def _cell(outcomes: Mapping[int, Outcome], metric: _Metric, expected: Sequence[int]) -> _Cell:
    """Condenses one cell's seeds into a value with its moments, and what is missing into one reason."""
    states = {seed: _state(outcomes[seed], metric.name) if seed in outcomes else NOT_RUN for seed in expected}
    missing = {seed: state for seed, state in states.items() if state}
    seeds = tuple(seed for seed, state in states.items() if not state)
    found = [outcomes[seed] for seed in seeds]
    entries = [_entry(outcome.metrics, metric.name) for outcome in found]
    values = tuple(entry["value"] for entry in entries)
    images = min((entry["n"] for entry in entries if entry.get("n")), default=0)
    return _Cell(
        status=_status(missing, some=bool(seeds)),
        reason=_why(missing, every=not seeds) if missing else "",
        seeds=seeds,
        values=values,
        images=images,
        flags=tuple(sorted({flag for outcome in found for flag in outcome.flags})),
        notes=tuple(sorted({note for outcome in found for note in outcome.notes})),
        records=len(outcomes),
        keys=tuple(outcome.key for outcome in found),
        moments=statistics.moments(values, [e.get("se") for e in entries], images or None) if seeds else _NOTHING,
    )


_NOTHING = statistics.Moments(math.nan, math.nan, 0, math.nan)


def _entry(metrics: Mapping[str, Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    """Returns a record's entry of a metric; a fixed multiple of another metric has that one's uncertainty."""
    entry = metrics[name]
    base = metrics.get(MULTIPLES[name]) if name in MULTIPLES else None
    if entry.get("se") is not None or not base or not base["value"] or base.get("se") is None:
        return entry
    return {**entry, "se": base["se"] * abs(entry["value"] / base["value"]), "n": base.get("n")}


def _status(missing: Mapping[int, str], some: bool) -> str:
    """Returns ``ok``, ``partial`` where there are some seeds, else what most seeds without a value have."""
    if some:
        return "partial" if missing else "ok"
    tried = [state for state in missing.values() if state != NOT_RUN] or [NOT_RUN]
    return Counter(tried).most_common(1)[0][0].partition(":")[0]


def _state(outcome: Outcome, metric: str) -> str:
    """Why a record has no number to show; empty where it has one.

    A claim is none: of a verified model the board shows what was run again here, and ranks it where that is all.
    """
    if outcome.stale:
        return outcome.stale
    if outcome.status != "ok":
        return f"{outcome.status}: {outcome.reason}" if outcome.reason else outcome.status
    value = outcome.metrics.get(metric, {}).get("value")
    if value is None:
        return "not measured"
    if not math.isfinite(value):
        return f"not finite: {value}"
    return NOT_AGAIN if outcome.untried else ""


def _why(missing: Mapping[int, str], every: bool) -> str:
    if every and len(set(missing.values())) == 1:
        return next(iter(missing.values()))
    seeds: dict[str, list[str]] = {}
    for seed, state in sorted(missing.items(), key=lambda item: item[1] == NOT_RUN):
        seeds.setdefault(state, []).append(str(seed))
    return "; ".join(f"{state} (seed {', '.join(which)})" for state, which in seeds.items())


def _metrics(outcomes: Sequence[Outcome], patterns: Sequence[str], tasks: OwnTasks) -> list[_Metric]:
    """Returns the metrics to show of one task."""
    task, version = outcomes[-1].task, outcomes[-1].task_version
    names = sorted({name for outcome in outcomes for name in outcome.metrics})
    wanted = [name for pattern in patterns for name in names if fnmatchcase(name, pattern)]
    shown = dict.fromkeys(wanted) if patterns else [tasks.primary(task, version, outcomes)]
    return [_Metric(*tasks.metric(task, version, name, outcomes)) for name in shown]


def _floor(outcomes: Sequence[Outcome]) -> float:
    """Returns the metric ``floor``, which a task reports where its floor is a number on the same images (the median).

    Where fewer than half of the models have it, a single one could set it: there is none.
    """
    outcomes = heard(outcomes)
    told = [outcome for outcome in outcomes if "floor" in outcome.metrics]
    if not told or 2 * len({outcome.baseline for outcome in told}) < len({outcome.baseline for outcome in outcomes}):
        return math.nan
    return float(np.median([outcome.metrics["floor"]["value"] for outcome in told]))
