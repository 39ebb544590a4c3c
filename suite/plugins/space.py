"""What a baseline may declare as its search space: parameter -> choices, or the ends of a range."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from suite.errors import UserError, nearest
from suite.plugins.parameters import check_value

#: Third word of a range that is searched evenly in the logarithm.
LOG = "log"

#: What a default is -> what a searched value must be, in words, and the types of it.
_KINDS: dict[type, tuple[str, tuple[type, ...]]] = {
    bool: ("true or false", (bool,)),
    int: ("a whole number", (int,)),
    float: ("a number", (int, float)),
    str: ("a text", (str,)),
}


def check_space(space: Any, defaults: Mapping[str, Any], names: Sequence[str] | None, where: str) -> dict[str, Any]:
    """Returns a declared search space, every entry of which makes sense.

    Args:
        space: The literal: a list of choices, ``(low, high)`` or ``(low, high, "log")`` for each parameter.
        defaults: The constructor's literal defaults.
        names: All parameters of the constructor; None where it takes any.
        where: File, line and class, for messages.

    Raises:
        UserError: Naming the parameter and what is expected of it.
    """
    if not isinstance(space, dict) or not all(isinstance(name, str) for name in space):
        raise UserError(f"{where} must map parameters to lists of choices or ranges (low, high)")
    if not space:
        raise UserError(f"{where} is empty: leave it out where nothing is searched")
    for name, axis in space.items():
        if names is not None and name not in names:
            known = nearest(name, names) or "; the constructor takes none"
            raise UserError(f"{where} names no parameter '{name}'{known}")
        told = f"{where}['{name}']"
        if isinstance(axis, list):
            _check_choices(axis, defaults.get(name), told)
        elif isinstance(axis, tuple):
            _check_range(axis, defaults.get(name), told)
        else:
            raise UserError(f"{told} must be a list of choices or a range (low, high), not {axis!r}")
    return space


def _check_choices(choices: list[Any], default: Any, where: str) -> None:
    if not choices:
        raise UserError(f"{where} is empty: give at least one choice")
    for i, value in enumerate(choices):
        check_value(where, value)
        _check_kind(value, default, where)
        if value in choices[:i]:
            raise UserError(f"{where} has the choice {value!r} twice")


def _check_range(ends: tuple[Any, ...], default: Any, where: str) -> None:
    numbers = ends[:2]
    fine = len(ends) == 2 or (len(ends) == 3 and ends[2] == LOG)
    if not fine or not all(type(end) in (int, float) and math.isfinite(end) for end in numbers) or len(numbers) < 2:
        raise UserError(f"{where} must be (low, high) or (low, high, '{LOG}') with two finite numbers, not {ends!r}")
    for end in numbers:
        _check_kind(end, default, where)
    low, high = numbers
    if not low < high:
        raise UserError(f"{where}: low must be below high, not {low!r} and {high!r}")
    if len(ends) == 3 and low <= 0:
        raise UserError(f"{where}: a range in the logarithm begins above 0, not at {low!r}")


def _check_kind(value: Any, default: Any, where: str) -> None:
    """A text where the constructor's default is a number would fail every trial, or worse."""
    if type(default) not in _KINDS:  # no literal default, or a list: anything may be meant
        return
    told, kinds = _KINDS[type(default)]
    if type(value) not in kinds:
        raise UserError(f"{where} must hold {told}, as the default {default!r} is, not {value!r}")
