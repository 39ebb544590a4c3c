"""The inverted autoencoder: messages survive the noise it was trained in, and nothing of the data gets into it."""

from __future__ import annotations

import math
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines import inverted
from baselines.inverted import InvertedAutoencoder, disturb, homographies
from suite.contract import Batch, DataSpec, UserError
from suite.measuring.trust import Frozen

GREY = DataSpec("grey", (1, 28, 28), 10, 100)
COLOURED = DataSpec("coloured", (3, 28, 28), 10, 100)
SMALL = {"message": 8, "width": 16}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def batch(n: int = 32, spec: DataSpec = GREY, progress: float = 0.9, value: float = 0.0) -> Batch:
    return Batch(torch.full((n, *spec.shape), value), None, torch.arange(n), progress)


def trained(steps: int, **params: object) -> InvertedAutoencoder:
    model = InvertedAutoencoder(GREY, **params).train()
    adam = torch.optim.Adam(model.parameters(), lr=model.learning_rate)
    for step in range(steps):
        adam.zero_grad()
        model.loss(batch(64, progress=step / steps))["loss"].mean().backward()
        adam.step()
    return model.eval()


@torch.no_grad()
def message_error(model: InvertedAutoencoder, strength: float, n: int = 500) -> float:
    """Squared error over the variance of the message: at the encoder's own scale, no read-out."""
    torch.manual_seed(1)
    sent = torch.randn(n, len(model.zero))
    seen = disturb(model.decode({"message": sent}).sigmoid(), strength, model.noise, model.order)
    return float((model.encode(seen)["message"] - sent).square().mean())


def calibrated(model: InvertedAutoencoder) -> InvertedAutoencoder:
    """The model untrained, with the batch-norm statistics of its own messages."""
    for _ in range(30):
        model.train().loss(batch(64))
    return model.eval()


# --- what it learns -----------------------------------------------------------------------------------------------


@pytest.mark.journey
def test_messages_survive_noise_that_kills_an_untrained_nets() -> None:
    assert message_error(trained(200, **SMALL), 1.0) < 0.75
    assert message_error(calibrated(InvertedAutoencoder(GREY, **SMALL)), 1.0) > 0.95


def test_the_loss_is_the_message_s_error_under_the_whole_disturbance() -> None:
    model = InvertedAutoencoder(GREY, **SMALL).eval()
    torch.manual_seed(3)
    loss = model.loss(batch(4))["loss"]
    torch.manual_seed(3)
    sent = torch.randn(4, 8)
    seen = disturb(model.decode({"message": sent}).sigmoid(), 1.0, 0.25, "noise_first")
    torch.testing.assert_close(loss, (model.encode(seen)["message"] - sent).square().mean(1))


def test_the_loss_reads_nothing_of_the_data_but_their_number() -> None:
    losses = []
    for value in (0.0, 1.0, float("nan")):
        torch.manual_seed(5)
        losses.append(InvertedAutoencoder(GREY, **SMALL).loss(batch(6, value=value))["loss"])
    assert losses[0].shape == (6,)
    assert torch.equal(losses[0], losses[1]) and torch.equal(losses[0], losses[2])


@pytest.mark.parametrize("architecture", ["conv", "source"])
def test_the_gradient_reaches_every_weight_of_both_networks_and_nothing_else(architecture: str) -> None:
    model = InvertedAutoencoder(GREY, architecture=architecture, **SMALL)
    model.loss(batch())["loss"].mean().backward()
    names = dict(model.named_parameters())
    assert {name.split(".")[0] for name in names} == {"generator", "decoder"}
    assert all(float(p.grad.abs().max()) > 0 for p in names.values())


def test_the_curriculum_raises_the_strength_from_nothing_to_all() -> None:
    model = InvertedAutoencoder(GREY, curriculum=0.5, **SMALL)
    strengths = [float(model.loss(batch(4, progress=p))["strength"][0]) for p in (0.0, 0.25, 0.5, 0.9)]
    assert strengths == [0.0, 0.5, 1.0, 1.0]
    assert float(InvertedAutoencoder(GREY, **SMALL).loss(batch(4, progress=0.0))["strength"][0]) == 1


# --- the bound of the source's narrow layer -----------------------------------------------------------------------


def test_no_more_than_32_numbers_pass_the_source_s_neck() -> None:
    """What D says lies in 32 dimensions, so 32 of 64 units of variance are missed, whatever the weights are."""
    model = InvertedAutoencoder(GREY, architecture="source", width=16).double().eval()
    says = model.encode(torch.rand(300, 1, 28, 28, dtype=torch.float64))["message"]
    assert int(torch.linalg.matrix_rank(says - says.mean(0))) == 32
    neck = model.decoder[-1].weight.detach()  # (64, 32)
    passes = neck @ torch.linalg.pinv(neck)
    assert float(torch.trace(torch.eye(64) - passes)) == pytest.approx(64 - 32)
    sent = torch.randn(20_000, 64, dtype=torch.float64)
    best = sent @ passes  # no function of 32 numbers through these weights comes nearer
    assert float((best - sent).square().mean()) == pytest.approx(1 - 32 / 64, abs=0.01)


@given(st.integers(1, 2048))
@settings(max_examples=15, deadline=None)
def test_elsewhere_a_message_is_read_from_at_least_as_many_features(message: int) -> None:
    reader = inverted.conv(1, message, 16)[1][-1]
    assert reader.out_features == message
    assert reader.in_features >= message


# --- the disturbance ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["noise_first", "warp_first"])
def test_no_strength_is_no_disturbance_and_full_strength_is_one(order: str) -> None:
    x = torch.rand(5, 1, 28, 28)
    assert torch.equal(disturb(x, 0.0, 0.25, order), x)
    assert float((disturb(x, 1.0, 0.25, order) - x).abs().mean()) > 0.1


def test_a_homography_of_no_strength_is_the_identity() -> None:
    torch.testing.assert_close(homographies(7, 28, 28, 0.0), torch.eye(3).expand(7, 3, 3), atol=1e-5, rtol=0)


@given(st.floats(0.1, 1.0))
@settings(max_examples=10, deadline=None)
def test_a_homography_moves_the_corners_no_further_than_its_parts_may(strength: float) -> None:
    corners = torch.tensor([[0.0, 0, 1], [27, 0, 1], [27, 27, 1], [0, 27, 1]])
    moved = torch.einsum("nij,kj->nki", homographies(50, 28, 28, strength), corners)
    moved = moved[..., :2] / moved[..., 2:]
    assert bool(torch.isfinite(moved).all())
    assert float((moved - corners[:, :2]).norm(dim=-1).max()) < 60 * strength


def test_the_noise_has_mean_zero_and_the_deviation_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROTATION", "SHIFT", "SCALE", "SHEAR", "PERSPECTIVE"):
        monkeypatch.setattr(inverted, name, 0.0)
    noise = disturb(torch.zeros(200, 1, 28, 28), 0.5, 0.4, "warp_first")
    assert float(noise.mean()) == pytest.approx(0, abs=0.003)
    assert float(noise.std()) == pytest.approx(0.2, abs=0.003)


def test_the_warp_is_kornia_s_affine_map_and_perspective_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the extremes of the ranges the matrix is the product of the two that kornia's augmentations make."""
    from kornia.augmentation import RandomAffine, RandomPerspective

    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.full(shape, 0.75) if shape else torch.tensor(0.75))
    monkeypatch.setattr(inverted, "PERSPECTIVE_SHARE", 1.0)
    x, half = torch.zeros(1, 1, 28, 28), torch.tensor([0.5])
    affine = RandomAffine(30.0, p=1.0).compute_transformation(
        x,
        {
            "translations": 0.1 * 28 * half.expand(1, 2), "center": torch.tensor([[13.5, 13.5]]),
            "scale": 1 + 0.1 * half.expand(1, 2), "angle": 30 * half, "shear_x": 10 * half, "shear_y": 0 * half,
        },
        {},
    )  # fmt: skip
    start = torch.tensor([[[0.0, 0], [27, 0], [27, 27], [0, 27]]])
    inwards = torch.tensor([[[1.0, 1], [-1, 1], [-1, -1], [1, -1]]])
    end = start + 0.6 * 28 / 2 * 0.75 * inwards
    perspective = RandomPerspective(0.6, p=1.0).compute_transformation(
        x, {"start_points": start, "end_points": end}, {}
    )
    torch.testing.assert_close(homographies(1, 28, 28, 1.0), perspective @ affine, atol=1e-4, rtol=1e-4)


def test_a_pixel_on_the_horizon_sees_nothing_and_passes_no_gradient() -> None:
    """It is at infinity: one such pixel in millions would end a training at a loss that is no number."""
    normalized = torch.tensor([[0.5, 0, -1], [0, 0.5, -1], [0, 0, 1]])  # 5 x 5 pixels to [-1, 1]: exact in float32
    swap = torch.tensor(
        [[0.0, 0, 1], [0, 1, 0], [1, 0, 0]]
    )  # (x, y) -> (1 / x, y / x): the middle column is at infinity
    x = torch.rand(1, 1, 5, 5, requires_grad=True)
    seen = inverted.warped(x, (normalized.inverse() @ swap @ normalized)[None])
    assert bool((seen[..., 2] == 0).all())
    torch.testing.assert_close(seen[..., 4], x[..., 4])
    seen.square().sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad[..., 4], 2 * x[..., 4])
    assert float(x.grad[..., 1:4].abs().max()) == 0


# --- as a baseline ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [GREY, COLOURED], ids=["grey", "coloured"])
@pytest.mark.parametrize("name", InvertedAutoencoder.variants)
def test_messages_and_images_have_their_shapes_and_images_their_range(name: str, spec: DataSpec) -> None:
    params = InvertedAutoencoder.variants[name] | {"width": 16}
    model = InvertedAutoencoder(spec, **params)
    assert all(term.shape == (3,) for term in model.loss(batch(3, spec)).values())
    frozen = Frozen(model)
    values = frozen.means(torch.rand(3, *spec.shape))
    assert list(values) == ["message"] and values["message"].shape == (3, params.get("message", 64))
    images = frozen.decode({"message": 3 * torch.randn(4, params.get("message", 64))}).sigmoid()
    assert images.shape == (4, *spec.shape)
    assert 0 <= float(images.min()) <= float(images.max()) <= 1


def test_messages_have_the_prior_they_were_drawn_from() -> None:
    prior = Frozen(InvertedAutoencoder(GREY, **SMALL)).prior("message", {})
    assert torch.equal(prior.loc, torch.zeros(8)) and torch.equal(prior.scale, torch.ones(8))


def test_encoding_and_decoding_need_no_kornia(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == "kornia"] + ["kornia"]:
        monkeypatch.setitem(sys.modules, name, None)
    model = InvertedAutoencoder(GREY, **SMALL).eval()
    assert model.decode(model.encode(torch.rand(2, 1, 28, 28))).shape == (2, 1, 28, 28)
    with pytest.raises(ImportError):
        model.loss(batch())


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"message": 0}, "message is a whole number from 1 to 2048, not 0"),
        ({"message": 2049}, "message is a whole number from 1 to 2048, not 2049"),
        ({"width": 4}, "width is a whole number from 8 on, not 4"),
        ({"architecture": "x"}, "architecture is 'conv' or 'source', not 'x'"),
        ({"order": "x"}, "order is 'noise_first' or 'warp_first', not 'x'"),
        ({"noise": -1.0}, "noise is a standard deviation of at least 0, not -1.0"),
        ({"curriculum": math.nan}, "curriculum is a share of the budget from 0 to 1, not nan"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_told_in_one_line(params: dict, told: str) -> None:
    with pytest.raises(UserError, match=f"^inverted: {told}$"):
        InvertedAutoencoder(GREY, **params)


def test_another_image_size_is_told_in_one_line() -> None:
    with pytest.raises(UserError, match=r"^inverted: the size of an image is 28 x 28 pixels, not \(32, 32\)$"):
        InvertedAutoencoder(DataSpec("large", (1, 32, 32), 10, 100))
