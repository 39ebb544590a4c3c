"""Default priors: what a group costs where the baseline brings no prior of its own.

Both are functions of the training data alone, and therefore free to send.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch import distributions as D

#: Groups up to this size get a full covariance, larger ones a diagonal.
FULL_COVARIANCE_UP_TO = 256


@dataclass(frozen=True)
class Moments:
    """Mean and covariance of a group's training codes or posteriors, in float64.

    Attributes:
        mean: (d,).
        covariance: (d, d), or (d,) where d > FULL_COVARIANCE_UP_TO.
        n: Number of training images behind them.
    """

    mean: Tensor
    covariance: Tensor
    n: int

    @staticmethod
    def empty(d: int, device: torch.device) -> Moments:
        """Moments of nothing yet, for ``add``."""
        shape = (d, d) if d <= FULL_COVARIANCE_UP_TO else (d,)
        zeros = torch.zeros(shape, dtype=torch.float64, device=device)
        return Moments(torch.zeros(d, dtype=torch.float64, device=device), zeros, 0)

    @property
    def full(self) -> bool:
        """Whether the covariance is a matrix."""
        return self.covariance.ndim == 2

    def add(self, loc: Tensor, variance: Tensor | None = None) -> Moments:
        """Merges a batch (N, d) of codes, or of means with their posterior variances (Chan et al. 1983)."""
        x = loc.flatten(1).double()
        mean, n = x.mean(0), len(x)
        centred, shift = x - mean, mean - self.mean
        total, weight = self.n + n, self.n * n / (self.n + n)
        own = centred.T @ centred if self.full else centred.square().sum(0)
        between = torch.outer(shift, shift) if self.full else shift.square()
        scatter = self.covariance * self.n + own + weight * between
        if variance is not None:
            inner = variance.flatten(1).double().sum(0)
            scatter = scatter + (torch.diag(inner) if self.full else inner)
        return Moments(self.mean + shift * n / total, scatter / total, total)

    @property
    def variances(self) -> Tensor:
        """The diagonal of the covariance, (d,)."""
        return self.covariance.diagonal() if self.full else self.covariance

    def plus(self, variances: Tensor) -> Moments:
        """The moments after independent noise of these variances (d,) has been added."""
        added = torch.diag(variances) if self.full else variances
        return replace(self, covariance=self.covariance + added)


class GaussianPrior:
    """N(m, P) over a flattened group, P full or diagonal, in float64.

    Args:
        moments: m and P; P must be positive definite.
    """

    def __init__(self, moments: Moments) -> None:
        self.mean, self.covariance, self.full = moments.mean, moments.covariance, moments.full
        self.variances = moments.variances
        if self.full:
            self._cholesky = torch.linalg.cholesky(moments.covariance)
            self._precision = torch.cholesky_inverse(self._cholesky)
            self.logdet = 2 * self._cholesky.diagonal().log().sum()
        else:
            self._precision = 1 / moments.covariance
            self.logdet = moments.covariance.log().sum()

    def _quadratic(self, centred: Tensor) -> Tensor:
        if self.full:
            return ((centred @ self._precision) * centred).sum(1)
        return (centred.square() * self._precision).sum(1)

    def kl(self, loc: Tensor, scale: Tensor) -> Tensor:
        """KL(N(loc, diag scale^2) || N(m, P)) in nats, (N,), exact.

        Args:
            loc: (N, ...).
            scale: (N, ...) or broadcastable to it.
        """
        mean, sd = loc.flatten(1).double(), scale.expand_as(loc).flatten(1).double()
        diagonal = self._precision.diagonal() if self.full else self._precision
        trace = (sd.square() * diagonal).sum(1)
        return 0.5 * (self.logdet - 2 * sd.log().sum(1) + trace + self._quadratic(mean - self.mean) - mean.shape[1])

    def log_prob(self, z: Tensor, centre: Tensor | None = None) -> Tensor:
        """log density at z (N, ...), or at centre + z without the digits that this sum would lose, (N,)."""
        mean = self.mean if centre is None else self.mean - centre.flatten(1)
        flat = z.flatten(1).double()
        return -0.5 * (self._quadratic(flat - mean) + self.logdet + flat.shape[1] * math.log(2 * math.pi))

    def sample(self, like: Tensor, noise: Tensor) -> Tensor:
        """Turns standard normal noise (N, d) into draws of the shape and type of ``like`` (N, ...)."""
        noise = noise.double()
        draws = self.mean + (noise @ self._cholesky.T if self.full else noise * self.variances.sqrt())
        return draws.to(like.dtype).reshape(like.shape)


def mean_code_rate(moments: Moments, scale: Tensor, jitter: Tensor) -> Tensor:
    """Mean training rate of a Gaussian channel, in nats, differentiable in its noise.

    1/2 [log det P - sum log s^2 + tr(P^-1 (C + diag s^2)) - d] with P = C + diag s^2 + jitter I.

    Args:
        moments: m and C of the training codes.
        scale: s, (d,) float64.
        jitter: The ridge on P, a scalar.
    """
    d, variance = len(scale), scale.square()
    prior = moments.plus(variance + jitter)
    if moments.full:
        cholesky = torch.linalg.cholesky(prior.covariance)
        logdet = 2 * cholesky.diagonal().log().sum()
        # tr(P^-1 (P - jitter I)) = d - jitter tr(P^-1)
        trace = d - jitter * torch.cholesky_inverse(cholesky).diagonal().sum()
    else:
        logdet = prior.covariance.log().sum()
        trace = d - jitter * (1 / prior.covariance).sum()
    return 0.5 * (logdet - 2 * scale.log().sum() + trace - d)


def histogram(counts: Tensor, n: int) -> Tensor:
    """Log of the add-one smoothed frequencies, (positions, classes), from counts (or summed probabilities)."""
    return ((counts.double() + 1) / (n + counts.shape[-1])).log()


def histogram_prior(log_probabilities: Tensor, z: Tensor) -> D.Distribution:
    """The histogram as a prior over the values z of a group, (N, ...): integers, or one-hot floats."""
    if z.is_floating_point():
        return D.OneHotCategorical(logits=log_probabilities.reshape(z.shape[1:]), validate_args=False)
    return D.Categorical(logits=log_probabilities.reshape(*z.shape[1:], -1), validate_args=False)
