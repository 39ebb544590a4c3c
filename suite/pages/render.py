"""Board -> one page in any format, with the anchors that its tasks declare."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from suite.boards import rows_of
from suite.errors import unknown
from suite.pages.html import webpage
from suite.pages.latex import latex
from suite.pages.layout import pages
from suite.pages.notes import Anchors
from suite.pages.text import WIDTH, as_json, csv, markdown, table
from suite.plugins import registry

if TYPE_CHECKING:
    from pandas import DataFrame

FORMATS = ("table", "markdown", "csv", "json", "html", "latex")


def render(
    board: DataFrame,
    format: str = "table",
    *,
    anchors: Anchors | None = None,
    width: int = WIDTH,
    color: bool = False,
    costs: bool = True,
    notes: bool = False,
) -> str:
    """Renders a board.

    Args:
        board: From ``board``.
        format: ``table``, ``markdown``, ``csv``, ``json``, ``html`` or ``latex``.
        anchors: Task -> (name, summary) of its anchors, for the footnotes; by default those of the tasks found here.
        width: Of the terminal table.
        color: Whether the terminal table carries colours.
        costs: Whether the terminal table shows what models cost, where that fits; scores repeat, speeds do not.
        notes: Whether the terminal table has all notes, not only what a reader needs first.

    Raises:
        UserError: For a format that does not exist.
    """
    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    if anchors is None:
        anchors = {} if format == "csv" else find_anchors(set(board["task"]))
    if format == "csv":
        return csv(board)
    rows = rows_of(board)
    found = pages(rows, anchors)
    if format == "json":
        return as_json(rows, found, anchors)
    if format == "html":
        return webpage(found)
    if format == "latex":
        return latex(found)
    return markdown(found) if format == "markdown" else table(found, width, color, costs, notes)


def find_anchors(tasks: Iterable[str], paths: Sequence[str] = ()) -> Anchors:
    """Returns the anchors that the tasks declare, read as text; a task that is not here has none."""
    found = registry.discover("task", paths)
    entries = {task: found.get(task.partition(":")[0]) for task in sorted(tasks)}
    return {task: list(entry.facts.anchors) for task, entry in entries.items() if entry is not None}
