"""What the user asks for: tasks x baselines x datasets x seeds, from options or from a file."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.errors import UserError, unknown
from suite.planning.selection_file import Written, read_yaml
from suite.plugins import check_value

#: States that ``--retry`` can name; killed, stale and missing cells run anyway.
RETRIES = ("failed", "timeout")

#: Seeds are below this, as numpy's are, and so many at a time: more are a slip of the keyboard.
SEED_LIMIT, MOST_SEEDS = 2**32, 10_000

#: The keys of a selection file -> the field of ``Selection`` (``params`` is folded into the selectors).
_KEYS = {
    "tasks": "tasks",
    "baselines": "baselines",
    "dataset": "datasets",
    "datasets": "datasets",
    "seeds": "seeds",
    "budget": "budget",
    "precision": "precision",
    "params": "",
}


@dataclass(frozen=True)
class Selection:
    """The cells a command is about.

    Attributes:
        tasks: Selectors (see ``registry.resolve``); empty: every task.
        baselines: Selectors; empty: every baseline.
        datasets: Names of datasets.
        seeds: Training seeds.
        budget: Name of a training budget.
        precision: ``"float32"`` or ``"bf16"``.
        paths: Further files and folders with tasks and baselines.
        retry: Which ended cells run again: ``"failed"``, ``"timeout"``.
        workspace: The folder of records, checkpoints, values and pictures.
        data_root: Where datasets lie; None: ``$SUITE_DATA`` or the cache folder.
        shard: (3, 16): the third of sixteen shares; None: everything.
        costs: A folder of records by whose costs the shares are cut, the same for all of them.
    """

    tasks: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ("digits",)
    seeds: tuple[int, ...] = (0, 1, 2)
    budget: str = "quick"
    precision: str = "float32"
    paths: tuple[str, ...] = ()
    retry: tuple[str, ...] = ()
    workspace: str = "runs"
    data_root: str | None = None
    shard: tuple[int, int] | None = None
    costs: str | None = None

    @staticmethod
    def from_file(path: str | Path) -> Selection:
        """Reads a selection from a YAML file: how an official board is written down.

        Raises:
            UserError: If the file cannot be read, or a key or value is not what is expected.
        """
        written = read_yaml(Path(path))
        content = written.value
        if not isinstance(content, dict):
            raise UserError(f"{path}: expected keys such as {', '.join(_KEYS)}")
        fields: dict[str, Any] = {}
        for key, value in content.items():
            if key not in _KEYS:
                raise unknown(f"key in {written.where(str(key))}:", str(key), _KEYS)
            name = _KEYS[key]
            if name in fields:
                raise UserError(f"{written.where(key)}: dataset and datasets are two words for one thing: give one")
            if name:
                fields[name] = _field(key, value, written)
        return Selection(**fields)._with_params(content.get("params") or {}, written)

    def _with_params(self, params: Any, written: Written) -> Selection:
        if not isinstance(params, Mapping) or not all(isinstance(values, Mapping) for values in params.values()):
            raise UserError(f"{written.where('params')}: params must map names to parameters")
        for name, values in params.items():
            if name not in (*self.tasks, *self.baselines):
                where = written.where("params", str(name))
                raise unknown(f"name in params of {where}:", str(name), (*self.tasks, *self.baselines))
            for key, value in values.items():
                check_value(f"{written.where('params', name, str(key))}: {key}", value)

        def fold(selectors: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(_fold(selector, params.get(selector, {})) for selector in selectors)

        return dataclasses.replace(self, tasks=fold(self.tasks), baselines=fold(self.baselines))


def parse_seeds(text: str) -> tuple[int, ...]:
    """Returns the seeds of ``0-4``, ``0,2,5``, ``3`` or a mixture, in the order given, each once.

    Raises:
        UserError: If the text is not a list of seeds, a range runs backwards, or as ``check_seeds``.
    """
    seeds: list[int] = []
    for part in str(text).split(","):
        match = re.fullmatch(r"\s*([0-9]{1,20})\s*(?:-\s*([0-9]{1,20})\s*)?", part)
        if not match:
            raise UserError(f"'{text}' is not a list of seeds: write 0-4, 0,2,5 or 3")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UserError(f"the seed range {part.strip()} runs backwards: write {last}-{first}")
        if last - first >= MOST_SEEDS:
            raise UserError(f"the seed range {part.strip()} holds more than {MOST_SEEDS:,} seeds")
        seeds.extend(range(first, last + 1))
    return check_seeds(seeds)


def check_seeds(seeds: Iterable[int]) -> tuple[int, ...]:
    """Returns the seeds as they are, each once.

    Raises:
        UserError: If there are none or too many, or one is not a whole number from 0 to ``SEED_LIMIT`` - 1.
    """
    found = tuple(dict.fromkeys(seeds))
    for seed in found:
        if type(seed) is not int or not 0 <= seed < SEED_LIMIT:
            raise UserError(f"a seed is a whole number from 0 to {SEED_LIMIT - 1}, not {seed!r}")
    if not 0 < len(found) <= MOST_SEEDS:
        raise UserError(f"a run takes from one to {MOST_SEEDS:,} seeds, not {len(found):,}")
    return found


def _field(key: str, value: Any, written: Written) -> Any:
    """Returns the value of a key as the field of ``Selection`` takes it."""
    items = value if isinstance(value, list) else [value]
    if key == "seeds":
        try:
            return parse_seeds(",".join(str(item) for item in items))
        except UserError as error:
            raise UserError(f"{written.where(key)}: {error}") from error
    if not items or not all(isinstance(item, str) for item in items):
        raise UserError(f"{written.where(key)}: {key} must be a name or a list of names")
    if key in ("budget", "precision"):
        if len(items) > 1:
            raise UserError(f"{written.where(key)}: {key} must be one name")
        return items[0]
    return tuple(items)


def _fold(selector: str, params: Mapping[str, Any]) -> str:
    """Adds parameters to a selector, texts in quotes: a file's values arrive as the file has them."""
    if not params:
        return selector
    text = ",".join(f"{key}={value!r}" for key, value in params.items())
    return f"{selector}{',' if ':' in selector else ':'}{text}"
