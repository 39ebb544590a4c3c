"""What a guest's answers look like, frozen at the first one: names, order, families, types, shapes.

Each of these would be a message that nobody charges. The first answer is about training images, so what it looks like
is a function of these alone.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from suite.errors import ContractError

#: What a group looks like: kinds, and for each tensor its type and its shape but for the rows.
Look = tuple[Any, ...]


class Schema:
    """The looks of all that a sender says.

    Args:
        name: Of the guest, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._looks: dict[str, Look] = {}

    def hold(self, where: str, told: Any, tensors: list[Tensor]) -> None:
        """Takes in the first look of an answer, and compares every later one with it.

        Args:
            where: Which answer.
            told: Its description.
            tensors: Those that the description numbers.

        Raises:
            ContractError: If it looks otherwise than the first one.
        """
        look = look_of(told, tensors)
        first = self._looks.setdefault(where, look)
        if look != first:
            raise ContractError(
                f"{self._name}.{where}: groups, order, families, types and shapes are those of the first answer "
                f"({_short(first)}); found {_short(look)}"
            )


def look_of(told: Any, tensors: list[Tensor]) -> Look:
    """Returns how a description looks; all that is not a tensor's content."""
    if isinstance(told, dict):
        return tuple((key, _leaf(key, value, tensors)) for key, value in told.items())
    if isinstance(told, list):
        return tuple(look_of(item, tensors) for item in told)
    return (told,)


def _leaf(key: str, value: Any, tensors: list[Tensor]) -> Any:
    if isinstance(value, dict | list):
        return look_of(value, tensors)
    if key in ("is", "classes", "dims") or type(value) is not int or not 0 <= value < len(tensors):
        return value
    return str(tensors[value].dtype).removeprefix("torch."), tuple(tensors[value].shape[1:])


def _short(look: Look) -> str:
    text = str(look)
    return text if len(text) <= 120 else f"{text[:117]}..."
