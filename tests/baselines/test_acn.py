"""The associative compression network: a neighbour that is never the image itself, and whose index is paid for."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Normal, kl_divergence

from baselines.acn import AssociativeCompressionNetwork, nearest_others, unit_kl
from suite import data, training
from suite.contract import Batch, DataSpec, TrainSet, UserError
from suite.measuring.calibration import Calibration
from suite.measuring.channel import Channel
from suite.measuring.pricing import charge
from suite.measuring.trust import Frozen

SPEC = DataSpec("toy", (1, 4, 4), 3, 30)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def toy_set() -> TrainSet:
    grey = torch.rand(SPEC.train_images, *SPEC.shape)
    return TrainSet(grey, grey.round(), None)


def toy(train: TrainSet) -> AssociativeCompressionNetwork:
    model = AssociativeCompressionNetwork(SPEC, latent=3, hidden=8)
    model.fit(train)
    return model


def test_the_prior_sees_the_code_of_another_image_never_of_the_image_itself() -> None:
    train = toy_set()
    model, own = toy(train), torch.arange(SPEC.train_images).unsqueeze(1)
    assert bool((model.neighbours != own).all())
    model.after_epoch(0, train, train)
    assert bool((model.neighbours != own).all())


@given(st.integers(2, 300), st.integers(0, 2**30))
@settings(max_examples=25, deadline=None)
def test_neighbours_are_the_nearest_others(n: int, seed: int) -> None:
    points = torch.randn(n, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    k = min(5, n - 1)
    distance = torch.cdist(points, points).fill_diagonal_(math.inf)
    expected = distance.topk(k, largest=False).indices
    assert torch.equal(nearest_others(points, k).sort(1).values, expected.sort(1).values)


def test_the_rate_is_the_divergence_from_the_neighbour_s_prior() -> None:
    mu, m, log_s = torch.randn(3, 5, 4)
    expected = kl_divergence(Normal(mu, torch.ones(())), Normal(m, log_s.exp())).sum(1)
    torch.testing.assert_close(unit_kl(mu, m, log_s), expected)


def test_stored_codes_and_priors_are_those_of_the_last_weights() -> None:
    train = toy_set()
    model = toy(train)
    model.after_epoch(0, train, train)
    with torch.no_grad():
        torch.testing.assert_close(model.codes, model.encoder(train.binary))
        m, log_s = model.prior_network(model.codes).chunk(2, dim=1)
    prior = model.prior("z", {"neighbour": torch.arange(SPEC.train_images)})
    torch.testing.assert_close(prior.loc, m)
    torch.testing.assert_close(prior.scale, log_s.exp())


def test_the_sender_picks_the_neighbour_that_makes_the_code_cheapest() -> None:
    train = toy_set()
    model = toy(train)
    model.after_epoch(0, train, train)
    with torch.no_grad():
        latents = model.encode(torch.rand(9, *SPEC.shape))
    prices = torch.stack([
        kl_divergence(latents["z"], model.prior("z", {"neighbour": torch.full((9,), n)})).sum(1)
        for n in range(SPEC.train_images)
    ], 1)  # fmt: skip
    assert torch.equal(latents["neighbour"].values, prices.argmin(1))


def test_the_index_costs_log_n_and_the_advertised_nats_leave_it_out() -> None:
    train = toy_set()
    model = toy(train)
    model.after_epoch(0, train, train)
    flat = torch.zeros(1, *SPEC.shape)
    frozen = Frozen(model)
    channel = Channel(frozen, {}, {}, {}, Calibration.identity(flat), {})
    message = channel.send(frozen.encode(train.binary), SPEC.train_images, torch.Generator().manual_seed(0))
    assert message.rates["neighbour"].tolist() == pytest.approx([math.log(30)] * 30)
    torch.testing.assert_close(message.rate - message.rates["z"], message.rates["neighbour"])
    assert float(message.rates["z"].min()) > 0


@pytest.mark.parametrize(("term", "untouched"), [("distortion", {"prior_network"}), ("rate_z", {"decoder"})])
def test_the_gradient_of_each_term_reaches_the_networks_it_is_made_of(term: str, untouched: set[str]) -> None:
    train = toy_set()
    model = toy(train)
    terms = model.loss(Batch(train.binary, None, torch.arange(SPEC.train_images), 0.0))
    torch.testing.assert_close(terms["loss"], terms["distortion"] + terms["rate_z"])
    terms[term].sum().backward()
    touched = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert touched == {"encoder", "prior_network", "decoder"} - untouched


def test_a_neighbour_makes_the_code_cheaper_than_a_stranger_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(training.BUDGETS, "eight epochs", 8 * 1_200)
    digits = data.load("digits")
    model = training.Recipe(AssociativeCompressionNetwork, digits.spec).build()
    training.train(model, digits, seed=0, budget="eight epochs")
    model.eval().requires_grad_(False)
    latents = model.encode(digits.val.binary)
    q, n = latents["z"], latents["neighbour"].values

    def price(neighbour: torch.Tensor) -> float:
        return float(charge(q, model.prior("z", {"neighbour": neighbour}), q.mean, "z")[0].mean())

    nobody = Normal(q.mean.mean(0), (q.mean.var(0) + 1).sqrt())  # the cheapest Gaussian of independent units
    assert price(n) < float(kl_divergence(q, nobody).sum(1).mean()) - 1
    assert price(n) < price(torch.randint(len(model.codes), n.shape)) - 5


def test_as_many_neighbours_as_images_are_refused() -> None:
    with pytest.raises(UserError, match="1 to 29"):
        AssociativeCompressionNetwork(SPEC, neighbours=30)
