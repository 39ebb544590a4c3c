"""Searching a frozen decoder's inputs for given images: what can it express?

Real-valued groups are optimized in whitened coordinates, in which a step has no unit, from the training mean and from
the encoder's own code. Small categories are tried one by one. Every other discrete group is held at its training mode:
what is taken from the image would be an input that nobody counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from suite.errors import ContractError
from suite.measuring.descent import ROWS, Output, Rows, descend, seen_again
from suite.measuring.groups import choices, encoded, holds_integers
from suite.measuring.trust import Frozen
from suite.measuring.whitening import Observed, Whitening

#: All combinations of small categorical groups are tried up to this many.
MOST_TRIES = 100
#: After this many steps the best combinations go on to the second heat, this many for each image and start: of ten
#: categories to try that costs 0.005 dB and saves two fifths of the time.
HEAT = 10
SECOND_HEAT = 3
#: Every search begins at the training mean and at the encoder's own code.
STARTS = 2

#: Maps what a decoder receives, one tensor (rows, ...) per group, to intensities (rows, C, H, W) in [0, 1].
Generate = Callable[[dict[str, Tensor]], Tensor]


@dataclass(frozen=True)
class Start:
    """Where a search begins: one row per image, tried combination and start, those of an image side by side.

    Attributes:
        order: Names of all groups.
        free: Whitened coordinates (rows, d) of the optimized groups; the starts of a combination side by side.
        fixed: Values (rows, ...) of the others.
        whitenings: Of the optimized groups.
        tries: Values of each categorical group that is tried out.
        held: Discrete groups that are held at their training mode although they were to be searched.
    """

    order: tuple[str, ...]
    free: dict[str, Tensor]
    fixed: dict[str, Tensor]
    whitenings: dict[str, Whitening]
    tries: tuple[int, ...] = ()
    held: tuple[str, ...] = ()

    @property
    def dims(self) -> int:
        """Number of free real inputs of one image."""
        return sum(u.shape[1] for u in self.free.values())

    def outputs(self, generate: Generate) -> Output:
        """The decoder as a function of the free coordinates (n, dims) and of the rows' positions (n,)."""
        widths = [u.shape[1] for u in self.free.values()]

        def outputs(u: Tensor, rows: Tensor) -> Tensor:
            values = {name: value[rows] for name, value in self.fixed.items()}
            for (name, start), part in zip(self.free.items(), u.split(widths, dim=1), strict=True):
                values[name] = self.whitenings[name].values(part.to(start))
            return generate({name: values[name] for name in self.order})

        return outputs

    def attempts(self, x: Tensor, sizes: Sequence[float]) -> list[Rows]:
        """All rows before their first step, for targets x (N, C, H, W), once for each step size."""
        u = torch.cat(list(self.free.values()), 1)
        targets, places = x.repeat_interleave(len(u) // len(x), 0), torch.arange(len(u), device=x.device)
        return [Rows.fresh(places, targets, u, size) for size in sizes]


@dataclass(frozen=True)
class Found:
    """The outcome of a search.

    Attributes:
        images: Best output for each target, its inputs blurred, (N, C, H, W) in [0, 1].
        curve: Mean squared error per pixel of the best so far after 0, 1, ... steps, mean over images.
        step_sizes: Those that found them, (N,).
    """

    images: Tensor
    curve: Tensor
    step_sizes: Tensor

    def or_nearer(self, images: Tensor, x: Tensor) -> Found:
        """The same, with these images (N, C, H, W) where they are nearer to the targets x."""
        return replace(self, images=nearer(x, self.images, images))


def lay_out(
    model: Frozen, x: Tensor, observed: Observed, only: str | None = None, *, given_discrete: bool = False
) -> Start:
    """Decides for every group whether it is optimized, tried or held.

    Args:
        model: The frozen baseline.
        x: Target images (N, C, H, W).
        observed: What the training split says of the groups.
        only: Search this group alone and hold every other at its training mean (real) or mode (discrete).
        given_discrete: Hold discrete groups at the image's own value instead of trying them or holding their mode.
    """
    groups = encoded(model, x)
    searched = [name for name in groups if only in (None, name)]
    tried = {} if given_discrete else _tried({n: choices(*groups[n]) for n in searched})
    tries = math.prod(map(len, tried.values()))
    combined = dict(zip(tried, _product(list(tried.values())), strict=True))
    free, fixed = {}, {}
    for name, (group, own) in groups.items():
        if own[0].numel() == 0:
            fixed[name] = own.repeat_interleave(STARTS * tries, 0)
        elif name in tried:
            each = combined[name].repeat_interleave(STARTS, 0)
            fixed[name] = each.repeat(len(x), *[1] * (own.ndim - 1))
        elif holds_integers(group) or name not in searched:
            value = own if given_discrete and holds_integers(group) else observed.typical(name, own)
            fixed[name] = value.repeat_interleave(STARTS * tries, 0)
        else:
            free[name] = two_starts(observed.whitenings[name], own.repeat_interleave(tries, 0))
    held = tuple(n for n in searched if holds_integers(groups[n][0]) and n not in tried and not given_discrete)
    return Start(
        tuple(groups), free, fixed, {n: observed.whitenings[n] for n in free}, tuple(map(len, tried.values())), held
    )


def two_starts(whitening: Whitening, own: Tensor) -> Tensor:
    """Returns the coordinates (2 N, d) of the training mean and of own codes (N, ...), in turn."""
    u = whitening.coordinates(own)
    return torch.stack([torch.zeros_like(u), u], 1).flatten(0, 1)


def search(
    generate: Generate,
    start: Start,
    x: Tensor,
    sizes: Sequence[float],
    trial: int,
    steps: int,
    rng: torch.Generator,
) -> Found:
    """Optimizes the free inputs with Adam on the squared error of the output.

    Every start and combination is tried with all step sizes, the combinations in two heats. After the trial each image
    goes on from each of its starts with the combination and the step size of the least error; what counts is the best
    over all rows and steps.

    Args:
        generate: The decoder.
        start: Where to begin.
        x: Target images (N, C, H, W) in [0, 1].
        sizes: Step sizes, in whitened coordinates.
        trial: Steps of the comparison.
        steps: Steps of the search in all, no fewer.
        rng: The suite's own noise, which blurs the inputs of the outputs that are returned (``BLUR``).

    Raises:
        ContractError: If the output is not finite at any step size.
    """
    outputs, heat = start.outputs(generate), min(HEAT, trial)
    attempts, curve = _descend_each(outputs, start.attempts(x, sizes), range(heat + 1), len(x))
    kept = _survivors(attempts, len(x), math.prod(start.tries))
    attempts, seen = _descend_each(outputs, [rows[kept] for rows in attempts], range(heat + 1, trial + 1), len(x))
    tried = Rows.joined(attempts)
    place = torch.arange(len(tried.u), device=x.device).view(len(attempts), len(x), -1, STARTS)
    finalists = tried[_best(tried.least, place.permute(1, 3, 0, 2).flatten(2))]
    rows, least = descend(outputs, finalists, range(trial + 1, steps + 1), strict=False)
    found = rows[_best(rows.least, torch.arange(len(rows.u), device=x.device).view(len(x), -1))]
    curve = torch.cat([curve, seen, _by_image(least, len(x))]).cummin(0).values
    return Found(seen_again(outputs, found, rng), curve.mean(1) / x[0].numel(), found.sizes.flatten())


def nearer(x: Tensor, *outputs: Tensor) -> Tensor:
    """Returns for each image of x (N, C, H, W) the nearest of its outputs, (N, C, H, W) each."""
    errors = torch.stack([(output - x).double().square().flatten(1).sum(1) for output in outputs])
    stacked = torch.stack([output.to(outputs[0]) for output in outputs])
    return stacked[errors.argmin(0), torch.arange(len(x), device=x.device)]


def _descend_each(outputs: Output, attempts: Sequence[Rows], counts: range, images: int) -> tuple[list[Rows], Tensor]:
    """The attempts after further steps, without those whose output broke, and each image's least error, (steps, N)."""
    after, seen = [], []
    for rows in attempts:
        try:
            rows, least = descend(outputs, rows, counts)
        except ContractError as error:
            broken = error
            continue
        after.append(rows)
        seen.append(_by_image(least, images))
    if not after:
        raise broken
    return after, torch.stack(seen).amin(0)


def _by_image(least: Tensor, images: int) -> Tensor:
    """The least error of each image, (steps, N), of those of its rows, (steps, rows)."""
    return least.unflatten(1, (images, least.shape[1] // images)).amin(2)


def _survivors(attempts: Sequence[Rows], images: int, tries: int) -> Tensor:
    """Positions of the rows whose combination is among the best ``SECOND_HEAT`` of its image and start."""
    errors = torch.stack([rows.least for rows in attempts]).amin(0).view(images, tries, STARTS)
    best = errors.topk(min(tries, SECOND_HEAT), dim=1, largest=False).indices.sort(1).values
    place = torch.arange(errors.numel(), device=errors.device).view_as(errors)
    return place.gather(1, best).flatten()


def _best(errors: Tensor, places: Tensor) -> Tensor:
    """Of places (..., candidates) those of the least error, flattened."""
    return places.gather(-1, errors[places].argmin(-1, keepdim=True)).flatten()


def model_decoder(model: Frozen) -> Generate:
    """Returns a model's decoder as a search wants it: intensities, differentiable in its inputs."""
    return lambda values: model.decode(values, gradients=torch.is_grad_enabled()).sigmoid()


def decode_grey(model: Frozen, values: dict[str, Tensor]) -> Tensor:
    """Returns the decoder's output as intensities in [0, 1]."""
    return torch.cat([
        model.decode({n: v[i : i + ROWS] for n, v in values.items()}).sigmoid()
        for i in range(0, len(next(iter(values.values()))), ROWS)
    ])  # fmt: skip


def _tried(offers: dict[str, Tensor | None]) -> dict[str, Tensor]:
    """The values (K, ...) of each group that holds one category, as long as their combinations stay few."""
    tried: dict[str, Tensor] = {}
    for name, values in offers.items():
        if values is not None and math.prod(map(len, tried.values())) * len(values) <= MOST_TRIES:
            tried[name] = values
    return tried


def _product(offers: list[Tensor]) -> list[Tensor]:
    """Every combination of the values, as one tensor (combinations, ...) per group."""
    if not offers:
        return []
    index = torch.meshgrid(*[torch.arange(len(c), device=c.device) for c in offers], indexing="ij")
    return [c[i.flatten()] for c, i in zip(offers, index, strict=True)]
