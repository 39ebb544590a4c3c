"""Parameters as text: ``key=value,key=value`` in a selector, in a selection file and in a name on the board."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from typing import Any

from suite.errors import UserError

#: The mark of a search among a model's parameters: ``vae:latent=10,tuned=8``, chosen of 8 trials. It stands in keys and
#: names, so that a tuned model has a row of its own, and the model's constructor never sees it.
TUNED = "tuned"

_WORDS = {"true": True, "false": False, "none": None}
_WHOLE = re.compile(r"[+-]?\d[\d_]*")
_NOT_FINITE = re.compile(r"[+-]?\.?(inf|infinity|nan)", re.IGNORECASE)


def read_params(text: str, name: str) -> dict[str, Any]:
    """Returns the parameters of ``key=value,key=value``.

    A value is a Python literal, true, false, none, or else a text. A text that holds a comma stands in quotes.

    Args:
        text: What follows the colon of a selector.
        name: What precedes it, for messages.

    Raises:
        UserError: For an item without ``=``, a parameter that is given twice, quotes or brackets that don't close.
    """
    found: dict[str, Any] = {}
    for item in _split(text):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not key:
            hint = "; a text that holds a comma stands in quotes" if found else ""
            raise UserError(f"'{item.strip()}' is not a parameter: write {name}:key=value,key=value{hint}")
        if key in found:
            raise UserError(f"the parameter '{key}' of '{name}' is given twice: {item.strip()} is the second")
        found[key] = read_value(value)
    return found


def write_params(params: Mapping[str, Any]) -> str:
    """Returns parameters as ``read_params`` reads them, in the order given."""
    return ",".join(f"{key}={write_value(value)}" for key, value in params.items())


def read_value(text: str) -> Any:
    """Returns what a value's text stands for."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _NOT_FINITE.fullmatch(text):
        return float(text.replace(".", ""))
    try:
        return int(text) if _WHOLE.fullmatch(text) else ast.literal_eval(text)  # int: 010 is ten
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return text


def write_value(value: Any) -> str:
    """Returns a value as text: a text as it is, where it reads as itself, else in quotes."""
    if not isinstance(value, str):
        return repr(value)
    try:
        plain = read_params(f"key={value}", "") == {"key": value}
    except UserError:
        plain = False
    return value if plain else repr(value)


def tuned_trials(params: Mapping[str, Any]) -> int:
    """Returns of how many trials parameters were chosen, by their mark; 0 where they were not."""
    trials = params.get(TUNED, 0)
    return trials if type(trials) is int and trials > 0 else 0


def of_constructor(params: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a model's parameters as its constructor takes them: without the mark of a search."""
    return {name: value for name, value in params.items() if name != TUNED}


def alike_all(params: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Returns parameters as a key knows them: JSON has one kind of sequence, and a model should not see two.

    A sequence becomes a tuple, or a list where the constructor's default is one.
    """
    return {name: _alike(value, defaults.get(name)) for name, value in params.items()}


def check_value(where: str, value: Any) -> None:
    """Refuses what a key can't hold.

    Raises:
        UserError: If JSON has no such value, or would read it as another.
    """
    try:
        json.dumps(value, allow_nan=False)
        fine = _has_text_keys(value)
    except (TypeError, ValueError, RecursionError):
        fine = False
    if not fine:
        raise UserError(f"{where} must be a finite number, text, true, false, none, or lists of these, not {value!r}")


def _alike(value: Any, default: Any) -> Any:
    if _json(value) == _json(default):
        return default
    return _with_sequences(value, list if isinstance(default, list) else tuple)


def _json(value: Any) -> str | None:
    try:
        return json.dumps(value, sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        return None


def _with_sequences(value: Any, kind: type) -> Any:
    if isinstance(value, list | tuple):
        return kind(_with_sequences(item, kind) for item in value)
    if isinstance(value, dict):
        return {key: _with_sequences(item, kind) for key, item in value.items()}
    return value


def _has_text_keys(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _has_text_keys(item) for key, item in value.items())
    return all(map(_has_text_keys, value)) if isinstance(value, list | tuple) else True


def _split(text: str) -> list[str]:
    """Splits at the commas that stand outside brackets and quotes."""
    items, depth, start, quote, before = [], 0, 0, "", ""
    escaped = False
    for position, character in enumerate(text):
        if quote:
            quote = "" if character == quote and not escaped else quote
            escaped = character == "\\" and not escaped
        elif character in "'\"" and before in "=([{,:":  # where a value begins: it's is no quotation
            quote = character
        else:
            depth += (character in "([{") - (character in ")]}")
        if character == "," and not quote and depth == 0:
            items.append(text[start:position])
            start = position + 1
        before = character if not character.isspace() else before
    if quote or depth:
        raise UserError(f"'{text}': {'quotes are' if quote else 'a bracket is'} not closed")
    return [item for item in [*items, text[start:]] if item.strip()]
