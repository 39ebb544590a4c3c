"""Two models, task by task: the difference of their scores with its interval, by per-image values where kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.boards import statistics
from suite.boards.per_image import PerImage
from suite.boards.rows import SECTION, TASK, Row, parts, rows_of
from suite.boards.statistics import Moments
from suite.errors import UserError, nearest

if TYPE_CHECKING:
    import pandas as pd

#: What the board says of a pair in a column that it ranks.
SEPARATED, TIED = "separated", "tied"


def compare(board: pd.DataFrame, a: str, b: str, folders: Sequence[str | Path]) -> list[dict[str, Any]]:
    """Compares two models in every column of a board.

    Images are paired, seeds are independent (``statistics.paired_difference``). Where the per-image values of a seed
    are missing, or are not the values behind the score, the comparison is by moments alone and says so.

    The interval is that of one pair, as if no other had been looked at. The board looks at all pairs of a column at
    once and asks for more, so a pair whose interval excludes 0 may share places there: ``board`` says what it finds.

    Args:
        board: From ``board.board``, with every model that the two are ranked among.
        a: A model's name on the board.
        b: Another's.
        folders: Workspaces that may hold the values.

    Returns:
        One dict per column: the section, task and metric; ``a``, ``b`` (means), ``difference`` (a - b), ``half``,
        ``low``, ``high`` (None where nothing is known of the spread); ``images``, ``seeds_a``, ``seeds_b``;
        ``paired``; ``better`` (a name, or empty where the interval holds 0); ``board`` (``separated``, ``tied`` or,
        where it does not rank both in one table, empty); ``note``. Where a model has no score, the numbers are None and
        the note says why.

    Raises:
        UserError: If a model is not on the board.
    """
    for name in (a, b):
        if name not in set(board["model"]):
            raise UserError(f"no records of '{name}'{nearest(name, set(board['model']))}")
    if a == b:
        raise UserError(f"'{a}' is one model: name two to compare")
    kept = PerImage(folders)
    found = []
    for column in parts(rows_of(board), lambda row: (row.section, row.column)).values():
        rows = {row.model: row for row in column}
        if a in rows and b in rows:
            found.append(_compare(rows[a], rows[b], kept))
    if not found:
        raise UserError(f"no dataset, budget and precision has records of both '{a}' and '{b}'")
    return found


def _compare(a: Row, b: Row, kept: PerImage) -> dict[str, Any]:
    about = {name: getattr(a, name) for name in (*SECTION, *TASK, "metric", "unit", "direction")}
    about |= {"model_a": a.model, "model_b": b.model, "seeds_a": list(a.seeds), "seeds_b": list(b.seeds)}
    about["board"] = _verdict(a, b)
    empty = [row for row in (a, b) if not row.seeds]
    if empty:
        note = "; ".join(f"{row.model}: {row.reason}" for row in empty)
        numbers = dict.fromkeys(("a", "b", "difference", "half", "low", "high", "images"))
        return {**about, **numbers, "paired": False, "better": "", "note": note}
    difference, half, images, notes = _difference(a, b, kept)
    better = ""
    if a.direction and abs(difference) > half:
        better = a.model if (difference < 0) == (a.direction == "lower") else b.model
    notes += [f"{row.model}: {row.reason}" for row in (a, b) if row.reason]
    if min(len(a.seeds), len(b.seeds)) == 1:
        notes.append("one seed says nothing about others")
    known = not math.isnan(half)
    return {
        **about,
        "a": a.value,
        "b": b.value,
        "difference": difference,
        "half": half if known else None,
        "low": difference - half if known else None,
        "high": difference + half if known else None,
        "images": images,
        "paired": not any(note.startswith("not paired") for note in notes),
        "better": better,
        "note": "; ".join(notes),
    }


def _verdict(a: Row, b: Row) -> str:
    """What the board says of the pair; empty where it does not rank both among the same models."""
    if a.class_ != b.class_ or not (a.ranked_among and b.ranked_among):
        return ""
    return SEPARATED if a.model in b.beaten_by or b.model in a.beaten_by else TIED


def _difference(a: Row, b: Row, kept: PerImage) -> tuple[float, float, int, list[str]]:
    """Returns difference, half-width, number of images, and notes."""
    values_a, values_b = kept.of(a), kept.of(b)
    if values_a is None or values_b is None:
        lacking = [row.model for row, values in ((a, values_a), (b, values_b)) if values is None]
        why = f"not paired: no per-image values of {' and '.join(lacking)}"
    elif values_a.shape[1] != values_b.shape[1]:
        why = "not paired: different images"
    else:
        difference, half = statistics.paired_difference(values_a, values_b)
        return difference, half, values_a.shape[1], []
    difference, half = statistics.difference(_moments(a), _moments(b))
    return float(difference), float(half), min(a.images, b.images), [why]


def _moments(row: Row) -> Moments:
    return Moments(row.value, row.seed_variance, len(row.seeds), row.image_quantile)
