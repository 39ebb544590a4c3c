"""What a record file may hold: every field's type and size, names in a safe alphabet, texts that a terminal can show.

A record may come from anybody. What is read here is plain data of bounded size; that a number in it is true is
another question (``suite verify``).
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import re
from collections.abc import Callable
from typing import Any

from suite.records.record import STATUSES

#: Bytes of a record file, characters of a text, items and levels of a free field, metrics, notes and flags.
MOST_BYTES, MOST_TEXT, MOST_ITEMS, MOST_LEVELS, MOST_ENTRIES = 1_000_000, 20_000, 20_000, 12, 2_000

#: Letters of one alphabet: a twin of a name in another one would pass for it. After the colon stand parameters.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}")
_LABEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,99}(:[A-Za-z0-9_:=.,\-+\[\](){}'\" /]{1,300})?")
_METRIC = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_:=.,\-+\[\] /]{0,199}")
_WORDS = re.compile(r"[A-Za-z0-9_.,:/%+\-() ^²]{0,100}")
_HEX = re.compile(r"[0-9a-f]{32,64}")
_TIME = re.compile(r"[0-9T:.+\-Z ]{0,40}")
_PICTURE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.,=\- ]{0,120}\.png")

#: What moves a cursor, turns the direction of writing, or ends a line: shown as a mark, never sent to a terminal.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_LINES = re.compile(r"[\r\n\t\x0b\x0c\x85\u2028\u2029]+")


class Malformed(ValueError):
    """A record that is not one; the message says which field, and what is expected of it."""


def checked(raw: Any) -> dict[str, Any]:
    """Returns a record's fields, checked and with every text made safe to show; unknown fields are dropped.

    Raises:
        Malformed: Names the field.
    """
    if not isinstance(raw, dict):
        raise Malformed("a record is a JSON object")
    if missing := [name for name in REQUIRED if name not in raw]:
        raise Malformed(f"it lacks the field {missing[0]}")
    fields = {name: rule(raw[name], name) for name, rule in FIELDS.items() if name in raw}
    _check_ingredients(fields)
    return fields


def fits_label(name: str) -> bool:
    """Whether the name of a task or model, with its parameters, is one that a record can hold."""
    return _LABEL.fullmatch(name) is not None


#: Of any number of a record.
LARGEST = 1e100


def digest_of(ingredients: Any) -> str:
    """Returns the key that belongs to some ingredients: the SHA-256 of their canonical JSON."""
    text = json.dumps(ingredients, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def clean(text: str) -> str:
    """Returns a text in one line, without anything that a terminal or a page would obey."""
    return text if text.isascii() and text.isprintable() else clean_lines(_LINES.sub(" ", text))


def clean_lines(text: str) -> str:
    """Returns a text of several lines, without anything else that a terminal or a page would obey."""
    return text if text.isascii() and text.isprintable() else _CONTROL.sub("\ufffd", text)


# --- rules: each takes a value and its field's name, and returns the value to keep --------------------------------

Rule = Callable[[Any, str], Any]


def _refuse(name: str, expected: str) -> Malformed:
    return Malformed(f"{name} is not {expected}")


def _number(low: int, high: int) -> Rule:
    def rule(value: Any, name: str) -> int:
        if type(value) is not int or not low <= value <= high:
            raise _refuse(name, f"a whole number from {low} to {high}")
        return value

    return rule


def _text(pattern: re.Pattern[str], expected: str) -> Rule:
    @functools.lru_cache(maxsize=4096)
    def fits(value: str) -> bool:
        return pattern.fullmatch(value) is not None

    def rule(value: Any, name: str) -> str:
        if not isinstance(value, str) or not fits(value):
            raise _refuse(name, expected)
        return value

    return rule


def _prose(cleaned: Callable[[str], str]) -> Rule:
    def rule(value: Any, name: str) -> str:
        if not isinstance(value, str) or len(value) > MOST_TEXT:
            raise _refuse(name, f"a text of at most {MOST_TEXT:,} characters")
        return cleaned(value)

    return rule


def _choice(choices: tuple[str, ...]) -> Rule:
    def rule(value: Any, name: str) -> str:
        if value not in choices:
            raise _refuse(name, f"one of {', '.join(choices)}")
        return str(value)

    return rule


def _flag(value: Any, name: str) -> bool:
    if type(value) is not bool:
        raise _refuse(name, "true or false")
    return value


def _list(item: Rule) -> Rule:
    def rule(value: Any, name: str) -> list[Any]:
        if not isinstance(value, list) or len(value) > MOST_ENTRIES:
            raise _refuse(name, f"a list of at most {MOST_ENTRIES:,} entries")
        return [item(entry, name) for entry in value]

    return rule


def _finite(value: Any, name: str) -> int | float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise _refuse(name, "a finite number")
    if abs(value) > LARGEST:  # its square, and sums of squares, are numbers still
        raise _refuse(name, f"a number within {LARGEST:g}")
    return value


def _metrics(value: Any, name: str) -> dict[str, dict[str, Any]]:
    if not isinstance(value, dict) or len(value) > MOST_ENTRIES:
        raise _refuse(name, f"an object of at most {MOST_ENTRIES:,} metrics")
    return {_metric_name(metric, "a metric's name"): _metric(entry, metric) for metric, entry in value.items()}


def _metric(entry: Any, name: str) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise _refuse(f"the metric {name}", "an object")
    se, n = entry.get("se"), entry.get("n")
    found = {
        "value": _finite(entry.get("value"), f"{name}.value"),
        "unit": _unit(entry.get("unit", ""), f"{name}.unit"),
        "direction": _direction(entry.get("direction", ""), f"{name}.direction"),
        "se": None if se is None else _finite(se, f"{name}.se"),
        "n": None if n is None else _count(n, f"{name}.n"),
    }
    if se is not None and se < 0:
        raise _refuse(f"{name}.se", "at least 0")
    return found


def _free(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _refuse(name, "an object")
    found: dict[str, Any] = _plain(value, name, [MOST_ITEMS], MOST_LEVELS)
    return found


def _exact(value: Any, name: str) -> dict[str, Any]:
    """A free field that stands in a key: nothing of it may be changed, so what can't be shown is refused."""
    found = _free(value, name)
    if found != value:
        raise _refuse(name, "free of control characters")
    return found


def _plain(value: Any, name: str, left: list[int], levels: int) -> Any:
    left[0] -= 1
    if left[0] < 0 or levels < 0:
        raise _refuse(name, f"within {MOST_ITEMS:,} items and {MOST_LEVELS} levels")
    if isinstance(value, dict):
        return {clean(key): _plain(inner, name, left, levels - 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner, name, left, levels - 1) for inner in value]
    if isinstance(value, str):
        if len(value) > MOST_TEXT:
            raise _refuse(name, f"made of texts of at most {MOST_TEXT:,} characters")
        return clean(value)
    return value if value is None or type(value) is bool else _finite(value, name)


def _costs(value: Any, name: str) -> dict[str, Any]:
    found = _free(value, name)
    for cost, spent in found.items():
        if spent is not None and (type(spent) not in (int, float) or spent < 0):
            raise _refuse(f"{name}.{cost}", "a number of at least 0")
    return found


_metric_name = _text(_METRIC, "a name in ASCII letters, digits and _:=.,-+[]/")
_unit = _text(_WORDS, "a unit")
_direction = _choice(("lower", "higher", ""))
_count = _number(0, 2**53)
_name = _text(_NAME, "a name in ASCII letters, digits and _.-")
_label = _text(_LABEL, "a name in ASCII letters, digits and _.-, with parameters after a colon")
_words = _text(_WORDS, "a name in ASCII letters and digits")
_key = _text(_HEX, "a key: 32 to 64 hexadecimal digits")
_time = _text(_TIME, "a time")

#: Field of ``Record`` -> its rule.
FIELDS: dict[str, Rule] = {
    "schema": _number(1, 10**6),
    "key": _key,
    "status": _choice(STATUSES),
    "task": _label,
    "baseline": _label,
    "dataset": _label,
    "seed": _number(0, 2**32 - 1),
    "ingredients": _exact,
    "checkpoint_key": _text(re.compile(r"([0-9a-f]{32,64})?"), "a key: 32 to 64 hexadecimal digits"),
    "reason": _prose(clean),
    "traceback": _prose(clean_lines),
    "task_version": _number(0, 10**6),
    "task_params": _exact,
    "official": _flag,
    "family": _words,
    "baseline_params": _exact,
    "supervision": _text(re.compile(r"[a-z_]{0,40}"), "a word in small letters"),
    "budget": _words,
    "precision": _words,
    "primary": _text(re.compile(rf"({_METRIC.pattern})?"), "a metric's name"),
    "metrics": _metrics,
    "notes": _list(_prose(clean)),
    "flags": _list(_prose(clean)),
    "pictures": _list(_text(_PICTURE, "the name of a PNG file")),
    "values": _flag,
    "cost": _costs,
    "env": _free,
    "started": _time,
    "finished": _time,
}

REQUIRED = ("schema", "key", "status", "task", "baseline", "dataset", "seed", "metrics")

#: What may stand among the ingredients of a cell and of its checkpoint, and the field of the record that it repeats.
CELL = {"checkpoint": "", "task": "", "task_version": "task_version", "task_params": "task_params"}
CHECKPOINT = {
    **{"baseline": "", "dataset": "", "engine": "", "budget_version": ""},
    **{"params": "baseline_params", "seed": "seed", "budget": "budget", "precision": "precision"},
}


def _check_ingredients(fields: dict[str, Any]) -> None:
    """Holds the key against its ingredients, and these against the fields that repeat them (or fills these in)."""
    ingredients = fields.get("ingredients")
    if not ingredients:  # an older record; nothing is known of what it rests on
        return
    checkpoint = ingredients.get("checkpoint", {})
    if not isinstance(checkpoint, dict):
        raise _refuse("ingredients.checkpoint", "an object")
    for known, found in ((CELL, ingredients), (CHECKPOINT, checkpoint)):
        for name, value in found.items():
            if name not in known:
                raise Malformed(f"{name} is no ingredient of a key")
            field = known[name]
            if field and field not in fields:
                fields[field] = FIELDS[field](value, field)
            if field and fields[field] != value:
                raise Malformed(f"its {field} is not that among its ingredients")
    for name in ("engine", "budget_version"):
        _count(checkpoint.get(name, 0), f"ingredients.{name}")
    if not isinstance(checkpoint.get("dataset", ""), str):
        raise _refuse("ingredients.dataset", "a text")
    for name, sources in (("baseline", checkpoint.get("baseline")), ("task", ingredients.get("task"))):
        if not isinstance(sources or {}, dict) or not all(isinstance(text, str) for text in (sources or {}).values()):
            raise _refuse(f"ingredients.{name}", "an object of file names and their hashes")
    if fields["key"] != digest_of(ingredients):
        raise Malformed("its key is not that of its ingredients")
