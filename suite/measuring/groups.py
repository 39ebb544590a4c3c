"""What a group of latents is: real or discrete, what it can hold, and where its values live."""

from __future__ import annotations

import torch
from torch import Tensor
from torch import distributions as D
from torch.distributions.transforms import Transform, identity_transform

from suite.measuring.families import element, is_discrete, mode
from suite.measuring.trust import Frozen
from suite.training import Discrete

#: What a baseline hands over for a group, ancestral groups given the earlier ones.
Resolved = D.Distribution | Tensor | Discrete


def encoded(model: Frozen, x: Tensor) -> dict[str, tuple[Resolved, Tensor]]:
    """Returns every group as it was handed over for images x (N, C, H, W), with its noiseless value (N, ...)."""
    groups: dict[str, tuple[Resolved, Tensor]] = {}
    for name, group in model.encode(x).items():
        resolved = model.resolve(name, group, {n: value for n, (_, value) in groups.items()}, len(x))
        if isinstance(resolved, D.Distribution):
            groups[name] = (resolved, mode(resolved))
        else:
            groups[name] = (resolved, resolved.values if isinstance(resolved, Discrete) else resolved)
    return groups


def discrete_groups(model: Frozen, x: Tensor) -> set[str]:
    """Returns the names of the groups whose values are categories or bits."""
    return {name for name, (group, _) in encoded(model, x).items() if holds_integers(group)}


def holds_integers(group: Resolved) -> bool:
    """Whether the group's values are categories or bits."""
    return isinstance(group, Discrete) or (isinstance(group, D.Distribution) and is_discrete(group))


def is_one_hot(group: Resolved) -> bool:
    """Whether the group's values are one-hot vectors, with the classes along their last dimension."""
    return isinstance(group, D.Distribution) and type(element(group)) is D.OneHotCategorical


def classes_of(group: Resolved) -> int:
    """Returns how many values a position of a discrete group can take."""
    if isinstance(group, Discrete):
        return group.classes
    assert isinstance(group, D.Distribution)
    inner = element(group)
    return inner.logits.shape[-1] if type(inner) is D.Categorical else 2


def choices(group: Resolved, own: Tensor) -> Tensor | None:
    """Returns all values (K, ...) of a group that holds one category per image.

    None for real groups and for those of many positions or several hot ones.

    Args:
        group: As handed over.
        own: Its values (N, ...).
    """
    if not holds_integers(group):
        return None
    if is_one_hot(group):
        size = own.shape[-1]
        return torch.eye(size, dtype=own.dtype, device=own.device) if own[0].numel() == size else None
    if own[0].numel() != 1:
        return None
    return torch.arange(classes_of(group), device=own.device).to(own.dtype).view(-1, *own.shape[1:])


def support_transform(group: Resolved) -> Transform:
    """Returns the map from all real numbers to where a real group's values live (positive, on the simplex, ...)."""
    if not isinstance(group, D.Distribution):
        return identity_transform
    support = element(group).support
    while isinstance(support, D.constraints.independent):
        support = support.base_constraint
    return D.transform_to(support)
