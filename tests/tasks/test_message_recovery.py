"""Message recovery: exact where information theory is, zero where nothing is said, and blind to the model's frame."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Distribution, Normal

from suite.checking.small_models import Blocks, Hierarchy, Silent
from suite.contract import Baseline, Batch, DataSpec, Discrete, Latents, Score, Unsupported, Values
from suite.measuring import GaussianPrior, Moments, fit_channel, noise
from suite.plugins import registry
from tests import models

TASK = registry.load(registry.source(registry.discover("task")["message_recovery"]))
MODULE = __import__(TASK.__module__, fromlist=["read"])
SIZES = (1000, 500, 1000)


@pytest.fixture(autouse=True)
def _seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Channels are fitted roughly, from the noise that hides a useless code: messages must not depend on it."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    monkeypatch.setattr(noise, "STARTS", (30.0,))
    monkeypatch.setattr(noise, "MAX_BLOCKS", 1)
    monkeypatch.setattr(noise, "BLOCK_STEPS", 2)


def score(cls: type[Baseline], budget: str | None = None, noise: str = "", **params: object) -> Score:
    return TASK().score(models.subject_of(cls, budget, noise, **params))


def still(monkeypatch: pytest.MonkeyPatch, noise: float = 0.0) -> None:
    """No geometry; noise of this standard deviation at strength 1."""
    for name in ("ROTATION", "SHIFT", "SCALE", "SHEAR", "PERSPECTIVE"):
        monkeypatch.setattr(MODULE, name, 0.0)
    monkeypatch.setattr(MODULE, "NOISE", noise)


class Linear(Baseline):
    """Eight numbers as eight orthonormal pictures around grey, and the coordinates on them: an exact channel."""

    AMPLITUDE = 0.6
    groups = {"z": "eight coordinates"}

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(spec)
        axes = torch.linalg.qr(torch.randn(spec.pixels, 8)).Q
        self.register_buffer("axes", axes.T.contiguous())

    def encode(self, x: Tensor) -> Latents:
        coordinates = (x - 0.5).flatten(1) @ self.axes.T / self.AMPLITUDE
        return {"z": Normal(coordinates, torch.ones_like(coordinates))}

    def prior(self, name: str, earlier: Values) -> Distribution:
        return Normal(torch.zeros(8), torch.ones(8))

    def decode(self, values: Values) -> Tensor:
        grey = 0.5 + self.AMPLITUDE * values["z"] @ self.axes
        return torch.logit(grey.clamp(1e-4, 1 - 1e-4)).view(-1, *self.spec.shape)


class Rotated(Linear):
    """The same channel, in a frame of its own for what is received."""

    def encode(self, x: Tensor) -> Latents:
        frame = torch.linalg.qr(torch.sin(torch.arange(64.0)).view(8, 8)).Q
        return {"z": 5 * super().encode(x)["z"].loc @ frame - 3}


class Deaf(Linear):
    """Decodes one picture whatever the message."""

    def decode(self, values: Values) -> Tensor:
        return super().decode({"z": 0 * values["z"]})


class Shifted(Linear):
    """A core whose prior has a mean and a scale, given a bit that is drawn first."""

    groups = {"bit": "one bit", "z": "eight coordinates given the bit"}

    def encode(self, x: Tensor) -> Latents:
        bit = Discrete((x[:, 0, 0, 0] > 0.5).long(), 2)
        return {"bit": bit, "z": super().encode(x)["z"]}

    def prior(self, name: str, earlier: Values) -> Distribution | None:
        if name == "bit":
            return None
        return Normal((earlier["bit"].float().unsqueeze(1) - 0.5).expand(-1, 8) * 0.2, 0.5)


# --- the mathematics ----------------------------------------------------------------------------------------------


@given(st.floats(0.2, 2.0), st.integers(1, 12))
@settings(max_examples=12, deadline=None)
def test_a_linear_channel_with_known_noise_has_its_exact_value(sigma: float, d: int) -> None:
    rng = torch.Generator().manual_seed(d)
    sent, noise = torch.randn(sum(SIZES), d, generator=rng), torch.randn(sum(SIZES), d, generator=rng)
    frame = torch.linalg.qr(torch.randn(d, d, generator=rng)).Q
    reading = MODULE.read(sent, 7 * (sent + sigma * noise) @ frame + 2, SIZES)
    capacity = d / 2 * math.log1p(1 / sigma**2)
    error = float(reading.nats.std()) / SIZES[2] ** 0.5
    assert float(reading.nats.mean()) == pytest.approx(capacity, abs=5 * error + 0.03 * (1 + capacity))
    assert float(reading.explained.mean()) == pytest.approx(1 / (1 + sigma**2), abs=0.06)


def test_a_constant_says_exactly_nothing_and_noise_says_nothing_to_speak_of() -> None:
    sent = torch.randn(sum(SIZES), 20)
    constant = MODULE.read(sent, torch.ones(len(sent), 30), SIZES)
    assert float(constant.nats.abs().max()) == 0 and float(constant.explained.abs().max()) == 0
    assert int(constant.hits.sum()) == 1
    noise = MODULE.read(sent, torch.randn(len(sent), 30), SIZES)
    assert abs(float(noise.nats.mean())) < 0.1


def test_a_message_that_arrives_whole_is_known_to_the_last_digit_that_counts() -> None:
    sent = torch.randn(sum(SIZES), 4)
    reading = MODULE.read(sent, sent @ torch.randn(4, 9), SIZES)
    assert bool(reading.hits.all())
    assert float(reading.nats.mean()) == pytest.approx(-4 / 2 * math.log(MODULE.EXACT) + 2, abs=0.5)


def test_the_bound_never_counts_a_dimension_twice() -> None:
    """A neck of 3 dimensions under 6 numbers explains half of them at most, in whatever frame."""
    sent = torch.randn(sum(SIZES), 6)
    reading = MODULE.read(sent, sent @ torch.randn(6, 3) @ torch.randn(3, 40), SIZES)
    assert float(reading.explained.sum()) == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize(("n", "k"), [(50, 20), (20, 50)])
def test_ridge_regression_solves_its_normal_equations(n: int, k: int) -> None:
    x, u = torch.randn(n, k).double(), torch.randn(n, 3).double()
    w = MODULE.ridge(x, u, 0.3)
    torch.testing.assert_close(x.T @ (x @ w - u) / n + 0.3 * w, torch.zeros(k, 3).double())


# --- the disturbance ----------------------------------------------------------------------------------------------


def test_no_strength_is_no_disturbance_and_the_range_is_kept() -> None:
    x = torch.rand(20, 3, 28, 28)
    assert torch.equal(MODULE.disturb(x, 0.0, torch.Generator()), x)
    for strength in MODULE.STRENGTHS[1:]:
        seen = MODULE.disturb(x, strength, torch.Generator().manual_seed(0))
        assert 0 <= float(seen.min()) <= float(seen.max()) <= 1


def test_the_disturbance_draws_from_its_own_generator_alone() -> None:
    x = torch.rand(4, 1, 28, 28)
    first = MODULE.disturb(x, 1.0, torch.Generator().manual_seed(3))
    torch.manual_seed(99)
    state = torch.get_rng_state()
    assert torch.equal(first, MODULE.disturb(x, 1.0, torch.Generator().manual_seed(3)))
    assert torch.equal(state, torch.get_rng_state())


def test_every_strength_of_the_curve_has_homographies_that_can_be_undone() -> None:
    for strength in MODULE.STRENGTHS:
        matrices = MODULE.homographies(2000, 28, 28, strength, torch.Generator().manual_seed(0))
        assert bool(torch.isfinite(matrices).all())
        assert float(torch.linalg.det(matrices.double()).min()) > 1e-3


# --- models -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [Linear, Rotated])
def test_a_linear_model_under_known_noise_scores_its_capacity(
    cls: type[Baseline], monkeypatch: pytest.MonkeyPatch
) -> None:
    sigma = 0.1
    still(monkeypatch, sigma)
    found = score(cls, "quick").metrics
    exact = 8 / 2 * math.log1p((cls.AMPLITUDE / sigma) ** 2)
    assert found["nats_bound"].value == pytest.approx(exact, abs=0.4)
    assert found["variance_explained"].value == pytest.approx(100 / (1 + (sigma / cls.AMPLITUDE) ** 2), abs=0.5)
    assert found["variance_explained_clean"].value > 99.9
    assert found["retrieval_clean"].value == 100


def test_the_message_error_knows_the_model_s_frame_and_the_read_out_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    still(monkeypatch, 0.1)
    straight, rotated = score(Linear).metrics, score(Rotated).metrics
    assert straight["message_error"].value < 0.05 < 1 < rotated["message_error"].value
    assert straight["nats_bound"].value == pytest.approx(rotated["nats_bound"].value, rel=1e-3)


def test_a_model_that_ignores_its_message_gets_nothing() -> None:
    found = score(Deaf, "quick").metrics
    assert found["nats_bound_clean"].value == 0
    assert found["nats_bound"].value == pytest.approx(0, abs=0.1)
    assert found["variance_explained"].value < 1


def test_what_a_conditional_prior_adds_is_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the noise behind the core counts: 0.5 of deviation, not the mean that the bit has chosen."""
    still(monkeypatch, 0.1)
    found = score(Shifted).metrics
    ideal = 8 / 2 * math.log1p((0.5 * Linear.AMPLITUDE / 0.1) ** 2)
    assert ideal - 2 < found["nats_bound"].value <= ideal + 0.3


def test_messages_of_a_code_without_a_prior_have_the_code_s_power_and_not_the_channel_s() -> None:
    class Ignored(Linear):
        """A code that is no use: the channel drowns it in thirty times its noise."""

        def encode(self, x: Tensor) -> Latents:
            return {"z": super().encode(x)["z"].loc}

        def prior(self, name: str, earlier: Values) -> None:
            return None

        def decode(self, values: Values) -> Tensor:
            return super().decode({"z": 0 * values["z"]})

    subject = models.subject_of(Ignored)
    codes = subject.model.means(subject.dataset.train.binary)["z"].double()
    fitted = fit_channel(subject)
    assert float(fitted.gaussians["z"].variances.mean()) > 100 * float(codes.var(0).mean())
    prior = MODULE.without_noise(fitted).gaussians["z"]
    torch.testing.assert_close(prior.variances, codes.var(0), rtol=0.05, atol=0.02 * float(codes.var(0).mean()))


@pytest.mark.parametrize("d", [8, 4000], ids=["full", "diagonal"])
def test_numbers_that_vanish_in_their_noise_still_make_finite_messages(d: int) -> None:
    """The channel keeps its noise in float32: what is left of a variance after it may be below zero."""
    generator = torch.Generator().manual_seed(0)
    exact = 1e3 + 1e6 * torch.rand(d, generator=generator, dtype=torch.float64)
    wide = exact.float()
    hidden = Moments(torch.zeros(d).double(), torch.full((d,), 1e-9).double().diag(), 1)
    if d > 8:
        hidden = Moments(hidden.mean, hidden.variances.clone(), 1)
    prior = GaussianPrior(hidden.plus(exact.square()))
    fitted = fit_channel(models.subject_of(Hierarchy))
    clean = MODULE.without_noise(replace(fitted, noise={"z": wide}, gaussians={"z": prior})).gaussians["z"]
    draws = clean.sample(torch.zeros(16, d), torch.randn(16, d, generator=generator))
    assert draws.isfinite().all()
    assert float((draws / wide).abs().max()) < 0.01


@pytest.mark.parametrize(
    ("cls", "reason"), [(Silent, "no latents"), (Blocks, "core group 'blocks' is discrete")], ids=["silent", "blocks"]
)
def test_without_a_real_valued_core_there_is_no_message(cls: type[Baseline], reason: str) -> None:
    with pytest.raises(Unsupported, match=reason):
        score(cls)


def test_a_core_that_is_not_made_of_normal_noise_says_so() -> None:
    class Laplacian(Linear):
        def prior(self, name: str, earlier: Values) -> Distribution:
            return torch.distributions.Laplace(torch.zeros(8), torch.ones(8))

    with pytest.raises(Unsupported, match="the core's prior is a Laplace"):
        score(Laplacian)


def test_the_same_seed_gives_the_same_numbers_and_another_noise_others() -> None:
    first, again, other = score(Hierarchy), score(Hierarchy), score(Hierarchy, noise="secret")
    first_values, again_values, others = ({n: m.value for n, m in s.metrics.items()} for s in (first, again, other))
    assert first_values == again_values
    assert first_values != others


def test_scoring_leaves_the_model_as_it_was() -> None:
    subject = models.subject_of(models.builtin("inverted_autoencoder"), width=16, message=8)
    before = subject.model.parameter_hash()
    found = TASK().score(subject)
    assert subject.model.parameter_hash() == before
    assert [strength for strength, _ in found.curves["nats_bound"]] == list(MODULE.STRENGTHS)
    assert found.pictures["messages"].shape[0] == 3


@pytest.mark.journey
def test_a_trained_inverted_autoencoder_beats_its_untrained_twin_in_noise() -> None:
    subject = models.subject_of(models.builtin("inverted_autoencoder"), width=16, message=8)
    model, images = subject.model.unwrap().requires_grad_(True).train(), models.digits().train.binary[:64]
    adam = torch.optim.Adam(model.parameters(), lr=model.learning_rate)
    for _ in range(150):
        adam.zero_grad()
        model.loss(Batch(images, None, torch.arange(64), 0.9))["loss"].mean().backward()
        adam.step()
    model.eval().requires_grad_(False)
    found = TASK().score(subject).metrics
    assert found["nats_bound_untrained"].value < 0.2
    assert found["gain"].value > 0.3
