"""Two models, task by task: the difference of their scores with its interval, by per-image values where kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from suite import records
from suite.boards import statistics
from suite.boards.rows import SECTION, TASK, rows_of
from suite.boards.statistics import Floats, Moments
from suite.errors import UserError, nearest

if TYPE_CHECKING:
    import pandas as pd

#: How far the mean of per-image values may lie from the score that it is said to be, relatively.
TOLERANCE = 1e-4


def compare(board: pd.DataFrame, a: str, b: str, folders: Sequence[str | Path]) -> list[dict[str, Any]]:
    """Compares two models in every column of a board.

    Images are paired, seeds are independent (``statistics.paired_difference``). Where the per-image values of a seed
    are missing, or are not the values behind the score, the comparison is by moments alone and says so.

    Args:
        board: From ``leaderboard.board``.
        a: A model's name on the board.
        b: Another's.
        folders: Workspaces that may hold the values.

    Returns:
        One dict per column: the section, task and metric; ``a``, ``b`` (means), ``difference`` (a - b), ``half``,
        ``low``, ``high`` (None where nothing is known of the spread); ``images``, ``seeds_a``, ``seeds_b``;
        ``paired``; ``better`` (a name, or empty where the interval holds 0); ``note``. Where a model has no score,
        the numbers are None and the note says why.

    Raises:
        UserError: If a model is not on the board.
    """
    for name in (a, b):
        if name not in set(board["model"]):
            raise UserError(f"no records of '{name}'{nearest(name, set(board['model']))}")
    if a == b:
        raise UserError(f"'{a}' is one model: name two to compare")
    found = []
    for _, column in board.groupby([*SECTION, *TASK, "metric"], sort=False):
        rows = {row["model"]: row for row in rows_of(column)}
        if a in rows and b in rows:
            found.append(_compare(rows[a], rows[b], folders))
    if not found:
        raise UserError(f"no dataset, budget and precision has records of both '{a}' and '{b}'")
    return found


def _compare(a: Mapping[str, Any], b: Mapping[str, Any], folders: Sequence[str | Path]) -> dict[str, Any]:
    about = {name: a[name] for name in (*SECTION, *TASK, "metric", "unit", "direction")}
    about |= {"model_a": a["model"], "model_b": b["model"], "seeds_a": list(a["seeds"]), "seeds_b": list(b["seeds"])}
    empty = [row for row in (a, b) if not row["seeds"]]
    if empty:
        note = "; ".join(f"{row['model']}: {row['reason']}" for row in empty)
        numbers = dict.fromkeys(("a", "b", "difference", "half", "low", "high", "images"))
        return {**about, **numbers, "paired": False, "better": "", "note": note}
    difference, half, images, notes = _difference(a, b, folders)
    better = ""
    if a["direction"] and abs(difference) > half:
        better = a["model"] if (difference < 0) == (a["direction"] == "lower") else b["model"]
    notes += [f"{row['model']}: {row['reason']}" for row in (a, b) if row["reason"]]
    if min(len(a["seeds"]), len(b["seeds"])) == 1:
        notes.append("one seed says nothing about others")
    known = not np.isnan(half)
    return {
        **about,
        "a": a["value"],
        "b": b["value"],
        "difference": difference,
        "half": half if known else None,
        "low": difference - half if known else None,
        "high": difference + half if known else None,
        "images": images,
        "paired": not any(note.startswith("not paired") for note in notes),
        "better": better,
        "note": "; ".join(notes),
    }


def _difference(
    a: Mapping[str, Any], b: Mapping[str, Any], folders: Sequence[str | Path]
) -> tuple[float, float, int, list[str]]:
    """Returns difference, half-width, number of images, and notes."""
    values = [_values(row, folders) for row in (a, b)]
    lacking = [row["model"] for row, v in zip((a, b), values, strict=True) if v is None]
    if lacking:
        why = f"not paired: no per-image values of {' and '.join(lacking)}"
    elif values[0].shape[1] != values[1].shape[1]:  # type: ignore[union-attr]
        why = "not paired: different images"
    else:
        difference, half = statistics.paired_difference(*values)  # type: ignore[arg-type]
        return difference, half, values[0].shape[1], []  # type: ignore[union-attr]
    difference, half = statistics.difference(_moments(a), _moments(b))
    return float(difference), float(half), int(min(a["images"], b["images"])), [why]


def _moments(row: Mapping[str, Any]) -> Moments:
    return Moments(row["value"], row["seed_variance"], len(row["seeds"]), row["image_quantile"])


def _values(row: Mapping[str, Any], folders: Sequence[str | Path]) -> Floats | None:
    """Returns the values behind a row's score, (seeds, images); None where they are missing or are others."""
    found = [_kept(key, row["metric"], folders) for key in row["keys"]]
    arrays = [values for values in found if values is not None and values.ndim == 1]
    if len(arrays) < len(found) or len({len(values) for values in arrays}) != 1 or len(arrays[0]) < 2:
        return None
    values = np.stack(arrays).astype(np.float64)
    # Hits are kept as 0 and 1 and scored in per cent.
    for scale in (1.0, 100.0) if row["unit"] == "%" else (1.0,):
        if np.allclose(scale * values.mean(axis=1), row["seed_values"], rtol=TOLERANCE, atol=TOLERANCE):
            return scale * values
    return None


def _kept(key: str, metric: str, folders: Iterable[str | Path]) -> np.ndarray | None:
    for folder in folders:
        values = records.load_values(folder, key).get(metric)
        if values is not None:
            return values
    return None
