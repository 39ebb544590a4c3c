"""Groups and distributions on the wire: as the names of families and their parameters, never as objects."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch import distributions as D

from suite.guests.wire import WireError
from suite.measuring import FAMILIES
from suite.training import Discrete, Group

_NAMES = {family: family.__name__ for family in FAMILIES}
_FAMILIES = {name: family for family, name in _NAMES.items()}
#: How deeply Independent and Mixture may be nested.
DEEPEST = 8


def pack(group: Any, tensors: list[Tensor]) -> dict[str, Any]:
    """Returns the description of a group and appends its tensors; used on the guest's side.

    Args:
        group: What ``encode``, an ancestral group or ``prior`` returned.
        tensors: Takes the tensors that the description numbers.

    Raises:
        TypeError: If it is nothing that crosses; the text says what it is.
    """
    if group is None:
        return {"is": "none"}
    if isinstance(group, Discrete):
        return {"is": "discrete", "values": _put(group.values, tensors), "classes": int(group.classes)}
    if isinstance(group, Tensor):
        return {"is": "tensor", "values": _put(group, tensors)}
    if type(group) is D.Independent:
        base = pack(group.base_dist, tensors)
        return {"is": "independent", "base": base, "dims": int(group.reinterpreted_batch_ndims)}
    if type(group) is D.MixtureSameFamily:
        component = group.component_distribution
        mixture = group.mixture_distribution.expand(component.batch_shape[:-1])  # every tensor has all rows
        parts = [pack(part, tensors) for part in (mixture, component)]
        return {"is": "mixture", "mixture": parts[0], "component": parts[1]}
    if type(group) in FAMILIES:
        names = FAMILIES[type(group)]
        return {"is": _NAMES[type(group)], **{name: _put(getattr(group, name), tensors) for name in names}}
    if callable(group) and not isinstance(group, D.Distribution):
        return {"is": "ancestral"}
    allowed = ", ".join(sorted(_FAMILIES))
    raise TypeError(f"{type(group).__name__} is not an allowed family ({allowed}, Independent, Mixture)")


def unpack(told: Any, tensors: list[Tensor], depth: int = 0) -> Group | None:
    """Returns the group that a description means, ``ANCESTRAL`` for one that is a function; on the referee's side.

    Parameters are taken as they are: ``suite.measuring`` validates what it rebuilds.

    Raises:
        WireError: If the description is none.
    """
    if not isinstance(told, dict) or depth > DEEPEST:
        raise WireError("a group that is not described as one")
    kind = told.get("is")
    try:
        if kind == "none":
            return None
        if kind == "ancestral":
            return ANCESTRAL
        if kind == "tensor":
            return _take(told["values"], tensors)
        if kind == "discrete":
            return Discrete(_take(told["values"], tensors), _whole(told["classes"]))
        if kind == "independent":
            base = unpack(told["base"], tensors, depth + 1)
            return D.Independent(base, _whole(told["dims"]), validate_args=False)  # type: ignore[type-var]
        if kind == "mixture":
            mixture, component = (unpack(told[part], tensors, depth + 1) for part in ("mixture", "component"))
            return D.MixtureSameFamily(mixture, component, validate_args=False)  # type: ignore[arg-type]
        family: Any = _FAMILIES[str(kind)]
        return _as_told(family, {name: _take(told[name], tensors) for name in FAMILIES[family]})
    except WireError:
        raise
    except Exception as error:
        raise WireError(f"a group whose description does not fit: {type(error).__name__}") from error


def _as_told(family: Any, parameters: dict[str, Tensor]) -> D.Distribution:
    """A distribution with the very parameters told: torch would normalize logits once more than it does in process."""
    found: D.Distribution = family(**parameters, validate_args=False)
    if isinstance(found, D.Categorical):
        found.logits = parameters["logits"]
    if isinstance(found, D.OneHotCategorical):
        found._categorical.logits = parameters["logits"]
    return found


def ndim(group: Any) -> int:
    """Returns how many dimensions the values of a group or a prior have, rows included; 0 where that is not known."""
    if isinstance(group, D.Distribution):
        return len(group.batch_shape + group.event_shape)
    values = group.values if isinstance(group, Discrete) else group
    return values.ndim if isinstance(values, Tensor) else 0


def ANCESTRAL(earlier: Any) -> Any:
    """Stands for a group that is a function of the earlier ones: the guest is asked for it when these are drawn."""
    raise WireError("an ancestral group is resolved by its guest")


def _put(tensor: Any, tensors: list[Tensor]) -> int:
    tensors.append(torch.as_tensor(tensor))
    return len(tensors) - 1


def _take(index: Any, tensors: list[Tensor]) -> Tensor:
    if type(index) is not int or not 0 <= index < len(tensors):
        raise WireError("a group that names a tensor which was not sent")
    return tensors[index].clone()


def _whole(number: Any) -> int:
    if type(number) is not int:
        raise WireError("a number that is not whole")
    return number
