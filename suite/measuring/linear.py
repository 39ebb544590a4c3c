"""Linear measurements on plain tensors: standardizing, principal components, neighbours.

Nothing here knows a model or a dataset; the probe of frozen features and the linear reference of a
generator stand on it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

#: A feature whose standard deviation is below this keeps its scale: it carries nothing but rounding.
CONSTANT_BELOW = 1e-6
#: A direction with less than this share of the largest variance is the rounding of float32 features.
NEGLIGIBLE_VARIANCE = 1e-7
#: Rows per pass over features of which moments or components are taken, and columns per block of a covariance.
CHUNK = 4096
BLOCK = 512


def standardize(train: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    """Returns all tensors (N, d) shifted and scaled by the mean and standard deviation of the first."""
    mean, std = _scales(train)
    return tuple((x - mean).div_(std) for x in (train, *others))


def _scales(x: Tensor) -> tuple[Tensor, Tensor]:
    exact = x.dtype if x.is_floating_point() else torch.float32
    parts = [torch.std_mean(columns.to(exact), dim=0, correction=0) for columns in x.split(BLOCK, 1)]
    std, mean = (torch.cat(part) for part in zip(*parts, strict=True))
    return mean, torch.where(std < CONSTANT_BELOW, 1.0, std)


def principal_axes(x: Tensor, count: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Principal component analysis (Pearson 1901; Hotelling 1933).

    Args:
        x: (N, d).
        count: How many components; None for all d.

    Returns:
        The mean (d,), orthonormal axes (d, count) and their variances (count,) in falling order, in float64.
    """
    mean = torch.cat([columns.mean(0, dtype=torch.float64) for columns in x.split(BLOCK, 1)])  # each held in float64
    return mean, *_axes(x, mean.to(x.dtype), torch.ones_like(x[0]), count)


def principal_components(train: Tensor, *others: Tensor, count: int | None = None) -> tuple[Tensor, ...]:
    """Standardizes features and returns their coordinates on the principal axes of the first, the largest first.

    A logistic regression with an L2 penalty is the same before and after; directions that the training rows do
    not fill are left out, since its weights are zero there. The standardized features are never held as a whole.

    Args:
        train: (N, d), of floats or of integers.
        others: (M, d) each.
        count: At most so many axes; None for all. What is cut off is not computed either.

    Returns:
        One tensor for each, (N, k) with k <= min(d, count).
    """
    mean, std = _scales(train)
    found = _axes_of_few((train - mean).div_(std)) if len(train) < train.shape[1] else _axes(train, mean, std, count)
    axes, variances = (part[..., :count] for part in found)
    axes = axes[:, variances >= NEGLIGIBLE_VARIANCE * variances[0]].to(mean.dtype)
    return tuple(_coordinates(x, mean, std, axes) for x in (train, *others))


def _coordinates(x: Tensor, mean: Tensor, std: Tensor, axes: Tensor) -> Tensor:
    found = mean.new_empty(len(x), axes.shape[1])  # parts that are joined at the end would be held twice
    for rows, place in zip(x.split(CHUNK), found.split(CHUNK), strict=True):
        torch.matmul((rows - mean).div_(std), axes, out=place)
    return found


def _axes(x: Tensor, mean: Tensor, scale: Tensor, count: int | None) -> tuple[Tensor, Tensor]:
    """Axes (d, count) of (x - mean) / scale and their variances, in falling order, in float64."""
    d = x.shape[1]
    covariance = torch.zeros(d, d, dtype=torch.float64, device=x.device)  # below the diagonal: eigh reads no more
    for rows in x.split(CHUNK):
        centred = (rows - mean).div_(scale)
        for block in range(0, d, BLOCK):
            stop = block + BLOCK
            covariance[block:stop, :stop] += centred[:, block:stop].T @ centred[:, :stop]
    variances, axes = _largest(covariance.div_(len(x)), count)
    return axes.flip(1), variances.flip(0).clamp_min(0)


def _largest(matrix: Tensor, count: int | None) -> tuple[Tensor, Tensor]:
    """Eigenvalues and eigenvectors of a symmetric matrix in rising order, of the ``count`` largest alone."""
    d = len(matrix)
    if count is None or count >= d or matrix.is_cuda:
        found = torch.linalg.eigh(matrix)
        return found[0][-(count or d) :], found[1][:, -(count or d) :]
    from scipy import linalg
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(torch.get_num_threads()):
        values, vectors = linalg.eigh(matrix.numpy(), subset_by_index=(d - count, d - 1), check_finite=False)
    return torch.from_numpy(values), torch.from_numpy(vectors)


def _axes_of_few(x: Tensor) -> tuple[Tensor, Tensor]:
    """``_axes`` of fewer rows than columns, whose means are 0, from their inner products: at most N of them."""
    rows = x.double()
    variances, sides = torch.linalg.eigh(rows @ rows.T / len(x))
    scale = (variances * len(x)).clamp_min(torch.finfo(torch.float64).tiny).rsqrt()
    return (rows.T @ sides * scale).flip(1), variances.flip(0).clamp_min(0)


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
