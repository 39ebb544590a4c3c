"""Multinomial logistic regression on plain tensors, fitted to where the gradient vanishes, along rising C."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    import numpy as np

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
#: Rows per product of a fit: few enough that those of the logits are still in the cache for the gradient.
ROWS = 2048
#: Up to so many rows scikit-learn's solver is the faster one.
FEW = 5_000


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


def solver(x: Tensor, y: Tensor) -> Solver:
    """Returns the solver for these data: scikit-learn's for few rows on a CPU, else the one in chunks."""
    return sklearn_solver(x, y) if len(x) <= FEW and x.device.type == "cpu" else chunked_solver(x, y)


def sklearn_solver(x: Tensor, y: Tensor) -> Solver:
    """Returns scikit-learn's L-BFGS on these data: the fastest of those tried where rows are few."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    threads = ThreadpoolController()
    model = LogisticRegression(tol=TOLERANCE, max_iter=MAX_STEPS, warm_start=True)
    data, labels = x.numpy(), y.numpy()
    classes, loss = _loss(x, y)
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
        return _classifier(loss, torch.cat([weight.T, bias.unsqueeze(1)], 1).double(), classes, c)

    return fit


def chunked_solver(x: Tensor, y: Tensor) -> Solver:
    """Returns L-BFGS (Liu & Nocedal 1989) on these data, wherever they lie: the same objective.

    It works on weights in units of the curvature where it starts, the square root of the Hessian's diagonal, which
    takes less than half of the steps; it ends by the gradient in the weights' own units.

    Args:
        x: (N, d).
        y: Labels, int64 (N,).
    """
    classes, loss = _loss(x, y)
    path: list[Tensor] = []

    def fit(c: float) -> Classifier:
        start = path[-1] if path else torch.zeros(len(classes), x.shape[1] + 1, dtype=torch.float64, device=x.device)
        if len(path) > 1:
            start = start + AHEAD * (path[-1] - path[-2])
        path.append(_minimize(loss, start, c))
        return _classifier(loss, path[-1], classes, c)

    return fit


def _loss(x: Tensor, y: Tensor) -> tuple[Tensor, _Loss]:
    """The labels in order, and the loss of telling them from x."""
    classes, target = y.unique(return_inverse=True)
    return classes, _Loss(x, F.one_hot(target, len(classes)).T.to(x.dtype).contiguous())


def _classifier(loss: _Loss, weights: Tensor, classes: Tensor, c: float) -> Classifier:
    x = loss.x
    steepest = float(loss(weights, c)[1].abs().max())
    weight, bias = weights[:, :-1].T.to(x.dtype), weights[:, -1].to(x.dtype)
    return Classifier(weight, bias, classes, steepest / max(1.0, 1 / (c * len(x))))


def _minimize(loss: _Loss, start: Tensor, c: float) -> Tensor:
    from scipy import optimize

    unit = loss.curvature(start, c).rsqrt()
    gradient = start

    def weights(point: np.ndarray) -> Tensor:
        return torch.from_numpy(point).to(unit.device).view_as(unit) * unit

    def value(point: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal gradient
        total, gradient = loss(weights(point), c)
        return float(total), (gradient * unit).flatten().cpu().numpy()

    def stop(_: np.ndarray) -> None:
        if float(gradient.abs().max()) <= TOLERANCE:
            raise StopIteration

    options = {"maxiter": MAX_STEPS, "maxfun": 2 * MAX_STEPS, "maxls": 50, "gtol": 0.0, "ftol": 0.0}
    first = (start / unit).flatten().cpu().numpy()
    return weights(optimize.minimize(value, first, jac=True, method="L-BFGS-B", callback=stop, options=options).x)


class _Loss:
    """Mean cross-entropy of the logits W x + b, plus |W|^2 / (2 C n); weights are (K, d + 1), the bias last.

    Classes come before rows in every product, which is several times faster with few of them on a CPU. Products are
    in the data's precision, their sums over chunks of rows in float64.

    Args:
        x: (N, d).
        hot: The classes of the rows, one-hot, (K, N).
    """

    def __init__(self, x: Tensor, hot: Tensor) -> None:
        self.x, self.hot = x, hot

    def __call__(self, weights: Tensor, c: float) -> tuple[Tensor, Tensor]:
        """Returns the objective and its gradient, in float64."""
        total, gradient = weights.new_zeros(()), torch.zeros_like(weights)
        for rows, logits, hot in self._chunks(weights):
            log_p = logits.log_softmax(0)
            total -= (log_p * hot).sum(dtype=torch.float64)
            surplus = log_p.exp_().sub_(hot)
            gradient[:, :-1] += surplus @ rows
            gradient[:, -1] += surplus.sum(1, dtype=torch.float64)
        gradient /= len(self.x)
        weight, strength = weights[:, :-1], 1 / (c * len(self.x))
        gradient[:, :-1] += strength * weight
        return total / len(self.x) + strength / 2 * weight.square().sum(), gradient

    def curvature(self, weights: Tensor, c: float) -> Tensor:
        """Returns the diagonal of the Hessian, no less than the penalty's, (K, d + 1) in float64."""
        diagonal = torch.zeros_like(weights)
        for rows, logits, _ in self._chunks(weights):
            p = logits.softmax(0)
            variance = p * (1 - p)
            diagonal[:, :-1] += variance @ rows.square()
            diagonal[:, -1] += variance.sum(1, dtype=torch.float64)
        return diagonal / len(self.x) + 1 / (c * len(self.x))

    def _chunks(self, weights: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        weight, bias = weights[:, :-1].to(self.x.dtype), weights[:, -1:].to(self.x.dtype)
        for rows, hot in zip(self.x.split(ROWS), self.hot.split(ROWS, 1), strict=True):
            yield rows, torch.addmm(bias, weight, rows.T), hot


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
