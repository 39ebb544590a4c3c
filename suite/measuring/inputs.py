"""Searching a frozen decoder's inputs for given images: what can it express?

Real-valued groups are optimized from their prior mean, small categories are tried one by one, and other
discrete groups keep the value that the encoder gives the image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch import distributions as D
from torch.distributions.transforms import Transform, identity_transform
from torch.nn import functional as F

from suite.errors import ContractError
from suite.measuring.trust import Frozen, is_discrete, mode
from suite.training import Discrete

#: All combinations of small categorical groups are tried up to this many.
MOST_TRIES = 100
#: Rows per pass: images are independent of each other, so this moves no number.
ROWS = 1000

#: Gives the ``typical_values`` of the training split, computed where they are first needed.
Typical = Callable[[], dict[str, Tensor]]

Resolved = D.Distribution | Tensor | Discrete


@dataclass(frozen=True)
class Start:
    """Where a search begins: one row per image and tried combination, the tries of an image side by side.

    Attributes:
        order: Names of all groups.
        free: Starting values of the optimized groups, before ``transforms``.
        fixed: Values of the others.
        transforms: From all real numbers to the support of a free group (positive, on the simplex, ...).
        tries: Rows per image.
        kept: Discrete groups that keep the image's own encoded value.
    """

    order: tuple[str, ...]
    free: dict[str, Tensor]
    fixed: dict[str, Tensor]
    transforms: dict[str, Transform]
    tries: int
    kept: tuple[str, ...]

    @property
    def dims(self) -> int:
        """Number of free real inputs of one image."""
        return sum(value[0].numel() for value in self.free.values())

    def rows(self, index: slice) -> Start:
        """The same search for some of the rows."""
        free, fixed = ({n: v[index] for n, v in part.items()} for part in (self.free, self.fixed))
        return Start(self.order, free, fixed, self.transforms, self.tries, self.kept)

    def values(self, free: dict[str, Tensor]) -> dict[str, Tensor]:
        """What the decoder receives for these values of the free groups."""
        return {n: self.transforms[n](free[n]) if n in free else self.fixed[n] for n in self.order}


@dataclass(frozen=True)
class Found:
    """The outcome of a search.

    Attributes:
        images: Best output of the decoder for each target, (N, C, H, W) in [0, 1].
        curve: Mean squared error per pixel after 0, 1, ... steps, mean over images of the best try.
        step_size: The one chosen.
    """

    images: Tensor
    curve: Tensor
    step_size: float


def typical_values(model: Frozen, images: Tensor, chunk: int = 500) -> dict[str, Tensor]:
    """Returns each group's mean over images (real) or most frequent value (discrete), without batch dimension."""
    totals: dict[str, Tensor] = {}
    groups: dict[str, tuple[Resolved, Tensor]] = {}
    for x in images.split(chunk):
        groups = _encoded(model, x)
        for name, (group, value) in groups.items():
            if _is_discrete(group) and not _is_one_hot(group):
                total = torch.stack([(value == k).sum(0) for k in range(_classes(group))])
            else:
                total = value.sum(0, dtype=torch.float64)
            totals[name] = total + totals[name] if name in totals else total
    return {name: _typical(*groups[name], total, len(images)) for name, total in totals.items()}


def _typical(group: Resolved, value: Tensor, total: Tensor, n: int) -> Tensor:
    if _is_one_hot(group):
        return F.one_hot(total.argmax(-1), total.shape[-1]).to(value.dtype)
    return total.argmax(0).to(value.dtype) if _is_discrete(group) else (total / n).to(value.dtype)


def discrete_groups(model: Frozen, x: Tensor) -> set[str]:
    """Returns the names of the groups whose values are categories or bits."""
    return {name for name, (group, _) in _encoded(model, x).items() if _is_discrete(group)}


def lay_out(model: Frozen, x: Tensor, typical: Typical, only: str | None = None) -> Start:
    """Decides for every group whether it is optimized, tried, kept or held.

    Args:
        model: The frozen baseline.
        x: Target images (N, C, H, W).
        typical: Gives the ``typical_values`` of the training split; called where a group has no prior.
        only: Search this group alone and hold every other at its prior mean (real) or mode (discrete).
    """
    groups = _encoded(model, x)
    searched = [n for n in groups if only in (None, n)]
    tried = _tried({n: groups[n] for n in searched})
    tries = math.prod(len(choices) for choices in tried.values())
    combined = dict(zip(tried, _product(list(tried.values())), strict=True))
    values: dict[str, Tensor] = {}
    free, transforms = {}, {}
    for name, (group, own) in groups.items():
        if name in tried:
            values[name] = combined[name].repeat(len(x), *[1] * (own.ndim - 1))
        elif name in searched and _is_discrete(group):
            values[name] = own.repeat_interleave(tries, 0)
        else:
            values[name] = _prior_mean(model, name, values, own, len(x) * tries, typical)
            if name in searched:
                transforms[name] = _transform(group)
                free[name] = transforms[name].inv(values[name])
    fixed = {n: v for n, v in values.items() if n not in free}
    kept = tuple(n for n in searched if n not in free and n not in tried)
    return Start(tuple(groups), free, fixed, transforms, tries, kept)


def search(model: Frozen, start: Start, x: Tensor, sizes: Sequence[float], trial: int, steps: int) -> Found:
    """Optimizes the free inputs with Adam (Kingma & Ba 2014) on the squared error of the decoder's output.

    Args:
        model: The frozen baseline.
        start: Where to begin.
        x: Target images (N, C, H, W) in [0, 1].
        sizes: Step sizes, compared by their error after ``trial`` steps.
        trial: Steps of that comparison.
        steps: Steps of the search in all, no fewer: the chosen attempt goes on.

    Raises:
        ContractError: If the decoder's output is not finite at any step size.
    """
    attempts = {size: _Attempt(model, start, x, size) for size in sizes}
    outcomes = {size: attempt.error_after(trial) for size, attempt in attempts.items()}
    size = min(sizes, key=lambda s: outcomes[s])
    if not math.isfinite(outcomes[size]):
        raise ContractError(f"{model.name}.decode: not finite under any step size")
    free, errors = attempts[size].run(steps - trial)
    best = errors[-1].view(len(x), -1).argmin(1) + torch.arange(len(x), device=x.device) * start.tries
    chosen = {n: v[best] for n, v in start.values(free).items()}
    return Found(decode_grey(model, chosen), _curve(errors, start, x), size)


def decode_grey(model: Frozen, values: dict[str, Tensor]) -> Tensor:
    """Returns the decoder's output as intensities in [0, 1]."""
    return torch.cat([
        model.decode({n: v[i : i + ROWS] for n, v in values.items()}).sigmoid()
        for i in range(0, len(next(iter(values.values()))), ROWS)
    ])  # fmt: skip


class Descent:
    """Adam on independent rows, which can go on.

    Args:
        errors: Maps the inputs (rows, ...) to the error of each row, (rows,).
        start: The inputs to begin with.
        size: Adam's step size.
    """

    def __init__(self, errors: Callable[[dict[str, Tensor]], Tensor], start: dict[str, Tensor], size: float) -> None:
        self._errors, self._history = errors, list[Tensor]()
        self._inputs = {name: value.clone().requires_grad_(True) for name, value in start.items()}
        self._adam = torch.optim.Adam(list(self._inputs.values()), lr=size)

    def run(self, steps: int) -> tuple[dict[str, Tensor], Tensor]:
        """Takes further steps.

        Returns:
            The inputs after the last step, and the errors (steps so far + 1, rows) before, between and after all steps.
        """
        for _ in range(steps):
            self._adam.zero_grad()
            with torch.enable_grad():
                error = self._errors(self._inputs)
                if error.requires_grad:  # a decoder may ignore its inputs
                    error.sum().backward()
            self._history.append(error.detach())
            self._adam.step()
        with torch.no_grad():
            last = self._errors(self._inputs)
        inputs = {name: value.detach().clone() for name, value in self._inputs.items()}
        return inputs, torch.stack([*self._history, last])


def descend(
    errors: Callable[[dict[str, Tensor]], Tensor], start: dict[str, Tensor], size: float, steps: int
) -> tuple[dict[str, Tensor], Tensor]:
    """A ``Descent`` from its start: the inputs after the last step, and all errors (steps + 1, rows)."""
    return Descent(errors, start, size).run(steps)


class _Attempt:
    """A search at one step size, in parts of ``ROWS`` rows."""

    def __init__(self, model: Frozen, start: Start, x: Tensor, size: float) -> None:
        self._start, self._x = start, x
        targets = x.repeat_interleave(start.tries, 0)
        self._parts = []
        for i in range(0, len(targets), ROWS):
            rows, target = start.rows(slice(i, i + ROWS)), targets[i : i + ROWS]

            def errors(free: dict[str, Tensor], rows: Start = rows, target: Tensor = target) -> Tensor:
                output = model.decode(rows.values(free), gradients=True).sigmoid()
                return (output - target).square().flatten(1).sum(1)

            self._parts.append(Descent(errors, rows.free, size))

    def run(self, steps: int) -> tuple[dict[str, Tensor], Tensor]:
        """Takes further steps: the inputs after the last, and all errors so far, (steps so far + 1, rows)."""
        parts = [part.run(steps) for part in self._parts]
        free = {name: torch.cat([inputs[name] for inputs, _ in parts]) for name in self._start.free}
        return free, torch.cat([history for _, history in parts], dim=1)

    def error_after(self, steps: int) -> float:
        """Mean error after further steps; infinite where the decoder's output stopped being finite."""
        try:
            return float(_curve(self.run(steps)[1], self._start, self._x)[-1])
        except ContractError:
            return math.inf


def _curve(errors: Tensor, start: Start, x: Tensor) -> Tensor:
    """Squared error per pixel by step from those of rows, (steps + 1, rows)."""
    return errors.view(len(errors), len(x), start.tries).min(2).values.mean(1) / x[0].numel()


# --- what a group is -----------------------------------------------------------------------------------------


def _encoded(model: Frozen, x: Tensor) -> dict[str, tuple[Resolved, Tensor]]:
    """Every group as it was handed over, with its noiseless value, (N, ...)."""
    groups: dict[str, tuple[Resolved, Tensor]] = {}
    for name, group in model.encode(x).items():
        resolved = model.resolve(name, group, {n: value for n, (_, value) in groups.items()}, len(x))
        if isinstance(resolved, D.Distribution):
            groups[name] = (resolved, mode(resolved))
        else:
            groups[name] = (resolved, resolved.values if isinstance(resolved, Discrete) else resolved)
    return groups


def _base(q: D.Distribution) -> D.Distribution:
    while isinstance(q, D.Independent):
        q = q.base_dist
    return q


def _is_discrete(group: Resolved) -> bool:
    return isinstance(group, Discrete) or (isinstance(group, D.Distribution) and is_discrete(group))


def _is_one_hot(group: Resolved) -> bool:
    return isinstance(group, D.Distribution) and type(_base(group)) is D.OneHotCategorical


def _classes(group: Resolved) -> int:
    """Values that a position of a discrete group can take."""
    if isinstance(group, Discrete):
        return group.classes
    assert isinstance(group, D.Distribution)
    base = _base(group)
    return base.logits.shape[-1] if type(base) is D.Categorical else 2


def _tried(groups: dict[str, tuple[Resolved, Tensor]]) -> dict[str, Tensor]:
    """The values (K, ...) of each small categorical group, as long as their combinations stay few."""
    tried: dict[str, Tensor] = {}
    for name, (group, own) in groups.items():
        choices = _choices(group, own) if _is_discrete(group) else None
        if choices is not None and math.prod(map(len, tried.values())) * len(choices) <= MOST_TRIES:
            tried[name] = choices
    return tried


def _choices(group: Resolved, own: Tensor) -> Tensor | None:
    """All values of a group that holds one category per image; None for many positions or several hot ones."""
    if _is_one_hot(group):
        size = own.shape[-1]
        return torch.eye(size, dtype=own.dtype, device=own.device) if own[0].numel() == size else None
    if own[0].numel() != 1:
        return None
    return torch.arange(_classes(group), device=own.device).to(own.dtype).view(-1, *own.shape[1:])


def _product(choices: list[Tensor]) -> list[Tensor]:
    """Every combination of the choices, as one tensor (combinations, ...) per group."""
    if not choices:
        return []
    index = torch.meshgrid(*[torch.arange(len(c), device=c.device) for c in choices], indexing="ij")
    return [c[i.flatten()] for c, i in zip(choices, index, strict=True)]


def _transform(group: Resolved) -> Transform:
    """From all real numbers to where the group's values live."""
    if not isinstance(group, D.Distribution):
        return identity_transform
    base = _base(group)
    inner = base.component_distribution if isinstance(base, D.MixtureSameFamily) else base
    return D.transform_to(_base(inner).support)


def _prior_mean(
    model: Frozen, name: str, earlier: dict[str, Tensor], own: Tensor, rows: int, typical: Typical
) -> Tensor:
    """The mean (mode) of the model's prior given the earlier groups' values, else the training split's."""
    prior = model.prior(name, earlier)
    mean = typical()[name] if prior is None else mode(prior)
    return mean.to(own).expand(rows, *own.shape[1:]).clone()
