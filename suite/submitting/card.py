"""A submission's card: who made the model, after which paper, under which licence, with how much compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from suite.errors import UserError, unknown
from suite.records import clean

#: Every field must be there.
FIELDS = {
    "authors": "a list of names",
    "paper": "a title with its link, or none",
    "licence": "of the source, such as Apache-2.0",
    "compute": "what the training took, such as 3 hours of one CPU core",
}
MOST_BYTES, MOST_TEXT = 20_000, 500


def read(path: Path) -> dict[str, Any]:
    """Returns the card's fields, every text in one line.

    Raises:
        UserError: Names the field that is missing, unknown or no text.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        wanted = "; ".join(f"{name}: {what}" for name, what in FIELDS.items())
        raise UserError(f"the card {path} cannot be read: write it with {wanted}") from error
    if len(data) > MOST_BYTES:
        raise UserError(f"the card {path} is larger than {MOST_BYTES:,} bytes")
    try:
        # Twenty lines of aliases of each other would be a text without end.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(data, yaml.SafeLoader)):
            raise UserError(f"the card {path} uses an alias (*name): write it out")
        raw = yaml.safe_load(data)
    except (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, ValueError, RecursionError) as error:
        raise UserError(f"the card {path} is no YAML: {clean(str(error))[:200]}") from error
    if not isinstance(raw, dict):
        raise UserError(f"the card {path} must have the fields {', '.join(FIELDS)}")
    for name in raw:
        if name not in FIELDS:
            # A number may have more digits than Python writes out.
            shown = clean(name)[:80] if isinstance(name, str) else f"of type {type(name).__name__}"
            raise unknown(f"field of the card {path}:", shown, FIELDS)
    return {name: _field(path, name, raw.get(name)) for name in FIELDS}


def _field(path: Path, name: str, value: Any) -> Any:
    if name == "authors":
        names = value if isinstance(value, list) and value else [None]
        return [_text(path, name, each) for each in names]
    return _text(path, name, value)


def _text(path: Path, name: str, value: Any) -> str:
    text = clean(value).strip() if isinstance(value, str) else ""
    if not text or len(text) > MOST_TEXT:
        raise UserError(f"the card {path}: {name} must be {FIELDS[name]}")
    return text
