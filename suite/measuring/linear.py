"""Linear measurements on plain tensors: standardizing, principal components, logistic regression, neighbours.

Nothing here knows a model or a dataset; the probe of frozen features and the linear reference of a
generator stand on it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    import numpy as np

#: A feature whose standard deviation is below this keeps its scale: it carries nothing but rounding.
CONSTANT_BELOW = 1e-6
#: A direction with less than this share of the largest variance is the rounding of float32 features.
NEGLIGIBLE_VARIANCE = 1e-7
#: Inverse strengths of the L2 penalty: C times the summed loss plus half the squared weights.
PATH = tuple(10.0**power for power in range(-4, 3))
#: A path ends after this many falls of the validation accuracy in a row.
FALLS = 2
#: A fit ends when no entry of the gradient of (mean loss + penalty) exceeds this, or this many steps are taken.
TOLERANCE = 1e-5
MAX_STEPS = 10_000
#: A fit starts from the one before, moved on by this share of the last move: the path is smooth in log C.
AHEAD = 0.6
#: It has converged when none exceeds this share of the penalty's curvature 1 / (C n), or of 1 if that is more:
#: float32 ends a strongly penalized fit a little above TOLERANCE.
CONVERGED_BELOW = 1e-4


def standardize(train: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    """Returns all tensors (N, d) shifted and scaled by the mean and standard deviation of the first."""
    std, mean = torch.std_mean(train, dim=0, correction=0)
    std = torch.where(std < CONSTANT_BELOW, 1.0, std)
    return tuple((x - mean) / std for x in (train, *others))


def principal_axes(x: Tensor, count: int | None = None, chunk: int = 4096) -> tuple[Tensor, Tensor, Tensor]:
    """Principal component analysis (Pearson 1901; Hotelling 1933).

    Args:
        x: (N, d).
        count: How many components; None for all d.
        chunk: Rows per pass over x.

    Returns:
        The mean (d,), orthonormal axes (d, count) and their variances (count,) in falling order, in float64.
    """
    mean = x.mean(0, dtype=torch.float64)
    covariance = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=x.device)
    for rows in x.split(chunk):
        centred = rows - mean.to(x.dtype)
        covariance += (centred.T @ centred).double()
    variances, axes = torch.linalg.eigh(covariance / len(x))  # ascending
    return mean, axes.flip(1)[:, :count], variances.flip(0)[:count].clamp_min(0)


def rotate(train: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    """Returns all tensors as coordinates on the principal axes of the first, in falling order of variance.

    A logistic regression with an L2 penalty is the same before and after; directions that the training rows do
    not fill are left out, since its weights are zero there.
    """
    mean, axes, variances = principal_axes(train) if len(train) >= train.shape[1] else _axes_of_few(train)
    axes = axes[:, variances >= NEGLIGIBLE_VARIANCE * variances[0]]
    return tuple((x - mean.to(x.dtype)) @ axes.to(x.dtype) for x in (train, *others))


def _axes_of_few(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``principal_axes`` of fewer rows than columns, from their inner products: at most N of them."""
    mean = x.mean(0, dtype=torch.float64)
    centred = x.double() - mean
    variances, rows = torch.linalg.eigh(centred @ centred.T / len(x))
    scale = (variances * len(x)).clamp_min(torch.finfo(torch.float64).tiny).rsqrt()
    return mean, (centred.T @ rows * scale).flip(1), variances.flip(0).clamp_min(0)


@dataclass(frozen=True)
class Classifier:
    """Multinomial logistic regression, fitted.

    Attributes:
        weight: (d, K).
        bias: (K,).
        classes: int64 (K,): the label that each column stands for.
        gradient: Largest entry of the gradient of (mean loss + penalty) where the fit ended, as a share of the
            penalty's curvature where that exceeds 1.
    """

    weight: Tensor
    bias: Tensor
    classes: Tensor
    gradient: float

    @property
    def converged(self) -> bool:
        """Whether the fit ended where the gradient vanishes."""
        return self.gradient <= CONVERGED_BELOW

    def predict(self, x: Tensor) -> Tensor:
        """Returns the most probable label of each row, int64 (N,)."""
        return self.classes[(x @ self.weight + self.bias).argmax(1)]


#: A solver fits its data at one C, starting from where its last fits ended.
Solver = Callable[[float], Classifier]


def sklearn_solver(x: Tensor, y: Tensor) -> Solver:
    """Returns scikit-learn's L-BFGS on these data: the fastest of those tried on a CPU."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    threads = ThreadpoolController()
    model = LogisticRegression(tol=TOLERANCE, max_iter=MAX_STEPS, warm_start=True)
    data, labels = x.numpy(), y.numpy()
    path: list[tuple[np.ndarray, np.ndarray]] = []

    def fit(c: float) -> Classifier:
        if len(path) > 1:
            model.coef_, model.intercept_ = (b + AHEAD * (b - a) for a, b in zip(*path[-2:], strict=True))
        with warnings.catch_warnings(), threads.limit(limits=torch.get_num_threads()):
            warnings.simplefilter("ignore", ConvergenceWarning)  # the gradient itself is looked at instead
            model.set_params(C=c).fit(data, labels)
        path.append((model.coef_, model.intercept_))
        weight, bias = torch.from_numpy(model.coef_.T.copy()), torch.from_numpy(model.intercept_.copy())
        if weight.shape[1] == 1:  # two classes: scikit-learn keeps the difference of their logits alone
            weight, bias = torch.cat([-weight, weight], 1) / 2, torch.cat([-bias, bias]) / 2
            c = c / 2  # its penalty on the difference is the softmax's at half the C
        return _classifier(weight.to(x.dtype), bias.to(x.dtype), torch.from_numpy(model.classes_), x, y, c)

    return fit


def torch_solver(x: Tensor, y: Tensor) -> Solver:
    """Returns L-BFGS in torch on these data: the same objective, wherever they lie (made for GPUs)."""
    classes, target = y.unique(return_inverse=True)
    weight = torch.zeros(x.shape[1], len(classes), dtype=x.dtype, device=x.device, requires_grad=True)
    bias = torch.zeros(len(classes), dtype=x.dtype, device=x.device, requires_grad=True)

    def fit(c: float) -> Classifier:
        optimizer = torch.optim.LBFGS(
            [weight, bias], max_iter=MAX_STEPS, max_eval=2 * MAX_STEPS, tolerance_grad=TOLERANCE,
            tolerance_change=0, history_size=10, line_search_fn="strong_wolfe",
        )  # fmt: skip

        def closure() -> Tensor:
            optimizer.zero_grad()
            value = objective(weight, bias, x, target, c)
            value.backward()
            return value

        with torch.enable_grad():
            optimizer.step(closure)
        return _classifier(weight.detach().clone(), bias.detach().clone(), classes, x, y, c)

    return fit


def objective(weight: Tensor, bias: Tensor, x: Tensor, target: Tensor, c: float) -> Tensor:
    """Mean cross-entropy of the logits x W + b at the target columns, plus |W|^2 / (2 C n)."""
    return F.cross_entropy(x @ weight + bias, target) + weight.square().sum() / (2 * c * len(x))


def _classifier(weight: Tensor, bias: Tensor, classes: Tensor, x: Tensor, y: Tensor, c: float) -> Classifier:
    with torch.enable_grad():
        at = (weight.clone().requires_grad_(True), bias.clone().requires_grad_(True))
        target = torch.searchsorted(classes, y)
        gradients = torch.autograd.grad(objective(*at, x, target, c), at)
    steepest = max(float(g.abs().max()) for g in gradients)
    return Classifier(weight, bias, classes, steepest / max(1.0, 1 / (c * len(x))))


def solver(x: Tensor, y: Tensor) -> Solver:
    """Returns the solver for where the data lie: scikit-learn's on a CPU, torch's elsewhere."""
    return sklearn_solver(x, y) if x.device.type == "cpu" else torch_solver(x, y)


def fit_path(fit: Solver, val_x: Tensor, val_y: Tensor, path: Sequence[float] = PATH) -> tuple[Classifier, float]:
    """Fits along rising C, each from the one before, and returns the best on validation, with its C.

    The path ends after ``FALLS`` falls of the validation accuracy in a row; equals keep the smaller C.
    """
    best: tuple[Classifier, float] | None = None
    best_hits = before = -1
    falls = 0
    for c in path:
        classifier = fit(c)
        hits = int((classifier.predict(val_x) == val_y).sum())
        if hits > best_hits:
            best, best_hits = (classifier, c), hits
        falls = falls + 1 if hits < before else 0
        if falls == FALLS:
            break
        before = hits
    assert best is not None
    return best


def nearest_neighbours(train: Tensor, labels: Tensor, x: Tensor, k: int, chunk: int = 500) -> Tensor:
    """Labels each row by the majority of its k nearest training rows in cosine similarity.

    Ties go to the class whose neighbours are nearer in sum.

    Args:
        train: (N, d).
        labels: int64 (N,).
        x: (M, d).
        k: Number of neighbours.
        chunk: Rows of x per matrix product.

    Returns:
        int64 (M,).
    """
    k = min(k, len(train))
    keys = F.normalize(train)
    predicted = []
    for rows in F.normalize(x).split(chunk):
        similarity, index = (rows @ keys.T).topk(k, dim=1)
        votes = torch.zeros(len(rows), int(labels.max()) + 1, dtype=x.dtype, device=x.device)
        votes.scatter_add_(1, labels[index], 1 + similarity / (4 * k))  # the second term only breaks ties
        predicted.append(votes.argmax(1))
    return torch.cat(predicted)
