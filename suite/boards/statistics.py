"""Intervals and comparisons of two models: pure functions of numbers, no record or table in sight.

What is estimated is a model's expected score over training seeds *and* test images. The score of seed s is

    m_s = mu + a_s + b + c_s

with a_s the luck of the training run, b the luck of the test images, which all seeds share, and c_s their
interaction. The spread of m_s between seeds shows Var(a) + Var(c); the spread of one seed's per-image values
shows Var(b) + Var(c). A mean over S seeds varies by (Var(a) + Var(c)) / S + Var(b), so that

    seed part   s^2 / S          (s: standard deviation of the seed means, S - 1 degrees of freedom)
    image part  mean of se_s^2   (se_s: seed s's standard error over images; not divided by S)

add up to a variance that is right except that Var(c) is counted twice, which errs towards wider intervals.

The parts are combined as *half-widths*, each with the quantile of its own degrees of freedom:

    half^2 = t(seed df)^2 * seed part + t(images - 1)^2 * image part

(Howe 1974, JASA 69: 789-794; the square-and-add rule of Zou & Donner 2008, Statistics in Medicine 27: 1693-1702).
Pooling everything under one Satterthwaite df would cover 92 to 95 % instead of 95 % at three seeds, and a
bootstrap of five seeds about 85 %. Where two models' seeds are compared, the seed parts have Welch's df
(Welch 1947, Biometrika 34: 28-35; Satterthwaite 1946, Biometrics Bulletin 2: 110-114).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]

#: Level of every interval and of every comparison.
LEVEL = 0.95


@dataclass(frozen=True)
class Moments:
    """All that a comparison needs of a model's scores: floats for one model, arrays for many.

    Attributes:
        mean: Mean of the seed means.
        seed_variance: Variance of that mean between seeds, s^2 / S; 0 where there is one seed.
        seeds: Number of seeds S.
        image_quantile: t(images - 1) times the standard error over images; NaN where it is not known.
    """

    mean: Any
    seed_variance: Any
    seeds: Any
    image_quantile: Any

    @property
    def image_square(self) -> Any:
        """The image part as it enters a sum of squares; 0 where it is not known."""
        return np.nan_to_num(self.image_quantile, nan=0.0) ** 2


def quantile(df: Any, level: float = LEVEL) -> Any:
    """Returns Student's two-sided quantile, e.g. 2.776 for 4 degrees of freedom, 1.960 for infinitely many."""
    return special.stdtrit(np.minimum(df, 1e9), (1 + level) / 2)


def moments(means: Sequence[float], ses: Sequence[float | None], images: int | None, level: float = LEVEL) -> Moments:
    """Condenses one model's seeds.

    Args:
        means: The score of each seed, at least one.
        ses: Each seed's standard error over images; None where the score is not a mean over images.
        images: Number of images behind each score; None counts as many.
        level: Of the intervals to come.
    """
    # Boards have many thousands of cells of a few seeds each: plain sums, since every call of NumPy costs as much.
    seeds = len(means)
    mean = math.fsum(means) / seeds
    spread = math.fsum((m - mean) ** 2 for m in means) / (seeds - 1) / seeds if seeds > 1 else 0.0
    image_se = math.sqrt(math.fsum(math.nan if se is None else se**2 for se in ses) / seeds)
    return Moments(mean, spread, seeds, image_se * _image_quantile(images, level))


@lru_cache
def _image_quantile(images: int | None, level: float) -> float:
    return float(image_part(1.0, images, level))


def image_part(se: Any, images: Any, level: float = LEVEL) -> Any:
    """Returns the half-width that is due to the images alone; NaN where ``se`` is not known."""
    df = np.inf if images is None else np.maximum(np.asarray(images, dtype=float) - 1, 1)
    return se * quantile(np.where(np.isfinite(df), df, np.inf), level)


def half_width(m: Moments, level: float = LEVEL) -> Any:
    """Returns the half-width of the interval of a model's mean; see the module's docstring.

    One seed says nothing about seeds: its interval is the image part alone. Where the image part is not known
    the interval rests on the seeds alone, and where these do not differ either there is none (NaN).
    """
    t = quantile(np.maximum(np.asarray(m.seeds) - 1, 1), level)
    half = np.sqrt(t**2 * m.seed_variance + m.image_square)
    return np.where(np.isnan(m.image_quantile) & (np.asarray(m.seed_variance) == 0), np.nan, half)


def welch_df(a: Moments, b: Moments) -> Any:
    """Returns Welch's degrees of freedom of the difference of two models' seed means; infinite without any spread."""
    weight = sum(m.seed_variance**2 / np.maximum(np.asarray(m.seeds) - 1, 1) for m in (a, b))
    total = np.asarray((a.seed_variance + b.seed_variance) ** 2, dtype=float)
    return np.divide(total, weight, out=np.full(total.shape, np.inf), where=np.asarray(weight) > 0)


def difference(a: Moments, b: Moments, level: float = LEVEL) -> tuple[Any, Any]:
    """Compares two models by their moments alone: (mean of a - mean of b, half-width).

    The image parts are added as if each model had seen images of its own. The images are the same and their
    difficulty is shared, so this is the cautious side; ``paired_difference`` is sharper where per-image values exist.
    As with ``half_width``, an image part that is not known leaves the seeds, and without their spread nothing (NaN).
    """
    seed_variance = np.asarray(a.seed_variance + b.seed_variance)
    half = np.sqrt(quantile(welch_df(a, b), level) ** 2 * seed_variance + a.image_square + b.image_square)
    unknown = np.isnan(a.image_quantile) | np.isnan(b.image_quantile)
    return a.mean - b.mean, np.where(unknown & (seed_variance == 0), np.nan, half)


def paired_difference(a: Floats, b: Floats, level: float = LEVEL) -> tuple[float, float]:
    """Compares two models by per-image values: images paired, seeds independent.

    With v_A[s, i] of seed s and image i, and d_i = mean_s v_A[s, i] - mean_t v_B[t, i]:

        difference   mean of d_i
        seed part    s_A^2 / S_A + s_B^2 / S_B    (between the seeds' means; Welch's df)
        image part   Var(d_i) / n                 (n - 1 df; what both models find hard cancels)

    Equal seed numbers are not paired: two models share no randomness by having the same seed.

    Args:
        a: (S_A, n) per-image values of the first model, a row per seed.
        b: (S_B, n) of the second, the same images in the same order.
        level: Of the interval.

    Returns:
        The difference and the half-width of its interval (of the image part alone where both have one seed).
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"paired values need the same images: shapes {a.shape} and {b.shape}")
    d = a.mean(axis=0) - b.mean(axis=0)
    image_se = d.std(ddof=1) / np.sqrt(len(d)) if len(d) > 1 else np.nan
    seeds_a, seeds_b = (moments(v.mean(axis=1).tolist(), [None], None) for v in (a, b))
    seed_part = quantile(welch_df(seeds_a, seeds_b), level) ** 2 * (seeds_a.seed_variance + seeds_b.seed_variance)
    return float(d.mean()), float(np.sqrt(seed_part + image_part(image_se, len(d), level) ** 2))


def linearized_ratio(part: Floats, whole: Floats) -> Floats:
    """Returns per-image values whose mean is mean(part) / mean(whole) and whose spread is that of the ratio.

    The ratio of means R varies over samples of images as the mean of (part_i - R whole_i) / mean(whole) does, to first
    order (Cochran 1977, Sampling Techniques, sec. 6.3). With R added, ratios can be compared like any mean over images.

    Args:
        part: (n,) values of each image.
        whole: (n,) of the same images; their mean is not 0.
    """
    ratio = part.mean() / whole.mean()
    return np.asarray(ratio + (part - ratio * whole) / whole.mean())
