"""Options in blocks: a command that takes a dataclass has the fields of it as options of its own."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any, get_type_hints

Command = Callable[..., None]


def spread(*, without: Iterable[str] = ()) -> Callable[[Command], Command]:
    """Decorates a command of which some parameters are blocks.

    A block is a dataclass whose fields are annotated as Typer wants the parameters of a command, each with a
    default. Typer sees the fields in the block's place; the command is called with the block that they add up to.

    Args:
        without: Fields that this command does not offer; they keep their defaults.
    """

    def decorate(command: Command) -> Command:
        hints = get_type_hints(command, include_extras=True)
        blocks = {name: block for name, block in hints.items() if dataclasses.is_dataclass(block)}

        @functools.wraps(command)
        def spreaded(**given: Any) -> None:
            for name, block in blocks.items():
                mine = [field.name for field in dataclasses.fields(block) if field.name in given]
                given[name] = block(**{field: given.pop(field) for field in mine})  # type: ignore[operator]
            command(**given)

        parameters: list[inspect.Parameter] = []
        for name, parameter in inspect.signature(command).parameters.items():
            if name in blocks:
                parameters += [field for field in _parameters(blocks[name]) if field.name not in without]
            else:
                parameters.append(parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=hints[name]))
        spreaded.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return spreaded

    return decorate


def _parameters(block: Any) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(block, include_extras=True)
    for field in dataclasses.fields(block):
        kind = inspect.Parameter.KEYWORD_ONLY
        yield inspect.Parameter(field.name, kind, default=field.default, annotation=hints[field.name])
