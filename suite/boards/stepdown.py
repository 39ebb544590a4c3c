"""Which pairs of models differ, for all pairs at once: one critical value for a family of pairs, found by step-down.

Where every pair of 27 equal models is tested at 5 %, some pair is found to differ on nearly every board. What is held
here is the chance that *any* pair of equal models is separated. For models j and k, with G the covariance of the means
over images and s~^2 the moderated variances between seeds (``variances``):

    T_jk = s~_j^2 / S_j + s~_k^2 / S_k + G_jj + G_kk - 2 G_jk           the variance of their difference D_jk
    nu_jk = T_jk^2 / ((s~_j^2 / S_j)^2 / f_j + (s~_k^2 / S_k)^2 / f_k)  its degrees of freedom (Welch 1947)
    u_jk = sqrt(T_jk) t_nu(1 - LEVEL / (2 P))                           what P pairs would need by Bonferroni

and |D_jk| / u_jk is the statistic: pairs of few degrees of freedom are not favoured. Its distribution where all models
are equal is drawn: the luck of the seeds x_k = s~_k / sqrt(S_k) t(f_k), independent, and that of the images
g ~ N(0, G), which all models share. By step-down (Romano & Wolf 2005, Econometrica 73: 1237-1282) pairs over the
critical value of the largest statistic are separated, then those over the critical value of the largest among the rest,
and so on. What is separated has the direction of the difference (Finner 1999, Annals of Statistics 27: 274-289).

LEVEL is calibrated, not derived: ``simulation`` shows the error at 3 %. It absorbs the misfit of the variances' prior.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from suite.boards.statistics import Floats
from suite.boards.variances import fit_prior

#: Level of a family of pairs.
LEVEL = 0.03

#: Of the generator behind the draws: a board is the same every time.
SEED = 20

#: Draws behind a critical value; WORK / K^2 for many models.
DRAWS, FEWEST_DRAWS, WORK = 5000, 400, 1e8

#: Of so many models with images of their own each, the most extreme ones are looked at first in a draw.
MANY, EXTREMES = 64, 4

Bools = NDArray[np.bool_]
Singles = NDArray[np.float32]


@dataclass(frozen=True)
class Evidence:
    """What a column knows of its K models, in the order of their names.

    Attributes:
        mean: (K,) scores, lower is better.
        variance: (K,) s_k^2 of the scores between seeds.
        seeds: (K,) S_k.
        deterministic: (K,) whether the seeds agree on every image, up to the resolution.
        covariance: (K, K) G of the means over images.
        images: How many; the degrees of freedom of G are one less.
        resolution: Differences below it are ties.
    """

    mean: Floats
    variance: Floats
    seeds: Floats
    deterministic: Bools
    covariance: Floats
    images: float
    resolution: float = 0.0

    def of(self, chosen: NDArray[np.intp]) -> Evidence:
        """Returns the evidence on these models."""
        arrays = {n: getattr(self, n)[chosen] for n in ("mean", "variance", "seeds", "deterministic")}
        return replace(self, **arrays, covariance=self.covariance[np.ix_(chosen, chosen)])


@dataclass(frozen=True)
class Luck:
    """How far seeds move the models' means: the moderated variance and its degrees of freedom, (K,)."""

    variance: Floats
    df: Floats


def luck(evidence: Evidence, counting: Bools | None = None) -> Luck:
    """Moderates the variances between seeds; models that do not count have no say in the prior."""
    df = evidence.seeds - 1
    random = ~evidence.deterministic
    voting = random if counting is None else random & counting
    variance, whole = fit_prior(evidence.variance[voting], df[voting]).moderate(evidence.variance, df)
    return Luck(np.where(random, variance, 0.0) / evidence.seeds, np.where(random, whole, np.inf))


def units(evidence: Evidence, seeds: Luck, pairs: int, level: float = LEVEL) -> Floats:
    """Returns u_jk, (K, K), for a family of so many pairs; 0 where a difference has no variance."""
    g, a = evidence.covariance, seeds.variance
    image = np.maximum(np.diag(g)[:, None] + np.diag(g)[None] - 2 * g, 0.0)
    total = a[:, None] + a[None] + image
    weight = (a**2 / seeds.df)[:, None] + (a**2 / seeds.df)[None]
    df = np.divide(total**2, weight, out=np.full(total.shape, np.inf), where=weight > 0)
    unit = np.sqrt(total) * _quantile(df, 1 - level / (2 * max(pairs, 1)))
    np.fill_diagonal(unit, 0.0)
    return np.asarray(unit)


def _quantile(df: Floats, p: float) -> Floats:
    """Student's quantile, interpolated over 1 / df: it only weighs pairs against each other, and is costly."""
    lowest = max(float(df.min(initial=np.inf)), 1.0)
    if np.isinf(lowest):
        return np.full(df.shape, special.ndtri(p))
    grid = np.linspace(0.0, 1 / lowest, 65)
    exact = np.log(np.append(special.ndtri(p), special.stdtrit(1 / grid[1:], p)))
    return np.exp(np.interp(1 / df, grid, exact))


def draws(evidence: Evidence, seeds: Luck, rng: np.random.Generator) -> Singles:
    """Returns scores of equal models as luck would have them: (K, draws)."""
    k = len(evidence.mean)
    count = int(np.clip(WORK / max(k, 1) ** 2, FEWEST_DRAWS, DRAWS))
    x = rng.standard_normal((k, count), dtype=np.float32)
    finite = np.flatnonzero(np.isfinite(seeds.df))
    x[finite] /= np.sqrt(rng.chisquare(seeds.df[finite, None], (len(finite), count)) / seeds.df[finite, None])
    x *= np.sqrt(seeds.variance).astype(np.float32)[:, None]
    g = _images(evidence.covariance, rng.standard_normal((k, count), dtype=np.float32))
    if np.isfinite(evidence.images):
        g /= np.sqrt(rng.chisquare(evidence.images - 1, count) / (evidence.images - 1)).astype(np.float32)
    return np.asarray(x + g, dtype=np.float32)


def _images(covariance: Floats, normal: Singles) -> Singles:
    """Draws of this covariance, which may be singular (two models may be one), from independent ones."""
    if _independent(covariance):
        return normal * np.sqrt(np.diag(covariance)).astype(np.float32)[:, None]
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))).astype(np.float32) @ normal)


def _independent(covariance: Floats) -> bool:
    return not np.count_nonzero(covariance - np.diag(np.diag(covariance)))


class Column:
    """One column's pairs, as part of a family.

    Args:
        evidence: On its models.
        seeds: The luck of their seeds.
        pairs: How many pairs the family has.
        rng: Of the draws.
        counting: (K,) the models whose pairs are the family; all by default.
        level: Of the family.
    """

    def __init__(
        self,
        evidence: Evidence,
        seeds: Luck,
        pairs: int,
        rng: np.random.Generator,
        counting: Bools | None = None,
        level: float = LEVEL,
    ) -> None:
        unit = units(evidence, seeds, pairs, level)
        gap = evidence.mean[None] - evidence.mean[:, None]
        #: (K, K): the sign says which is better, positive for the row's model.
        self.statistic = np.divide(gap, unit, out=np.where(gap == 0, 0.0, np.copysign(np.inf, gap)), where=unit > 0)
        # Rounding of equal scores is no difference.
        tied = np.abs(gap) <= 1e-12 * np.abs(evidence.mean)
        self.statistic[tied | (np.abs(gap) < evidence.resolution)] = 0.0
        chosen = np.flatnonzero(np.ones(len(gap), dtype=bool) if counting is None else counting)
        self._chosen = np.ix_(chosen, chosen)
        part = evidence.of(chosen)
        self._draws = draws(part, Luck(seeds.variance[chosen], seeds.df[chosen]), rng)
        own, self._size = unit[self._chosen], np.abs(self.statistic[self._chosen])
        self._weight = np.divide(1.0, own, out=np.zeros_like(own), where=own > 0).astype(np.float32)
        self._bound = _bound(self._draws, seeds.variance[chosen], part.covariance)
        self._maxima: Singles | None = None

    def maxima(self) -> Singles:
        """Returns each draw's largest statistic among the pairs that are not yet separated, (draws,)."""
        if self._maxima is None:
            self._maxima = _largest(self._draws, self._weight, self._bound)
        return self._maxima

    def separate(self, critical: float) -> bool:
        """Takes the pairs over a critical value out of the rest; returns whether there were any."""
        over = (self._size > critical) & (self._weight > 0)
        if over.any():
            self._weight[over] = 0.0
            self._maxima = None
        return bool(over.any())


@dataclass(frozen=True)
class _Bound:
    """What no statistic of a model without a partner of images can exceed.

    |x_j - x_k| / sqrt(T_jk) <= sqrt(z_j^2 + z_k^2), z_k = x_k over its own deviation (Cauchy-Schwarz): of many models
    with images of their own only the most extreme can have the largest statistic.

    Attributes:
        z: (K, draws) absolute.
        deviation: (K, K) sqrt(T_jk).
        extremes: (EXTREMES, draws) the models of the largest z.
    """

    z: Singles
    deviation: Singles
    extremes: NDArray[np.intp]


def _bound(x: Singles, variance: Floats, covariance: Floats) -> _Bound | None:
    """Returns the bound where models are many, and no two share their images."""
    total = (variance + np.diag(covariance)).astype(np.float32)
    if len(x) <= MANY or not total.all() or not _independent(covariance):
        return None
    z = np.asarray(np.abs(x) / np.sqrt(total)[:, None], dtype=np.float32)
    rest, draw, extremes = z.copy(), np.arange(z.shape[1]), []
    for _ in range(EXTREMES):
        extremes.append(rest.argmax(axis=0))
        rest[extremes[-1], draw] = -1
    deviation = np.asarray(np.sqrt(total[:, None] + total[None]), dtype=np.float32)
    return _Bound(z, deviation, np.array(extremes))


def _largest(x: Singles, weight: Singles, bound: _Bound | None) -> Singles:
    """Each draw's largest |x_j - x_k| weight_jk, (draws,)."""
    best = np.zeros(x.shape[1], dtype=np.float32)
    if bound is not None:
        return _largest_of_extremes(x, weight, bound, best)
    for j in range(len(x) - 1):
        others = j + 1 + np.flatnonzero(weight[j, j + 1 :])
        if len(others):
            gaps = np.abs(x[others] - x[j]) * weight[j, others, None]
            np.maximum(best, gaps.max(axis=0), out=best)
    return best


def _largest_of_extremes(x: Singles, weight: Singles, bound: _Bound, best: Singles) -> Singles:
    """As ``_largest``: first the pairs of the most extreme models, then those of any other that could have a larger."""
    draw = np.arange(x.shape[1])
    for j in bound.extremes:
        gaps = np.abs(x - x[j, draw]) * weight.take(j, axis=1)
        np.maximum(best, gaps.max(axis=0), out=best)
    tight = float((weight * bound.deviation).max()) * np.sqrt(2.0)
    beyond = bound.z * tight > best
    beyond[bound.extremes, draw] = False
    for i in np.flatnonzero(beyond.any(axis=0)):
        j = np.flatnonzero(beyond[:, i])
        best[i] = max(best[i], (np.abs(x[j, i, None] - x[None, :, i]) * weight[j]).max())
    return best


def step_down(columns: Sequence[Column], level: float = LEVEL) -> list[Bools]:
    """Separates pairs of one family.

    Args:
        columns: Of the family.
        level: The chance that any pair of equal models is separated.

    Returns:
        For each column (K, K) whether the row's model is better than the column's. A pair of a model that does not
        count is held against the first critical value.
    """
    first = critical = _critical(np.max([column.maxima() for column in columns], axis=0), level)
    while [column for column in columns if column.separate(critical)]:
        critical = min(critical, _critical(np.max([column.maxima() for column in columns], axis=0), level))
    found = []
    for column in columns:
        better = column.statistic > first
        better[column._chosen] = column.statistic[column._chosen] > critical
        found.append(better)
    return found


def _critical(peaks: Singles, level: float) -> float:
    """The value over which (1 + how many draws reach it) / (1 + draws) is at most the level."""
    allowed = int(level * (len(peaks) + 1)) - 1
    return float(np.sort(peaks)[::-1][max(allowed, 0)])


def establish(evidence: Evidence, level: float = LEVEL, counting: Bools | None = None) -> Bools:
    """Returns which of a column's models are better than which, the row's than the column's: (K, K); see ``Column``."""
    k = len(evidence.mean) if counting is None else int(counting.sum())
    if k < 2:
        return np.zeros((len(evidence.mean),) * 2, dtype=bool)
    seeds, pairs = luck(evidence, counting), k * (k - 1) // 2
    return step_down([Column(evidence, seeds, pairs, generator(0), counting, level)], level)[0]


def generator(column: int) -> np.random.Generator:
    """Returns the generator of the draws of a family's n-th column."""
    return np.random.default_rng([SEED, column])
