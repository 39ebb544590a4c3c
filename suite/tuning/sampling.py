"""The trials of a search: parameters drawn from a declared space, the same ones for the same seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from suite.plugins import LOG
from suite.seeds import numpy_rng

#: Significant digits of a drawn number: it stands in the model's name.
DIGITS = 3

#: So many draws in a row that give nothing new end the search for more: the space is all but used up.
PATIENCE = 1_000


def draw(space: Mapping[str, Any], trials: int, seed: int, declared: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the parameters of a search's trials: first none, which is the model as it is declared, then drawn ones.

    More trials of the same seed begin with these. No two are the same; a space of fewer points gives fewer trials.

    Args:
        space: Parameter -> choices or range, as a baseline declares it.
        trials: How many at most.
        seed: Of the draws; each parameter of each draw has a stream of its own.
        declared: The model's parameters as they are without a search.
    """
    seen = [{name: declared.get(name) for name in space}]
    missed = 0
    for params in _draws(space, seed):
        if len(seen) >= trials or missed >= PATIENCE:
            break
        missed = missed + 1 if params in seen else 0
        seen += [] if missed else [params]
    return [{}, *seen[1:]]


def _whole(axis: tuple[Any, ...]) -> bool:
    return all(type(end) is int for end in axis[:2])


def _draws(space: Mapping[str, Any], seed: int) -> Iterator[dict[str, Any]]:
    number = 0
    while True:
        number += 1
        yield {
            name: _value(axis, float(numpy_rng("tuning", seed, number, name).random())) for name, axis in space.items()
        }


def _value(axis: Any, u: float) -> Any:
    """Returns the point of an axis at u in [0, 1): choices, and whole numbers of a plain range, equally often."""
    if isinstance(axis, list):
        return axis[int(u * len(axis))]
    low, high = axis[:2]
    log, whole = LOG in axis[2:], _whole(axis)
    if whole and not log:
        return low + int(u * (high - low + 1))
    x = low * (high / low) ** u if log else low + (high - low) * u
    return min(max(round(x) if whole else float(f"{x:.{DIGITS}g}"), low), high)
