"""What a model's page shows of one section: its metrics, where its nats go, what is kept beside them."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from suite.boards import Exhibits, Row, parts, reading
from suite.pages.layout import ARROWS, costs_of, figures
from suite.pages.site import charts
from suite.pages.site.contents import Cell, Column, Section, cell, duration, three

#: Metrics with a number for each group of latents, and what a chart of them is called.
BY_GROUP = {
    "rate": "Where the nats go: the price of each group",
    "rise": "Ablation: what the distortion rises by without the group",
    "net": "Ablation: what the group saves minus what it costs",
}


@dataclass(frozen=True)
class Measured:
    """One metric of a task as text."""

    name: str
    value: str
    half: str
    unit: str
    arrow: str
    seeds: list[str]


@dataclass(frozen=True)
class TaskPart:
    """All metrics of one task, the ranked one first."""

    task: str
    column: Column | None
    cell: Cell | None
    metrics: list[Measured]
    seeds: tuple[int, ...]
    notes: list[str]


@dataclass(frozen=True)
class Picture:
    """A picture that is shown: its file on the site, where it is from."""

    href: str
    source: Path
    told: str


@dataclass(frozen=True)
class ModelPart:
    """A model in one section."""

    section: Section
    tasks: list[TaskPart]
    costs: list[tuple[str, str]]
    bars: list[tuple[str, Markup]]
    curves: list[tuple[str, Markup]]
    pictures: list[Picture]
    command: str


def model_part(section: Section, model: str, rows: Sequence[Row], exhibits: Exhibits, name: str) -> ModelPart:
    """Returns what a model's page shows of a section.

    Args:
        section: With the ranked columns.
        model: On the board.
        rows: Every metric of the model in the section.
        exhibits: What is kept beside the records.
        name: The model's in file names.
    """
    at = section.models.index(model)
    ranked = {(row.task, row.task_version): (c, row) for c in section.columns for row in [section.rows[c.id][at]]}
    place = reading([row for _, row in ranked.values()])
    measured = parts(rows, lambda row: (row.task, row.task_version))
    tasks = [
        _task(measured[key], *ranked.get(key, (None, None)))
        for key in sorted(measured, key=lambda key: (key not in place, place.get(key, key)))
    ]
    return ModelPart(
        section=section,
        tasks=[part for part in tasks if part.metrics or part.cell],
        costs=_costs(rows[0]),
        bars=list(_bars(rows, [part.task for part in tasks])),
        curves=list(_curves([row for _, row in ranked.values()], exhibits)),
        pictures=list(_pictures([row for _, row in ranked.values()], exhibits, name)),
        command=_command(section, model, [row for c, row in ranked.values() if c.official]),
    )


def _task(rows: Sequence[Row], column: Column | None, ranked: Row | None) -> TaskPart:
    known = [row for row in rows if math.isfinite(row.value)]
    known.sort(key=lambda row: (ranked is None or row.metric != ranked.metric, row.metric))
    seeds = max((row.seeds for row in known), key=len, default=())
    shown = cell(ranked, column) if ranked is not None and column is not None else None
    notes = [*(f"! {flag}" for flag in ranked.flags), *ranked.notes] if ranked is not None else []
    return TaskPart(rows[0].task, column, shown, [_measured(row, seeds) for row in known], seeds, notes)


def _measured(row: Row, seeds: Sequence[int]) -> Measured:
    value, half = figures(row.value, row.half, row.resolution)
    by_seed = dict(zip(row.seeds, row.seed_values, strict=True))
    each = [f"{by_seed[seed]:.5g}" if seed in by_seed else "" for seed in seeds]
    return Measured(row.metric, value, half, row.unit, ARROWS.get(row.direction, ""), each)


def _costs(row: Row) -> list[tuple[str, str]]:
    found = []
    for name, (heading, divisor) in costs_of(row).items():
        cost = float(getattr(row, name) or 0) / divisor
        if cost > 0 and math.isfinite(cost):
            found.append((heading, three(cost)))
    trained = duration(float(row.train_seconds or 0))
    return [*found, ("training as it ran", trained)] if trained else found


def _bars(rows: Sequence[Row], tasks: Sequence[str]) -> Iterable[tuple[str, Markup]]:
    """Yields a chart for each metric by group that has more than nothing to show, in the order of the tasks."""
    by_task = parts((row for row in rows if math.isfinite(row.value)), lambda row: row.task)
    for task in dict.fromkeys(tasks):
        members = by_task.get(task, [])
        for prefix, told in BY_GROUP.items():
            found = [row for row in members if row.metric.startswith(f"{prefix}/")]
            if found and (prefix != "rate" or any(row.metric == "rate" for row in members)):
                values = {row.metric.removeprefix(f"{prefix}/"): (row.value, row.half) for row in found}
                yield f"{told} ({task})", charts.bars(told, values, found[0].unit)


def _curves(rows: Sequence[Row], exhibits: Exhibits) -> Iterable[tuple[str, Markup]]:
    for row in rows:
        for name, found in exhibits.curves(row).items():
            lines = [
                charts.Line([(float(x), float(y)) for x, y in curve if math.isfinite(y)], f"seed {seed}", "curve")
                for seed, curve in found
            ]
            lines = [line for line in lines if len(line.points) > 1]
            if lines:
                x = charts.axis_of("step", [p[0] for line in lines for p in line.points], zero=True)
                y = charts.axis_of(name, [p[1] for line in lines for p in line.points])
                yield f"{name} ({row.task})", charts.curves(name, lines, x, y)


def _pictures(rows: Sequence[Row], exhibits: Exhibits, name: str) -> Iterable[Picture]:
    seen: set[Path] = set()
    for row in rows:
        for seed, file in exhibits.pictures(row):
            if file not in seen:
                seen.add(file)
                told = f"{row.task}, seed {seed}: {file.stem}"
                yield Picture(f"pictures/{name}/{file.parent.name[:12]}-{file.name}", file, told)


def _command(section: Section, model: str, rows: Sequence[Row]) -> str:
    """Returns the command that runs these cells."""
    tasks = " ".join(f"-t {shlex.quote(row.task)}" for row in rows)
    seeds = ",".join(str(seed) for seed in sorted({seed for row in rows for seed in row.expected}))
    precision = "" if section.precision == "float32" else f" --precision {section.precision}"
    place = f"-d {shlex.quote(section.dataset)} --budget {section.budget}{precision}"
    name, colon, params = model.partition(":")
    submitted = any(row.standing for row in rows)  # then the source is with the submission, not with the suite
    file = f"{name}.py{colon}{params}" if submitted else model
    return " ".join(
        filter(None, [f"suite run -b {shlex.quote(file)}", tasks, place, f"--seeds {seeds}" if seeds else ""])
    )
