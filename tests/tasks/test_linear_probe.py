"""The linear probe: what it must find, what it must not be fooled by, and that its fits are converged."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from suite.contract import Baseline, DataSpec, Discrete, Score, Unsupported
from suite.measuring import linear, logistic
from suite.measuring.features import compute_features
from suite.measuring.finetuning import Labelled, head_curve
from suite.measuring.trust import Frozen
from suite.seeds import numpy_rng
from tasks import linear_probe
from tasks.linear_probe import LinearProbe, _Splits, balanced_subset, few_labels, indicators, narrow, prepare, probe

torch.set_num_threads(1)
CLASSES = 5


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _labels(n: int = 400) -> _Splits:
    return _Splits(*(torch.arange(n) % CLASSES for _ in range(3)))


def _features(labels: _Splits, signal: float, d: int = 8) -> _Splits:
    """One-hot labels times ``signal``, hidden in standard normal noise of d dimensions."""
    hot = (nn.functional.one_hot(y, CLASSES).float() @ torch.eye(CLASSES, d) for y in labels)
    return _Splits(*(signal * h + torch.randn(len(h), d, generator=_rng(i)) for i, h in enumerate(hot)))


def _accuracy(features: _Splits, labels: _Splits) -> float:
    return 100 * float(probe(prepare(features), labels, []).double().mean())


def _narrow_accuracy(features: _Splits, labels: _Splits) -> float:
    return 100 * float(probe(narrow(prepare(features)), labels, []).double().mean())


@pytest.fixture(scope="module")
def digits() -> tuple[_Splits, _Splits]:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    cuts = (slice(0, 1000), slice(1000, 1200), slice(1200, None))
    images, labels = torch.from_numpy(x).float() / 16, torch.from_numpy(y).long()
    return _Splits(*(images[cut] for cut in cuts)), _Splits(*(labels[cut] for cut in cuts))


def test_a_perfect_representation_scores_100_and_noise_scores_chance() -> None:
    labels = _labels()
    assert _accuracy(_features(labels, signal=20), labels) == 100
    assert _accuracy(_features(labels, signal=0), labels) == pytest.approx(100 / CLASSES, abs=3 * 2.0)


def test_duplicated_features_change_nothing() -> None:
    labels = _labels()
    features = _features(labels, signal=2)
    twice = _Splits(*(torch.cat([x, x], 1) for x in features))
    assert prepare(twice).train.shape == prepare(features).train.shape
    # Two of the 400 may change sides: a fit ends anywhere within its tolerance, on each processor elsewhere.
    assert _narrow_accuracy(twice, labels) == pytest.approx(_narrow_accuracy(features, labels), abs=0.51)
    assert _accuracy(twice, labels) == pytest.approx(_accuracy(features, labels), abs=0.51)


def test_the_scale_and_offset_of_a_feature_change_nothing() -> None:
    labels = _labels()
    features = _features(labels, signal=2)
    scale = torch.logspace(-2, 2, features.train.shape[1])
    assert _accuracy(_Splits(*(5 + x * scale for x in features)), labels) == pytest.approx(
        _accuracy(features, labels), abs=0.26
    )


def test_a_constant_feature_is_harmless() -> None:
    labels = _labels()
    constant = _Splits(*(torch.full((len(y), 3), 0.1) for y in labels))
    assert _accuracy(constant, labels) == pytest.approx(100 / CLASSES)
    assert _narrow_accuracy(constant, labels) == pytest.approx(100 / CLASSES)


def test_width_beyond_the_limit_is_projected_to_it() -> None:
    wide = _features(_labels(), signal=1, d=100)
    narrowed = narrow(prepare(wide))
    assert narrowed.test.shape == (400, linear_probe.WIDTH)
    correlations = torch.corrcoef(narrowed.train.T)
    torch.testing.assert_close(correlations, torch.eye(linear_probe.WIDTH), atol=1e-3, rtol=0)
    torch.testing.assert_close(narrowed.train.std(0, correction=0), torch.ones(linear_probe.WIDTH))


def test_principal_axes_span_the_data_in_falling_order() -> None:
    spread = torch.tensor([3.0, 0.1, 1.0])
    x = torch.randn(2000, 3, generator=_rng()) * spread + 7
    mean, axes, variances = linear.principal_axes(x)
    torch.testing.assert_close(mean.float(), x.mean(0))
    torch.testing.assert_close(axes.T @ axes, torch.eye(3, dtype=torch.float64))
    assert axes.abs().argmax(0).tolist() == [0, 2, 1]
    torch.testing.assert_close(variances.sqrt().float(), spread[[0, 2, 1]], rtol=0.1, atol=0)


def test_fewer_rows_than_features_rotate_to_the_same_coordinates() -> None:
    x, others = linear.standardize(*(torch.randn(n, 30, generator=_rng(n)) for n in (20, 5)))
    _, axes, variances = linear.principal_axes(x)
    rotated = linear.principal_components(x, others)
    assert rotated[0].shape == (20, 19)  # centred, twenty rows span nineteen directions
    torch.testing.assert_close(rotated[0].var(0, correction=0), variances[:19].float())
    torch.testing.assert_close(rotated[1].abs(), (others @ axes[:, :19].float()).abs(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("rows", [2000, 40])
def test_the_first_components_are_the_same_where_no_others_are_computed(rows: int) -> None:
    mix = torch.randn(60, 60, generator=_rng()) * torch.logspace(0, -1, 60).unsqueeze(1)
    x, others = (torch.randn(n, 60, generator=_rng(n)) @ mix for n in (rows, 7))
    few, all_of_them = (linear.principal_components(x, others, count=count) for count in (5, None))
    assert few[0].shape == (rows, 5) and all_of_them[0].shape[1] > 5
    for cut, whole in zip(few, all_of_them, strict=True):
        torch.testing.assert_close(cut.abs(), whole[:, :5].abs(), atol=1e-3, rtol=1e-4)


def test_codes_in_a_byte_have_the_coordinates_of_the_same_numbers_as_floats() -> None:
    codes = torch.randint(0, 4, (700, 600), generator=_rng(0)).byte()
    few = codes[:500]  # fewer rows than columns take another way
    for rows in (codes, few):
        for ours, floats in zip(
            linear.principal_components(rows, codes[:9], count=8),
            linear.principal_components(rows.float(), codes[:9].float(), count=8),
            strict=True,
        ):
            assert ours.dtype == torch.float32
            assert torch.equal(ours, floats)


def test_components_do_not_depend_on_how_rows_and_columns_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(300, 20, generator=_rng()) * torch.logspace(0, 1, 20)
    whole = linear.principal_components(x)[0]
    monkeypatch.setattr(linear, "CHUNK", 70)
    monkeypatch.setattr(linear, "BLOCK", 7)
    torch.testing.assert_close(linear.principal_components(x)[0].abs(), whole.abs(), atol=1e-4, rtol=0)


def test_rotation_leaves_the_penalized_fit_as_it_was_and_drops_empty_directions() -> None:
    labels = _labels()
    features = _features(labels, signal=2)
    wide = _Splits(*(x @ torch.randn(8, 30, generator=_rng(4)) for x in features))
    wide = _Splits(*linear.standardize(*wide))
    rotated = linear.principal_components(*wide)
    assert rotated[0].shape == (400, 8)
    for c in (1e-3, 1.0):
        before, after = (logistic.solver(x, labels.train)(c) for x in (wide.train, rotated[0]))
        logits = wide.test @ before.weight + before.bias, rotated[2] @ after.weight + after.bias
        torch.testing.assert_close(*(x - x[:, :1] for x in logits), atol=0.05, rtol=0)


@pytest.mark.parametrize("make", [logistic.sklearn_solver, logistic.chunked_solver])
def test_a_fit_ends_where_the_gradient_vanishes(make: Any, digits: tuple[_Splits, _Splits]) -> None:
    x, y = linear.standardize(digits[0].train)[0], digits[1].train
    fit = make(x, y)
    for c in (1e-4, 1e-2, 1.0):
        classifier = fit(c)
        weight, bias = (t.double().requires_grad_() for t in (classifier.weight, classifier.bias))
        loss = nn.functional.cross_entropy(x.double() @ weight + bias, y) + weight.square().sum() / (2 * c * len(x))
        steepest = max(float(g.abs().max()) for g in torch.autograd.grad(loss, (weight, bias)))
        assert classifier.converged
        assert steepest < logistic.CONVERGED_BELOW
        assert classifier.gradient * max(1, 1 / (c * len(x))) == pytest.approx(steepest, abs=1e-6)


@pytest.mark.parametrize("make", [logistic.sklearn_solver, logistic.chunked_solver])
def test_a_fit_that_was_cut_short_says_so(
    make: Any, digits: tuple[_Splits, _Splits], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logistic, "MAX_STEPS", 3)
    assert not make(digits[0].train, digits[1].train)(1.0).converged


def test_the_solver_in_chunks_agrees_with_scikit_learn_within_a_tenth_of_a_point() -> None:
    labels = _Splits(*(torch.arange(n) % CLASSES for n in (1000, 1000, 20_000)))
    features = _features(labels, signal=2, d=16)
    results = [
        logistic.fit_path(make(features.train, labels.train), features.val, labels.val)
        for make in (logistic.sklearn_solver, logistic.chunked_solver)
    ]
    accuracies = [100 * float((fit.predict(features.test) == labels.test).double().mean()) for fit, _ in results]
    assert results[0][1] == results[1][1]
    assert accuracies[0] == pytest.approx(accuracies[1], abs=0.1)


def test_raw_pixels_score_what_scikit_learn_alone_scores(digits: tuple[_Splits, _Splits]) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    (train, val, test), y = ([part.numpy() for part in splits] for splits in digits)
    scaler = StandardScaler().fit(train.astype(np.float64))
    models = [
        LogisticRegression(C=c, tol=1e-8, max_iter=100_000).fit(scaler.transform(train), y[0]) for c in (0.01, 0.1, 1)
    ]
    best = max(models, key=lambda model: model.score(scaler.transform(val), y[1]))
    assert _accuracy(*digits) == pytest.approx(100 * best.score(scaler.transform(test), y[2]), abs=0.2)


def test_two_classes_fit_like_any_number() -> None:
    x = torch.randn(200, 2, generator=_rng())
    y = torch.where(x[:, 0] > 0, 7, 3)
    for make in (logistic.sklearn_solver, logistic.chunked_solver):
        classifier = make(x, y)(10.0)
        predicted = classifier.predict(x)
        assert classifier.converged
        assert set(predicted.tolist()) == {3, 7}
        assert float((predicted == y).double().mean()) > 0.97


def test_the_curvature_is_the_diagonal_of_the_hessian() -> None:
    x, y, c = torch.randn(50, 3, generator=_rng()).double(), torch.arange(50) % 4, 0.1
    _, loss = logistic._loss(x, y)
    weights = torch.randn(4, 4, generator=_rng(1)).double()

    def objective(w: Tensor) -> Tensor:
        entropy = nn.functional.cross_entropy(x @ w[:, :-1].T + w[:, -1], y)
        return entropy + w[:, :-1].square().sum() / (2 * c * len(x))

    value, gradient = loss(weights, c)
    torch.testing.assert_close(value, objective(weights))
    torch.testing.assert_close(gradient, torch.autograd.functional.jacobian(objective, weights))
    hessian = torch.autograd.functional.hessian(objective, weights).reshape(16, 16).diagonal().reshape(4, 4)
    expected = torch.cat([hessian[:, :-1], hessian[:, -1:] + 1 / (c * len(x))], 1)  # the bias bears no penalty
    torch.testing.assert_close(loss.curvature(weights, c), expected)


def test_many_rows_are_fitted_in_chunks_and_few_by_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logistic, "sklearn_solver", lambda x, y: "few")
    monkeypatch.setattr(logistic, "chunked_solver", lambda x, y: "many")
    found = [logistic.solver(torch.zeros(n, 1), torch.zeros(n)) for n in (logistic.FEW, logistic.FEW + 1)]
    assert found == ["few", "many"]


def _scripted(hits: list[int], n: int = 10) -> tuple[logistic.Solver, list[float]]:
    """A solver whose fits get these numbers of n validation rows right, and the list of C it was asked for."""
    asked: list[float] = []

    def fit(c: float) -> logistic.Classifier:
        right = hits[len(asked)]
        asked.append(c)
        bias = torch.where(torch.arange(n) < right, 1.0, -1.0)
        return SimpleNamespace(predict=lambda x: (bias > 0).long(), converged=True)  # type: ignore[return-value]

    return fit, asked


@pytest.mark.parametrize(
    ("hits", "chosen", "fits"),
    [
        ([1, 5, 4, 3, 9, 9, 9], 1e-3, 4),
        ([1, 5, 4, 6, 5, 4, 9], 1e-1, 6),
        ([1, 2, 3, 4, 5, 6, 7], 1e2, 7),
        ([5, 5, 5, 5, 5, 5, 5], 1e-4, 7),
    ],
)
def test_the_path_takes_the_best_c_and_ends_after_two_falls_in_a_row(hits: list[int], chosen: float, fits: int) -> None:
    fit, asked = _scripted(hits)
    _, c = logistic.fit_path(fit, torch.zeros(10, 1), torch.ones(10, dtype=torch.long))
    assert c == pytest.approx(chosen)
    assert len(asked) == fits


def test_neighbours_vote_by_majority_and_break_ties_by_nearness() -> None:
    train = torch.tensor([[1.0, 0.0], [1.0, 0.2], [1.0, 0.5], [0.0, 1.0]])
    labels = torch.tensor([2, 0, 0, 1])
    query = torch.tensor([[100.0, 0.0]])  # cosine: length does not matter
    assert linear.nearest_neighbours(train, labels, query, k=1).tolist() == [2]
    assert linear.nearest_neighbours(train, labels, query, k=2).tolist() == [2]
    assert linear.nearest_neighbours(train, labels, query, k=3).tolist() == [0]
    assert linear.nearest_neighbours(train, labels, query, k=20).tolist() == [0]


def test_neighbours_do_not_depend_on_how_the_queries_are_cut() -> None:
    train, queries = torch.randn(60, 4, generator=_rng()), torch.randn(25, 4, generator=_rng(1))
    labels = torch.arange(60) % CLASSES
    whole = linear.nearest_neighbours(train, labels, queries, k=5)
    assert torch.equal(whole, linear.nearest_neighbours(train, labels, queries, k=5, chunk=7))


@pytest.mark.parametrize("size", [10, 103])
def test_subsets_hold_every_class_equally_often_and_no_image_twice(size: int) -> None:
    labels = _labels().train
    index = balanced_subset(labels, size, numpy_rng("test"))
    assert index is not None
    counts = labels[index].bincount(minlength=CLASSES)
    assert len(set(index.tolist())) == size
    assert int(counts.max() - counts.min()) <= 1


def test_a_subset_that_the_classes_cannot_give_is_refused() -> None:
    labels = torch.tensor([0] * 50 + [1] * 5)
    assert balanced_subset(labels, 12, numpy_rng("test")) is None
    assert balanced_subset(labels, 1, numpy_rng("test")) is None


def test_few_labels_are_measured_where_the_split_gives_them_and_noted_where_not() -> None:
    labels = _labels()
    notes: list[str] = []
    metrics = few_labels(prepare(_features(labels, signal=3)), labels, "toy", notes)
    assert list(metrics) == ["labels_100"]
    assert metrics["labels_100"].n == linear_probe.DRAWS
    assert metrics["labels_100"].se  # the draws differ
    assert metrics["labels_100"].value > 80
    assert notes == [f"no labels_{size}: the training split can't give {size} in balance" for size in (600, 1000, 3000)]


def test_the_card_follows_the_values_that_the_code_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    before = LinearProbe().card()
    monkeypatch.setattr(linear_probe, "WIDTH", 7)
    monkeypatch.setattr(logistic, "TOLERANCE", 0.5)
    after = LinearProbe().card()
    assert {name for name in after if after[name] != before[name]} == {"equal width", "converged at"}


# --- the task on a stand-in of the scored model --------------------------------------------------------------


class _Encoder(Baseline):
    """A linear encoder of 1 x 4 x 4 images, a group that says nothing and one of ten names, two for each label."""

    def __init__(self, spec: DataSpec, moving: bool = False) -> None:
        super().__init__(spec)
        self.layer, self.moving = nn.Linear(16, 6), moving
        self.register_buffer("calls", torch.zeros(1))

    def loss(self, batch: Any) -> dict[str, Tensor]:
        return {"loss": self.layer(batch.x.flatten(1)).sum(1)}

    def encode(self, x: Tensor) -> dict[str, Any]:
        if self.moving:
            self.calls += 1
        flat = x.flatten(1)
        names = flat[:, :CLASSES].argmax(1) + CLASSES * (flat[:, -1] > 0)
        return {"z": self.layer(flat), "side": torch.zeros(len(x), 2), "name": Discrete(names, 2 * CLASSES)}


def _model(seed: int = 0, moving: bool = False) -> Frozen:
    torch.manual_seed(seed)
    return Frozen(_Encoder(DataSpec("toy", (1, 4, 4), CLASSES, 400), moving))


def _dataset(n: int = 400) -> Any:
    labels = _labels(n)
    images = _features(labels, signal=8, d=16)
    splits = {
        name: SimpleNamespace(grey=x.view(-1, 1, 4, 4), labels=y)
        for name, x, y in zip(("train", "val", "test"), images, labels, strict=True)
    }
    return SimpleNamespace(info=SimpleNamespace(name="toy"), **splits)


def _subject(model: Frozen, seed: int = 0) -> Any:
    dataset = _dataset()

    def features(split: str) -> dict[str, Tensor]:
        return compute_features(model, getattr(dataset, split).grey)

    return SimpleNamespace(
        model=model, dataset=dataset, seed=seed, features=features, untrained=lambda: _model(1), rng=None
    )


def test_the_task_reports_every_group_and_keeps_each_image() -> None:
    score = LinearProbe().score(_subject(_model(), seed=1))
    assert score.metrics["accuracy"].value > 90
    assert score.metrics["accuracy_64/z"] == score.metrics["accuracy_64"]
    assert score.metrics["accuracy_64/side"].value == pytest.approx(score.metrics["floor"].value)
    assert score.metrics["accuracy_64/name"].value > 98  # as names; as numbers they would not separate
    assert score.metrics["features"].value == 6
    assert "random_init" not in score.metrics
    assert score.metrics["accuracy"].value == pytest.approx(score.per_image["accuracy"].mean())
    assert score.per_image["accuracy_64"].shape == (400,)


def test_a_category_counts_as_a_name_and_not_as_a_number() -> None:
    codes = _labels()
    parity = _Splits(*(code % 2 for code in codes))
    numbers = _Splits(*(code.float().unsqueeze(1) for code in codes))
    assert _narrow_accuracy(numbers, parity) < 90
    assert _narrow_accuracy(indicators(numbers), parity) == 100


class _Clustered(_Encoder):
    """The name is all that counts as content, and half of the names are never heard in training."""

    core = "name"

    def encode(self, x: Tensor) -> dict[str, Any]:
        groups = super().encode(x)
        return {"name": Discrete(2 * groups["name"].values, 4 * CLASSES), "z": groups["z"]}


def test_a_discrete_core_is_read_as_indicators_and_scores_what_its_group_scores() -> None:
    torch.manual_seed(0)
    score = LinearProbe().score(_subject(Frozen(_Clustered(DataSpec("toy", (1, 4, 4), CLASSES, 400))), seed=1))
    assert score.metrics["features"].value == 4 * CLASSES
    assert score.metrics["accuracy_64"].value > 98  # as ordinals they would not separate
    assert score.metrics["accuracy_64/name"] == score.metrics["accuracy_64"]


def test_every_reported_metric_is_declared() -> None:
    score = _armed(_subject(_model(), seed=1))
    declared = [metric.name for metric in LinearProbe.metrics]
    for name in score.metrics:
        assert name in declared or any(d.endswith("*") and name.startswith(d[:-1]) for d in declared), name


def _armed(subject: Any) -> Score:
    return LinearProbe(arms=True).score(subject)


def test_arms_are_curves_whose_first_passage_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear_probe, "GOAL", 60.0)
    monkeypatch.setattr(linear_probe, "ARM_EPOCHS", 40)
    score = _armed(_subject(_model(), seed=1))
    assert {name.removeprefix("arm/") for name in score.curves} == set(linear_probe.ARMS)
    curve = score.curves["arm/pretrained_tuned"]
    first = score.metrics["steps_to_95/pretrained_tuned"].value
    assert dict(curve)[first] >= 60
    assert all(accuracy < 60 for step, accuracy in curve if step < first)


def test_a_model_without_latents_is_unsupported() -> None:
    model = _model()
    model.encode = lambda x: {}  # type: ignore[method-assign]
    with pytest.raises(Unsupported, match="no latents to probe"):
        LinearProbe().score(_subject(model))


def _arm(model: Frozen, frozen: bool) -> list[tuple[float, float]]:
    dataset = _dataset()
    train, val = (Labelled(split.grey, split.labels) for split in (dataset.train, dataset.val))
    return head_curve(model, train, val, frozen=frozen, epochs=2, seed=("test",))


def test_arms_leave_the_scored_model_alone_and_repeat_exactly() -> None:
    model = _model()
    before = model.parameter_hash()
    frozen, tuned = _arm(model, frozen=True), _arm(model, frozen=False)
    assert model.parameter_hash() == before
    assert frozen != tuned
    assert tuned == _arm(model, frozen=False)
    assert tuned[-1][1] > tuned[0][1]


def test_a_frozen_arm_whose_encoder_moves_is_caught() -> None:
    with pytest.raises(RuntimeError, match="moved"):
        _arm(_model(moving=True), frozen=True)
