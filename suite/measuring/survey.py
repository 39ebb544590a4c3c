"""What one pass over the training split says of each group: its kind, its moments, its histogram."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch import distributions as D

from suite.errors import ContractError
from suite.measuring.coding import batches
from suite.measuring.drawing import draw
from suite.measuring.families import bare, mode
from suite.measuring.priors import Moments
from suite.training import Discrete

if TYPE_CHECKING:
    from suite.measuring.subject import Subject


@dataclass
class Survey:
    """What one pass over the training split says of a group.

    Attributes:
        kind: ``"code"``, ``"discrete"``, ``"normal"``, ``"normal with prior"`` or ``"other"``.
        moments: Of a real group's codes or posteriors.
        counts: Occurrences (or summed probabilities) of a discrete group's classes, (positions, classes).
        shape: Of one image's values.
        own_prior: Whether the baseline brings a prior for it.
    """

    kind: str
    moments: Moments | None = None
    counts: Tensor | None = None
    shape: torch.Size = torch.Size()
    own_prior: bool = False


def survey(subject: Subject) -> dict[str, Survey]:
    """Returns kinds, moments and histograms of all groups, from one pass over the training split.

    Raises:
        ContractError: If a stochastic group of another family than Normal or Categorical brings no prior.
    """
    groups: dict[str, Survey] = {}
    rng = subject.rng("channel", "survey")
    for (b,) in batches(subject.dataset.train.binary):
        values: dict[str, Tensor] = {}
        for name, group in subject.model.encode(b).items():
            q = subject.model.resolve(name, group, values, len(b))
            value = q if isinstance(q, Tensor) else draw(q, rng)
            if name not in groups:
                own_prior = subject.model.prior(name, values) is not None
                groups[name] = Survey(_kind(q), shape=value.shape[1:], own_prior=own_prior)
            _add(groups[name], q, value, f"{subject.model.name}.encode['{name}']")
            values[name] = value
    for name, g in groups.items():
        if g.kind == "normal" and g.own_prior:
            g.kind = "normal with prior"
        if g.kind == "other" and not g.own_prior:
            raise ContractError(f"{subject.model.name}.prior('{name}'): this family has no default prior; return one")
    return groups


def _kind(q: D.Distribution | Discrete | Tensor) -> str:
    if isinstance(q, Tensor):
        return "code"
    if isinstance(q, Discrete):
        return "discrete"
    q = bare(q)
    if type(q) in (D.Categorical, D.OneHotCategorical):
        return "discrete"
    return "normal" if type(q) is D.Normal else "other"


def _add(group: Survey, q: D.Distribution | Discrete | Tensor, value: Tensor, where: str) -> None:
    if value.shape[1:] != group.shape:
        raise ContractError(f"{where}: expected shape {tuple(group.shape)} per image, found {tuple(value.shape[1:])}")
    if isinstance(q, Discrete) or group.kind == "discrete":
        counts = _counts(q)
        group.counts = counts if group.counts is None else group.counts + counts
        return
    loc = q if isinstance(q, Tensor) else mode(q)
    flat = loc.reshape(len(loc), -1)
    group.moments = group.moments or Moments.empty(flat.shape[1], flat.device)
    group.moments = group.moments.add(flat, None if isinstance(q, Tensor) else q.variance.reshape(len(loc), -1))


def _counts(q: D.Distribution | Discrete | Tensor) -> Tensor:
    """Occurrences (or summed probabilities) of each class at each position, (positions, classes)."""
    if isinstance(q, Discrete):
        codes = q.values.reshape(len(q.values), -1)
        zeros = torch.zeros(codes.shape[1], q.classes, dtype=torch.float64, device=codes.device)
        return zeros.scatter_add_(1, codes.T, torch.ones_like(codes.T, dtype=torch.float64))
    assert isinstance(q, D.Distribution)
    probabilities = bare(q).probs.double()  # type: ignore[attr-defined]
    return probabilities.sum(0).reshape(-1, probabilities.shape[-1])


def typical(group: Survey) -> Tensor:
    """Returns the training mean of a real group, the most frequent value of a discrete one."""
    if group.counts is not None:
        best = group.counts.argmax(-1)
        if group.counts.numel() == group.shape.numel():  # one-hot values carry their classes in the shape
            return torch.nn.functional.one_hot(best, group.counts.shape[-1]).float().reshape(group.shape)
        return best.reshape(group.shape)
    assert group.moments is not None
    return group.moments.mean.to(torch.get_default_dtype()).reshape(group.shape)


def floored(moments: Moments) -> Moments:
    """Returns moments whose covariance stays positive definite where a posterior has collapsed to a point."""
    return moments.plus(torch.full_like(moments.mean, 1e-9 + 1e-9 * float(moments.variances.mean())))
