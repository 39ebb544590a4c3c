"""The per-image values behind a board's scores, read from where they are kept beside the records."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from suite import records
from suite.boards.cells import MULTIPLES
from suite.boards.rows import Row
from suite.boards.statistics import Floats

#: How far the mean of per-image values may lie from the score that it is said to be, relatively.
TOLERANCE = 1e-4


class PerImage:
    """The per-image values that some workspaces keep.

    Args:
        folders: Workspaces; those without a folder of values hold none.
    """

    def __init__(self, folders: Iterable[str | Path]) -> None:
        self._folders = [folder for folder in map(Path, folders) if (folder / "values").is_dir()]

    def of(self, row: Row) -> Floats | None:
        """Returns the values behind a row's score, (seeds, images); None where they are missing or are others."""
        if not self._folders:
            return None
        found = [self._kept(key, row.metric) for key in row.keys]
        arrays = [values for values in found if values is not None and values.ndim == 1]
        if not arrays or len(arrays) < len(found) or len({len(v) for v in arrays}) != 1 or len(arrays[0]) < 2:
            return None
        return _in_unit(np.stack(arrays).astype(np.float64), row)

    def _kept(self, key: str, metric: str) -> np.ndarray | None:
        for folder in self._folders:
            kept = records.load_values(folder, key, [metric, MULTIPLES.get(metric, metric)])
            if kept:
                return kept.get(metric, next(iter(kept.values())))
        return None


def _in_unit(values: Floats, row: Row) -> Floats | None:
    """Returns the values in the unit of the score, None where they are not the values behind it."""
    scores, means = np.array(row.seed_values), values.mean(axis=1)
    scales = [1.0]
    if row.unit == "%":
        scales.append(100.0)  # Hits are kept as 0 and 1 and scored in per cent.
    if row.metric in MULTIPLES and means.all():
        scales.append(float(np.mean(scores / means)))
    for scale in scales:
        if np.allclose(scale * means, scores, rtol=TOLERANCE, atol=TOLERANCE):
            return scale * values
    return None
