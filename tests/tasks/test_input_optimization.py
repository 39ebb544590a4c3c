"""Input optimization: the linear reference, the search, and what it does with every kind of group."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Normal, OneHotCategorical
from torch.nn import functional as F

from suite import seeds
from suite.contract import Baseline, ContractError, DataSpec, Discrete, Unsupported
from suite.measuring import descent, inputs, whitening
from suite.measuring.inputs import Found, Start, lay_out, model_decoder, search
from suite.measuring.reference import fit_linear
from suite.measuring.trust import Frozen
from suite.measuring.whitening import observe
from tasks import input_optimization
from tasks.input_optimization import InputOptimization, decibels, pca_outputs, pick_targets, similarity

torch.set_num_threads(1)
SHAPE = (1, 12, 12)
PIXELS = 144


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _images(n: int, seed: int = 0) -> Tensor:
    """Smooth random images in [0, 1]."""
    coarse = torch.rand(n, 1, 4, 4, generator=_rng(seed))
    noise = 0.05 * torch.rand(n, *SHAPE, generator=_rng(seed + 1))
    return (0.9 * F.interpolate(coarse, SHAPE[1:], mode="bilinear") + noise).clamp(0, 1)


def _dark_images(n: int, seed: int = 0) -> Tensor:
    """Images of a few bright pixels: clipping helps a linear generator, and so a search gains on projections."""
    return (torch.rand(n, *SHAPE, generator=_rng(seed)) < 0.05).float()


class _Model(Baseline):
    """A baseline made of functions, for one test each."""

    def __init__(self, encode: Any, decode: Any, prior: Any = None, core: str = "z") -> None:
        super().__init__(DataSpec("toy", SHAPE, 2, 200))
        self._encode, self._decode, self._prior, self.core = encode, decode, prior, core  # type: ignore[misc]

    def encode(self, x: Tensor) -> Any:
        return self._encode(x)

    def decode(self, values: Any) -> Tensor:
        return self._decode(values)

    def prior(self, name: str, earlier: Any) -> Distribution | None:
        return self._prior(name, earlier) if self._prior else None


def _frozen(encode: Any, decode: Any, prior: Any = None, core: str = "z") -> Frozen:
    return Frozen(_Model(encode, decode, prior, core))


def _identity() -> Frozen:
    return _frozen(lambda x: {"z": torch.logit(x.clamp(1e-3, 1 - 1e-3))}, lambda v: v["z"])


def _linear_generator(train: Tensor, k: int, mixing: Tensor | None = None) -> Frozen:
    """PCA as a baseline: coordinates, mixed by a matrix, as code; the clipped reconstruction as intensity."""
    linear = fit_linear(train.flatten(1), k)
    mean, axes = linear.centres[0], linear.axes
    mixing = torch.eye(k, dtype=torch.float64) if mixing is None else mixing
    into, out = axes @ mixing.T.float(), (torch.linalg.inv(mixing).T @ axes.T.double()).float()
    return _frozen(
        lambda x: {"z": (x.flatten(1) - mean) @ into},
        lambda v: torch.logit((v["z"] @ out + mean).clamp(1e-5, 1 - 1e-5)).view(-1, *SHAPE),
    )


def _mixing(k: int, condition: float) -> Tensor:
    """A matrix (k, k) of this condition number, turned at random."""
    turns = [torch.linalg.qr(torch.randn(k, k, generator=_rng(seed), dtype=torch.float64))[0] for seed in (1, 2)]
    return turns[0] @ torch.diag(torch.logspace(0, -math.log10(condition), k, dtype=torch.float64)) @ turns[1]


def _start(model: Frozen, x: Tensor, train: Tensor, **how: Any) -> Start:
    return lay_out(model, x, observe(model, train), **how)


def _found(model: Frozen, x: Tensor, train: Tensor, steps: int = 150) -> Found:
    return _searched(model, _start(model, x, train), x, input_optimization.STEP_SIZES, 50, steps)


def _searched(model: Frozen, start: Start, x: Tensor, sizes: Any, trial: int, steps: int) -> Found:
    return search(model_decoder(model), start, x, sizes, trial, steps, _rng())


def _gain(model: Frozen, train: Tensor, x: Tensor, steps: int = 150) -> Tensor:
    """gain_db of each image, (N,)."""
    start = _start(model, x, train)
    found = _searched(model, start, x, input_optimization.STEP_SIZES, 50, steps)
    return decibels(found.images, x) - decibels(
        pca_outputs(train, x, start.dims, steps, *start.tries, rng=_rng())[0], x
    )


# --- the measures ------------------------------------------------------------------------------------------------


def test_decibels_are_known_for_known_errors_and_capped() -> None:
    x = torch.full((3, *SHAPE), 0.5)
    output = x + torch.tensor([0.1, 0.01, 0.0]).view(3, 1, 1, 1)
    torch.testing.assert_close(decibels(output, x), torch.tensor([20.0, 40.0, 60.0]).double(), atol=1e-3, rtol=0)


def test_similarity_is_one_for_the_same_image_and_falls_with_noise() -> None:
    x = _images(4)
    noisy = [(x + s * torch.randn(x.shape, generator=_rng(9))).clamp(0, 1) for s in (0.0, 0.05, 0.3)]
    values = [float(similarity(output, x).mean()) for output in noisy]
    assert values[0] == pytest.approx(1)
    assert values[0] > values[1] > values[2]


def test_pca_is_exact_from_as_many_components_as_pixels_and_better_with_more() -> None:
    train, x = _images(100), _images(20, seed=5)  # fewer training images than pixels
    psnr = [
        float(decibels(pca_outputs(train, x, k, 50, rng=_rng())[1], x).mean()) for k in (1, 4, 16, PIXELS, 2 * PIXELS)
    ]
    assert psnr == sorted(psnr)
    assert psnr[3] == psnr[4] == pytest.approx(60)


def test_targets_are_the_first_ten_of_each_class() -> None:
    labels = torch.arange(10).repeat(30)[torch.randperm(300, generator=_rng())]
    index = pick_targets(labels)
    assert labels[index].bincount().tolist() == [10] * 10
    for label in range(10):
        assert index[labels[index] == label].tolist() == (labels == label).nonzero().flatten()[:10].tolist()


@pytest.mark.parametrize(("classes", "expected"), [(47, 100), (250, 100), (3, 30)])
def test_targets_spread_over_many_classes_and_stay_ten_of_few(classes: int, expected: int) -> None:
    labels = torch.arange(classes).repeat(12)
    counts = labels[pick_targets(labels)].bincount(minlength=classes)
    assert int(counts.sum()) == expected
    assert int(counts[counts > 0].max() - counts[counts > 0].min()) <= 1


# --- the search --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [16, 64])
@pytest.mark.parametrize("change", ["none", "thousand", "mixed"])
def test_an_exact_pca_decoder_gains_nothing_whatever_the_units_of_its_code(k: int, change: str) -> None:
    train, x = _dark_images(300), _dark_images(8, seed=5)
    mixings = {"none": None, "thousand": 1000 * torch.eye(k, dtype=torch.float64), "mixed": _mixing(k, 1000)}
    assert float(_gain(_linear_generator(train, k, mixings[change]), train, x).mean()) == pytest.approx(0, abs=0.02)


class _Bent(nn.Module):
    """A net of four numbers that bends, seen through an affine map of its code."""

    def __init__(self, mixing: Tensor, shift: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 4))
        self.decoder = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, PIXELS), nn.Unflatten(1, SHAPE))
        self.mixing, self.shift = mixing, shift

    def encode(self, x: Tensor) -> Any:
        return {"z": (self.encoder(x).double() @ self.mixing.T + self.shift).float()}

    def decode(self, values: Any) -> Tensor:
        return self.decoder(((values["z"].double() - self.shift) @ torch.linalg.inv(self.mixing).T).float())


@given(condition=st.floats(1, 1000), unit=st.floats(1e-3, 1e3), shift=st.floats(-3, 3))
@settings(max_examples=4, deadline=None)
def test_an_invertible_affine_map_of_a_code_changes_nothing(condition: float, unit: float, shift: float) -> None:
    train, x = _images(60), _images(5, seed=5)
    plain, mapped = (_Bent(*how) for how in ((_mixing(4, 1), 0.0), (unit * _mixing(4, condition), unit * shift)))
    first, second = (_found(_frozen(net.encode, net.decode), x, train, 60) for net in (plain, mapped))
    assert float((decibels(first.images, x) - decibels(second.images, x)).abs().max()) < 0.05


def test_the_reference_is_searched_and_never_worse_than_its_projection() -> None:
    train, x = _dark_images(200), _dark_images(12, seed=5)
    searched, projected = pca_outputs(train, x, 8, 100, rng=_rng())
    gain = decibels(searched, x) - decibels(projected, x)
    assert float(gain.min()) >= 0
    assert float(gain.mean()) > 0.02
    assert all(torch.equal(exact, x) for exact in pca_outputs(train, x, PIXELS, 100, rng=_rng()))


def test_an_identity_decoder_reaches_the_cap_and_gains_nothing() -> None:
    train, x = _images(50), _images(6, seed=5)
    found = _found(_identity(), x, train, steps=60)
    psnr = decibels(found.images, x)
    assert float(psnr.mean()) > 59
    assert bool((psnr <= decibels(pca_outputs(train, x, PIXELS, 60, rng=_rng())[0], x)).all())


def test_what_counts_is_the_best_of_all_steps_and_starts() -> None:
    train, x = _images(30), _images(4, seed=5)
    net = _Bent(_mixing(4, 1), 0.0)
    model = _frozen(net.encode, net.decode)
    found = _found(model, x, train, steps=50)
    assert bool((found.curve.diff() <= 0).all())
    start = _start(model, x, train)
    wild = _searched(model, start, x, (30.0,), 20, 20)  # a step that throws every row far away
    encoder = model.decode(model.means(x)).sigmoid()
    assert bool((decibels(wild.images, x) >= decibels(encoder, x) - 1e-4).all())
    at_start = _searched(model, start, x, (30.0,), 0, 0)
    assert bool((decibels(wild.images, x) >= decibels(at_start.images, x)).all())


def test_both_the_training_mean_and_the_encoders_code_are_starts() -> None:
    train, x = _images(30), _images(3, seed=5)
    start = _start(_identity(), x, train)
    values = start.outputs(lambda values: values["z"])(start.free["z"], torch.arange(6))
    logits = torch.logit(train.clamp(1e-3, 1 - 1e-3))
    torch.testing.assert_close(values[::2], logits.mean(0).expand(3, *SHAPE), atol=1e-4, rtol=0)
    torch.testing.assert_close(values[1::2], torch.logit(x.clamp(1e-3, 1 - 1e-3)), atol=1e-3, rtol=0)


def test_images_of_a_batch_do_not_influence_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whitening, "BLUR", 0.0)  # rows differ by nothing but their noise
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, PIXELS), nn.Unflatten(1, SHAPE))
    model = _frozen(lambda x: {"z": x.flatten(1)[:, :5]}, lambda v: net.eval()(v["z"]))
    train, x = _images(30), _images(3, seed=5)
    whole = _searched(model, _start(model, x, train), x, (0.1, 0.01), 5, 30)
    for i in range(len(x)):
        one = x[i : i + 1]
        alone = _searched(model, _start(model, one, train), one, (0.1, 0.01), 5, 30)
        torch.testing.assert_close(whole.images[i : i + 1], alone.images, atol=1e-5, rtol=1e-4)


def test_rows_are_cut_into_passes_without_moving_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    train, x = _images(30), _images(7, seed=5)
    whole = _found(_identity(), x, train, steps=60)
    monkeypatch.setattr(descent, "ROWS", 3)
    parts = _found(_identity(), x, train, steps=60)
    torch.testing.assert_close(whole.images, parts.images)
    torch.testing.assert_close(whole.curve, parts.curve)


def test_every_image_keeps_the_step_size_with_the_least_error() -> None:
    train, x = _images(30), _images(4, seed=5)
    net = _Bent(_mixing(4, 1), 0.0)
    model = _frozen(net.encode, net.decode)
    start, sizes = _start(model, x, train), (0.3, 0.03, 0.0003)
    alone = torch.stack([decibels(_searched(model, start, x, (size,), 20, 20).images, x) for size in sizes])
    chosen = _searched(model, start, x, sizes, 20, 20)
    torch.testing.assert_close(decibels(chosen.images, x), alone.max(0).values)
    assert chosen.step_sizes.tolist() == pytest.approx([sizes[i] for i in alone.argmax(0).tolist()])


def test_a_step_size_that_breaks_the_decoder_is_passed_over_and_none_left_is_an_error() -> None:
    def fragile(values: dict[str, Tensor]) -> Tensor:
        z = values["z"]
        return torch.where(z.abs() > 0.55, torch.full_like(z, torch.inf), z).view(-1, *SHAPE)

    model = _frozen(lambda x: {"z": x.flatten(1) - 0.5}, fragile)
    x = torch.ones(2, *SHAPE) * 0.9
    start = _start(model, x, _images(300))
    assert _searched(model, start, x, (3.0, 0.01), 10, 10).step_sizes.tolist() == pytest.approx([0.01, 0.01])
    with pytest.raises(ContractError, match="not finite"):
        _searched(model, start, x, (3.0, 2.0), 10, 10)
    late = _searched(model, start, x, (0.05,), 0, 200)  # breaks after the trial: what was found stands
    assert bool(torch.isfinite(late.images).all())
    assert len(late.curve) == 201


def test_a_decoder_that_ignores_its_inputs_gives_its_constant() -> None:
    model = _frozen(lambda x: {"z": x.flatten(1)[:, :2]}, lambda v: torch.zeros(len(v["z"]), *SHAPE))
    found = _found(model, _images(3), _images(10), steps=50)
    torch.testing.assert_close(found.images, torch.full((3, *SHAPE), 0.5))


# --- discrete groups ---------------------------------------------------------------------------------------------

TEMPLATES = torch.rand(3, PIXELS, generator=_rng(3))


def _templates(y: Any) -> Frozen:
    """Category y picks a template, z brightens it; the encoder always says category 0."""

    def decode(values: dict[str, Tensor]) -> Tensor:
        chosen = values["y"] if values["y"].is_floating_point() else F.one_hot(values["y"].flatten(), 3).float()
        return (torch.logit((chosen @ TEMPLATES).clamp(0.01, 0.99)) + values["z"]).view(-1, *SHAPE)

    return _frozen(lambda x: {"y": y(x), "z": x.flatten(1).mean(1, keepdim=True)}, decode)


@pytest.mark.parametrize(
    "y",
    [
        lambda x: Categorical(logits=torch.tensor([9.0, 0.0, 0.0]).expand(len(x), 3)),
        lambda x: OneHotCategorical(logits=torch.tensor([9.0, 0.0, 0.0]).expand(len(x), 3)),
        lambda x: Discrete(torch.zeros(len(x), 1, dtype=torch.long), classes=3),
    ],
)
def test_every_category_is_tried_and_the_best_kept_for_each_image(y: Any) -> None:
    x = torch.sigmoid(torch.logit(TEMPLATES[[2, 0, 1, 1]].clamp(0.01, 0.99)) + 0.5).view(-1, *SHAPE)
    model, train = _templates(y), _images(60)
    start = _start(model, x, train)
    assert (start.tries, start.dims, start.held) == ((3,), 1, ())
    assert float(decibels(_searched(model, start, x, (0.3,), 1, 100).images, x).min()) > 35
    given = _searched(model, _start(model, x, train, given_discrete=True), x, (0.3,), 1, 100)
    assert float(decibels(given.images, x)[[0, 2, 3]].max()) < 35  # the image's own category is template 0


def test_of_many_categories_the_right_one_survives_the_heats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "SECOND_HEAT", 1)
    test_every_category_is_tried_and_the_best_kept_for_each_image(lambda x: Discrete(torch.zeros(len(x)).long(), 3))


def test_a_discrete_group_of_many_positions_is_held_at_its_training_mode() -> None:
    def encode(x: Tensor) -> Any:
        return {"bits": Discrete((x.flatten(1) > 0.5).long(), classes=2), "z": x.flatten(1)[:, :1]}

    model = _frozen(encode, lambda v: (v["bits"].float() * 2 - 1 + v["z"]).view(-1, *SHAPE))
    x, train = _images(3), _images(31, seed=5)
    start = _start(model, x, train)
    assert (start.tries, start.held) == ((), ("bits",))
    most = ((train.flatten(1) > 0.5).float().mean(0) > 0.5).long()
    assert torch.equal(start.fixed["bits"], most.expand(6, -1))
    given = _start(model, x, train, given_discrete=True)
    assert torch.equal(given.fixed["bits"][::2], (x.flatten(1) > 0.5).long())


def test_more_combinations_than_the_limit_are_not_tried() -> None:
    model = _frozen(
        lambda x: (
            {name: Discrete(torch.ones(len(x), dtype=torch.long), classes=60) for name in ("a", "b")}
            | {"z": torch.zeros(len(x), 1)}
        ),
        lambda v: v["z"],
    )
    start = _start(model, _images(2), _images(5))
    assert (start.tries, start.held) == ((60,), ("b",))


def test_the_core_alone_leaves_every_other_group_at_its_training_mean_or_mode() -> None:
    model = _templates(lambda x: Discrete((x.flatten(1)[:, 0] > 0.45).long() * 2, 3))
    train, x = _images(30), _images(6, seed=5)
    start = _start(model, x, train, only="z")
    assert list(start.free) == ["z"]
    assert (start.tries, start.held) == ((), ())
    mode = int((train.flatten(1)[:, 0] > 0.45).long().mul(2).mode().values)
    assert start.fixed["y"].tolist() == [mode] * 12
    other = _start(_frozen(lambda x: {"z": x[:, 0, 0, :2], "w": x[:, 0, 1]}, lambda v: v["z"]), x, train, only="z")
    torch.testing.assert_close(other.fixed["w"], train[:, 0, 1].mean(0).expand(12, -1), atol=1e-5, rtol=0)


# --- what is free ------------------------------------------------------------------------------------------------


def _copier(levels: int) -> Frozen:
    """The image as a discrete group, and one number that does nothing."""
    return _frozen(
        lambda x: {"z": torch.zeros(len(x), 1), "image": Discrete((x * (levels - 1)).round().long(), levels)},
        lambda v: torch.logit((v["image"].float() / (levels - 1)).clamp(1e-4, 1 - 1e-4)) + 0 * v["z"].view(-1, 1, 1, 1),
    )


@pytest.mark.parametrize("levels", [2, 256])
def test_a_copier_beside_an_idle_number_gains_nothing(levels: int) -> None:
    score = InputOptimization().score(_subject(_copier(levels), seed=1))
    assert score.metrics["gain_db"].value <= 0
    assert score.metrics["psnr_given_discrete"].value == score.metrics["psnr_encoder"].value
    assert score.notes[-1] == "group 'image' is held at its training mode"


def _packed() -> Frozen:
    """Three bits of every pixel, those of sixteen pixels as the digits of one number."""
    powers = 8.0 ** torch.arange(16, dtype=torch.float64)

    def encode(x: Tensor) -> Any:
        return {"z": ((x.double() * 7).round().view(len(x), -1, 16) * powers).sum(2)}

    def decode(values: Any) -> Tensor:
        digits = values["z"].detach().round().clamp(0, 8**16 - 1).unsqueeze(2).div(powers, rounding_mode="floor") % 8
        drawn = torch.logit((digits / 7).clamp(1e-4, 1 - 1e-4)).flatten(1) + 0 * values["z"].sum(1, keepdim=True)
        return drawn.float().view(-1, *SHAPE)

    return _frozen(encode, decode)


def test_a_copy_in_the_digits_of_real_numbers_gains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    score = InputOptimization().score(_subject(_packed(), seed=1))
    assert score.metrics["gain_db"].value < 0
    assert score.metrics["psnr_encoder"].value < score.metrics["psnr_pca"].value
    monkeypatch.setattr(whitening, "BLUR", 0.0)
    assert InputOptimization().score(_subject(_packed(), seed=1)).metrics["gain_db"].value > 5


def test_numbers_that_are_small_on_training_images_alone_are_no_more_precise() -> None:
    """The deviation comes from training codes: what knows these again could send all others far outside."""
    known = {image.numpy().tobytes() for image in _images(60)}
    packed = _packed()

    def encode(x: Tensor) -> Any:
        large = packed.means(x)["z"]
        member = torch.tensor([image.numpy().tobytes() in known for image in x])
        return {"z": torch.where(member[:, None], 1e-3 * torch.randn(large.shape, generator=_rng()).double(), large)}

    model = _frozen(encode, lambda v: packed.decode(v))
    assert InputOptimization().score(_subject(model, seed=1)).metrics["gain_db"].value < 0


def test_the_blur_of_inputs_moves_an_honest_decoder_by_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    train, x = _images(60), _images(6, seed=5)
    plain, found = _linear_generator(train, 8), []
    for blur in (whitening.BLUR, 0.0):
        monkeypatch.setattr(whitening, "BLUR", blur)
        found.append(decibels(_found(plain, x, train, 60).images, x))
    assert 0 < float((found[0] - found[1]).abs().max()) < 0.01


def test_prototypes_gain_nothing_over_as_many_centroids() -> None:
    train, x, k = _images(150), _images(10, seed=5), 12
    proto = fit_linear(train.flatten(1), 1, k).centres.clamp(0.002, 0.998)

    def encode(x: Tensor) -> Any:
        nearest = torch.cdist(x.flatten(1), proto).argmin(1)
        return {"z": Normal(torch.zeros(len(x), 1), torch.ones(1)), "k": Discrete(nearest, k)}

    def decode(values: Any) -> Tensor:
        return (proto[values["k"]].logit() * (1 + 0.1 * values["z"])).view(-1, *SHAPE)

    model = _frozen(encode, decode)
    alone = decibels(pca_outputs(train, x, 2, 50, rng=_rng())[0], x).mean()  # without centroids they would win
    assert float(decibels(_found(model, x, train, 50).images, x).mean()) > float(alone)
    assert float(_gain(model, train, x, 50).mean()) <= 0


# --- the task ----------------------------------------------------------------------------------------------------


class _Trained(Baseline):
    """Two real groups into a linear layer; has a loss, so that its untrained twin means something."""

    def __init__(self, seed: int) -> None:
        super().__init__(DataSpec("toy", SHAPE, 2, 200))
        torch.manual_seed(seed)
        self.layer = nn.Linear(10, PIXELS)

    def loss(self, batch: Any) -> dict[str, Tensor]:
        return {}

    def encode(self, x: Tensor) -> Any:
        return {"side": x.flatten(1)[:, :2], "z": x.flatten(1)[:, 2:10]}

    def decode(self, values: Any) -> Tensor:
        return self.layer(torch.cat([values["side"], values["z"]], 1)).view(-1, *SHAPE)


def _subject(model: Frozen, seed: int = 0, budget: str = "smoke") -> Any:
    test = SimpleNamespace(grey=_images(40, seed=5), labels=torch.arange(40) % 2)
    dataset = SimpleNamespace(train=SimpleNamespace(grey=_images(60)), test=test)
    return SimpleNamespace(
        model=model,
        dataset=dataset,
        seed=seed,
        budget=budget,
        untrained=lambda: Frozen(_Trained(1)),
        rng=seeds.torch_rng,
    )


def test_the_task_compares_with_pca_of_as_many_inputs_and_shows_it() -> None:
    score = InputOptimization().score(_subject(Frozen(_Trained(0))))
    values = {name: measure.value for name, measure in score.metrics.items()}
    assert set(values) == {metric.name for metric in InputOptimization.metrics} - {"psnr_given_discrete"}
    assert values["latent_dims"] == 10
    assert values["gain_db"] == pytest.approx(values["psnr"] - values["psnr_pca"])
    assert values["encoder_gap"] == pytest.approx(values["psnr"] - values["psnr_encoder"])
    assert values["gain_over_random"] == pytest.approx(values["psnr"] - values["psnr_random"])
    assert values["psnr"] > values["psnr_core"]
    assert score.per_image["gain_db"].shape == (20,)
    assert set(score.curves) == {"trained", "core", "random"}
    steps, losses = zip(*score.curves["trained"], strict=True)
    assert (steps[0], steps[-1]) == (0, 50)
    assert losses[-1] < losses[0]
    height = 5 * (SHAPE[1] + 2) + 2  # targets, trained, core, PCA, random
    assert score.pictures["inputs"].shape[1] == 2 * height


def test_the_untrained_decoder_is_measured_for_the_first_seed_alone() -> None:
    score = InputOptimization().score(_subject(Frozen(_Trained(0)), seed=1))
    assert "psnr_random" not in score.metrics


def test_the_same_model_scores_the_same_twice() -> None:
    first, second = (InputOptimization().score(_subject(Frozen(_Trained(0)))) for _ in range(2))
    assert first.metrics == second.metrics


@pytest.mark.parametrize(
    ("encode", "reason"),
    [
        (lambda x: {}, "no latents"),
        (lambda x: {"z": Discrete(torch.zeros(len(x), dtype=torch.long), classes=2)}, "no free real input"),
        (lambda x: {"z": x.flatten(1)[:, :0]}, "no free real input"),
    ],
)
def test_a_model_without_real_inputs_is_unsupported(encode: Any, reason: str) -> None:
    model = _frozen(encode, lambda v: torch.zeros(1, *SHAPE))
    with pytest.raises(Unsupported, match=reason):
        InputOptimization().score(_subject(model))


def test_a_one_group_model_has_no_second_arm() -> None:
    assert "psnr_core" not in InputOptimization().score(_subject(_identity())).metrics


def test_the_card_follows_the_values_that_the_code_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    before = InputOptimization().card()
    monkeypatch.setattr(input_optimization, "FULL_STEPS", 7)
    monkeypatch.setattr(input_optimization, "CAP_DB", 99.0)
    after = InputOptimization().card()
    assert {name for name in after if after[name] != before[name]} == {"optimizer", "PSNR"}


@pytest.mark.parametrize("code", ["constant", "collapsed", "one image apart"])
def test_a_degenerate_code_is_scored(code: str) -> None:
    def encode(x: Tensor) -> Any:
        z = x.flatten(1)[:, :4].clone()
        if code == "constant":
            z = torch.full_like(z, 0.1)
        elif code == "collapsed":
            z[:, 1] = 3.0
        else:
            z[:, 1] = (x.flatten(1)[:, 5] > 0.9).float()
        return {"z": z}

    torch.manual_seed(0)
    layer = nn.Linear(4, PIXELS)
    score = InputOptimization().score(_subject(_frozen(encode, lambda v: layer(v["z"]).view(-1, *SHAPE)), seed=1))
    assert all(math.isfinite(measure.value) for measure in score.metrics.values())
    assert float(score.per_image["encoder_gap"].min()) >= 0
    assert score.metrics["psnr"].value > 5


@given(seed=st.integers(0, 100), unit=st.floats(1e-2, 1e2), bits=st.booleans())
@settings(max_examples=4, deadline=None)
def test_the_result_is_never_worse_than_the_encoders(seed: int, unit: float, bits: bool) -> None:
    torch.manual_seed(seed)
    reader, writer = nn.Linear(PIXELS, 3), nn.Linear(3, PIXELS)

    def encode(x: Tensor) -> Any:
        side = {"bits": Discrete((x.flatten(1) > 0.5).long(), 2)} if bits else {}
        return {"z": unit * reader(x.flatten(1)), **side}

    def decode(values: Any) -> Tensor:
        drawn = writer(values["z"] / unit)
        return (drawn + 4 * values["bits"] - 2 if bits else drawn).view(-1, *SHAPE)

    score = InputOptimization().score(_subject(_frozen(encode, decode), seed=1))
    assert float(score.per_image["encoder_gap"].min()) >= 0
