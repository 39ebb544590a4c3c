"""Rows -> what the pages show: sections, columns, tables, and a file's name for everything that has a page."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from suite.boards import Row, parts, reading
from suite.pages.layout import ARROWS, caption, costs_of, figures, places
from suite.pages.notes import Anchors, anchor_models, first_notes, further_notes
from suite.records import VERIFIED

#: Bars are drawn between Tukey's fences, so many interquartile ranges beyond the quartiles: one model that is far
#: away would press all others together.
FENCE = 1.5

#: Seconds are shown as hours or minutes from so many on.
MINUTE, HOUR = 60.0, 3600.0


@dataclass(frozen=True)
class Column:
    """A column of one section's tables.

    Attributes:
        id: Its name in addresses and files.
        heading: The task, with its version where there are two.
        task, metric, unit, direction, arrow, official, floor: As the rows have them.
        low, high: The range that bars are drawn in.
        href: The task's page.
    """

    id: str
    heading: str
    task: str
    metric: str
    unit: str
    direction: str
    arrow: str
    official: bool
    floor: float
    low: float
    high: float
    href: str


@dataclass(frozen=True)
class Cell:
    """One model in one column: text, and what its bar needs (shares of the column's range in per cent)."""

    row: Row
    value: str = ""
    half: str = ""
    rank: str = ""
    reason: str = ""
    left: float = 0.0
    width: float = 0.0
    at: float = 0.0
    beyond: str = ""


@dataclass(frozen=True)
class Line:
    """One model's row in a table."""

    index: int
    model: str
    href: str
    family: str
    supervision: str
    anchor: str
    verified: bool
    overall: str
    sort: float
    cells: list[Cell]
    costs: list[tuple[str, float]]


@dataclass(frozen=True)
class Table:
    """The models of one section that are ranked together."""

    caption: str
    supervision: str
    overall: bool
    lines: list[Line]
    costs: list[str]


@dataclass(frozen=True)
class Section:
    """One dataset, budget, precision and engine.

    Attributes:
        number: Its place on the site, which its files bear.
        notes, further: What a reader needs first; what the anchors are and what the tasks noted.
        rows: Its rows, by column id in the order of ``models``.
    """

    number: int
    title: str
    dataset: str
    budget: str
    precision: str
    preliminary: bool
    columns: list[Column]
    tables: list[Table]
    notes: list[str]
    further: list[str]
    models: list[str]
    rows: dict[str, list[Row]] = field(repr=False)


class Names:
    """Names -> file names that are theirs alone, also where a file system does not tell cases apart."""

    def __init__(self, names: Iterable[str]) -> None:
        self._files: dict[str, str] = {}
        taken: set[str] = set()
        for name in sorted(set(names)):
            file = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:80]
            if file != name or file.lower() in taken:
                file = f"{file}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
            taken.add(file.lower())
            self._files[name] = file

    def __getitem__(self, name: str) -> str:
        return self._files[name]


def sections(rows: Sequence[Row], anchors: Anchors, models: Names, tasks: Names) -> list[Section]:
    """Returns the sections of a board, that with the most models first."""
    found = sorted(parts(rows, lambda row: row.section).items(), key=lambda item: (-_models(item[1]), item[0]))
    return [_section(i, part, anchors, models, tasks) for i, (_, part) in enumerate(found)]


def _models(rows: Sequence[Row]) -> int:
    return len({row.model for row in rows})


def _section(number: int, rows: Sequence[Row], anchors: Anchors, models: Names, tasks: Names) -> Section:
    first = rows[0]
    by_column = parts(rows, lambda row: row.column)
    versions = {task: {c[1] for c in by_column if c[0] == task} for task, _, _ in by_column}
    columns = {column: _column(members, len(versions[column[0]]) > 1, tasks) for column, members in by_column.items()}
    place = reading(rows)
    order = sorted(columns, key=lambda key: (place[key[:2]], key))
    names = list(dict.fromkeys(row.model for row in rows))
    by_cell = {(row.model, row.column): row for row in rows}
    classes = parts(rows, lambda row: row.class_)
    shown = [
        _table(part, [(columns[key], key) for key in order], by_cell, names, anchors, models)
        for part in classes.values()
    ]
    return Section(
        number=number,
        title=f"{first.dataset} · {first.budget} · {first.precision}",
        dataset=first.dataset,
        budget=first.budget,
        precision=first.precision,
        preliminary=first.preliminary,
        columns=[columns[key] for key in order],
        tables=shown,
        notes=first_notes(rows, anchors),
        further=further_notes(rows, anchors),
        models=names,
        rows={columns[key].id: [by_cell[name, key] for name in names] for key in order},
    )


def _column(rows: Sequence[Row], versioned: bool, tasks: Names) -> Column:
    first = rows[0]
    low, high = _range(rows)
    return Column(
        id=f"{tasks[first.task]}.{first.task_version}",
        heading=f"{first.task} v{first.task_version}" if versioned else first.task,
        task=first.task,
        metric=first.metric,
        unit=first.unit,
        direction=first.direction,
        arrow=ARROWS.get(first.direction, ""),
        official=first.official,
        floor=first.floor,
        low=low,
        high=high,
        href=f"tasks/{tasks[first.task]}.html",
    )


def _range(rows: Sequence[Row]) -> tuple[float, float]:
    """Returns the range of a column's bars: all values, or as far as the fences."""
    values = np.array([row.value for row in rows if math.isfinite(row.value)])
    if not len(values):
        return 0.0, 1.0
    a, b = np.quantile(values, (0.25, 0.75))
    inside = values[(values >= a - FENCE * (b - a)) & (values <= b + FENCE * (b - a))]
    low, high = float(inside.min()), float(inside.max())
    air = 0.05 * (high - low) or 0.5
    return low - air, high + air


def _table(
    rows: Sequence[Row],
    columns: Sequence[tuple[Column, tuple[str, int, str]]],
    by_cell: dict[tuple[str, tuple[str, int, str]], Row],
    names: Sequence[str],
    anchors: Anchors,
    models: Names,
) -> Table:
    first = rows[0]
    number = {name: i for i, name in enumerate(names)}
    known = {name for found in anchors.values() for name in anchor_models(found)}
    lines = []
    for name, members in parts(rows, lambda row: row.model).items():
        row = members[0]
        lines.append(
            Line(
                index=number[name],
                model=name,
                href=f"models/{models[name]}.html",
                family=row.family or name,
                supervision=row.supervision or "none",
                anchor=_anchor(name, anchors) if name in known else "",
                verified=row.standing == VERIFIED,
                overall=places(row.overall_best, row.overall_worst),
                sort=row.overall,
                cells=[cell(by_cell[name, key], column) for column, key in columns],
                costs=costs(row),
            )
        )
    ranked = any(not math.isnan(line.sort) for line in lines)
    if not ranked:
        lines.sort(key=lambda line: best_first(line.cells[0].row))
    headings = [heading for heading, _ in costs_of(first).values()]
    return Table(caption(first), "labels" if first.supervised else "none", ranked, lines, headings)


def best_first(row: Row) -> tuple[bool, float, str]:
    """Sorts rows of one column: the best value first, those without a value last."""
    missing = math.isnan(row.value)
    return missing, 0.0 if missing else (-row.value if row.direction == "higher" else row.value), row.model


def _anchor(name: str, anchors: Anchors) -> str:
    """What an anchor is, by the tasks that name it."""
    told = [
        f"{task}: {text}" for task, found in anchors.items() for a, text in found if name in anchor_models([(a, text)])
    ]
    return "; ".join(told)


def cell(row: Row, column: Column) -> Cell:
    """Returns a row as a cell of its column."""
    if math.isnan(row.value):
        return Cell(row, reason=row.reason)
    value, half = figures(row.value, row.half, row.resolution)
    rank = places(row.rank_best, row.rank_worst)
    if row.status == "partial":
        rank = f"{len(row.seeds)}/{len(row.expected)} seeds"
    low, at, high = (_share(v, column) for v in (row.low, row.value, row.high))
    beyond = "" if column.low <= row.value <= column.high else ("under" if row.value < column.low else "over")
    return Cell(row, value, half, rank, "", low, max(high - low, 0.0), at, beyond)


def _share(value: float, column: Column) -> float:
    """Returns where a value lies in the column's range, in per cent; beyond its ends, at them."""
    if math.isnan(value):
        return 0.0
    width = column.high - column.low
    return round(100 * min(max((value - column.low) / width, 0.0), 1.0), 1) if width > 0 else 0.0


def costs(row: Row) -> list[tuple[str, float]]:
    """Returns what a model costs as (text, number), as in ``costs_of``; empty where there is no number."""
    found = []
    for name, (_, divisor) in costs_of(row).items():
        cost = float(getattr(row, name) or 0) / divisor
        found.append((three(cost), cost) if cost > 0 and math.isfinite(cost) else ("", math.nan))
    return found


def three(value: float) -> str:
    """Returns a positive number to three figures."""
    decimals = 2 - math.floor(math.log10(value))
    return f"{round(value, decimals):,.{max(decimals, 0)}f}"


def duration(seconds: float) -> str:
    """Returns a time as ``12 s``, ``3.4 min`` or ``1.2 h``; empty where it is not known."""
    if not math.isfinite(seconds) or seconds <= 0:
        return ""
    if seconds < MINUTE:
        return f"{seconds:.3g} s"
    return f"{seconds / MINUTE:.3g} min" if seconds < HOUR else f"{seconds / HOUR:.3g} h"
