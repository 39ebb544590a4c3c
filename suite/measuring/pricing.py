"""The price of a group: what it costs to send a value, in nats, computed in float64 from the parameters.

Counts are priced by counts and densities by densities: the ratio of a density to a probability depends on the unit in
which the value is measured, and is no price.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch import distributions as D

from suite.errors import ContractError
from suite.measuring.drawing import Posterior, Sent
from suite.measuring.families import DISCRETE_FAMILIES, FAMILIES, bare, element, is_discrete
from suite.measuring.priors import GaussianPrior
from suite.training import Discrete

Prior = D.Distribution | GaussianPrior

#: Pairs whose divergence torch computes without cancellation. Its KL(Laplace || Normal) is a difference of squares of
#: the locations, and loses every digit far from 0; with all other pairs it is estimated from draws.
EXACT = {
    (D.Normal, D.Normal),
    (D.Normal, D.Laplace),
    (D.Laplace, D.Laplace),
    (D.MultivariateNormal, D.MultivariateNormal),
    (D.Categorical, D.Categorical),
    (D.OneHotCategorical, D.OneHotCategorical),
    (D.Bernoulli, D.Bernoulli),
}


def charge(q: Posterior, prior: Prior, z: Tensor | Sent, where: str) -> tuple[Tensor, Tensor, bool]:
    """Prices one group.

    Args:
        q: The posterior, batch shape (N, ...), or a discrete code.
        prior: p_g, broadcastable to it.
        z: The value that was sent, (N, ...).
        where: For the error.

    Returns:
        The rate (N,), log q(z) - log p(z) (N,), and whether the rate is exact; in nats, float64.

    Raises:
        ContractError: If prior and posterior do not fit together, or the price is not a number.
    """
    rate, exact = price_group(q, prior, z, where)
    return rate, log_ratio(q, prior, z, where) if exact else rate, exact


def price_group(q: Posterior, prior: Prior, z: Tensor | Sent, where: str) -> tuple[Tensor, bool]:
    """Returns the rate (N,) and whether it is exact; arguments and errors as for ``charge``."""
    if _is_counts(q) != _is_counts(prior):
        raise ContractError(
            f"{where}: {_describe(q)} is priced by {_describe(prior)}: "
            "prior and posterior do not fit; a prior of counts goes with counts, one of densities with densities"
        )
    value = z.value if isinstance(z, Sent) else z
    try:
        kl = None if isinstance(q, Discrete) else _exact_kl(q, prior, value)
    except (ValueError, RuntimeError, IndexError) as error:
        raise _unfit(where, error) from error
    rate = log_ratio(q, prior, z, where) if kl is None else kl
    if not bool((rate > -torch.inf).all()):  # an infinite price is one; NaN is none
        raise ContractError(f"{where}: the price of {_describe(q)} by {_describe(prior)} is not a number")
    return rate, isinstance(q, Discrete) or kl is not None


def log_ratio(q: Posterior, prior: Prior, z: Tensor | Sent, where: str) -> Tensor:
    """Returns log q(z) - log p(z), (N,) float64; arguments and errors as for ``charge``."""
    sent = z if isinstance(z, Sent) else Sent(z, z)
    try:
        log_p = log_prob(prior, sent.deviation, sent.centre)
        return -log_p if isinstance(q, Discrete) else log_prob(q, sent.deviation, sent.centre) - log_p
    except (ValueError, RuntimeError, IndexError) as error:
        raise _unfit(where, error) from error


def log_prob(p: Prior, z: Tensor, centre: Tensor | None = None) -> Tensor:
    """Returns the log density or log probability of values, summed over all but the batch.

    Args:
        p: The distribution, broadcastable to the values.
        z: Values (N, ...), or how far they lie from ``centre``.
        centre: (N, ...) float64; p is moved by it, so that small deviations from a large number keep their digits.

    Returns:
        (N,) float64.
    """
    if isinstance(p, GaussianPrior):
        return p.log_prob(z, centre)
    _check_shape(p, z)
    # torch wants the integers of a Bernoulli as floats, those of a Categorical as indices.
    floats = z.is_floating_point() or type(element(p)) is D.Bernoulli
    terms = in_float64(p, centre).log_prob(z.double() if floats else z)
    if terms.shape != z.shape[: z.ndim - len(p.event_shape)]:
        raise ValueError(f"{tuple(terms.shape)} log probabilities of values of shape {tuple(z.shape)}")
    return _sum(terms, len(z))


def in_float64(p: D.Distribution, centre: Tensor | None = None) -> D.Distribution:
    """Returns a distribution with its parameters in float64, moved by minus ``centre`` (the values' shape)."""
    if type(p) is D.Independent:
        return D.Independent(in_float64(p.base_dist, centre), p.reinterpreted_batch_ndims, validate_args=False)
    if type(p) is D.MixtureSameFamily:
        component = p.component_distribution
        centre = None if centre is None else centre.unsqueeze(-1 - len(component.event_shape))
        weights, component = in_float64(p.mixture_distribution), in_float64(component, centre)
        return D.MixtureSameFamily(weights, component, validate_args=False)  # type: ignore[arg-type]
    parameters = {name: getattr(p, name).double() for name in FAMILIES[type(p)]}
    if centre is not None:
        parameters["loc"] = parameters["loc"] - centre
    return type(p)(**parameters, validate_args=type(p) in DISCRETE_FAMILIES)  # a value outside the support is refused


def _exact_kl(q: D.Distribution, prior: Prior, z: Tensor) -> Tensor | None:
    """KL(q || prior), (N,), or None where it is estimated from draws."""
    q = bare(q)
    if isinstance(prior, GaussianPrior):
        return prior.kl(q.loc, q.scale) if type(q) is D.Normal else None
    _check_shape(prior, z)
    p = bare(prior)
    if (type(q), type(p)) not in EXACT:
        return None
    if type(q) is D.Categorical and q.logits.shape[-1] != p.logits.shape[-1]:  # type: ignore[attr-defined]
        raise ValueError(f"{q.logits.shape[-1]} classes priced by {p.logits.shape[-1]}")  # type: ignore[attr-defined]
    return _sum(D.kl_divergence(in_float64(q), in_float64(p).expand(q.batch_shape)), len(z))


def _check_shape(p: D.Distribution, z: Tensor) -> None:
    """A prior of more numbers than the value has would price some of them twice."""
    event, shape = p.event_shape, p.batch_shape + p.event_shape
    if z.shape[z.ndim - len(event) :] != event or torch.broadcast_shapes(shape, z.shape) != z.shape:
        raise ValueError(f"a prior of shape {tuple(shape)} for values of shape {tuple(z.shape)}")


def _is_counts(p: Posterior | Prior) -> bool:
    return isinstance(p, Discrete) or (isinstance(p, D.Distribution) and is_discrete(p))


def _describe(p: Posterior | Prior) -> str:
    if isinstance(p, Discrete):
        return "a Discrete code (counts)"
    if isinstance(p, GaussianPrior):
        return "the default Gaussian prior (a density)"
    inner, kind = type(element(p)).__name__, "counts" if is_discrete(p) else "a density"
    return f"a mixture of {inner} ({kind})" if type(bare(p)) is D.MixtureSameFamily else f"a {inner} ({kind})"


def _unfit(where: str, error: Exception) -> ContractError:
    return ContractError(f"{where}: prior and posterior do not fit: {str(error).splitlines()[0]}")


def _sum(terms: Tensor, n: int) -> Tensor:
    """Sums (N, ...) over everything but the batch, in float64."""
    if terms.shape[:1] != (n,):
        raise ValueError(f"expected {n} rows, found shape {tuple(terms.shape)}")
    return terms.double().reshape(n, -1).sum(1)
