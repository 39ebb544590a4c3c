"""The families of posteriors and priors: which are allowed, and how they are rebuilt, unwrapped and represented."""

from __future__ import annotations

import torch
from torch import Tensor
from torch import distributions as D

from suite.errors import ContractError

#: Allowed posterior and prior families -> the parameters they are rebuilt from. A family is here if its draws are drawn
#: exactly and its price keeps its digits whatever the parameters. Left out:
#: - Gamma, Beta, Dirichlet: torch clamps their draws at the smallest float, where a small concentration puts nearly
#:   all mass, so that the sampled divergence falls below 0; normalizers and divergences are differences of log-gamma
#:   functions, which at 1e16 are known to whole nats only, in float64 too.
#: - StudentT: its draws are divided by such a clamped Gamma, its normalizer is such a difference.
#: Laplace stays: it is drawn here by its inverse distribution, in float64, where torch's own draws end at 16 scales.
FAMILIES: dict[type[D.Distribution], tuple[str, ...]] = {
    D.Normal: ("loc", "scale"),
    D.Laplace: ("loc", "scale"),
    D.MultivariateNormal: ("loc", "scale_tril"),
    D.Categorical: ("logits",),
    D.OneHotCategorical: ("logits",),
    D.Bernoulli: ("logits",),
}

#: Condition up to which the Cholesky factor of a MultivariateNormal is priced: its KL then keeps nine digits.
WORST_CONDITION = 1e6

#: Largest location, and smallest and largest scale, that are priced: their squares and the squares of their ratios are
#: then ordinary numbers in float64. Below the smallest of these a square has lost its digits, and nats with them.
LARGEST, SMALLEST_SCALE = 1e30, 1e-30

#: Families whose values are integers: discrete codes once drawn.
DISCRETE_FAMILIES = (D.Categorical, D.OneHotCategorical, D.Bernoulli)


def rebuild(q: D.Distribution, where: str) -> D.Distribution:
    """Returns a distribution of the same exact type, made anew from detached, validated parameters.

    Args:
        q: What the baseline handed over; nested types (Independent, MixtureSameFamily) are rebuilt inside out.
        where: The method and group, for the error.

    Raises:
        ContractError: If the type is not one of the allowed families or a parameter is invalid.
    """
    try:
        if type(q) is D.Independent:
            base = rebuild(q.base_dist, where)
            _check_dimensions(q.reinterpreted_batch_ndims, base)
            return D.Independent(base, q.reinterpreted_batch_ndims)
        if type(q) is D.MixtureSameFamily:
            mixture, component = rebuild(q.mixture_distribution, where), rebuild(q.component_distribution, where)
            _check_weights(mixture, component)
            return D.MixtureSameFamily(mixture, component, validate_args=True)  # type: ignore[arg-type]
        names = FAMILIES.get(type(q))
        if names is None:
            allowed = ", ".join(sorted(t.__name__ for t in FAMILIES))
            raise ContractError(
                f"{where}: {type(q).__name__} is not an allowed family ({allowed}, Independent, Mixture)"
            )
        parameters = {name: getattr(q, name).detach().clone() for name in names}
        _check_range(parameters)
        if type(q) is D.MultivariateNormal:
            _check_condition(parameters["scale_tril"])
        return type(q)(**parameters, validate_args=True)
    except (ValueError, AttributeError, TypeError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ContractError(f"{where}: {type(q).__name__} with invalid parameters: {first}") from error


def _check_dimensions(dims: object, base: D.Distribution) -> None:
    """Torch takes a negative number too: it then adds dimensions, and a mixture sums its components' log densities."""
    if type(dims) is not int or not 0 <= dims <= len(base.batch_shape):
        raise ValueError(f"Independent takes 0 to {len(base.batch_shape)} dimensions of its base, not {dims}")


def _check_weights(mixture: D.Distribution, component: D.Distribution) -> None:
    """Refuses weights of more rows than there are components for: each value would be priced once for each row."""
    weights, components = mixture.batch_shape, component.batch_shape[:-1]
    sizes = zip(reversed(weights), reversed(components), strict=False)
    if len(weights) > len(components) or any(given not in (1, wanted) for given, wanted in sizes):
        raise ValueError(f"mixing weights of shape {tuple(weights)} for components of shape {tuple(components)}")


def _check_range(parameters: dict[str, Tensor]) -> None:
    """Refuses locations and scales whose squares have no digits left."""
    for name, smallest in (("loc", 0.0), ("scale", SMALLEST_SCALE), ("scale_tril", 0.0)):
        size = parameters.get(name, torch.empty(0)).abs()
        if size.numel() and not smallest <= float(size.min()) <= float(size.max()) <= LARGEST:
            within = f"{smallest:g} to {LARGEST:g}"
            raise ValueError(f"{name} reaches from {size.min():.3g} to {size.max():.3g}, and {within} is priced")
    if (
        "scale_tril" in parameters
        and not float(parameters["scale_tril"].diagonal(dim1=-2, dim2=-1).min()) >= SMALLEST_SCALE
    ):
        raise ValueError(f"scale_tril has less than {SMALLEST_SCALE:g} on its diagonal")


def _check_condition(scale_tril: Tensor) -> None:
    """Refuses a matrix so close to singular that a divergence would be made of roundings."""
    worst = float(torch.linalg.cond(scale_tril.double()).max())
    if not worst <= WORST_CONDITION:
        raise ValueError(f"scale_tril has condition {worst:.1g}, at most {WORST_CONDITION:.0g} is priced")


def bare(q: D.Distribution) -> D.Distribution:
    """Returns what any number of nested Independents wrap: sums run over all dimensions of an image anyway."""
    while isinstance(q, D.Independent):
        q = q.base_dist
    return q


def element(q: D.Distribution) -> D.Distribution:
    """Returns the family of a single number: what Independents wrap, and of a mixture its components."""
    while isinstance(q := bare(q), D.MixtureSameFamily):
        q = q.component_distribution
    return q


def is_discrete(q: D.Distribution) -> bool:
    """Whether draws of ``q`` are counts: integers or one-hot vectors."""
    return isinstance(element(q), DISCRETE_FAMILIES)


def mode(q: D.Distribution) -> Tensor:
    """Returns the posterior's representative value: the mean, or the most probable value of a discrete family."""
    q = bare(q)
    if isinstance(q, D.Bernoulli):
        return (q.logits > 0).to(q.logits)  # torch's own is NaN at one half
    if isinstance(q, DISCRETE_FAMILIES):
        return q.mode
    if not (isinstance(q, D.MixtureSameFamily) and is_discrete(q)):
        return q.mean
    inner, weights = element(q), q.mixture_distribution.probs
    if isinstance(inner, D.Categorical):
        weights = weights.reshape(*weights.shape, *[1] * (len(q.event_shape) + 1))
        return (weights * inner.probs).sum(-2 - len(q.event_shape)).argmax(-1)
    if isinstance(inner, D.OneHotCategorical):
        return torch.nn.functional.one_hot(q.mean.argmax(-1), q.event_shape[-1]).to(q.mean)
    return (q.mean > 0.5).to(q.mean)  # each bit's most probable value
