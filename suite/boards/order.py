"""What is better than what -> places, in one column and over several.

Rank confidence sets after Mogstad, Romano, Shaikh & Wilhelm (2024, Review of Economic Studies 91: 476-518) and
Al Mohamad, van Zwet & Goeman (2022, Biometrical Journal 64: 339-357): a model's rank is at least 1 + the number of
models established as better, and at most n - the number established as worse.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from suite.boards.stepdown import Bools, Column, Evidence, generator, luck, step_down

Ints = NDArray[np.int64]


def places(better: Bools) -> tuple[Ints, Ints]:
    """Returns the best and the worst place of each model: 1 + (how many are better), n - (how many are worse).

    Args:
        better: (n, n) whether the row's model is established as better than the column's.
    """
    return 1 + better.sum(axis=0), len(better) - better.sum(axis=1)


def leads(better: Bools) -> Ints:
    """Returns a lower bound of every model's lead over every other, in true ranks of one column: (n, n).

    Where j is established as better than k it is 1 + the number of models between them, l with j better than l and l
    better than k; else the best place that k may have minus the worst of j.
    """
    best, worst = places(better)
    between = better.astype(np.float32) @ better.astype(np.float32)
    return np.where(better, 1 + between.round().astype(np.int64), best[None] - worst[:, None])


def above(columns: Sequence[Bools]) -> Bools:
    """Returns which models are above which over several columns: where the leads add up to more than 0.

    A mean of middle ranks would name a winner where two models are equal; a sum of lower bounds is a lower bound.
    """
    found = np.sum([leads(better) for better in columns], axis=0) > 0
    np.fill_diagonal(found, False)
    return np.asarray(found)


def overall(
    columns: Sequence[Evidence], families: Sequence[str], counting: Bools
) -> tuple[NDArray[np.float64], Ints, Ints]:
    """Returns, by model, the mean of its middle ranks, its best and its worst place over several columns.

    All columns' pairs are one family of the step-down. Of each family of models one counts; another is placed as if it
    counted in its stead, so that entering more variants moves nobody else.

    Args:
        columns: What each knows of the same n models.
        families: Of each model.
        counting: (n,) one model of each family.
    """
    m = int(counting.sum())
    pairs = len(columns) * m * (m - 1) // 2
    tests = [
        Column(evidence, luck(evidence, counting), pairs, generator(i), counting) for i, evidence in enumerate(columns)
    ]
    found = step_down(tests) if m > 1 else [np.zeros((len(counting),) * 2, dtype=bool) for _ in columns]
    means, best, worst = np.zeros(len(counting)), np.zeros(len(counting), np.int64), np.zeros(len(counting), np.int64)
    for chosen, told in steads(families, counting):
        among = [better[np.ix_(chosen, chosen)] for better in found]
        middle = np.mean([np.sum(places(better), axis=0) / 2 for better in among], axis=0)
        first, last = places(above(among))
        means[chosen[told]], best[chosen[told]], worst[chosen[told]] = middle[told], first[told], last[told]
    return means, best, worst


def steads(families: Sequence[str], counting: Bools) -> Iterator[tuple[Ints, Bools]]:
    """Yields the models that stand side by side, and which of them have their places there.

    First all that count, with all their places; then each other one among these, in the stead of its family's.
    """
    names = np.array(families)
    for model in [int(np.argmax(counting)), *np.flatnonzero(~counting)]:
        stead = counting & (names != names[model])
        stead[model] = True
        chosen = np.flatnonzero(stead)
        yield chosen, counting[model] | ~counting[chosen]
