"""The variational U-Net keeps shape and appearance apart, and pays for both."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Laplace, Normal, kl_divergence

from baselines.vunet import (
    INK,
    BagOfPatches,
    ShapeMixture,
    VUNet,
    VUNetLaplace,
    edges,
    gaussian_kl,
    laplace_nats,
    pyramid_distance,
    skeleton,
    smoothed,
    swap_grid,
    swapped,
    thinned,
    turned,
)
from suite import data, training
from suite.contract import Baseline, Batch, DataSpec, UserError
from suite.measuring import charge
from suite.measuring.trust import Frozen

SPEC = DataSpec("toy", (1, 28, 28), 10, 100)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@functools.cache
def digits() -> data.Dataset:
    return data.load("digits")


@functools.cache
def trained(name: str = "digits", steps: int = 100, **params: object) -> Baseline:
    """A model after a short training."""
    dataset = data.load(name)
    model = training.Recipe(VUNet, dataset.spec, {"components": 8, **params}).build()
    with torch.no_grad():
        model.fit(dataset.train_set(labels=False))
    adam = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(steps):
        x = torch.bernoulli(dataset.train.grey[torch.randint(len(dataset.train), (64,))])
        adam.zero_grad()
        model.loss(Batch(x, None, torch.arange(64), 0.0))["loss"].mean().backward()
        adam.step()
    return model.eval()


# --- the shape ------------------------------------------------------------------------------------------------


def test_the_skeleton_is_scikit_image_s_thinning_bit_for_bit() -> None:
    from skimage.morphology import thin

    noise = torch.rand(50, 28, 28) > 0.5
    ink = torch.cat([smoothed(digits().test.grey) > INK, digits().train.binary[:200, 0] > 0.5, noise])
    expected = np.stack([thin(picture.numpy()) for picture in ink])
    assert np.array_equal(thinned(ink).numpy(), expected)


def test_the_blur_is_the_binomial_window_of_variance_one() -> None:
    x = torch.zeros(1, 3, 9, 9)
    x[0, 1, 4, 4] = 1
    row = torch.tensor([0.0, 0, 1, 4, 6, 4, 1, 0, 0]) / 16
    torch.testing.assert_close(smoothed(x)[0], torch.outer(row, row))


def test_a_binarized_image_has_about_the_skeleton_of_its_grey_image() -> None:
    grey, binary = (skeleton(getattr(digits().test, kind)) for kind in ("grey", "binary"))
    assert near(binary, grey) > 0.8 and near(grey, binary) > 0.9  # 0.46 and 0.98 without the blur


def near(a: torch.Tensor, b: torch.Tensor) -> float:
    """Share of the points of a that have a point of b at most one pixel away."""
    around = torch.nn.functional.max_pool2d(b.float(), 3, 1, 1) > 0
    return float((a & around).sum() / a.sum())


def test_edges_agree_with_scikit_image_s_up_to_a_pixel() -> None:
    from skimage.feature import canny

    grey = digits().test.grey
    expected = torch.from_numpy(np.stack([canny(x[0].numpy(), sigma=1.0) for x in grey])).unsqueeze(1)
    expected, found = (m[..., 2:-2, 2:-2] for m in (expected, edges(grey)))  # scikit-image leaves the border blank
    assert near(expected, found) > 0.97 and near(found, expected) > 0.97


@pytest.mark.parametrize("block", [1, 2])
def test_the_skeleton_tells_less_of_the_stroke_s_thickness_than_the_edges(block: int) -> None:
    train, test = data.load("colored:digits").train, data.load("colored:digits").test
    known = {}
    for name in ("skeleton", "edges"):
        model = VUNet(data.load("colored:digits").spec, shape=name, block=block)
        maps = [model.estimate(split.grey) for split in (train, test)]
        known[name] = ridge_r2(maps[0], train.factors["thickness"], maps[1], test.factors["thickness"])
    assert known["skeleton"] < known["edges"] - 0.3


def ridge_r2(a: torch.Tensor, y: torch.Tensor, b: torch.Tensor, z: torch.Tensor) -> float:
    """R^2 on maps and factors (b, z) of a ridge regression fitted to (a, y)."""
    a, b, y, z = (v.flatten(1).double().squeeze(1) for v in (a, b, y, z))
    centre, level = a.mean(0), y.mean()
    gram = (a - centre).T @ (a - centre) + 100 * torch.eye(a.shape[1], dtype=torch.float64)
    weights = torch.linalg.solve(gram, (a - centre).T @ (y - level))
    error = z - level - (b - centre) @ weights
    return float(1 - error.square().mean() / z.var(correction=0))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_thinning_removes_pixels_only_and_thins_no_further_the_second_time(seed: int) -> None:
    ink = smoothed(torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(seed))) > 0.5
    lines = thinned(ink)
    assert not (lines & ~ink).any()
    assert torch.equal(thinned(lines), lines)


def test_the_shape_is_a_function_of_the_image_alone() -> None:
    a, b = (training.Recipe(VUNet, SPEC, {}, seed).build() for seed in (0, 1))
    x = digits().val.binary[:20]
    shapes = [model.encode(x)["shape"].values for model in (a, b, trained())]
    assert torch.equal(shapes[0], shapes[1]) and torch.equal(shapes[0], shapes[2])
    assert not a.estimate(x.clone().requires_grad_()).requires_grad


# --- the price of the shape -----------------------------------------------------------------------------------


def test_the_shapes_likelihood_is_normalized_and_is_the_one_the_suite_charges() -> None:
    mixture = ShapeMixture(3, (2, 2))
    mixture.fit((torch.rand(200, 1, 2, 2) < torch.rand(200, 1, 1, 1)).float())
    everything = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4))).view(-1, 1, 2, 2)
    assert float((-mixture.nats(everything)).exp().sum()) == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(-mixture.distribution().log_prob(everything), mixture.nats(everything))


def test_the_suite_charges_the_shape_what_the_loss_says_it_costs() -> None:
    model = trained()
    bits = digits().test.binary[:50]
    frozen = Frozen(model)
    shape = frozen.encode(bits)["shape"]
    rate, _, exact = charge(shape, frozen.prior("shape", {}), shape.values, "shape")
    assert exact
    torch.testing.assert_close(rate.float(), model.mixture.nats(shape.values.float()), rtol=1e-4, atol=1e-2)


def test_the_mixture_prior_makes_shapes_cheaper_than_their_histogram() -> None:
    maps = skeleton(digits().test.binary).float()
    train = skeleton(digits().train.binary).float()
    p = (train.sum(0) + 1) / (len(train) + 2)
    histogram = -(maps * p.log() + (1 - maps) * (1 - p).log()).flatten(1).sum(1)
    mixture = training.Recipe(VUNet, SPEC, {"components": 40, "block": 1}).build()
    with torch.no_grad():
        mixture.fit(digits().train_set(labels=False))
    assert float(mixture.mixture.nats(maps).mean()) < float(histogram.mean()) - 15


def test_a_likely_value_of_a_shape_is_a_map_of_bits() -> None:
    from suite.measuring.families import mode, rebuild

    prior = rebuild(trained().prior("shape", {}), "shape")
    assert set(mode(prior).unique().tolist()) <= {0.0, 1.0}


# --- the appearance -------------------------------------------------------------------------------------------


def test_the_rate_is_the_divergence_of_posterior_and_prior() -> None:
    q, p = (Normal(torch.randn(5, 3), torch.rand(5, 3) + 0.1) for _ in range(2))
    torch.testing.assert_close(gaussian_kl(q, p), kl_divergence(q, p).sum(1))


@pytest.mark.parametrize("encoder", ["augmented", "bag", "plain"])
def test_the_rate_teaches_the_posterior_and_the_prior_and_nothing_else(encoder: str) -> None:
    model = VUNet(SPEC, encoder=encoder)
    batch = Batch(digits().train.binary[:16], None, torch.arange(16), 0.0)
    model.loss(batch)["rate"].mean().backward()
    touched = {n.split(".")[0] for n, p in model.named_parameters() if p.grad is not None and bool((p.grad != 0).any())}
    assert touched == {"appearance", "posterior", "branch", "prior_of_shape"}


def test_no_gradient_reaches_the_density_of_shapes() -> None:
    assert not list(VUNet(SPEC).mixture.parameters())


def two_strokes(places: tuple[tuple[int, int], tuple[int, int]]) -> torch.Tensor:
    """A thick and a thin stroke at these places, so far apart that no 7 x 7 patch sees both."""
    x = torch.zeros(1, 1, 28, 28)
    for (row, column), width in zip(places, (4, 3), strict=True):
        x[0, 0, row : row + 6, column : column + width] = 1
    return x


def test_the_bag_of_patches_does_not_know_where_its_patches_were() -> None:
    bag = BagOfPatches(SPEC, 16, 64, block=1)
    here, there, apart = (two_strokes(p) for p in (((4, 4), (4, 20)), ((18, 18), (5, 5)), ((11, 6), (18, 20))))
    codes = [bag(x, skeleton(x)) for x in (here, there, apart)]
    torch.testing.assert_close(codes[0], codes[1], rtol=0, atol=1e-6)
    torch.testing.assert_close(codes[0], codes[2], rtol=0, atol=1e-6)
    thicker = torch.nn.functional.max_pool2d(here, 3, 1, 1)
    assert not torch.allclose(bag(thicker, skeleton(thicker)), codes[0], atol=1e-2)


def test_the_encoder_s_image_is_turned_in_training_and_only_then() -> None:
    x = digits().train.binary[:64]
    moved = turned(x)
    assert set(moved.unique().tolist()) <= {0.0, 1.0}
    assert float((moved != x).float().mean()) > 0.02
    ink, before = (v.flatten(1).sum(1) for v in (moved, x))
    assert float((ink / before).mean()) == pytest.approx(1, abs=0.1)
    model = trained()
    first, second = (model.encode(x)["z"]({"shape": model.estimate(x).long()}).loc for _ in range(2))
    assert torch.equal(first, second)


def test_the_appearance_enters_alike_everywhere() -> None:
    """With an empty shape all positions get the same, so that z alone can draw no picture."""
    model = VUNet(DataSpec("large", (1, 56, 56), 10, 100))
    blank = {"shape": torch.zeros(1, 1, 28, 28, dtype=torch.long), "z": torch.randn(1, 16)}
    inner = model.decode(blank)[0, 0, 16:40, 16:40]  # away from the border's zero padding
    blocks = inner.unfold(0, 4, 4).unfold(1, 4, 4).reshape(-1, 16)
    torch.testing.assert_close(blocks, blocks[:1].expand_as(blocks))


# --- training ---------------------------------------------------------------------------------------------------


def test_the_loss_is_the_sum_of_its_terms_and_shape_and_look_tell_much_of_the_image() -> None:
    model = trained()
    with torch.no_grad():
        terms = model.loss(Batch(digits().val.binary, None, torch.arange(197), 0.0))
    torch.testing.assert_close(terms["loss"], terms["distortion"] + terms["rate"] + terms["shape"])
    p = (digits().train.binary.sum(0) + 1) / 1202
    floor = torch.nn.functional.binary_cross_entropy(p.expand(197, 1, 28, 28), digits().val.binary, reduction="sum")
    assert float(terms["distortion"].mean()) < float(floor) / 197 - 60


@pytest.mark.journey
def test_a_swapped_image_follows_one_in_shape_and_the_other_in_colour() -> None:
    model, test = trained("colored:digits", steps=200), data.load("colored:digits").test
    a, b = test.grey[:20], test.grey[20:60]
    table = swapped(model, a, b)
    lines = skeleton(table.flatten(0, 1)).view(20, 40, 28, 28)
    target = skeleton(a)
    hit = torch.stack([iou(lines[:, j], target[:, 0]) for j in range(40)], 1)
    miss = torch.stack([iou(lines[:, j], target[:, 0].roll(1, 0)) for j in range(40)], 1)
    surely_above(hit.mean(1) - miss.mean(1), 0.2)
    colour = torch.nn.functional.normalize(table.sum((3, 4)), dim=2)
    truth = torch.nn.functional.normalize(b.sum((2, 3)), dim=1)
    near, far = ((colour - other).abs().mean((0, 2)) for other in (truth, truth.roll(1, 0)))
    surely_above(far - near, 0.1)
    ink, thickness = table.amax(2).sum((2, 3)).mean(0), test.factors["thickness"][20:60, 0]
    assert float(torch.corrcoef(torch.stack([ink, thickness]))[0, 1]) > 0.2
    assert swap_grid(model, a[:3], b[:5]).shape == (3, 4 * 28, 6 * 28)


def iou(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Intersection over union of lines three pixels wide, (N,)."""
    a, b = (torch.nn.functional.max_pool2d(m.float(), 3, 1, 1).flatten(1) > 0 for m in (a, b))
    return (a & b).sum(1) / (a | b).sum(1).clamp_min(1)


def surely_above(values: torch.Tensor, least: float) -> None:
    """The mean is above ``least`` by two standard errors."""
    assert float(values.mean() - 2 * values.std() / len(values) ** 0.5) > least


# --- the Laplace variant ----------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1), st.floats(1e-3, 3))
def test_the_discretized_laplace_sums_to_one(mean: float, scale: float) -> None:
    levels = torch.arange(256, dtype=torch.float64) / 255
    m, s = (torch.tensor(v, dtype=torch.float64) for v in (mean, scale))
    assert float((-laplace_nats(m, s, levels)).exp().sum()) == pytest.approx(1, abs=1e-6)


def test_the_discretized_laplace_integrates_the_density_over_each_bin() -> None:
    levels = torch.arange(1, 255, dtype=torch.float64) / 255
    p = Laplace(torch.tensor(0.4, dtype=torch.float64), 0.05)
    expected = p.cdf(levels + 0.5 / 255) - p.cdf(levels - 0.5 / 255)
    torch.testing.assert_close((-laplace_nats(p.loc, p.scale, levels)).exp(), expected)


def test_the_discretized_laplace_has_finite_gradients_far_from_its_mean() -> None:
    mean, scale = torch.zeros(256, requires_grad=True), torch.tensor(1e-3, requires_grad=True)
    laplace_nats(mean, scale, torch.arange(256) / 255).sum().backward()
    assert bool(torch.isfinite(mean.grad).all()) and math.isfinite(float(scale.grad))


def test_the_pyramid_compares_every_band() -> None:
    a = torch.rand(2, 1, 28, 28)
    assert pyramid_distance(a, a).tolist() == [0, 0]
    torch.testing.assert_close(pyramid_distance(a + 0.5, a), torch.full((2,), 0.5 * 784))  # the lowest band alone
    checker = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(14, 14)
    torch.testing.assert_close(pyramid_distance(a + checker, a), torch.full((2,), 784.0))  # the highest alone


def test_the_laplace_variant_trains_on_grey_levels_and_says_that_its_loss_is_no_likelihood() -> None:
    model = VUNetLaplace(SPEC, components=4)
    terms = model.loss(Batch(digits().train.grey[:8], None, torch.arange(8), 0.0))
    assert set(terms) == {"loss", "distortion", "rate", "shape", "pyramid"}
    torch.testing.assert_close(terms["loss"], sum(v for k, v in terms.items() if k != "loss"))
    assert VUNetLaplace.trains_on == "grey" and "no likelihood" in VUNetLaplace.__doc__


# --- wrong parameters -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"shape": "x"}, "'skeleton' or 'edges'"),
        ({"encoder": "x"}, "'augmented', 'plain' or 'bag'"),
        ({"block": 3}, "1 or 2"),
    ],
)
def test_an_unknown_choice_names_the_choices(params: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        VUNet(SPEC, **params)


def test_an_image_that_can_t_be_halved_twice_is_refused() -> None:
    with pytest.raises(UserError, match="multiples of 4"):
        VUNet(DataSpec("odd", (1, 30, 30), 2, 10))
