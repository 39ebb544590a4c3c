"""Prices: for every allowed pair the divergence that mathematics gives, and nothing sent below its information."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch import distributions as D

from suite.contract import Discrete
from suite.errors import ContractError
from suite.measuring.drawing import send
from suite.measuring.families import FAMILIES, LARGEST, SMALLEST_SCALE, bare, rebuild
from suite.measuring.pricing import charge, log_prob, price_group
from suite.measuring.priors import GaussianPrior, Moments, histogram, histogram_prior

N = 20_000
LOCS, SCALES, LOGITS = st.floats(-3, 3), st.floats(0.05, 5), st.floats(-6, 6)
FAR = st.sampled_from([0.0, 1e3, -1e8])


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _line(center: float, reach: float, steps: int = 400_001) -> tuple[Tensor, float]:
    """Points around a centre, in float64, and their distance."""
    x = torch.linspace(-reach, reach, steps, dtype=torch.float64) + center
    return x, 2 * reach / (steps - 1)


def _mean_price(q: D.Distribution, p: D.Distribution | GaussianPrior) -> tuple[float, float, bool]:
    """Mean price over many draws, five standard errors of the log ratio, and whether the rate is exact."""
    many = q.expand(torch.Size((N, *q.batch_shape)))
    rate, ratio, exact = charge(many, p, send(many, _rng()), "here")
    # an exact rate is the log ratio's mean
    error = 5 * float(ratio.std()) / math.sqrt(N) + 1e-6
    assert float(ratio.mean()) == pytest.approx(float(rate.mean()), abs=error + 1e-6 * abs(float(rate.mean())))
    return float(rate.mean()), error, exact


# --- densities ------------------------------------------------------------------------------------------------


def _density(kind: str, loc: float, scale: float, far: float) -> D.Distribution:
    loc_, scale_ = torch.tensor([loc + far]), torch.tensor([scale])
    if kind == "mixture":
        locs, scales = torch.stack([loc_, loc_ + 2 * scale_], -1), torch.stack([scale_, 0.5 * scale_], -1)
        return D.MixtureSameFamily(D.Categorical(logits=torch.tensor([0.3, -0.4])), D.Normal(locs, scales))
    return {"normal": D.Normal, "laplace": D.Laplace}[kind](loc_, scale_)


def _log_density(p: D.Distribution, x: Tensor) -> Tensor:
    """By hand and in float64; locations are float32 numbers."""
    if isinstance(p, D.MixtureSameFamily):
        weights = p.mixture_distribution.logits.double().log_softmax(-1)
        c = p.component_distribution
        parts = [_log_normal(x, c.loc[0, k], c.scale[0, k]) + weights[k] for k in (0, 1)]
        return torch.stack(parts).logsumexp(0)
    if isinstance(p, D.Laplace):
        return -(x - p.loc.double()).abs() / p.scale.double() - (2 * p.scale.double()).log()
    return _log_normal(x, p.loc, p.scale)


def _log_normal(x: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    return -0.5 * ((x - loc.double()) / scale.double()).square() - scale.double().log() - 0.5 * math.log(2 * math.pi)


@settings(max_examples=12, deadline=None)
@given(
    kinds=st.sampled_from(list(itertools.product(["normal", "laplace", "mixture"], repeat=2))),
    q=st.tuples(LOCS, SCALES),
    p=st.tuples(LOCS, st.floats(0.5, 5)),
    far=FAR,
)
def test_the_mean_price_of_a_density_is_its_divergence(
    kinds: tuple[str, str], q: tuple[float, float], p: tuple[float, float], far: float
) -> None:
    posterior, prior = _density(kinds[0], *q, far), _density(kinds[1], *p, far)
    x, step = _line(far, 120)
    log_q = _log_density(posterior, x)
    known = float((log_q.exp() * (log_q - _log_density(prior, x))).sum() * step)
    price, error, exact = _mean_price(posterior, prior)
    assert price == pytest.approx(known, abs=(1e-4 + 1e-5 * abs(known)) if exact else error)  # a kink in the sum
    assert exact == (kinds in (("normal", "normal"), ("normal", "laplace"), ("laplace", "laplace")))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), far=FAR)
def test_a_full_covariance_is_priced_as_its_whitened_form(seed: int, far: float) -> None:
    """KL(N(m, L L^T) || N(far, K K^T)) = (tr(M M^T) + |d|^2 - n) / 2 - log det M, M = K^-1 L and K d = m - far."""
    rng = _rng(seed)
    lower, other = (torch.randn(3, 3, generator=rng).tril(-1) + 2 * torch.eye(3) for _ in range(2))
    loc = torch.randn(3, generator=rng) + far
    whitened = torch.linalg.inv(other.double()) @ lower.double()
    shift = torch.linalg.inv(other.double()) @ (loc.double() - far)
    known = 0.5 * float(whitened.square().sum() + shift.square().sum() - 3) - float(whitened.logdet())
    q = D.MultivariateNormal(loc, scale_tril=lower)
    price, _, exact = _mean_price(q, D.MultivariateNormal(torch.full((3,), far), scale_tril=other))
    assert exact and price == pytest.approx(known, rel=1e-6, abs=1e-6)
    covariance = other.double() @ other.double().T
    default = GaussianPrior(Moments(torch.full((3,), far).double(), covariance, 1))
    price, error, exact = _mean_price(q, default)
    assert not exact and price == pytest.approx(known, abs=error)
    single = D.MixtureSameFamily(D.Categorical(logits=torch.zeros(1)), q.expand((1,)))
    price, error, exact = _mean_price(single, D.MultivariateNormal(torch.full((3,), far), scale_tril=other))
    assert not exact and price == pytest.approx(known, abs=error)


def test_a_divergence_keeps_its_digits_where_float32_loses_them() -> None:
    tiny = 1e-4  # KL of two Normals of equal scale whose means are this many scales apart: tiny^2 / 2
    q, p = D.Normal(torch.zeros(1, 1), torch.ones(1, 1)), D.Normal(torch.full((1,), tiny), torch.ones(1))
    assert float(charge(q, p, send(q, _rng()), "here")[0]) == pytest.approx(tiny**2 / 2, rel=1e-6)


def test_noise_as_coarse_as_the_grid_of_float32_buys_nothing() -> None:
    """At 1e8 float32 numbers are 8 apart: a rounded draw of deviation 4 is priced as one before it was rounded."""
    q = D.Normal(torch.full((N, 1), 1e8), torch.full((N, 1), 4.0))
    mixture = D.MixtureSameFamily(
        D.Categorical(logits=torch.zeros(N, 1, 1)), D.Normal(q.loc[..., None], q.scale[..., None])
    )
    prior = D.Normal(torch.tensor(1e8), torch.tensor(1000.0))
    known = float(D.kl_divergence(D.Normal(0.0, 4.0), D.Normal(0.0, 1000.0)))
    assert float(charge(q, prior, send(q, _rng()), "here")[0].mean()) == pytest.approx(known, abs=1e-5)
    for posterior in (q, mixture):
        ratio = charge(posterior, prior, send(posterior, _rng()), "here")[1]
        assert float(ratio.mean()) == pytest.approx(known, abs=4 * float(ratio.std()) / math.sqrt(N))


# --- counts ---------------------------------------------------------------------------------------------------


def _every(shape: tuple[int, ...], classes: int) -> Tensor:
    """Every value of a code of this shape, (classes^positions, *shape)."""
    return torch.tensor(list(itertools.product(range(classes), repeat=math.prod(shape)))).reshape(-1, *shape)


PRIORS: dict[str, Callable[[Tensor], D.Distribution]] = {
    "categorical": lambda logits: D.Categorical(logits=logits),
    "histogram": lambda logits: histogram_prior(histogram(logits.exp(), 50), torch.zeros(1, 3, dtype=torch.long)),
    "bernoulli": lambda logits: D.Bernoulli(logits=logits[:, 0]),
    "mixture": lambda logits: D.MixtureSameFamily(
        D.Categorical(logits=logits[:, 0]), D.Independent(D.Bernoulli(logits=logits[:, :3] + logits.T[:, :3]), 1)
    ),
}


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(sorted(PRIORS)),
    logits=st.lists(LOGITS, min_size=9, max_size=9),
    unit=st.sampled_from([1.0, 1e4, 1e8, 1e30]),
    overwritten=st.booleans(),
)
def test_no_value_costs_less_than_its_information(
    kind: str, logits: list[float], unit: float, overwritten: bool
) -> None:
    """Kraft 1949: over all values the sum of exp(-price) is at most 1, whatever a prior claims."""
    table = torch.tensor(logits).reshape(3, 3)
    prior = PRIORS[kind](table if kind == "histogram" else table * unit)
    if overwritten and isinstance(prior, D.Categorical):
        prior.logits = table * unit
    classes = 2 if kind in ("bernoulli", "mixture") else 3
    codes = _every((3,), classes)
    price = charge(Discrete(codes, classes), rebuild(prior, "prior"), codes, "here")[0]
    assert float((-price).exp().sum()) <= 1 + 1e-9


@settings(max_examples=30, deadline=None)
@given(
    kind=st.sampled_from(["categorical", "one-hot", "bernoulli"]),
    q=st.lists(LOGITS, min_size=3, max_size=3),
    p=st.lists(LOGITS, min_size=3, max_size=3),
)
def test_the_mean_price_of_counts_is_their_divergence(kind: str, q: list[float], p: list[float]) -> None:
    family = {"categorical": D.Categorical, "one-hot": D.OneHotCategorical, "bernoulli": D.Bernoulli}[kind]
    log_q, log_p = torch.tensor(q).double(), torch.tensor(p).double()
    if kind == "bernoulli":
        a, b = log_q.sigmoid(), log_p.sigmoid()
        known = float((a * (a / b).log() + (1 - a) * ((1 - a) / (1 - b)).log()).sum())
    else:
        known = float((log_q.softmax(0) * (log_q.log_softmax(0) - log_p.log_softmax(0))).sum())
    posterior, prior = family(logits=torch.tensor(q)), family(logits=torch.tensor(p))
    # every value by its probability: a sample may miss the rare ones that carry the price
    values = _every((3,), 2).float() if kind == "bernoulli" else posterior.enumerate_support()
    many = posterior.expand(torch.Size((len(values), *posterior.batch_shape)))
    rate, ratio, exact = charge(many, prior, values, "here")
    assert exact and rate.tolist() == pytest.approx([known] * len(values), rel=1e-5, abs=1e-6)
    weights = log_prob(posterior, values).exp()
    assert float((weights * ratio).sum()) == pytest.approx(known, rel=1e-5, abs=1e-6)


def test_a_mixture_of_counts_costs_its_expectation_under_a_prior_that_is_its_component() -> None:
    table = torch.tensor([[2.0, -1.0], [0.5, 1.5]])
    q = D.MixtureSameFamily(D.Categorical(logits=torch.zeros(2)), D.Independent(D.Bernoulli(logits=table), 1))
    p, codes = D.Bernoulli(logits=table[0]), _every((2,), 2)
    log_q, log_p = log_prob(q, codes), log_prob(p, codes)
    known = float((log_q.exp() * (log_q - log_p)).sum())
    price, error, exact = _mean_price(q, p)
    assert not exact and price == pytest.approx(known, abs=error)


# --- what is refused ------------------------------------------------------------------------------------------

COUNTS = [
    Discrete(torch.zeros(4, 3, dtype=torch.long), 2),
    D.Categorical(logits=torch.zeros(4, 3, 2)),
    D.OneHotCategorical(logits=torch.zeros(4, 3)),
    D.Independent(D.Independent(D.Bernoulli(logits=torch.zeros(4, 3)), 1), 0),
]
DENSITIES = [
    D.Normal(torch.zeros(4, 3), torch.ones(4, 3)),
    D.Independent(D.Laplace(torch.zeros(4, 3), torch.ones(4, 3)), 1),
    D.MultivariateNormal(torch.zeros(4, 3), scale_tril=torch.eye(3)),
    D.MixtureSameFamily(D.Categorical(logits=torch.zeros(3, 2)), D.Normal(torch.zeros(4, 3, 2), torch.ones(2))),
    GaussianPrior(Moments(torch.zeros(3).double(), torch.eye(3).double(), 1)),
]


@pytest.mark.parametrize("count", COUNTS, ids=lambda q: type(q).__name__)
@pytest.mark.parametrize("density", DENSITIES, ids=lambda q: type(q).__name__)
def test_counts_and_densities_do_not_price_each_other(count: object, density: object) -> None:
    with pytest.raises(ContractError, match=r"counts\).* is priced by .*density\)"):
        charge(count, density, torch.zeros(4, 3, dtype=torch.long), "here")
    if isinstance(count, D.Distribution) and isinstance(density, D.Distribution):
        with pytest.raises(ContractError, match=r"density\).* is priced by .*counts\)"):
            charge(density, count, torch.zeros(4, 3), "here")


def test_a_prior_of_more_numbers_than_the_value_prices_none_of_them_twice() -> None:
    q = D.Laplace(torch.zeros(4, 1), torch.full((4, 1), 1e-3))
    with pytest.raises(ContractError, match=r"do not fit: a prior of shape \(5,\) for values of shape \(4, 1\)"):
        charge(q, D.Normal(torch.zeros(5), torch.full((5,), 1e-3)), send(q, _rng()), "here")


def test_a_prior_of_fewer_classes_does_not_price_the_rest() -> None:
    q = D.Categorical(logits=torch.zeros(4, 5))
    for classes in (1, 4, 6):
        with pytest.raises(ContractError, match="do not fit"):
            price_group(q, D.Categorical(logits=torch.zeros(classes)), send(q, _rng()), "here")
    code = Discrete(torch.tensor([0, 4]), 5)
    with pytest.raises(ContractError, match="do not fit"):
        charge(code, D.Categorical(logits=torch.zeros(4)), code.values, "here")


def test_what_has_no_price_is_refused_and_what_is_impossible_costs_infinitely_much() -> None:
    wide = D.Normal(torch.zeros(2, 1), torch.full((2, 1), math.inf))
    with pytest.raises(ContractError, match="not a number"):
        charge(wide, wide, send(wide, _rng()), "here")
    never = D.Categorical(logits=torch.tensor([0.0, -math.inf]))
    code = Discrete(torch.tensor([0, 1]), 2)
    assert charge(code, never, code.values, "here")[0].tolist() == [0.0, math.inf]


@pytest.mark.parametrize(
    "family",
    [
        D.Gamma(torch.full((3, 4), 1e-12), 1.0),
        D.Gamma(torch.full((3, 1), 5e8), 5e8),
        D.Beta(torch.ones(3, 1), 1.0),
        D.Dirichlet(torch.ones(3, 2)),
        D.StudentT(torch.ones(3, 1)),
    ],
    ids=lambda q: type(q).__name__,
)
def test_a_family_whose_draws_clamp_or_whose_price_cancels_is_refused(family: D.Distribution) -> None:
    for q in (family, D.Independent(family, 0)):
        with pytest.raises(ContractError, match="not an allowed family"):
            rebuild(q, "here")


@pytest.mark.parametrize("scale", [2.72e-162, 1e-31, 1e31, 1e154])
@pytest.mark.parametrize("family", [D.Normal, D.Laplace, D.MultivariateNormal])
def test_a_scale_whose_square_has_no_digits_is_refused(family: type[D.Distribution], scale: float) -> None:
    """At 2.72e-162 torch's square of a scale is subnormal: a number that says nothing cost -0.55 nats."""
    loc, size = torch.zeros(3, dtype=torch.float64), torch.full((3,), scale, dtype=torch.float64)
    if family is D.MultivariateNormal:
        found = [D.MultivariateNormal(loc, scale_tril=size.diag())]
    else:
        one = family(loc, size)
        found = [one, D.Independent(one, 1), D.MixtureSameFamily(D.Categorical(torch.ones(3)), one)]
    for q in found:
        with pytest.raises(ContractError, match=r"invalid parameters: scale\w* (reaches|has less)"):
            rebuild(q, "here")


def _mixture(component: D.Distribution, *rows: int, parts: int = 2) -> D.Distribution:
    weights = D.Categorical(logits=torch.zeros(*rows, parts), validate_args=False)
    return D.MixtureSameFamily(weights, component, validate_args=False)


@pytest.mark.parametrize("dims", [-2, -1, 3, 1.0, True])
def test_an_independent_takes_dimensions_that_its_base_has(dims: object) -> None:
    base = D.Normal(torch.zeros(1, 50), torch.ones(1, 50))
    wrapped = D.Independent(base, 0)
    wrapped.reinterpreted_batch_ndims = dims
    for family in (wrapped, _mixture(wrapped, parts=50)):
        with pytest.raises(ContractError, match=r"Independent takes 0 to 2 dimensions of its base, not"):
            rebuild(family, "prior of group 'z'")


def test_mixing_weights_have_no_more_rows_than_there_are_components_for() -> None:
    component = D.Normal(torch.zeros(1, 3, 2), torch.ones(1, 3, 2))
    for rows in ((), (3,), (1, 3), (1, 1)):
        prior = rebuild(_mixture(component, *rows), "prior of group 'z'")
        assert log_prob(prior, torch.zeros(4, 3)).tolist() == pytest.approx([-1.5 * math.log(2 * math.pi)] * 4)
    for rows in ((7, 3), (5, 1, 3)):
        with pytest.raises(ContractError, match="mixing weights of shape"):
            rebuild(_mixture(component, *rows), "prior of group 'z'")


def test_a_price_has_one_term_for_every_number_of_the_value() -> None:
    wide = _mixture(D.Normal(torch.zeros(3, 2), torch.ones(3, 2)), 5, 1, 3)  # as if it had passed
    with pytest.raises(ValueError, match="log probabilities of values of shape"):
        log_prob(wide, torch.zeros(1, 1, 3))


def test_a_location_beyond_all_digits_is_refused() -> None:
    with pytest.raises(ContractError, match="loc reaches from"):
        rebuild(D.Normal(torch.tensor([1e160]).double(), torch.ones(1).double()), "here")


@pytest.mark.parametrize("scale", [SMALLEST_SCALE, 1.0, LARGEST])
def test_the_price_is_the_divergence_at_the_ends_of_what_is_allowed(scale: float) -> None:
    size = torch.full((20_000, 1), scale, dtype=torch.float64)
    q = D.Normal(torch.zeros_like(size), size)
    wide = D.Normal(torch.zeros_like(size[:1]), (1.7 * size[:1]).clamp_max(LARGEST))
    prior = rebuild(D.MixtureSameFamily(D.Categorical(torch.ones(1, 1)), wide), "prior")
    price = charge(rebuild(q, "here"), prior, send(q, _rng()), "here")[0]
    expected = D.kl_divergence(q, wide).mean()
    assert float(price.mean()) == pytest.approx(float(expected), abs=5 * float(price.std()) / len(size) ** 0.5 + 1e-9)


def test_a_covariance_close_to_singular_is_refused() -> None:
    lower = torch.tensor([[1.0, 0.0], [1.0, 1e-7]])
    with pytest.raises(ContractError, match="condition"):
        rebuild(D.MultivariateNormal(torch.zeros(2), scale_tril=lower), "here")


@given(depth=st.integers(0, 4))
def test_a_distribution_is_found_however_deep_it_is_wrapped(depth: int) -> None:
    q = normal = D.Normal(torch.zeros(4, 3), torch.ones(4, 3))
    for _ in range(depth):
        q = D.Independent(q, int(not q.event_shape))
    assert bare(q) is normal


def test_every_allowed_family_is_rebuilt_and_priced_by_itself_for_nothing() -> None:
    made = {
        D.Normal: D.Normal(torch.ones(4, 3), 2.0),
        D.Laplace: D.Laplace(torch.ones(4, 3), 2.0),
        D.MultivariateNormal: D.MultivariateNormal(torch.ones(4, 3), scale_tril=2 * torch.eye(3)),
        D.Categorical: D.Categorical(logits=torch.ones(4, 3)),
        D.OneHotCategorical: D.OneHotCategorical(logits=torch.ones(4, 3)),
        D.Bernoulli: D.Bernoulli(logits=torch.ones(4, 3)),
    }
    assert made.keys() == FAMILIES.keys()
    for q in made.values():
        q = rebuild(D.Independent(q, 0), "here")
        rate, ratio, exact = charge(q, q, send(q, _rng()), "here")
        assert exact and float(rate.abs().max()) < 1e-12 and float(ratio.abs().max()) == 0
