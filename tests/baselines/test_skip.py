"""Skips: the bands are exact, a filter keeps its promise but is no bottleneck, a price is one."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import hypothesis
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import kl_divergence
from torch.nn import functional as F

from baselines.skip import (
    TRANSFORMS,
    BandAutoencoder,
    FilteredSkipAutoencoder,
    UNetAutoencoder,
    VariationalSkipAutoencoder,
    decomposition,
    enlarge,
    haar_bands,
    high,
    low,
)
from suite import data
from suite.contract import Baseline, Batch, DataSpec, UserError, image_nats

#: The first example of a property loads what torch needs.
UNTIMED = hypothesis.settings(deadline=None, max_examples=50)
SPEC = DataSpec("toy", (1, 28, 28), 10, 100)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def digits() -> data.Dataset:
    return data.load("digits")


def trained(model: Baseline, dataset: data.Dataset, steps: int) -> Baseline:
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(steps):
        index = torch.randint(len(dataset.train), (32,))
        adam.zero_grad()
        model.loss(Batch(torch.bernoulli(dataset.train.grey[index]), None, index, 0.0))["loss"].mean().backward()
        adam.step()
    return model.eval()


def images(seed: int, side: int = 28, channels: int = 2) -> Tensor:
    return torch.randn(3, channels, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seen_by(layer: nn.Module, run: Callable[[], object]) -> Tensor:
    """What a layer was given while ``run`` ran."""
    inputs: list[Tensor] = []
    with layer.register_forward_pre_hook(lambda _, given: inputs.append(given[0])):
        run()
    return inputs[0]


# --- the transforms -------------------------------------------------------------------------------------------


@UNTIMED
@given(st.integers(0, 10_000), st.sampled_from([1, 2, 4, 7, 14, 28]))
def test_low_and_high_are_orthogonal_projections_that_add_up(seed: int, pool: int) -> None:
    x, y = images(seed), images(seed + 1)
    torch.testing.assert_close(low(x, pool) + high(x, pool), x, rtol=0, atol=1e-14)
    torch.testing.assert_close(low(low(x, pool), pool), low(x, pool), rtol=0, atol=1e-14)
    assert float(low(high(x, pool), pool).abs().max()) < 1e-14
    assert abs(float((low(x, pool) * high(y, pool)).sum())) < 1e-10


@pytest.mark.parametrize("transform", TRANSFORMS)
@UNTIMED
@given(seed=st.integers(0, 10_000), side=st.sampled_from([4, 8, 28, 32]), channels=st.integers(1, 3))
def test_the_bands_give_the_image_back(transform: str, seed: int, side: int, channels: int) -> None:
    analyse, synthesise = TRANSFORMS[transform]
    x = images(seed, side, channels)
    torch.testing.assert_close(synthesise(analyse(x)), x, rtol=0, atol=1e-14)
    bits = (x > 0).double()  # sums of powers of two: no rounding at all
    assert torch.equal(synthesise(analyse(bits)), bits)


@UNTIMED
@given(seed=st.integers(0, 10_000), channels=st.integers(1, 3))
def test_haar_keeps_every_sum_of_products(seed: int, channels: int) -> None:
    x, y = images(seed, 28, channels), images(seed + 1, 28, channels)
    product = sum((a * b).sum() for a, b in zip(haar_bands(x), haar_bands(y), strict=True))
    assert float(product) == pytest.approx(float((x * y).sum()), rel=1e-10, abs=1e-9)


def test_each_band_lives_in_its_own_octave() -> None:
    x = images(0)
    for pool, band in ((2, 0), (4, 1)):
        picture = decomposition(x, "haar")[band]
        assert float(low(picture, pool).abs().max()) < 1e-14
        torch.testing.assert_close(low(picture, pool // 2), picture)
    torch.testing.assert_close(decomposition(x, "haar")[2], low(x, 4))


def test_enlarging_is_bilinear_interpolation() -> None:
    x = images(0, 7)
    torch.testing.assert_close(enlarge(x), F.interpolate(x, scale_factor=2, mode="bilinear"))


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_the_pictures_of_the_levels_add_up_to_the_image(transform: str, digits: data.Dataset) -> None:
    x = digits.val.grey[:8].double()
    pictures = decomposition(x, transform)
    assert [p.shape for p in pictures] == [x.shape] * 3
    torch.testing.assert_close(sum(pictures), x, rtol=0, atol=1e-14)


# --- the filter -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def filtered(digits: data.Dataset) -> Baseline:
    torch.manual_seed(0)
    return trained(FilteredSkipAutoencoder(digits.spec), digits, 30)


def test_filtered_skips_hold_nothing_below_their_cut(filtered: Baseline, digits: data.Dataset) -> None:
    with torch.no_grad():
        codes = filtered.encode(digits.val.binary)
    for name in ("skip0", "skip1"):
        assert float(codes[name].abs().max()) > 0.01
        assert float(F.avg_pool2d(codes[name], 2).abs().max()) < 1e-6
        assert float(torch.fft.rfft2(codes[name])[..., 0, 0].abs().max()) < 1e-3  # a sum of hundreds of pixels


def test_the_deeper_path_is_given_no_high_band(filtered: Baseline, digits: data.Dataset) -> None:
    x = digits.val.binary
    with torch.no_grad():
        for layer in (filtered.down, filtered.bottleneck):
            given = seen_by(layer, lambda: filtered.encode(x))
            assert float(given.abs().max()) > 0.01
            assert float(high(given, 2).abs().max()) < 1e-6


def test_the_filter_is_the_last_thing_before_the_decoder(filtered: Baseline, digits: data.Dataset) -> None:
    values = {k: v + torch.randn_like(v) for k, v in filtered.encode(digits.val.binary).items()}
    with torch.no_grad():
        for layer in (filtered.rise, filtered.out):
            maps = seen_by(layer, lambda: filtered.decode(values))
            assert float(F.avg_pool2d(maps[:, -4:], 2).abs().max()) < 1e-6


def test_with_blocks_of_one_pixel_nothing_is_left_of_the_skips(digits: data.Dataset) -> None:
    model = FilteredSkipAutoencoder(digits.spec, pool0=1, pool1=1)
    codes = model.encode(digits.val.grey[:4])
    assert not codes["skip0"].any() and not codes["skip1"].any()


def test_a_filter_leaves_the_network_as_it_was() -> None:
    naive, model = UNetAutoencoder(SPEC), FilteredSkipAutoencoder(SPEC)
    assert {n: p.shape for n, p in naive.named_parameters()} == {n: p.shape for n, p in model.named_parameters()}


def test_high_frequencies_alone_give_the_image_away(digits: data.Dataset) -> None:
    """No bottleneck: where each block holds a zero, x = high(x) - min of high(x) in the block."""
    x, errors = digits.test.grey.double(), {}
    for pool in (14, 7, 4, 2):
        band = high(x, pool)
        least = -F.interpolate(F.max_pool2d(-band, pool), scale_factor=pool)
        restored = band - least
        dark = F.interpolate(F.max_pool2d(-x, pool), scale_factor=pool) == 0
        torch.testing.assert_close(restored[dark], x[dark], rtol=0, atol=1e-14)
        errors[pool] = float((restored - x).square().mean())
    mean_image = float((digits.train.grey.double().mean(0) - x).square().mean())
    print({**errors, "mean image": mean_image})
    assert all(coarse < fine for coarse, fine in itertools.pairwise(errors.values()))
    assert errors[14] < 1e-20 and errors[7] < 0.5 * mean_image


# --- bands with codes of their own ----------------------------------------------------------------------------


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_code_sees_its_own_band_alone(transform: str) -> None:
    model, x = BandAutoencoder(SPEC, transform).double(), images(0, channels=1)
    codes = model.encode(x)
    for name, band in zip(("skip0", "skip1", "z"), TRANSFORMS[transform][0](x), strict=True):
        assert torch.equal(codes[name], model.encoders[name](band))


def test_haar_codes_cannot_move_the_means_of_blocks() -> None:
    model = BandAutoencoder(SPEC, "haar").double()
    codes = model.encode(images(0, channels=1))
    intact = model.decode(codes)
    for name, pool in (("skip0", 2), ("skip1", 4)):
        moved = model.decode({**codes, name: codes[name] + 10})
        assert float((moved - intact).detach().abs().max()) > 0.1
        assert float((F.avg_pool2d(moved, pool) - F.avg_pool2d(intact, pool)).detach().abs().max()) < 1e-12


def test_laplacian_codes_can(digits: data.Dataset) -> None:
    model = BandAutoencoder(SPEC, "laplacian").double()
    codes = model.encode(images(0, channels=1))
    moved = model.decode({**codes, "skip0": codes["skip0"] + 10}) - model.decode(codes)
    assert float(F.avg_pool2d(moved, 4).detach().abs().max()) > 0.01


# --- the price ------------------------------------------------------------------------------------------------


def walk(model: VariationalSkipAutoencoder, x: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Draws every group in turn; returns the values and the divergence of each from its prior, (N,)."""
    values: dict[str, Tensor] = {}
    rates = {}
    for name, group in model.encode(x).items():
        q = group(values) if callable(group) else group
        rates[name] = kl_divergence(q, model.prior(name, values)).flatten(1).sum(1)
        values[name] = q.rsample()
    return values, rates


def test_the_loss_is_the_bound_that_the_groups_say_and_has_its_gradient(digits: data.Dataset) -> None:
    x = digits.val.binary
    model, x = trained(VariationalSkipAutoencoder(digits.spec), digits, 20).double(), x.double()
    torch.manual_seed(1)
    terms = model.loss(Batch(x, None, torch.arange(len(x)), 0.0))
    torch.manual_seed(1)
    values, rates = walk(model, x)
    expected = {"distortion": image_nats(model.decode(values), x)} | {f"rate/{n}": r for n, r in rates.items()}
    expected["loss"] = sum(expected.values())
    for name, term in expected.items():
        torch.testing.assert_close(terms[name], term)
        slopes = [
            torch.autograd.grad(t.mean(), list(model.parameters()), retain_graph=True, materialize_grads=True)
            for t in (terms[name], term)
        ]
        torch.testing.assert_close(*slopes)


def test_each_level_has_its_price() -> None:
    model = VariationalSkipAutoencoder(SPEC, betas=[1.0, 2.0, 5.0])
    x = torch.rand(4, 1, 28, 28).round()
    terms = model.loss(Batch(x, None, torch.arange(4), 0.0))
    expected = terms["distortion"] + terms["rate/z"] + 2 * terms["rate/skip1"] + 5 * terms["rate/skip0"]
    torch.testing.assert_close(terms["loss"], expected)


#: Parts of the model that the rate of each level depends on: itself, what is above it, and the encoder up to it.
ABOVE_Z = {"enter", "down", "bottleneck"}
REACHED = {
    "z": ABOVE_Z,
    "skip1": ABOVE_Z | {"top", "skip1.log_scale", "skip1.correct"},
    "skip0": ABOVE_Z
    | {"top", "skip1.log_scale", "skip1.correct", "skip1.enter", "skip1.rise", "skip0.log_scale", "skip0.correct"},
}


@pytest.mark.parametrize("name", REACHED)
def test_the_rate_of_a_level_trains_that_level_and_what_it_is_given(name: str) -> None:
    model = VariationalSkipAutoencoder(SPEC)
    x = torch.rand(8, 1, 28, 28).round()
    model.loss(Batch(x, None, torch.arange(8), 0.0))[f"rate/{name}"].sum().backward()
    trained_ = [n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()]
    parts = {".".join(n.split(".")[: 2 if n.startswith("skip") else 1]) for n in trained_}
    assert parts == REACHED[name]


def test_a_skip_that_saw_nothing_costs_nothing() -> None:
    model = VariationalSkipAutoencoder(SPEC)
    for skip in (model.skip0, model.skip1):
        nn.init.zeros_(skip.correct.weight)
        nn.init.zeros_(skip.correct.bias)
    _, rates = walk(model, torch.rand(4, 1, 28, 28).round())
    assert not rates["skip0"].any() and not rates["skip1"].any() and bool((rates["z"] > 0).all())


def test_priors_depend_on_the_coarser_groups_alone() -> None:
    model = VariationalSkipAutoencoder(SPEC)
    x = torch.rand(4, 1, 28, 28).round()
    values, _ = walk(model, x)
    for name, earlier in (("z", ()), ("skip1", ("z",)), ("skip0", ("z", "skip1"))):
        prior = model.prior(name, {n: values[n] for n in earlier})  # what it may not see is not there
        assert not prior.loc.any()
        for other in earlier:
            moved = model.prior(name, {n: values[n] + 3 * (n == other) for n in earlier})
            assert not torch.equal(moved.scale, prior.scale)


@pytest.mark.journey
def test_a_price_keeps_the_image_in_the_core_and_a_naive_skip_does_not(digits: data.Dataset) -> None:
    x = digits.test.binary
    rises = {}
    for model in (UNetAutoencoder(digits.spec), VariationalSkipAutoencoder(digits.spec, betas=[1.0, 4.0, 4.0])):
        trained(model, digits, 150)
        with torch.no_grad():
            values = walk(model, x)[0] if isinstance(model, VariationalSkipAutoencoder) else dict(model.encode(x))
            intact = image_nats(model.decode(values), x).mean()
            rise = {n: float(image_nats(model.decode({**values, n: v.roll(1, 0)}), x).mean() - intact)
                    for n, v in values.items()}  # fmt: skip
        rises[type(model)] = rise["z"] / sum(rise.values())
    print(rises)
    assert rises[UNetAutoencoder] < 0.05
    assert rises[VariationalSkipAutoencoder] > 0.5


# --- what users get wrong -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "params", "message"),
    [
        (FilteredSkipAutoencoder, {"pool0": 5}, "pool0=5 does not divide the maps; try 4"),
        (FilteredSkipAutoencoder, {"pool1": 4}, "pool1=4 does not divide the maps; try 2"),
        (BandAutoencoder, {"transform": "fourier"}, "transform is 'laplacian' or 'haar', not 'fourier'"),
        (BandAutoencoder, {"sizes": [16, 0, 16]}, "sizes are three positive numbers"),
        (VariationalSkipAutoencoder, {"betas": [1.0, 2.0]}, "betas are three weights >= 0, of z, skip1, skip0"),
        (VariationalSkipAutoencoder, {"betas": 2.0}, "betas are three weights >= 0"),
        (VariationalSkipAutoencoder, {"betas": [1.0, -2.0, 1.0]}, "betas are three weights >= 0"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_would_do(cls: type[Baseline], params: dict, message: str) -> None:
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        cls(SPEC, **params)


@pytest.mark.parametrize("cls", [FilteredSkipAutoencoder, BandAutoencoder, VariationalSkipAutoencoder])
def test_images_that_do_not_halve_twice_are_refused(cls: type[Baseline]) -> None:
    with pytest.raises(UserError, match="30 x 28 do not halve twice; pad them to 32 x 28"):
        cls(DataSpec("odd", (1, 30, 28), 10, 100))
