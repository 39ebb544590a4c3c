"""A selection cut into shares, one for each machine: every trial in exactly one, and each about as long as the others.

The cut depends on the selection and on given costs alone, never on what has run: machines that know nothing of each
other agree on it, and a share stays what it is when its run is resumed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from statistics import mean, median
from typing import Any

from suite.errors import UserError
from suite.planning.cells import Cell

#: (task, model...) -> seconds of scoring, ("", model...) -> seconds of training.
Costs = Mapping[tuple[str, ...], float]


def parse_shard(text: str) -> tuple[int, int]:
    """Returns (3, 16) for ``3/16``: the third of sixteen shares.

    Raises:
        UserError: If it is no share.
    """
    match = re.fullmatch(r"\s*([0-9]{1,9})\s*/\s*([0-9]{1,9})\s*", text)
    number, of = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= of:
        raise UserError(f"'{text}' is not a share: write 1/16 to 16/16")
    return number, of


def costs(history: Sequence[Mapping[str, Any]]) -> dict[tuple[str, ...], float]:
    """Returns the median seconds of scoring by (task, model...) and of training by ("", model...)."""
    seconds: dict[tuple[str, ...], list[float]] = {}
    for raw in history:
        model = (raw["baseline"], raw["dataset"], raw["budget"], raw["precision"])
        for task, name in ((raw["task"], "score_seconds"), ("", "train_seconds")):
            if raw["cost"].get(name) is not None:
                seconds.setdefault((task, *model), []).append(raw["cost"][name])
    return {key: median(values) for key, values in seconds.items()}


def shard(cells: Sequence[Cell], number: int, of: int, known: Costs) -> list[Cell]:
    """Returns the cells of one share, in their order.

    The longest trial first, each to the share that has least so far (Graham, Bounds on multiprocessing timing
    anomalies, 1969: no share is longer than 4/3 of the best cut's longest). Trials of which nothing is known count as
    the mean of the others, so that without any costs each share has as many of each model.

    Args:
        cells: Of the whole selection.
        number: The share, from 1.
        of: How many there are.
        known: What tasks and models cost.
    """
    trials: dict[str, list[Cell]] = {}
    for cell in cells:
        trials.setdefault(cell.checkpoint_key, []).append(cell)
    lengths = _lengths(trials, known)
    names = {key: (group[0].baseline, group[0].dataset, group[0].seed) for key, group in trials.items()}
    load, mine = [0.0] * min(of, len(trials)), set()  # the first trials go to the first shares: later ones stay empty
    for key in sorted(trials, key=lambda key: (-lengths[key], names[key], key)):
        share = load.index(min(load))
        load[share] += lengths[key]
        if share == number - 1:
            mine.add(key)
    return [cell for cell in cells if cell.checkpoint_key in mine]


def _lengths(trials: Mapping[str, Sequence[Cell]], known: Costs) -> dict[str, float]:
    """Returns the expected seconds of each trial."""

    def seconds(group: Sequence[Cell]) -> float | None:
        model = (group[0].baseline, group[0].dataset, group[0].budget, group[0].precision)
        parts = [known.get((task, *model)) for task in ("", *(cell.task for cell in group))]
        return None if None in parts else sum(part for part in parts if part is not None)

    found = {key: seconds(group) for key, group in trials.items()}
    usual = mean([length for length in found.values() if length is not None] or [1.0])
    return {key: usual if length is None else length for key, length in found.items()}
