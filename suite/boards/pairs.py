"""All pairs of one column's models: the half-width of each difference, as ``compare`` gives it, in one matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from suite.boards import statistics
from suite.boards.per_image import PerImage
from suite.boards.rows import Row
from suite.boards.statistics import Floats, Moments

#: Images are added up so many at a time.
CHUNK = 2048


@dataclass(frozen=True)
class Pairs:
    """What is known of every pair of a column's models.

    Attributes:
        half: (n, n) half-width of the 95 % interval of the pair's difference; NaN where nothing is known of it.
        paired: (n, n) whether the pair was compared image by image.
        separated: (n, n) whether the column ranks the row's model above the column's.
    """

    half: Floats
    paired: NDArray[np.bool_]
    separated: NDArray[np.bool_]


def pairs_of(rows: Sequence[Row], kept: PerImage) -> Pairs:
    """Compares all models of one column with each other; see ``comparison.compare`` for what an interval means.

    Args:
        rows: Of one column, ranked; a row without a value has no pairs.
        kept: The per-image values.
    """
    half = _unpaired(rows)
    paired = np.zeros(half.shape, dtype=bool)
    for where, values in _by_images([kept.of(row) for row in rows]):
        block = np.ix_(where, where)
        half[block], paired[block] = _paired(values), True
    names = {row.model: i for i, row in enumerate(rows)}
    separated = np.zeros(half.shape, dtype=bool)
    for i, row in enumerate(rows):
        separated[[names[other] for other in row.beaten_by if other in names], i] = True
    return Pairs(half, paired, separated)


def _unpaired(rows: Sequence[Row]) -> Floats:
    """Returns the half-widths by moments alone, (n, n)."""

    def moments(axis: int) -> Moments:
        columns = zip(*((r.value, r.seed_variance, len(r.seeds), r.image_quantile) for r in rows), strict=True)
        return Moments(*(np.expand_dims(np.array(column, dtype=float), axis) for column in columns))

    return np.asarray(statistics.difference(moments(1), moments(0))[1])


def _by_images(values: Sequence[Floats | None]) -> list[tuple[list[int], list[Floats]]]:
    """Returns the models with per-image values by their number of images: (positions, values)."""
    found: dict[int, tuple[list[int], list[Floats]]] = {}
    for i, array in enumerate(values):
        if array is not None:
            where, arrays = found.setdefault(array.shape[1], ([], []))
            where.append(i)
            arrays.append(array)
    return list(found.values())


def _paired(values: Sequence[Floats]) -> Floats:
    """Returns ``statistics.paired_difference``'s half-width for all pairs of models with the same images, (n, n)."""
    images = values[0].shape[1]
    means = np.stack([array.mean(axis=0) for array in values])
    means -= means.mean(axis=1, keepdims=True)
    means -= means.mean(axis=0)  # what all models share cancels in every difference
    products = np.zeros((len(means), len(means)))
    for start in range(0, images, CHUNK):
        products += means[:, start : start + CHUNK] @ means[:, start : start + CHUNK].T
    squares = np.diag(products)
    variance = np.maximum(squares[:, None] + squares[None] - 2 * products, 0) / (images - 1)
    seeds = [statistics.moments(array.mean(axis=1).tolist(), [None], None) for array in values]
    spread = np.array([m.seed_variance for m in seeds])
    count = np.array([float(m.seeds) for m in seeds])
    a, b = (Moments(0.0, np.expand_dims(spread, k), np.expand_dims(count, k), 0.0) for k in (1, 0))
    seed_part = statistics.quantile(statistics.welch_df(a, b)) ** 2 * (spread[:, None] + spread[None])
    return np.asarray(np.sqrt(seed_part + statistics.image_part(np.sqrt(variance / images), images) ** 2))
