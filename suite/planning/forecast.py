"""What a cell will take: minutes from earlier records of the workspace, else from the published ones."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from suite import records
from suite.errors import UserError
from suite.files import PACKAGE
from suite.training import BUDGETS

if TYPE_CHECKING:
    from suite.planning.cells import Cell

#: The records that come with the repository; an installed package has none.
PUBLISHED = PACKAGE.parent / "results"

#: One kind of work: a task's scoring, or "" for training; then the model.
Kind = tuple[str, str]


@dataclass(frozen=True)
class Costs:
    """Seconds by kind of work, as records tell them.

    Attributes:
        exact: (task or "" for training, baseline, dataset, budget, precision) -> median seconds.
        training: Baseline -> median seconds of a training image.
        scoring: (task, baseline) -> median seconds of scoring, per test image.
    """

    exact: Mapping[tuple[str, ...], float]
    training: Mapping[str, float]
    scoring: Mapping[Kind, float]


class Forecast:
    """Expects minutes: where the workspace has no records of the kind, by the published ones at this machine's pace.

    Args:
        history: The workspace's records.
    """

    def __init__(self, history: Sequence[Mapping[str, Any]]) -> None:
        self._own = costs(history)
        self._published = published()
        others = self._published.training
        ratios = [own / others[name] for name, own in self._own.training.items() if own and others.get(name)]
        self._pace = median(ratios) if ratios else 1.0

    def seconds(self, task: str, cell: Cell) -> float | None:
        """Returns the expected seconds of a cell's task, or of its training (task ""); None where nothing is alike."""
        known = self._own.exact.get((task, cell.baseline, cell.dataset, cell.budget, cell.precision))
        if known is not None:
            return known
        if not task:
            each = self._published.training.get(cell.baseline)
            return None if each is None else each * BUDGETS[cell.budget] * self._pace
        each = self._published.scoring.get((task, cell.baseline))
        return None if each is None else each * _test_images(cell.dataset) * self._pace


@functools.cache
def published() -> Costs:
    """Returns the costs of the published records; none where they are not here."""
    folders = [folder.parent for folder in PUBLISHED.glob("*/records")]
    try:
        return costs(records.read_raw(sorted(folders), []))
    except UserError:
        return costs([])


def costs(history: Iterable[Mapping[str, Any]]) -> Costs:
    """Returns the costs that records tell, medians over all that are alike."""
    exact: dict[tuple[str, ...], list[float]] = {}
    training: dict[str, list[float]] = {}
    scoring: dict[Kind, list[float]] = {}
    for raw in history:
        model = (raw["baseline"], raw["dataset"], raw["budget"], raw["precision"])
        for task, name in ((raw["task"], "score_seconds"), ("", "train_seconds")):
            if raw["cost"].get(name) is not None:
                exact.setdefault((task, *model), []).append(raw["cost"][name])
        if raw["cost"].get("images_per_second"):
            training.setdefault(raw["baseline"], []).append(1 / raw["cost"]["images_per_second"])
        elif raw["cost"].get("train_seconds") is not None and raw["status"] == "ok":
            training.setdefault(raw["baseline"], []).append(0.0)  # nothing to train: seconds that no budget scales
        if raw["cost"].get("score_seconds") is not None and (images := _test_images(raw["dataset"])):
            scoring.setdefault((raw["task"], raw["baseline"]), []).append(raw["cost"]["score_seconds"] / images)
    return Costs(*({key: median(values) for key, values in part.items()} for part in (exact, training, scoring)))  # type: ignore[arg-type]


def _test_images(dataset: str) -> int:
    from suite import data

    try:
        return data.info(dataset).sizes[2]
    except UserError:  # a dataset of somebody else's records
        return 0
