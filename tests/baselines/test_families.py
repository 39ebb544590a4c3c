"""The baselines do what their docstrings say; the contract that all share is in test_contract."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from baselines.autoencoder import Autoencoder
from baselines.controls import (
    EDGE,
    BernoulliMixture,
    Copy,
    PixelMarginals,
    PrincipalComponents,
    RandomEncoder,
    RawPixels,
)
from baselines.skip import UNetAutoencoder
from baselines.vae import VAE, ConditionalVAE, gaussian_rate
from suite import data
from suite.contract import Baseline, Batch, DataSpec, TrainSet, UserError
from suite.measuring.trust import Frozen

GRADIENT_TRAINED = [
    (Autoencoder, {"architecture": "dense"}),
    (Autoencoder, {"architecture": "conv"}),
    (VAE, {"architecture": "dense"}),
    (VAE, {"architecture": "conv"}),
    (ConditionalVAE, {}),
    (UNetAutoencoder, {}),
]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def digits() -> data.Dataset:
    return data.load("digits")


def fitted(cls: type[Baseline], dataset: data.Dataset, **params: object) -> Baseline:
    model = cls(dataset.spec, **params)
    with torch.no_grad():
        model.fit(dataset.train_set(labels=False))
    return model.eval()


def nats(logits: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
    return F.binary_cross_entropy_with_logits(logits.expand_as(bits), bits, reduction="none").flatten(1).sum(1)


def train(model: Baseline, dataset: data.Dataset, steps: int, size: int = 64) -> list[float]:
    adam, losses, n = torch.optim.Adam(model.parameters(), lr=1e-3), [], len(dataset.train)
    for _ in range(steps):
        index = torch.randint(n, (size,))
        batch = Batch(torch.bernoulli(dataset.train.grey[index]), dataset.train.labels[index], index, 0.0)
        terms = model.loss(batch)
        assert all(term.shape == (size,) for term in terms.values())
        adam.zero_grad()
        terms["loss"].mean().backward()
        adam.step()
        losses.append(float(terms["loss"].detach().mean()))
    model.eval()
    return losses


# --- controls -------------------------------------------------------------------------------------------------


def test_pixel_marginals_are_the_add_one_histogram(digits: data.Dataset) -> None:
    model = fitted(PixelMarginals, digits)
    expected = (digits.train.binary.sum(0) + 1) / (len(digits.train) + 2)
    torch.testing.assert_close(model.decode({})[0].sigmoid(), expected)


def test_copy_reconstructs_every_bit_for_no_distortion(digits: data.Dataset) -> None:
    bits, model = digits.val.binary, Copy(digits.spec)
    code = model.encode(bits)["image"]
    assert torch.equal(code.values.float(), bits)
    assert float(nats(model.decode({"image": code.values}), bits).max()) < 1e-12


def test_raw_pixels_decode_to_themselves(digits: data.Dataset) -> None:
    x, model = digits.val.grey, RawPixels(digits.spec)
    assert float((model.decode(model.encode(x)).sigmoid() - x).abs().max()) <= EDGE * 1.01


def test_pca_leaves_exactly_the_variance_of_the_discarded_components(digits: data.Dataset) -> None:
    model, x = fitted(PrincipalComponents, digits, components=16), digits.train.grey
    restored = model.encode(x)["z"] @ model.axes + model.mean
    spectrum = torch.linalg.eigvalsh(torch.cov(x.flatten(1).double().T, correction=0))
    error = (restored - x.flatten(1)).double().square().sum(1).mean()
    assert float(error) == pytest.approx(float(spectrum[:-16].sum()), rel=1e-4)


def test_the_random_encoder_s_readout_knows_more_than_the_pixel_marginals(digits: data.Dataset) -> None:
    bits = digits.test.binary
    model, floor = fitted(RandomEncoder, digits), fitted(PixelMarginals, digits)
    logits = model.decode(model.encode(bits)).detach()
    assert float(nats(logits, bits).mean()) < float(nats(floor.decode({}), bits).mean()) - 30


def mixture(bits: torch.Tensor, **params: object) -> BernoulliMixture:
    model = BernoulliMixture(DataSpec("toy", tuple(bits.shape[1:]), 2, len(bits)), **params)
    model.fit(TrainSet(bits, bits, None))
    return model


def two_kinds(n: int = 2000) -> torch.Tensor:
    """Images of four pixels: three in ten almost dark, the others almost bright."""
    probabilities = torch.where(torch.rand(n, 1) < 0.3, torch.tensor(0.1), torch.tensor(0.9))
    return torch.bernoulli(probabilities.expand(n, 4)).view(n, 1, 2, 2)


def test_em_finds_the_components_that_made_the_data() -> None:
    model = mixture(two_kinds(), components=2)
    dark = int(model.logits.mean(1).argmin())
    assert float(model.log_weights[dark].exp()) == pytest.approx(0.3, abs=0.05)
    assert model.logits.sigmoid()[dark].tolist() == pytest.approx([0.1] * 4, abs=0.05)


def test_the_mixture_is_a_normalized_likelihood() -> None:
    model = mixture(two_kinds(), components=3)
    everything = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4))).view(-1, 1, 2, 2)
    assert float((-model.exact_nats(everything)).exp().sum()) == pytest.approx(1, abs=1e-5)


def test_every_em_step_lowers_the_nats(digits: data.Dataset) -> None:
    model, x = BernoulliMixture(digits.spec, components=5), digits.train.binary.flatten(1)
    model.logits.copy_(torch.randn_like(model.logits))
    model.log_weights.fill_(-math.log(5))
    trace = [model._em_step(x, x.mean(0).clamp(1e-3, 1 - 1e-3)) for _ in range(15)]
    assert all(after < before for before, after in itertools.pairwise(trace))


def test_the_exact_posterior_makes_the_bound_the_likelihood_and_the_others_do_not(digits: data.Dataset) -> None:
    exact = fitted(BernoulliMixture, digits)
    bits, prior = digits.test.binary, exact.prior("component", {})
    distortion = torch.stack([nats(exact.decode({"component": torch.tensor([k])}), bits) for k in range(50)], 1)

    def bound(posterior: str) -> torch.Tensor:
        exact.posterior = posterior
        q = exact.encode(bits)["component"]
        return (q.probs * distortion).sum(1) + kl_divergence(q, prior.expand(q.batch_shape))

    torch.testing.assert_close(bound("exact"), exact.exact_nats(bits), rtol=1e-4, atol=1e-2)
    assert float((bound("sqrt") - exact.exact_nats(bits)).min()) > -1e-2
    assert float(bound("sqrt").mean()) > float(exact.exact_nats(bits).mean()) + 1e-3


def test_the_mixture_s_integer_code_is_the_most_probable_component(digits: data.Dataset) -> None:
    model = fitted(BernoulliMixture, digits, posterior="code")
    code = model.encode(digits.val.binary)["component"]
    model.posterior = "exact"
    assert torch.equal(code.values, model.encode(digits.val.binary)["component"].probs.argmax(1))


# --- trained models -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cls", "params"), GRADIENT_TRAINED, ids=lambda p: getattr(p, "__name__", str(p)))
def test_every_trained_baseline_learns_and_takes_coloured_images(cls: type[Baseline], params: dict) -> None:
    n = 16
    grey = torch.rand(n, 3, 28, 28).round()
    split = data.Split(grey, torch.arange(n) % 10)
    spec = DataSpec("coloured", (3, 28, 28), 10, n)
    model = cls(spec, **params)
    losses = train(model, data.Dataset(None, spec, "", split, split, lambda: split), steps=12, size=n)
    assert losses[-1] < losses[0]
    frozen = Frozen(model)
    assert frozen.decode(frozen.means(grey[:3])).shape == (3, 3, 28, 28)


def test_the_vae_s_rate_is_the_divergence_from_the_prior() -> None:
    mu, log_sigma = torch.randn(5, 3), torch.randn(5, 3)
    expected = kl_divergence(Normal(mu, log_sigma.exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(gaussian_rate(mu, log_sigma), expected)


def test_the_vae_s_loss_is_distortion_plus_rate_and_falls_below_the_floor(digits: data.Dataset) -> None:
    model = VAE(digits.spec)
    losses = train(model, digits, steps=200)
    floor = nats(fitted(PixelMarginals, digits).decode({}), digits.train.binary).mean()
    assert sum(losses[-20:]) / 20 < float(floor) - 10


def test_the_conditional_vae_s_code_and_image_depend_on_the_class(digits: data.Dataset) -> None:
    model = ConditionalVAE(digits.spec)
    train(model, digits, steps=100)
    with torch.no_grad():
        latents = model.encode(digits.val.grey)
        hits = (latents["y"].probs.argmax(1) == digits.val.labels).float().mean()
        zeros = torch.zeros(len(digits.val), dtype=torch.long)
        first, second = (latents["z"]({"y": zeros + y}).loc for y in (0, 1))
        pictures = [model.decode({"y": torch.tensor([y]), "z": torch.zeros(1, 20)}) for y in (0, 1)]
    assert float(hits) > 0.7
    assert float((first - second).abs().mean()) > 1e-3
    assert float((pictures[0] - pictures[1]).abs().mean()) > 0.1


@pytest.mark.journey
def test_the_unet_s_image_goes_through_its_skips_and_not_through_its_core(digits: data.Dataset) -> None:
    model = UNetAutoencoder(digits.spec)
    train(model, digits, steps=400)
    bits = digits.test.binary
    with torch.no_grad():
        values = dict(model.encode(bits))
        intact = nats(model.decode(values), bits).mean()
        rise = {
            name: float(nats(model.decode({**values, name: value.roll(1, 0)}), bits).mean() - intact)
            for name, value in values.items()
        }
    assert float(intact) < 100
    assert rise["z"] < 0.1 * (rise["skip0"] + rise["skip1"])


@pytest.mark.parametrize(
    ("cls", "params"),
    [(Autoencoder, {"architecture": "x"}), (VAE, {"architecture": "x"}), (BernoulliMixture, {"posterior": "x"})],
)
def test_an_unknown_choice_names_the_choices(cls: type[Baseline], params: dict, digits: data.Dataset) -> None:
    with pytest.raises(UserError, match=r"is 'dense' or 'conv'|is 'exact', 'code' or 'sqrt'"):
        cls(digits.spec, **params)
