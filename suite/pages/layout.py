"""Rows -> pages of plain text cells: what a reader sees, before any format."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from suite.boards import Row, parts
from suite.pages.notes import ANCHOR, FLAG, TICK, Anchors, anchor_models, first_notes, further_notes
from suite.records import CLAIMED, VERIFIED

#: Arrow in a header: where better lies.
ARROWS = {"lower": "↓", "higher": "↑"}

#: Column of the board -> heading and divisor: what a model costs, which is never ranked.
COSTS = {
    "parameters": ("parameters (k)", 1e3),
    "flops_per_image": ("MFLOP/image", 1e6),
    "images_per_second": ("training images/s", 1.0),
}


#: The same of what a search took, which tuned models alone have.
SEARCH_COSTS = {
    "search_trials": ("search trials", 1.0),
    "search_images": ("search images (k)", 1e3),
    "search_seconds": ("search s", 1.0),
    "search_flops": ("search TFLOP", 1e12),
}


def costs_of(row: Row) -> dict[str, tuple[str, float]]:
    """Returns the costs that the models of a row's table have, as in ``COSTS``."""
    return COSTS | SEARCH_COSTS if row.tuned else COSTS


@dataclass(frozen=True)
class Head:
    """A column: the task (with its version where it has two), the metric, its unit, the arrow to where better lies."""

    task: str
    metric: str
    unit: str
    arrow: str

    @property
    def measure(self) -> str:
        """What is measured, in one line."""
        return " ".join(filter(None, [self.metric, f"({self.unit})" if self.unit else "", self.arrow]))

    @property
    def measure_lines(self) -> list[str]:
        """The same in lines of their own: metric, unit with arrow."""
        return [self.metric, f"{self.unit} {self.arrow}"] if self.unit else [f"{self.metric} {self.arrow}".rstrip()]


@dataclass(frozen=True)
class Entry:
    """One cell as text: value, half-width of its interval and rank, or the reason why there is no value.

    Attributes:
        sort: The number behind it.
        first: Whether no model is significantly better.
    """

    value: str = ""
    half: str = ""
    rank: str = ""
    reason: str = ""
    sort: float = math.nan
    first: bool = False

    @property
    def why(self) -> str:
        """The reason in a word or two, for a narrow cell; the notes give all of it."""
        return self.reason.partition(":")[0]


@dataclass(frozen=True)
class Line:
    """One model: its place in the overall order, a cell per column, its costs as in ``costs_of``."""

    model: str
    overall: str
    sort: float
    entries: list[Entry]
    costs: list[Entry]


@dataclass(frozen=True)
class Sheet:
    """The table of one class: what its models have in common, its columns, a line per model, headings of the costs."""

    caption: str
    heads: list[Head]
    lines: list[Line]
    overall: bool
    costs: list[str]

    def part(self, columns: Sequence[int]) -> Sheet:
        """Returns the same models in some of the columns."""
        lines = [replace(line, entries=[line.entries[i] for i in columns]) for line in self.lines]
        return replace(self, heads=[self.heads[i] for i in columns], lines=lines)

    def column(self, head: Head) -> list[Entry]:
        """Returns the cells below a head."""
        return [line.entries[self.heads.index(head)] for line in self.lines]


@dataclass(frozen=True)
class Page:
    """One section: dataset, budget, precision and engine.

    Attributes:
        title: What it is a board of.
        sheets: Its tables.
        notes: What a reader needs first: intervals, ranks, flags, failures.
        further: What the anchors are, and all that the tasks noted.
    """

    title: str
    sheets: list[Sheet]
    notes: list[str]
    further: list[str]


#: Decimals beyond which no unit of a task means anything.
FINEST = 6


def figures(value: float, half: float, resolution: float = 0.0) -> tuple[str, str]:
    """Returns value and half-width with as many digits as the interval justifies.

    The rule of the Particle Data Group (Review of Particle Physics, introduction, 5.3): of the half-width two
    digits are given where its first three lie between 100 and 354, one where they lie between 355 and 949, and
    from 950 on it is rounded up to 1000 with two digits; the value ends at the same place. An interval far below what
    is worth a place is 0, and no digit is given that stands for a tenth of that or less.

    Args:
        value: The number.
        half: The half-width of its interval; NaN where nothing is known of it.
        resolution: Differences below it are ties; 0 where that is not known.
    """
    # Adding 0.0 turns -0.0 into 0.0, here and below.
    if not math.isfinite(half):
        return f"{value + 0.0:.4g}", ""
    finest = min(FINEST, 1 + math.ceil(-math.log10(resolution))) if resolution > 0 else FINEST
    exponent = math.floor(math.log10(half)) if half else -math.inf
    if exponent < -finest:
        return (f"{round(value, finest) + 0.0:.10g}" if half else f"{value + 0.0:.6g}"), "0"
    leading = half / 10**exponent
    decimals = min(int(1 - exponent if leading < 3.545 else -exponent), finest)
    return tuple(f"{round(x, decimals) + 0.0:.{max(decimals, 0)}f}" for x in (value, half))  # type: ignore[return-value]


def places(best: float, worst: float) -> str:
    """Returns a rank interval as text: ``2`` or ``1-3``; empty where there is none."""
    if math.isnan(best):
        return ""
    return f"{best:.0f}" if best == worst else f"{best:.0f}-{worst:.0f}"


def shortened(text: str, limit: int) -> str:
    """Returns the text cut to ``limit`` characters, the cut marked."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def pages(rows: Sequence[Row], anchors: Anchors) -> list[Page]:
    """Returns one page per section of a board's rows."""
    return [_page(part, anchors) for part in parts(rows, lambda row: row.section).values()]


def _page(rows: Sequence[Row], anchors: Anchors) -> Page:
    first = rows[0]
    title = f"{first.dataset} · {first.budget} · {first.precision}"
    if first.preliminary:
        title = f"Preliminary board: {title}"
    sheets = [_sheet(part, anchors) for part in parts(rows, lambda row: row.class_).values()]
    return Page(title, sheets, first_notes(rows, anchors), further_notes(rows, anchors))


def _sheet(rows: Sequence[Row], anchors: Anchors) -> Sheet:
    columns = [members[0] for members in parts(rows, lambda row: row.column).values()]
    heads = [_head(column, columns) for column in columns]
    known = {name for task in {row.task for row in rows} for name in anchor_models(anchors.get(task, ()))}
    costs = [heading for heading, _ in costs_of(rows[0]).values()]
    lines: dict[str, Line] = {}
    for row in rows:
        mark = ANCHOR * (row.model in known) + TICK * (row.standing == VERIFIED)
        overall = places(row.overall_best, row.overall_worst)
        line = lines.setdefault(row.model, Line(row.model + mark, overall, row.overall, [], _costs(row)))
        line.entries.append(_entry(row))
    if not all(math.isnan(row.floor) for row in rows):
        floors = [Entry() if math.isnan(c.floor) else Entry(f"{c.floor:.4g}", sort=c.floor) for c in columns]
        lines["floor" + ANCHOR] = Line("floor" + ANCHOR, "", math.nan, floors, [Entry() for _ in costs])
    ordered = not all(math.isnan(row.overall) for row in rows)
    return Sheet(caption(rows[0]), heads, list(lines.values()), ordered, costs)


def caption(row: Row) -> str:
    """Returns what the models of a row's table have in common."""
    trained = "trained with labels" if row.supervised else "trained without labels"
    if row.tuned:
        trained += f", tuned ({row.tuned} {'trial' if row.tuned == 1 else 'trials'} each)"
    if not row.apart:
        return trained
    why = "claimed and run by nobody else" if row.standing == CLAIMED else "with weights or training of their own"
    return f"{trained}, {why}: not ranked"


def _head(column: Row, columns: Sequence[Row]) -> Head:
    versions = {other.task_version for other in columns if other.task == column.task}
    name = f"{column.task} v{column.task_version}" if len(versions) > 1 else column.task
    # A unit that the metric's name tells is not repeated.
    told = column.unit.lower() in column.metric.lower().split("_")
    return Head(name, column.metric, "" if told else column.unit, ARROWS.get(column.direction, ""))


def _entry(row: Row) -> Entry:
    if math.isnan(row.value):
        return Entry(reason=row.reason)
    value, half = figures(row.value, row.half, row.resolution)
    rank = places(row.rank_best, row.rank_worst)
    if row.status == "partial":
        rank = f"{len(row.seeds)}/{len(row.expected)} seeds"
    return Entry(value + FLAG * bool(row.flags), half, rank, "", row.value, row.rank_best == 1)


def _costs(row: Row) -> list[Entry]:
    """The model's costs to three figures; empty where there are none: a model that is not trained has no speed."""
    entries = []
    for name, (_, divisor) in costs_of(row).items():
        cost = float(getattr(row, name) or 0) / divisor
        shown = cost > 0 and math.isfinite(cost)
        entries.append(Entry(_three(cost), sort=cost) if shown else Entry())
    return entries


def _three(value: float) -> str:
    decimals = 2 - math.floor(math.log10(value))
    return f"{round(value, decimals):,.{max(decimals, 0)}f}"
