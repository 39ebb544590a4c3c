"""Board -> one scatter plot: a metric or a cost against another, a point per model with both its intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from suite.boards import Row, parts, rows_of
from suite.errors import UserError, nearest
from suite.pages.labels import place_labels
from suite.pages.layout import ARROWS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

SIZE, DPI = (8.0, 5.5), 120

#: What a model costs, as an axis.
AXES = {
    "parameters": "parameters",
    "flops_per_image": "FLOPs per image",
    "train_seconds": "training (s)",
    "images_per_second": "training images per second",
    "search_trials": "trials of the search",
    "search_images": "training images of the search",
    "search_seconds": "search (s)",
    "search_flops": "FLOPs of the search",
}


@dataclass(frozen=True)
class Point:
    """One model: both metrics, and the half-widths of their intervals (0 where one seed gives none)."""

    model: str
    x: float
    y: float
    x_half: float
    y_half: float


def points(board: pd.DataFrame, x: str, y: str) -> list[Point]:
    """Returns a point for every model that has both.

    Args:
        board: From ``board``, with the metrics among the two on it.
        x: The name of a metric or of a cost (``AXES``).
        y: Another's.

    Raises:
        UserError: If the board holds several datasets or budgets, a metric belongs to several of its columns, or no
            model has both.
    """
    rows = rows_of(board)
    sections = {row.section for row in rows}
    if len(sections) > 1:
        found = "; ".join(sorted(" ".join(section[:3]) for section in sections))
        raise UserError(f"a plot shows one dataset, budget and precision, not {found}")
    columns = [_column(rows, name) for name in (x, y)]
    shared = [model for model in columns[0] if model in columns[1]]
    if not shared:
        raise UserError(f"no model has both '{x}' and '{y}'")
    return [Point(m, *(column[m][0] for column in columns), *(column[m][1] for column in columns)) for m in shared]


def draw(board: pd.DataFrame, x: str, y: str, file: Path, join: Sequence[str] = (), *, overwrite: bool = False) -> None:
    """Draws the points of ``points`` into a file, whose ending says the format.

    Args:
        board: From ``board``.
        x: The metric or cost of the horizontal axis.
        y: That of the vertical axis.
        file: Where to write it: ``.png``, ``.svg`` or ``.pdf``.
        join: Models to be joined by a line, in this order.
        overwrite: Whether a file that is there may be replaced.

    Raises:
        UserError: As ``points``; or if a model to be joined is not there, the file's ending is none of these, it is
            there already, or it cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if file.suffix not in {".png", ".svg", ".pdf"}:
        raise UserError(f"{file}: a plot is .png, .svg or .pdf")
    if file.exists() and not overwrite:
        raise UserError(f"{file} is there already: --overwrite replaces it, --out names another file")
    found = {point.model: point for point in points(board, x, y)}
    for model in join:
        if model not in found:
            raise UserError(f"no '{model}' to join{nearest(model, found)}")
    figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    rows = rows_of(board)
    _scales(axes, rows, x, y)
    if join:
        axes.plot([found[m].x for m in join], [found[m].y for m in join], color="0.6", zorder=0)
    for point in found.values():
        xs, ys = _bar(point.x, point.x_half, _unit(rows, x)), _bar(point.y, point.y_half, _unit(rows, y))
        axes.errorbar(point.x, point.y, xerr=xs, yerr=ys, fmt="o", capsize=2)
    place_labels(axes, [(point.model, point.x, point.y) for point in found.values()])
    try:
        figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror or error}") from error


def _scales(axes: Axes, rows: Sequence[Row], x: str, y: str) -> None:
    for name, axis, label in ((x, "x", axes.set_xlabel), (y, "y", axes.set_ylabel)):
        label(_label(rows, name))
        if name in AXES:  # costs lie orders of magnitude apart
            getattr(axes, f"set_{axis}scale")("log")
    axes.set_title(" · ".join(rows[0].section[:3]), fontsize=10)
    axes.grid(alpha=0.3)


def _bar(value: float, half: float, unit: str) -> list[list[float]]:
    """The lengths of an error bar downwards and upwards: a share cannot be under 0 or over 100 %."""
    low, high = (0.0, 100.0) if unit == "%" else (-math.inf, math.inf)
    return [[max(min(half, value - low), 0.0)], [max(min(half, high - value), 0.0)]]


def _column(rows: Sequence[Row], name: str) -> dict[str, tuple[float, float]]:
    """Model -> its value and half-width, where it has a value."""
    if name in AXES:
        costs = {row.model: float(getattr(row, name) or 0) for row in rows}
        return {model: (cost, 0.0) for model, cost in costs.items() if cost > 0 and math.isfinite(cost)}
    found = [row for row in rows if row.metric == name]
    tasks = [task for task, _, _ in parts(found, lambda row: row.column)]
    if len(tasks) > 1:
        raise UserError(f"'{name}' is a metric of {' and '.join(tasks)}: choose one with --task")
    half = {row.model: row.half if math.isfinite(row.half) else 0.0 for row in found}
    return {row.model: (row.value, half[row.model]) for row in found if math.isfinite(row.value)}


def _unit(rows: Sequence[Row], name: str) -> str:
    return next((row.unit for row in rows if row.metric == name), "")


def _label(rows: Sequence[Row], name: str) -> str:
    if name in AXES:
        return AXES[name]
    row = next(row for row in rows if row.metric == name)
    unit = f" ({row.unit})" if row.unit not in {"", name} else ""
    return f"{row.task}: {name}{unit} {ARROWS.get(row.direction, '')}".rstrip()
