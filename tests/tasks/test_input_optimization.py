"""Input optimization: the linear reference, the search, and what it does with every kind of group."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Gamma, Normal, OneHotCategorical
from torch.nn import functional as F

from suite.contract import Baseline, ContractError, DataSpec, Discrete, Unsupported
from suite.measuring import inputs
from suite.measuring.inputs import Found, Start, lay_out, search, typical_values
from suite.measuring.trust import Frozen
from tasks import input_optimization
from tasks.input_optimization import InputOptimization, decibels, pca_outputs, pca_searched, pick_targets, similarity

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


def _never() -> dict[str, Tensor]:
    raise AssertionError("the training split was not needed")


def _identity() -> Frozen:
    return _frozen(lambda x: {"z": torch.logit(x.clamp(1e-3, 1 - 1e-3))}, lambda v: v["z"])


def _linear_generator(train: Tensor, k: int) -> Frozen:
    """PCA as a baseline: coordinates as code, the clipped reconstruction as intensity."""
    from suite.measuring.linear import principal_axes

    mean, axes, _ = principal_axes(train.flatten(1), k)
    m, a = mean.float(), axes.float()
    return _frozen(
        lambda x: {"z": (x.flatten(1) - m) @ a},
        lambda v: torch.logit((v["z"] @ a.T + m).clamp(1e-4, 1 - 1e-4)).view(-1, *SHAPE),
    )


def _found(model: Frozen, x: Tensor, train: Tensor, steps: int = 300) -> Found:
    start = lay_out(model, x, lambda: typical_values(model, train))
    return search(model, start, x, input_optimization.STEP_SIZES, 50, steps)


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
    psnr = [float(decibels(pca_outputs(train, x, k), x).mean()) for k in (0, 4, 16, PIXELS, 2 * PIXELS)]
    mean_image = train.mean(0).expand_as(x)
    assert psnr[0] == pytest.approx(float(decibels(mean_image, x).mean()), abs=1e-4)
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


def test_a_linear_decoder_reaches_the_pca_of_its_own_span() -> None:
    train, x = _images(200), _images(12, seed=5)
    found = _found(_linear_generator(train, 8), x, train)
    gain = decibels(found.images, x) - decibels(pca_outputs(train, x, 8), x)
    assert float(gain.min()) > -0.1
    assert float(gain.mean()) < 0.5


def test_the_reference_is_searched_and_never_worse_than_its_projection() -> None:
    rng = _rng()
    train, x = ((torch.rand(n, *SHAPE, generator=rng) < 0.05).float() for n in (200, 12))  # mostly dark: clipping helps
    projected, searched = pca_outputs(train, x, 8), pca_searched(train, x, 8, 100)
    gain = decibels(searched, x) - decibels(projected, x)
    assert float(gain.min()) >= -1e-6
    assert float(gain.mean()) > 0.05
    assert torch.equal(pca_searched(train, x, PIXELS, 100), pca_outputs(train, x, PIXELS))


def test_an_identity_decoder_reaches_the_cap_and_gains_nothing() -> None:
    train, x = _images(50), _images(6, seed=5)
    found = _found(_identity(), x, train, steps=500)
    psnr = decibels(found.images, x)
    assert float(psnr.mean()) > 59
    assert bool((psnr <= decibels(pca_outputs(train, x, PIXELS), x)).all())


def test_images_of_a_batch_do_not_influence_each_other() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, PIXELS), nn.Unflatten(1, SHAPE))
    model = _frozen(lambda x: {"z": x.flatten(1)[:, :5]}, lambda v: net.eval()(v["z"]))
    train, x = _images(30), _images(3, seed=5)
    whole = search(model, lay_out(model, x, lambda: typical_values(model, train)), x, (0.1,), 1, 40)
    for i in range(len(x)):
        one = x[i : i + 1]
        alone = search(model, lay_out(model, one, lambda: typical_values(model, train)), one, (0.1,), 1, 40)
        torch.testing.assert_close(whole.images[i : i + 1], alone.images, atol=1e-5, rtol=1e-4)


def test_rows_are_cut_into_passes_without_moving_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    train, x = _images(30), _images(7, seed=5)
    whole = _found(_identity(), x, train, steps=20)
    monkeypatch.setattr(inputs, "ROWS", 3)
    parts = _found(_identity(), x, train, steps=20)
    torch.testing.assert_close(whole.images, parts.images)
    torch.testing.assert_close(whole.curve, parts.curve)


def test_the_search_keeps_the_step_size_with_the_least_error() -> None:
    train, x = _images(30), _images(4, seed=5)
    model = _identity()
    start = lay_out(model, x, lambda: typical_values(model, train))
    ends = {size: float(search(model, start, x, (size,), 30, 30).curve[-1]) for size in (0.3, 0.03, 0.003)}
    chosen = search(model, start, x, tuple(ends), 30, 30)
    assert chosen.step_size == min(ends, key=lambda size: ends[size])
    assert len(set(ends.values())) == 3


def test_a_step_size_that_breaks_the_decoder_is_passed_over_and_none_left_is_an_error() -> None:
    def fragile(values: dict[str, Tensor]) -> Tensor:
        z = values["z"]
        return torch.where(z.abs() > 0.15, torch.full_like(z, torch.inf), z).view(-1, *SHAPE)

    model = _frozen(lambda x: {"z": x.flatten(1)}, fragile, lambda *_: Normal(torch.zeros(PIXELS), 1.0))
    x = torch.ones(2, *SHAPE)
    start = lay_out(model, x, _never)
    assert search(model, start, x, (0.3, 0.01), 10, 10).step_size == 0.01
    with pytest.raises(ContractError, match="not finite"):
        search(model, start, x, (0.3, 0.2), 10, 10)


def test_a_decoder_that_ignores_its_inputs_gives_its_constant() -> None:
    model = _frozen(lambda x: {"z": x.flatten(1)[:, :2]}, lambda v: torch.zeros(len(v["z"]), *SHAPE))
    found = _found(model, _images(3), _images(10), steps=5)
    torch.testing.assert_close(found.images, torch.full((3, *SHAPE), 0.5))


# --- where it begins ---------------------------------------------------------------------------------------------


def test_the_search_begins_at_the_prior_mean_given_the_earlier_groups() -> None:
    def prior(name: str, earlier: dict[str, Tensor]) -> Distribution:
        return Normal(torch.full((2,), 3.0), 1.0) if name == "z" else Normal(earlier["z"].sum(1, keepdim=True), 1.0)

    model = _frozen(lambda x: {"z": x.flatten(1)[:, :2], "w": x.flatten(1)[:, :1]}, lambda v: v["z"], prior)
    start = lay_out(model, _images(4), _never)
    assert start.free["z"].unique().tolist() == [3.0]
    assert start.free["w"].unique().tolist() == [6.0]
    assert start.dims == 3


def test_without_a_prior_it_begins_at_the_training_mean() -> None:
    train = _images(700)
    model = _frozen(lambda x: {"z": Normal(x.flatten(1), 1.0)}, lambda v: v["z"])
    start = lay_out(model, _images(2, seed=5), lambda: typical_values(model, train))
    torch.testing.assert_close(start.free["z"][1], train.flatten(1).mean(0), atol=1e-6, rtol=0)


def test_a_positive_group_stays_positive() -> None:
    def decode(values: dict[str, Tensor]) -> Tensor:
        assert bool((values["z"] > 0).all())
        return values["z"].log().view(-1, *SHAPE)

    model = _frozen(lambda x: {"z": Gamma(x.flatten(1) + 1, torch.ones(PIXELS))}, decode,
                    lambda *_: Gamma(torch.full((PIXELS,), 2.0), torch.ones(PIXELS)))  # fmt: skip
    x = _images(3)
    start = lay_out(model, x, _never)
    torch.testing.assert_close(start.values(start.free)["z"], torch.full((3, PIXELS), 2.0))
    assert float(decibels(search(model, start, x, (0.1,), 1, 200).images, x).mean()) > 40


# --- discrete groups ---------------------------------------------------------------------------------------------

TEMPLATES = torch.rand(3, PIXELS, generator=_rng(3))


def _templates(y: Any) -> Frozen:
    """Category y picks a template, z brightens it; the encoder always says category 0."""
    uniform = torch.zeros(3)
    priors = {"y": Categorical(logits=uniform), "z": Normal(torch.zeros(1), 1.0)}

    def decode(values: dict[str, Tensor]) -> Tensor:
        chosen = values["y"] if values["y"].is_floating_point() else F.one_hot(values["y"].flatten(), 3).float()
        return (torch.logit((chosen @ TEMPLATES).clamp(0.01, 0.99)) + values["z"]).view(-1, *SHAPE)

    return _frozen(lambda x: {"y": y(x), "z": torch.zeros(len(x), 1)}, decode, lambda name, _: priors[name])


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
    start = lay_out(_templates(y), x, _never)
    assert (start.tries, start.dims, start.kept) == (3, 1, ())
    found = search(_templates(y), start, x, (0.03,), 1, 100)
    assert float(decibels(found.images, x).min()) > 35


def test_a_discrete_group_of_many_positions_keeps_the_images_own_code() -> None:
    model = _frozen(
        lambda x: {"bits": Discrete((x.flatten(1) > 0.5).long(), classes=2), "z": torch.zeros(len(x), 1)},
        lambda v: (v["bits"].float() * 2 - 1 + v["z"]).view(-1, *SHAPE),
        lambda name, _: Normal(torch.zeros(1), 1.0) if name == "z" else None,
    )
    x = _images(3)
    start = lay_out(model, x, _never)
    assert (start.tries, start.kept) == (1, ("bits",))
    assert torch.equal(start.fixed["bits"], (x.flatten(1) > 0.5).long())


def test_more_combinations_than_the_limit_are_not_tried() -> None:
    model = _frozen(
        lambda x: (
            {name: Discrete(torch.ones(len(x), dtype=torch.long), classes=60) for name in ("a", "b")}
            | {"z": torch.zeros(len(x), 1)}
        ),
        lambda v: v["z"],
    )
    start = lay_out(model, _images(2), lambda: {"z": torch.zeros(1)})
    assert (start.tries, start.kept) == (60, ("b",))


def test_the_core_alone_leaves_every_other_group_at_its_prior() -> None:
    model = _templates(lambda x: Categorical(logits=torch.tensor([0.0, 0.0, 9.0]).expand(len(x), 3)))
    start = lay_out(model, _images(2), _never, only="z")
    assert list(start.free) == ["z"]
    assert (start.tries, start.kept) == (1, ())
    assert start.fixed["y"].tolist() == [0, 0]  # the prior's mode, not the image's own 2


def test_typical_values_are_means_and_most_frequent_values() -> None:
    codes = torch.tensor([0, 2, 2, 1, 2])
    model = _frozen(
        lambda x: {
            "k": Discrete((x.flatten(1)[:, :1] * 10).round().long(), classes=11),
            "hot": OneHotCategorical(logits=9.0 * F.one_hot((x.flatten(1)[:, 0] * 10).round().long(), 11)),
            "z": x,
        },
        lambda v: v["z"],
    )
    x = (codes / 10).view(-1, 1, 1, 1).expand(-1, *SHAPE)
    typical = typical_values(model, x, chunk=2)
    assert typical["k"].tolist() == [2]
    assert typical["hot"].argmax().item() == 2
    assert typical["hot"].sum().item() == 1
    torch.testing.assert_close(typical["z"], x.mean(0))


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
        model=model, dataset=dataset, seed=seed, budget=budget, untrained=lambda: Frozen(_Trained(1))
    )


def test_the_task_compares_with_pca_of_as_many_inputs_and_shows_it() -> None:
    score = InputOptimization().score(_subject(Frozen(_Trained(0))))
    values = {name: measure.value for name, measure in score.metrics.items()}
    assert set(values) == {metric.name for metric in InputOptimization.metrics}
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
        (lambda x: {"z": Discrete(torch.zeros(len(x), dtype=torch.long), classes=2)}, "discrete groups only"),
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


def test_rows_of_a_start_are_the_same_search_for_some_images() -> None:
    start = Start(("z",), {"z": torch.arange(6.0).view(3, 2)}, {}, {}, 1, ())
    assert start.rows(slice(1, 3)).free["z"].tolist() == [[2.0, 3.0], [4.0, 5.0]]
    assert start.rows(slice(1, 3)).dims == start.dims == 2
