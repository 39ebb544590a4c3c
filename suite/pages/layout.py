"""Board -> pages of plain text cells: what a reader sees, before any format; with the footnotes that explain it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from suite.boards import MIN_SEEDS, SECTION, TASK, rows_of

if TYPE_CHECKING:
    import pandas as pd

#: Arrow in a header: where better lies.
ARROWS = {"lower": "↓", "higher": "↑"}

#: Mark of a value with a flag, and of a model that is an anchor.
FLAG, ANCHOR = "!", "°"

#: Names of anchors that are no baselines.
KINDS = ("floor", "exact")

#: Column of the board -> heading and divisor: what a model costs, which is never ranked.
COSTS = {
    "parameters": ("parameters (k)", 1e3),
    "flops_per_image": ("MFLOP/image", 1e6),
    "images_per_second": ("training images/s", 1.0),
}

#: What they are; said where they are shown.
COSTS_NOTE = "Costs: of encoding and decoding one image; of training as it ran, on the machine of its record."

#: How much of a reason a cell of a terminal table shows; longer ones have a footnote.
REASON = 20

#: How many models a footnote lists.
LISTED = 8

#: Task -> its anchors as (name, summary).
Anchors = Mapping[str, Sequence[tuple[str, str]]]


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


@dataclass(frozen=True)
class Line:
    """One model: its place in the overall order, a cell per column, its costs as in ``COSTS``."""

    model: str
    overall: str
    sort: float
    entries: list[Entry]
    costs: list[Entry]


@dataclass(frozen=True)
class Sheet:
    """The table of one supervision class."""

    caption: str
    heads: list[Head]
    lines: list[Line]
    overall: bool


@dataclass(frozen=True)
class Page:
    """One section: dataset, budget, precision and engine."""

    title: str
    sheets: list[Sheet]
    notes: list[str]


#: Decimals beyond which no unit of a task means anything.
FINEST = 6


def figures(value: float, half: float) -> tuple[str, str]:
    """Returns value and half-width with as many digits as the interval justifies.

    The rule of the Particle Data Group (Review of Particle Physics, introduction, 5.3): of the half-width two
    digits are given where its first three lie between 100 and 354, one where they lie between 355 and 949, and
    from 950 on it is rounded up to 1000 with two digits; the value ends at the same place.
    """
    if not math.isfinite(half):
        return f"{value:.4g}", ""
    if half == 0:
        return f"{value:.6g}", "0"
    exponent = math.floor(math.log10(half))
    leading = half / 10**exponent
    decimals = min(1 - exponent if leading < 3.545 else -exponent, FINEST)
    # Adding 0.0 turns -0.0 into 0.0.
    return tuple(f"{round(x, decimals) + 0.0:.{max(decimals, 0)}f}" for x in (value, half))  # type: ignore[return-value]


def places(best: float, worst: float) -> str:
    """Returns a rank interval as text: ``2`` or ``1-3``; empty where there is none."""
    if math.isnan(best):
        return ""
    return f"{best:.0f}" if best == worst else f"{best:.0f}-{worst:.0f}"


def shortened(text: str, limit: int) -> str:
    """Returns the text cut to ``limit`` characters, the cut marked."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def pages(board: pd.DataFrame, anchors: Anchors) -> list[Page]:
    """Returns one page per section of the board; see ``leaderboard.board``."""
    return [_page(part, anchors) for _, part in board.groupby(SECTION, sort=False)]


def _page(part: pd.DataFrame, anchors: Anchors) -> Page:
    first = part.iloc[0]
    title = f"{first['dataset']} · {first['budget']} · {first['precision']}"
    if first["preliminary"]:
        title = f"Preliminary board: {title}"
    sheets = [_sheet(rows, anchors) for _, rows in part.groupby("supervised", sort=False)]
    return Page(title, sheets, [*_rules(part), *_anchor_notes(part, anchors), *_cell_notes(part)])


def _sheet(part: pd.DataFrame, anchors: Anchors) -> Sheet:
    keys = [*TASK, "metric"]
    columns = rows_of(part.drop_duplicates(keys))
    heads = [_head(column, columns) for column in columns]
    known = {name for task in part["task"] for name in _anchor_models(anchors.get(task, ()))}
    lines: dict[str, Line] = {}
    for row in rows_of(part):
        mark = ANCHOR if row["model"] in known else ""
        overall = places(row["overall_best"], row["overall_worst"])
        line = lines.setdefault(row["model"], Line(row["model"] + mark, overall, row["overall"], [], _costs(row)))
        line.entries.append(_entry(row))
    if part["floor"].notna().any():
        floors = [Entry() if math.isnan(c["floor"]) else Entry(f"{c['floor']:.4g}", sort=c["floor"]) for c in columns]
        lines["floor" + ANCHOR] = Line("floor" + ANCHOR, "", math.nan, floors, [Entry() for _ in COSTS])
    caption = "trained with labels" if part["supervised"].iloc[0] else "trained without labels"
    return Sheet(caption, heads, list(lines.values()), bool(part["overall"].notna().any()))


def _head(column: Mapping[str, Any], columns: Sequence[Mapping[str, Any]]) -> Head:
    versions = {other["task_version"] for other in columns if other["task"] == column["task"]}
    name = f"{column['task']} v{column['task_version']}" if len(versions) > 1 else column["task"]
    metric, unit = column["metric"], column["unit"]
    # A unit that the metric's name tells is not repeated.
    told = unit.lower() in metric.lower().split("_")
    return Head(name, metric, "" if told else unit, ARROWS.get(column["direction"], ""))


def _entry(row: Mapping[str, Any]) -> Entry:
    if math.isnan(row["value"]):
        return Entry(reason=row["reason"])
    value, half = figures(row["value"], row["half"])
    rank = places(row["rank_best"], row["rank_worst"])
    if row["status"] == "partial":
        rank = f"{len(row['seeds'])}/{len(row['expected'])} seeds"
    return Entry(value + FLAG * bool(row["flags"]), half, rank, "", row["value"], row["rank_best"] == 1)


def _costs(row: Mapping[str, Any]) -> list[Entry]:
    """The model's costs to three figures; empty where there are none: a model that is not trained has no speed."""
    entries = []
    for name, (_, divisor) in COSTS.items():
        cost = float(row[name] or 0) / divisor
        shown = cost > 0 and math.isfinite(cost)
        entries.append(Entry(_three(cost), sort=cost) if shown else Entry())
    return entries


def _three(value: float) -> str:
    decimals = 2 - math.floor(math.log10(value))
    return f"{round(value, decimals):,.{max(decimals, 0)}f}"


def _rules(part: pd.DataFrame) -> list[str]:
    """What the numbers mean: interval, rank, overall order, what stands behind them."""
    first = part.iloc[0]
    notes = [f"± {_interval(part)}"]
    if first["preliminary"]:
        notes.append(f"Preliminary: under {MIN_SEEDS} seeds nothing is ranked ({_seeds(part)}).")
    if part["rank_best"].notna().any():
        notes.append(
            "Rank a-b: of the n models that are ranked in a table's column, a - 1 are significantly better and n - b "
            "significantly worse (5 % level for each pair). A model that lacks a seed is not ranked."
        )
    if part["overall"].notna().any():
        tasks = ", ".join(part[part["official"]]["task"].unique())
        notes.append(f"Overall: place by the mean of the middle ranks in {tasks}; of a family its best variant counts.")
    if part["status"].eq("partial").any():
        notes.append("k/n seeds: the mean of the k seeds that are there; not ranked.")
    notes.append(COSTS_NOTE)
    stands = ", ".join(f"{row['task']} {row['task_version']}" for row in rows_of(part.drop_duplicates(TASK)))
    count = int(part.drop_duplicates([*TASK, "model"])["records"].sum())
    notes.append(f"{count} records: {_seeds(part)}; engine {first['engine']}; versions: {stands}.")
    if first["older"]:
        notes.append(f"{first['older']} records of older versions are not shown.")
    return notes


def _interval(part: pd.DataFrame) -> str:
    if part["expected"].map(len).max() == 1:
        return "95 % interval over test images alone: one seed says nothing about others."
    return "95 % interval over seeds and test images."


def _seeds(part: pd.DataFrame) -> str:
    """Returns e.g. ``seeds 0-4``; with the tasks where these differ."""
    tasks: dict[str, list[str]] = {}
    for row in rows_of(part.drop_duplicates(TASK)):
        tasks.setdefault(_ranges(row["expected"]), []).append(row["task"])
    if len(tasks) == 1:
        return f"seeds {next(iter(tasks))}"
    return "; ".join(f"seeds {seeds} in {', '.join(names)}" for seeds, names in tasks.items())


def _ranges(seeds: Sequence[int]) -> str:
    if len(seeds) > 2 and seeds[-1] - seeds[0] == len(seeds) - 1:
        return f"{seeds[0]}-{seeds[-1]}"
    return ", ".join(map(str, seeds))


def _anchor_models(anchors: Sequence[tuple[str, str]]) -> list[str]:
    """Returns the baselines among the anchors: those named, and one that a floor's summary begins with."""
    named = [summary.partition(":")[0] if name in KINDS else name for name, summary in anchors]
    return [name for name in named if name.isidentifier()]


def _anchor_notes(part: pd.DataFrame, anchors: Anchors) -> list[str]:
    notes = []
    for task in part["task"].unique():
        known = anchors.get(task, ())
        if known:
            told = "; ".join(f"{name}: {summary}" for name, summary in known)
            absent = [name for name in _anchor_models(known) if name not in set(part["model"])]
            missing = f" Not on this board: {', '.join(absent)}." if absent else ""
            notes.append(f"{ANCHOR} Anchors of {task}: {told}.{missing}")
    return notes


def _cell_notes(part: pd.DataFrame) -> list[str]:
    """Flags, reasons that a cell has no room for, and what the tasks noted; whatever shares a text shares a line."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows_of(part):
        reason = [row["reason"]] if row["status"] == "partial" or len(row["reason"]) > REASON else []
        for text in (*(f"{FLAG} {flag}" for flag in row["flags"]), *reason, *row["notes"]):
            found.setdefault((text, row["task"]), []).append(row["model"])
    shared: dict[tuple[str, str], list[str]] = {}
    for (text, task), models in found.items():
        shared.setdefault((text, _names(models)), []).append(task)
    return [f"{text} ({', '.join(tasks)}: {models})" for (text, models), tasks in sorted(shared.items())]


def _names(models: Sequence[str]) -> str:
    unique = list(dict.fromkeys(models))
    more = f" and {len(unique) - LISTED} more" if len(unique) > LISTED else ""
    return ", ".join(unique[:LISTED]) + more
