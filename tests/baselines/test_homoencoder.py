"""The variational homoencoder: supports that see no image, an exact discount, clusters that find classes."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import normalized_mutual_info_score
from torch.distributions import Categorical, Normal, kl_divergence

from baselines import homoencoder
from baselines.homoencoder import ClusteredHomoencoder, Homoencoder, centroids, information, k_means, spread
from suite import data, training
from suite.contract import Batch, DataSpec, TrainSet, UserError
from suite.measuring.pricing import charge

SIZES = (7, 1, 4)  # images of each class of the toy set
SPEC = DataSpec("toy", (1, 4, 4), 3, sum(SIZES))
SMALL: dict[str, Any] = {"latent": 3, "hidden": 8}


@pytest.fixture(autouse=True)
def _seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    monkeypatch.setitem(training.BUDGETS, "three epochs", 3 * 1_200)


@pytest.fixture(scope="module")
def digits() -> data.Dataset:
    return data.load("digits")


@pytest.fixture(scope="module")
def clustered(digits: data.Dataset) -> tuple[ClusteredHomoencoder, list[torch.Tensor]]:
    """A homoencoder that clustered digits for ten epochs, and its classes after each."""
    history: list[torch.Tensor] = []

    class Watched(ClusteredHomoencoder):
        def after_epoch(self, epoch: int, train: TrainSet, val: TrainSet) -> bool:
            history.append(self.labels.clone())
            return super().after_epoch(epoch, train, val)

    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(training.BUDGETS, "ten epochs", 10 * 1_200)
        model = training.Recipe(Watched, digits.spec).build()
        training.train(model, digits, seed=0, budget="ten epochs")
    return model.eval(), [*history, model.labels]


def toy_set() -> TrainSet:
    """Every image has pixels of its own, 0 or 1 for certain, so that a support image shows which one it is."""
    bits = torch.tensor([[(n + 1) >> i & 1 for i in range(16)] for n in range(SPEC.train_images)])
    images = bits.float().view(-1, *SPEC.shape)
    return TrainSet(images, images, torch.repeat_interleave(torch.arange(3), torch.tensor(SIZES)))


def toy(cls: type[Homoencoder] = Homoencoder, **params: Any) -> Homoencoder:
    model = cls(SPEC, **(SMALL | params))
    model.fit(toy_set())
    model.begin(toy_set())
    return model


def whole_batch() -> Batch:
    train = toy_set()
    return Batch(train.binary, train.labels, torch.arange(len(train.grey)), 0.0)


def identities(supports: torch.Tensor) -> torch.Tensor:
    """Which toy images these are, (M, |D|)."""
    return (supports.flatten(2) * 2.0 ** torch.arange(16)).sum(2).long() - 1


# --- support sets ---------------------------------------------------------------------------------------------


@given(st.permutations(range(5)))
@settings(max_examples=20, deadline=None)
def test_the_class_posterior_ignores_the_order_of_the_support_set(order: list[int]) -> None:
    model = toy().double()
    supports = torch.rand(4, 5, *SPEC.shape, dtype=torch.float64)
    for ordered, shuffled in zip(
        model.class_posterior(supports), model.class_posterior(supports[:, order]), strict=True
    ):
        torch.testing.assert_close(ordered, shuffled, rtol=0, atol=1e-14)


def test_supports_are_images_of_the_class_and_each_comes_as_often() -> None:
    drawn = identities(toy().draw_supports(torch.arange(3).repeat_interleave(2000)))
    first = 0
    for k, size in enumerate(SIZES):
        counts = torch.bincount(drawn[2000 * k : 2000 * (k + 1)].flatten(), minlength=SPEC.train_images)
        assert int(counts[first : first + size].sum()) == 10_000  # and none of another class
        spread_of_counts = 5 * (10_000 / size * (1 - 1 / size)) ** 0.5
        assert counts[first : first + size].sub(10_000 / size).abs().max() <= spread_of_counts
        first += size


def test_a_class_of_one_image_is_its_own_support_set() -> None:
    assert identities(toy().draw_supports(torch.tensor([1]))).tolist() == [[SIZES[0]] * 5]


def test_the_support_set_does_not_depend_on_which_image_of_the_class_is_coded(monkeypatch: pytest.MonkeyPatch) -> None:
    model, train, drawn = toy(), toy_set(), []
    monkeypatch.setattr(model, "class_posterior", lambda s: drawn.append(s) or Homoencoder.class_posterior(model, s))

    def supports(index: list[int], seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        at = torch.tensor(index)
        model.loss(Batch(train.binary[at], train.labels[at], at, 0.0))
        return identities(drawn.pop())

    one, other = [0, 1, 8], [5, 6, 11]  # two images of class 0 and one of class 2 each
    assert all(torch.equal(supports(one, seed), supports(other, seed)) for seed in range(20))
    hits = sum(bool((supports([3], seed)[0] == 3).any()) for seed in range(500))
    by_chance = 1 - (1 - 1 / SIZES[0]) ** 5
    assert hits / 500 == pytest.approx(by_chance, abs=5 * (by_chance * (1 - by_chance) / 500) ** 0.5)


def test_a_support_set_made_of_the_image_itself_is_refused() -> None:
    for supports in ("self", 0):
        with pytest.raises(UserError, match="drawn from the class"):
            toy(supports=supports)


# --- the objective --------------------------------------------------------------------------------------------


def test_each_image_bears_its_class_s_share_of_one_class_code() -> None:
    model, batch = toy(), whole_batch()
    torch.manual_seed(1)
    terms = model.loss(batch)
    torch.manual_seed(1)
    mu, log_sigma = model.class_posterior(model.draw_supports(torch.arange(3)))
    kl = kl_divergence(Normal(mu, log_sigma.exp()), Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(terms["rate_c"], (kl / torch.tensor(SIZES))[batch.y])
    torch.testing.assert_close(terms["rate_c"].sum(), kl.sum())  # a whole class pays its code once
    torch.testing.assert_close(terms["loss"], terms["distortion"] + terms["rate_z"] + terms["rate_c"])


@pytest.mark.parametrize(
    ("term", "untouched"),
    [
        ("rate_c", {"from_image", "from_class", "image_head", "image_prior", "decoder"}),
        ("rate_z", {"decoder"}),
        ("distortion", {"image_prior"}),
        ("loss", set()),
    ],
)
def test_the_gradient_of_each_term_reaches_the_networks_it_is_made_of(term: str, untouched: set[str]) -> None:
    model = toy()
    model.loss(whole_batch())[term].sum().backward()
    touched = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None and bool(p.grad.any())}
    everything = {name.split(".")[0] for name, _ in model.named_parameters()}
    assert touched == everything - untouched


def test_coloured_images_are_coded_as_well() -> None:
    model = Homoencoder(replace(SPEC, shape=(3, 8, 8)), **SMALL)
    grey = torch.rand(SPEC.train_images, 3, 8, 8)
    train = TrainSet(grey, grey.round(), toy_set().labels)
    model.fit(train)
    model.begin(train)
    index = torch.arange(4)
    assert model.loss(Batch(train.binary[:4], train.labels[:4], index, 0.0))["loss"].shape == (4,)
    assert model.decode({"k": torch.zeros(2, dtype=torch.long), "z": torch.zeros(2, 3)}).shape == (2, 3, 8, 8)


# --- what is charged ------------------------------------------------------------------------------------------


def test_the_class_costs_its_training_frequency() -> None:
    model, prior = toy(), toy().prior("k", {})
    torch.testing.assert_close(prior.probs, torch.tensor(SIZES) / sum(SIZES))
    certain = Categorical(logits=torch.tensor([[60.0, 0.0, 0.0], [0.0, 0.0, 60.0]]))
    rate, _, exact = charge(certain, prior, torch.tensor([0, 2]), "k")
    assert exact
    assert rate.tolist() == pytest.approx([-math.log(7 / 12), -math.log(4 / 12)], abs=1e-6)
    model._regroup(torch.tensor([0] * 8 + [2] * 4))
    assert model.prior("k", {}).probs.tolist() == pytest.approx([8 / 13, 1 / 13, 4 / 13])


def test_the_class_posterior_weighs_the_classes_by_the_nats_they_leave() -> None:
    model, x = toy(), toy_set().binary
    model.after_epoch(0, toy_set(), toy_set())
    latents, log_joint = model.encode(x), []
    for k in range(3):
        earlier = {"k": torch.full((len(x),), k)}
        q, p = latents["z"](earlier), model.prior("z", earlier)
        pixels = torch.distributions.Bernoulli(logits=model.decode(earlier | {"z": q.mean}))
        nats = kl_divergence(q, p).sum(1) - pixels.log_prob(x).flatten(1).sum(1)
        log_joint.append(math.log(SIZES[k] / sum(SIZES)) - nats)
    torch.testing.assert_close(latents["k"].probs, torch.stack(log_joint, 1).softmax(1), rtol=1e-4, atol=1e-6)


def test_a_class_code_is_the_same_whatever_is_encoded_and_its_absence_is_the_prior_s_mean() -> None:
    model = toy()
    model._regroup(torch.tensor([0] * 8 + [2] * 4))
    model.after_epoch(0, toy_set(), toy_set())
    before = model.codes.clone()
    model.encode(torch.rand(5, *SPEC.shape))
    assert torch.equal(model.codes, before)
    assert model.codes[1].tolist() == [0, 0, 0]
    assert bool(model.codes[0].any())
    assert torch.equal(model.features({"k": torch.tensor([2, 0])}), before[[2, 0]])


# --- contributions --------------------------------------------------------------------------------------------


def test_the_total_gradient_of_c_also_runs_through_the_posterior_and_the_prior_of_z() -> None:
    def differ(cut: str) -> bool:
        model = toy()
        with torch.no_grad():
            if "posterior" in cut:
                model.from_class.weight.zero_()
            if "prior" in cut:
                model.image_prior[0].weight.zero_()
        found = model.monitor(whole_batch())
        return found["gradient/c_total"] != pytest.approx(found["gradient/c"], rel=1e-5)

    assert differ("neither")
    assert differ("the posterior's path")
    assert differ("the prior's path")
    assert not differ("the posterior's and the prior's path")


def test_scaled_gradients_do_not_depend_on_the_scale_of_the_class_code() -> None:
    def measured(model: Homoencoder) -> dict[str, float]:
        torch.manual_seed(2)
        return model.monitor(whole_batch())

    model, latent = toy(), SMALL["latent"]
    before = measured(model)
    with torch.no_grad():  # c times ten, and whatever reads it divides it by ten
        model.class_head.weight[:latent] *= 10
        model.class_head.bias[:latent] *= 10
        model.class_head.bias[latent:] += math.log(10)
        model.from_class.weight /= 10
        model.image_prior[0].weight /= 10
        model.decoder[0].weight[:, :latent] /= 10
    after = measured(model)
    for name in ("scaled_gradient/c", "scaled_gradient/c_total", "scaled_gradient/z", "gradient/z"):
        assert after[name] == pytest.approx(before[name], rel=1e-3), name
    assert after["gradient/c"] == pytest.approx(before["gradient/c"] / 10, rel=1e-3)


def test_the_information_of_a_gaussian_channel_is_known() -> None:
    # mu is +-sqrt 3, so that the signal has variance 3 and the noise 1: 1/2 log(1 + 3) nats from above.
    mu = torch.tensor([[3.0**0.5], [-(3.0**0.5)]])
    assert float(information(mu, torch.zeros(2, 1))) == pytest.approx(0.5 * math.log(4))
    assert float(information(torch.ones(5, 2), torch.randn(1, 2).expand(5, 2))) == pytest.approx(0, abs=1e-6)


def test_weights_follow_their_rule() -> None:
    @torch.no_grad()
    def weights(rule: str, progress: float = 0.0) -> tuple[float, float]:
        model = toy(ClusteredHomoencoder, rule=rule, clusters=3)
        model.progress.fill_(progress)
        images = toy_set().binary
        q_c, q_z = model.own_codes(images)
        found = model.weights(q_c, (10 * q_z[0], q_z[1]), images)
        if rule == "information":
            share = information(*q_c) / (information(*q_c) + information(10 * q_z[0], q_z[1]))
            assert found[0] == pytest.approx(2 * float(share), rel=1e-4)
        return found

    assert weights("equal") == (1, 1)
    assert [weights("annealed", p)[1] for p in (0.0, 0.25, 1.0)] == pytest.approx([1, 0.75, 0])
    for rule in ("gradients", "information"):
        assert sum(weights(rule)) == pytest.approx(2)
        assert all(w > 0 for w in weights(rule))


# --- clusters -------------------------------------------------------------------------------------------------


def blobs(n: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    """Three round heaps far from each other."""
    truth = torch.arange(n) % 3
    return torch.tensor([[0.0, 0], [10, 0], [0, 10]])[truth] + torch.randn(n, 2), truth


def test_k_means_finds_heaps_and_repeats_itself() -> None:
    points, truth = blobs()

    def found() -> torch.Tensor:
        torch.manual_seed(3)
        return k_means(points, spread(points, 3))

    assert normalized_mutual_info_score(truth, found()) == pytest.approx(1)
    assert torch.equal(found(), found())


@given(st.integers(1, 12), st.integers(0, 2**30))
@settings(max_examples=30, deadline=None)
def test_no_cluster_is_ever_empty(clusters: int, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    points = torch.randint(0, 3, (12, 2), generator=rng).float()  # with duplicates: fewer places than clusters
    for centres in (spread(points, clusters), torch.full((clusters, 2), 100.0)):
        labels = k_means(points, centres)
        assert torch.bincount(labels, minlength=clusters).min() > 0
        assert labels.shape == (12,)


def test_an_empty_cluster_takes_the_farthest_point() -> None:
    points = torch.tensor([[0.0], [0.1], [0.2], [5.0]])
    assert k_means(points, torch.tensor([[0.0], [-100.0]]), iterations=1).tolist() == [0, 0, 0, 1]


def test_from_the_last_centroids_the_clusters_keep_their_numbers_though_the_codes_move() -> None:
    points, truth = blobs()
    named = (truth + 1) % 3  # names that no seeding would choose by itself
    moved = points @ torch.tensor([[0.0, 1], [-1, 0]]) + 50  # a turn and a shift
    assert torch.equal(k_means(moved, centroids(moved, named, 3)), named)


def test_more_clusters_than_images_are_refused() -> None:
    with pytest.raises(UserError, match="1 to 12"):
        toy(ClusteredHomoencoder, clusters=13)
    model = toy(ClusteredHomoencoder, clusters=12)
    assert model.sizes.tolist() == [1] * 12


def test_an_unknown_rule_names_the_rules() -> None:
    with pytest.raises(UserError, match="equal, annealed, gradients, information, random, not 'x'"):
        toy(ClusteredHomoencoder, rule="x")


@pytest.mark.journey
def test_clusters_move_and_end_more_like_the_classes_than_chance(
    clustered: tuple[ClusteredHomoencoder, list[torch.Tensor]], digits: data.Dataset
) -> None:
    model, history = clustered
    assert all(not torch.equal(a, b) for a, b in itertools.pairwise(history[:3]))
    truth, rng = digits.train.labels.numpy(), np.random.default_rng(0)
    draws = [rng.integers(0, len(truth), len(truth)) for _ in range(200)]

    def interval(labels: torch.Tensor) -> tuple[float, float]:
        values = [normalized_mutual_info_score(truth[i], labels.numpy()[i]) for i in draws]
        return tuple(np.quantile(values, (0.025, 0.975)))

    assert interval(history[0])[1] < 0.05  # random to begin with
    assert interval(model.labels)[0] > 0.4
    assert torch.bincount(model.labels, minlength=10).equal(model.sizes)


def test_in_training_a_cluster_keeps_its_number(clustered: tuple[ClusteredHomoencoder, list[torch.Tensor]]) -> None:
    history = clustered[1]
    kept = [float((a == b).float().mean()) for a, b in itertools.pairwise(history[1:])]
    assert min(kept) > 0.5
    assert kept[-1] > 0.8


def test_the_cluster_is_paid_for(
    clustered: tuple[ClusteredHomoencoder, list[torch.Tensor]], digits: data.Dataset
) -> None:
    model = clustered[0]
    with torch.no_grad():
        q = model.encode(digits.val.binary)["k"]
        rate, _, _ = charge(q, model.prior("k", {}), q.mode, "k")
    assert 1 < float(rate.mean()) <= math.log(10) + 0.5
    assert float(rate.min()) >= 0


def test_random_classes_stay(digits: data.Dataset) -> None:
    model = training.Recipe(ClusteredHomoencoder, digits.spec, {"rule": "random"} | SMALL).build()
    first = training.Recipe(ClusteredHomoencoder, digits.spec, {"rule": "random"} | SMALL).build()
    training.train(model, digits, seed=0, budget="three epochs")
    training.train(first, digits, seed=0, budget="smoke")
    assert torch.equal(model.labels, first.labels)
    assert model.sizes.tolist() == [120] * 10


@pytest.mark.parametrize(("cls", "params"), [(Homoencoder, {}), (ClusteredHomoencoder, {"rule": "gradients"})])
def test_a_resumed_run_draws_the_same_supports_and_clusters(
    digits: data.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cls: type[Homoencoder], params: dict
) -> None:
    def trained(**options: Any) -> Homoencoder:
        model = training.Recipe(cls, digits.spec, params | SMALL).build()
        training.train(model, digits, seed=0, budget="three epochs", **options)
        return model

    def interrupt(event: dict[str, Any]) -> None:
        if event["epoch"] == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("suite.training.loop.SAVE_SECONDS", 0)
    monkeypatch.setattr(homoencoder, "ROUNDS", 20)
    with pytest.raises(KeyboardInterrupt):
        trained(resume=tmp_path / "resume", report=interrupt)
    resumed, whole = trained(resume=tmp_path / "resume").state_dict(), trained().state_dict()
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())
