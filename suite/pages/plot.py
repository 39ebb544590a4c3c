"""Board -> one scatter plot: a metric against another, a point per model with both its intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from suite.boards import Row, parts, rows_of
from suite.errors import UserError, nearest
from suite.pages.layout import ARROWS

if TYPE_CHECKING:
    import pandas as pd

SIZE, DPI = (8.0, 5.5), 120


@dataclass(frozen=True)
class Point:
    """One model: both metrics, and the half-widths of their intervals (0 where one seed gives none)."""

    model: str
    x: float
    y: float
    x_half: float
    y_half: float


def points(board: pd.DataFrame, x: str, y: str) -> list[Point]:
    """Returns a point for every model that has both metrics.

    Args:
        board: From ``board``, with both metrics on it.
        x: A metric's name.
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
    pairs = [(columns[0][model], columns[1][model]) for model in shared]
    return [Point(a.model, a.value, b.value, _half(a), _half(b)) for a, b in pairs]


def draw(board: pd.DataFrame, x: str, y: str, file: Path, join: Sequence[str] = ()) -> None:
    """Draws the points of ``points`` into a file, whose ending says the format.

    Args:
        board: From ``board``.
        x: The metric of the horizontal axis.
        y: The metric of the vertical axis.
        file: Where to write it: ``.png``, ``.svg`` or ``.pdf``.
        join: Models to be joined by a line, in this order.

    Raises:
        UserError: As ``points``; or if a model to be joined is not there, the file's ending is none of these, or it
            cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if file.suffix not in {".png", ".svg", ".pdf"}:
        raise UserError(f"{file}: a plot is .png, .svg or .pdf")
    found = {point.model: point for point in points(board, x, y)}
    for model in join:
        if model not in found:
            raise UserError(f"no '{model}' to join{nearest(model, found)}")
    figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    if join:
        axes.plot([found[m].x for m in join], [found[m].y for m in join], color="0.6", zorder=0)
    for point in found.values():
        axes.errorbar(point.x, point.y, xerr=point.x_half, yerr=point.y_half, fmt="o", capsize=2)
        axes.annotate(point.model, (point.x, point.y), xytext=(5, 4), textcoords="offset points", fontsize=8)
    rows = rows_of(board)
    axes.set_xlabel(_label(rows, x))
    axes.set_ylabel(_label(rows, y))
    axes.set_title(" · ".join(rows[0].section[:3]), fontsize=10)
    axes.grid(alpha=0.3)
    try:
        figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror or error}") from error


def _column(rows: Sequence[Row], metric: str) -> dict[str, Row]:
    """Model -> its row, where it has a value."""
    found = [row for row in rows if row.metric == metric]
    tasks = [task for task, _, _ in parts(found, lambda row: row.column)]
    if len(tasks) > 1:
        raise UserError(f"'{metric}' is a metric of {' and '.join(tasks)}: choose one with --task")
    return {row.model: row for row in found if math.isfinite(row.value)}


def _half(row: Row) -> float:
    return row.half if math.isfinite(row.half) else 0.0


def _label(rows: Sequence[Row], metric: str) -> str:
    row = next(row for row in rows if row.metric == metric)
    unit = f" ({row.unit})" if row.unit else ""
    return f"{row.task}: {metric}{unit} {ARROWS.get(row.direction, '')}".rstrip()
