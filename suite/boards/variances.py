"""Moderated variances: what few seeds say of each model's luck, helped by what all models' seeds say together.

A variance from S seeds has S - 1 degrees of freedom, and at five seeds it is off by half as a matter of course. Where
many models are compared, the smallest of their variances are too small, and the pairs that look most different are
those. Smyth (2004, Statistical Applications in Genetics and Molecular Biology 3: 3) takes the true variances as drawn
from a scaled inverse chi-square of d0 degrees of freedom around s0^2, estimates both from all models, and gives each

    s~_k^2 = (d0 s0^2 + d_k s_k^2) / (d0 + d_k)       with d0 + d_k degrees of freedom,   d_k = S_k - 1.

A model whose variance the prior does not hold is left out of it and keeps its own (Phipson et al. 2016, Annals of
Applied Statistics 10: 946-963, who moderate such a model less; here it is not moderated at all).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from suite.boards.statistics import Floats

#: Chance that any of the models is taken for an outlier of a prior that holds all of them.
OUTLIER = 0.05

#: Rounds of fitting the prior and leaving out what it does not hold.
ROUNDS = 10

#: Under so many models there is no prior.
FEWEST = 3


@dataclass(frozen=True)
class Prior:
    """Where the models' variances are expected.

    Attributes:
        df: d0: how many degrees of freedom the prior is worth; 0 where there is none.
        variance: s0^2.
        models: How many models it was fitted to, with its outliers.
    """

    df: float
    variance: float
    models: int

    def outliers(self, variances: Floats, df: Floats) -> NDArray[np.bool_]:
        """Returns which variances are too large for the prior: P(F(d_k, d0) > s_k^2 / s0^2) < 0.05 / K."""
        if not self.df:
            return np.zeros(len(variances), dtype=bool)
        ratio = variances / self.variance
        tail = special.chdtrc(df, df * ratio) if np.isinf(self.df) else special.fdtrc(df, self.df, ratio)
        return np.asarray(tail < OUTLIER / self.models)

    def moderate(self, variances: Floats, df: Floats) -> tuple[Floats, Floats]:
        """Returns s~_k^2 and its degrees of freedom; outliers keep their own."""
        if np.isinf(self.df):
            moderated, whole = np.full(len(variances), self.variance), np.full(len(variances), np.inf)
        else:
            whole = self.df + df
            moderated = (self.df * self.variance + df * variances) / whole
        outliers = self.outliers(variances, df)
        return np.where(outliers, variances, moderated), np.where(outliers, df, whole)


def fit_prior(variances: Floats, df: Floats) -> Prior:
    """Fits the prior to the variances of K models: the first round to their median, the others to what it holds.

    Args:
        variances: (K,) s_k^2; those that are 0 say nothing here.
        df: (K,) d_k.
    """
    known = variances > 0
    variances, df = variances[known], df[known]
    if len(variances) < FEWEST:
        return Prior(0.0, 0.0, len(variances))
    logs = _logs(variances, df)
    center = np.median(logs)
    # 1.4826 times the median deviation is the standard deviation of a normal sample.
    prior = _prior(variances, df, center, (1.4826 * np.median(np.abs(logs - center))) ** 2, len(variances))
    kept: NDArray[np.bool_] | None = None
    for _ in range(ROUNDS):
        held = ~prior.outliers(variances, df)
        if (kept is not None and (held == kept).all()) or held.sum() < FEWEST:
            break
        kept = held
        prior = _prior(variances[kept], df[kept], logs[kept].mean(), logs[kept].var(ddof=1), len(variances))
    return prior


def _logs(variances: Floats, df: Floats) -> Floats:
    """e_k = ln s_k^2 - psi(d_k / 2) + ln(d_k / 2): unbiased for the log of the true variance (Smyth, sec. 6.2)."""
    return np.asarray(np.log(variances) - special.digamma(df / 2) + np.log(df / 2))


def _prior(variances: Floats, df: Floats, center: float, spread: float, models: int) -> Prior:
    """Matches the mean and the variance of the logs (Smyth, sec. 6.2).

    psi'(d0 / 2) is what they vary beyond the chance of few seeds. One standard error of that variance is added, so that
    variances which differ are not taken for equal where few models say so.
    """
    trigamma, fourth = special.polygamma(1, df / 2), special.polygamma(3, df / 2)
    beyond = spread - trigamma.mean() + np.sqrt((fourth.mean() + 2 * spread**2) / len(df))
    if beyond <= 0:
        return Prior(np.inf, float((df * variances).sum() / df.sum()), models)
    half = inverse_trigamma(float(beyond))
    return Prior(2 * half, float(np.exp(center + special.digamma(half) - np.log(half))), models)


def inverse_trigamma(y: float) -> float:
    """Returns x > 0 with psi'(x) = y, by Newton's method on 1 / psi' (Smyth, appendix)."""
    x = 0.5 + 1 / y
    for _ in range(50):
        trigamma = float(special.polygamma(1, x))
        step = trigamma * (1 - trigamma / y) / float(special.polygamma(2, x))
        x += step
        if abs(step) < 1e-10 * x:
            break
    return x
