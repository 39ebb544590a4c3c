"""What a linear classifier finds in the frozen features: accuracy, at full width and at equal width.

The probe of Alain & Bengio 2016 (Understanding intermediate layers using linear classifier probes, 1610.01644)
with the controls it needs: absolute accuracy rewards width (an untrained conv net beats most trained codes),
so what is ranked is read from 64 principal components, and the same encoder untrained stands beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from suite.contract import Anchor, Measure, Metric, Score, Task, Unsupported
from suite.measuring import WIDEST, Labelled, compute_features, discrete_groups, head_curve, linear, logistic, numpy_rng

if TYPE_CHECKING:
    import numpy as np

    from suite.measuring import Subject

#: Width at which models are compared.
WIDTH = 64
#: Sizes of the class-balanced labelled subsets, and draws of each.
LABELS = (100, 600, 1000, 3000)
DRAWS = 10
#: Neighbours of the k-nearest-neighbour probe.
NEIGHBOURS = 20
#: Passes over the training split of an arm (on request), and the accuracy whose first step is reported.
ARM_EPOCHS = 10
GOAL = 95.0
#: The seed whose cell also measures the untrained encoder.
UNTRAINED_SEED = 0
ARMS = {
    "pretrained_frozen": (True, True),
    "pretrained_tuned": (True, False),
    "scratch_frozen": (False, True),
    "scratch_tuned": (False, False),
}


class LinearProbe(Task):
    """Multinomial logistic regression on frozen features.

    Args:
        arms: Also train a head on the encoder, pre-trained or from scratch, frozen or fine-tuned.
    """

    version = 3
    summary = "accuracy of a linear classifier on the frozen features"
    primary = "accuracy_64"
    official = True
    requires = ("labels", "shared_classes")
    metrics = (
        Metric("accuracy_64", "%", "higher", "from 64 principal components of the features"),
        Metric("accuracy", "%", "higher", "from all features"),
        Metric("accuracy_64/*", "%", "higher", "from 64 principal components of one group alone"),
        Metric("random_init", "%", "higher", "accuracy_64 of the same encoder untrained"),
        Metric("random_init_all", "%", "higher", "accuracy of the same encoder untrained"),
        Metric("gain", "%", "higher", "accuracy_64 over random_init"),
        Metric("labels_*", "%", "higher", "from all features with this many labels, mean of the draws"),
        Metric("knn", "%", "higher", "of the nearest neighbours in cosine similarity"),
        Metric("floor", "%", "", "of the majority class"),
        Metric("features", "", "", "width of the features"),
        Metric("arm/*", "%", "higher", "last validation accuracy of an arm"),
        Metric("steps_to_95/*", "steps", "lower", "first step at which an arm's validation accuracy reaches 95 %"),
    )
    anchors = (
        Anchor("floor", "the majority class (metric 'floor')"),
        Anchor("raw_pixels", "the pixels themselves; 92.7 % accuracy on MNIST"),
        Anchor("pca", "64 principal components of the pixels; 91.6 % on MNIST"),
        Anchor("random_encoder", "an untrained conv net; about 96.5 % accuracy on MNIST"),
    )

    def __init__(self, arms: bool = False) -> None:
        self.arms = arms

    def card(self) -> dict[str, Any]:
        return {
            "features": "frozen encoder in eval mode, grey images, means; standardized by training statistics",
            "discrete core": "one indicator a position and class, unless the model says otherwise; a bit is its own",
            "discrete groups alone": f"indicators of their values, up to {WIDEST} columns",
            "classifier": "multinomial logistic regression, L2, L-BFGS from the last C's solution",
            "C": f"{logistic.PATH[0]:g} to {logistic.PATH[-1]:g} by validation accuracy, not refitted on it",
            "path ends after": f"{logistic.FALLS} falls of the validation accuracy in a row",
            "converged at": f"largest entry of the gradient <= {logistic.TOLERANCE:g}",
            "equal width": f"principal components to min(d, {WIDTH}) of the standardized features, standardized",
            "labels": f"{', '.join(map(str, LABELS))}; class-balanced, {DRAWS} draws, the same for every model",
            "neighbours": f"k = {NEIGHBOURS}, cosine similarity of the standardized features",
            "untrained": f"in the cell of seed {UNTRAINED_SEED}, for models trained by gradient steps",
            "arms": f"on request (arms=true): {ARM_EPOCHS} epochs each; {', '.join(ARMS)}",
        }

    def score(self, subject: Subject) -> Score:
        if not subject.model.encode(subject.dataset.val.grey[:2]):
            raise Unsupported("no latents to probe")
        labels = _Splits(*(getattr(subject.dataset, split).labels for split in _Splits._fields))
        score = Score()
        views = _views(subject, score.notes)
        core = views.pop("core")
        prepared = prepare(core)
        correct = {"accuracy": probe(prepared, labels, score.notes)}
        correct["accuracy_64"] = probe(narrow(prepared), labels, score.notes)
        metrics = {"features": Measure(float(core.train.shape[1]))} | controls(prepared, labels)
        metrics |= few_labels(prepared, labels, subject.dataset.info.name, score.notes)
        del prepared  # as large as the features: what follows reads others
        for name, view in views.items():
            if torch.equal(view.test, core.test):
                correct[name] = correct["accuracy_64"]
            else:
                correct[name] = probe(narrow(prepare(view, WIDTH)), labels, score.notes)
        # In the metric's unit, so that the mean over images is the metric.
        score.per_image = {name: (100 * hits.float()).cpu().numpy() for name, hits in correct.items()}
        score.metrics = {name: _percent(hits) for name, hits in correct.items()} | metrics
        if subject.seed == UNTRAINED_SEED and subject.model.trainable:
            score.metrics |= _untrained(subject, labels, correct["accuracy_64"], score.notes)
        if self.arms:
            _run_arms(subject, labels, score)
        return score


class _Splits(NamedTuple):
    """Features (N, d) or labels (N,) of the three splits."""

    train: Tensor
    val: Tensor
    test: Tensor


def prepare(features: _Splits, width: int | None = None) -> _Splits:
    """Returns the features standardized, as coordinates on their principal axes, or on the first ``width`` of them."""
    return _Splits(*linear.principal_components(*features, count=width))


def narrow(prepared: _Splits) -> _Splits:
    """Returns the first ``WIDTH`` principal components of prepared features, standardized."""
    return _Splits(*linear.standardize(*(x[:, :WIDTH] for x in prepared)))


def probe(prepared: _Splits, labels: _Splits, notes: list[str]) -> Tensor:
    """Returns which test images a logistic regression on prepared features gets right, bool (N,)."""
    fit = logistic.solver(prepared.train, labels.train)
    classifier, c = logistic.fit_path(fit, prepared.val, labels.val)
    if not classifier.converged:
        notes.append(f"a classifier on {prepared.train.shape[1]} features stopped before it converged, at C = {c:g}")
    return classifier.predict(prepared.test) == labels.test


def controls(prepared: _Splits, labels: _Splits) -> dict[str, Measure]:
    """Accuracy of the majority class and of the nearest neighbours."""
    neighbours = linear.nearest_neighbours(prepared.train, labels.train, prepared.test, NEIGHBOURS)
    return {
        "floor": _percent(labels.test == labels.train.mode().values),
        "knn": _percent(neighbours == labels.test),
    }


def few_labels(prepared: _Splits, labels: _Splits, dataset: str, notes: list[str]) -> dict[str, Measure]:
    """Accuracy from small class-balanced subsets: mean over draws, and its standard error."""
    train, val, test = prepared
    metrics = {}
    for size in LABELS:
        accuracies = []
        for draw in range(DRAWS):
            index = balanced_subset(labels.train, size, numpy_rng("labels", dataset, size, draw))
            if index is None:
                notes.append(f"no labels_{size}: the training split can't give {size} in balance")
                break
            fit = logistic.solver(train[index], labels.train[index])
            classifier, _ = logistic.fit_path(fit, val, labels.val)
            accuracies.append(100 * (classifier.predict(test) == labels.test).double().mean())
        else:
            metrics[f"labels_{size}"] = Measure.mean(torch.stack(accuracies))
    return metrics


def balanced_subset(labels: Tensor, size: int, rng: np.random.Generator) -> Tensor | None:
    """Returns ``size`` positions with equally many of each class (one more of some), or None where it can't be."""
    classes = labels.unique()
    share, rest = divmod(size, len(classes))
    larger = set(rng.permutation(len(classes))[:rest].tolist())
    picked = []
    for rank, label in enumerate(classes):
        positions = (labels == label).nonzero().flatten()
        count = share + (rank in larger)
        if count > len(positions) or share == 0:
            return None
        picked.append(positions[torch.from_numpy(rng.permutation(len(positions))[:count]).to(labels.device)])
    return torch.cat(picked)


def _percent(hits: Tensor) -> Measure:
    return Measure.mean(100 * hits.double())


def _untrained(subject: Subject, labels: _Splits, correct: Tensor, notes: list[str]) -> dict[str, Measure]:
    """The same encoder before training, and what training gained."""
    model, data = subject.untrained(), subject.dataset
    splits = (data.train, data.val, data.test)
    prepared = prepare(_Splits(*(compute_features(model, split.grey, groups=False)["core"] for split in splits)))
    random = probe(narrow(prepared), labels, notes)
    return {
        "random_init": _percent(random),
        "random_init_all": _percent(probe(prepared, labels, notes)),
        "gain": Measure.mean(100 * (correct.double() - random.double())),
    }


def _views(subject: Subject, notes: list[str]) -> dict[str, _Splits]:
    """The core's features as ``core``, and each group's as ``accuracy_64/<group>``."""
    splits = [subject.features(split) for split in _Splits._fields]
    discrete = discrete_groups(subject.model, subject.dataset.val.grey[:2]) - {subject.model.core}
    views = {}
    for name in splits[0]:
        if name.startswith("projected/"):
            if bool(splits[0][name]):
                notes.append(f"{name.removeprefix('projected/')}: over {WIDEST} features, projected at random to these")
            continue
        view, group = _Splits(*(features[name] for features in splits)), name.removeprefix("group/")
        views[name.replace("group/", "accuracy_64/")] = indicators(view) if group in discrete else view
    return views


def indicators(codes: _Splits) -> _Splits:
    """Returns integer codes (N, d) as indicators of the values that occur in training, where few columns do."""
    values = codes.train.unique()
    if len(values) * codes.train.shape[1] > WIDEST:
        return codes
    return _Splits(*((x.unsqueeze(2) == values).flatten(1).float() for x in codes))


def _run_arms(subject: Subject, labels: _Splits, score: Score) -> None:
    """Adds a curve, the last validation accuracy and the steps to ``GOAL`` of each arm."""
    if not subject.model.trainable:
        score.notes.append("no arms: the model is not trained by gradient steps")
        return
    data = subject.dataset
    train, val = Labelled(data.train.grey, labels.train), Labelled(data.val.grey, labels.val)
    for name, (pretrained, frozen) in ARMS.items():
        model = subject.model if pretrained else subject.untrained()
        curve = head_curve(model, train, val, frozen=frozen, epochs=ARM_EPOCHS, seed=("arms", subject.seed))
        score.curves[f"arm/{name}"] = curve
        score.metrics[f"arm/{name}"] = Measure(curve[-1][1], n=len(labels.val))
        reached = next((step for step, accuracy in curve if accuracy >= GOAL), None)
        if reached is None:
            score.notes.append(f"arm {name} does not reach {GOAL:g} %")
        else:
            score.metrics[f"steps_to_95/{name}"] = Measure(reached)
