"""The board's row: one model in one column of one section, with a value or the reason why it has none."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar

from suite.records import CLAIMED, GIVEN_WEIGHTS, OWN_TRAINING

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

#: What has a table of its own: numbers that differ in one of these are never compared.
SECTION = ["dataset", "budget", "precision", "engine"]

#: What has a column of its own within a section, with the metric. A task's name tells its parameters, where they
#: are not its own, as ``linear_probe:arms=True``; so does a baseline's.
TASK = ["task", "task_version"]

#: Under this many seeds a board is preliminary and nothing is ranked.
MIN_SEEDS = 3

#: What a row says of its model, as the model's newest record has it.
MODEL = [
    *("baseline_params", "family", "source", "supervision", "parameters", "flops_per_image", "train_seconds"),
    *("images_per_second", "tuned", "search_trials", "search_seconds", "search_flops", "search_images"),
]

#: Flags on a record whose row has a table of its own, and is not ranked: a model that did not get all it knows from the
#: budget's training, and one that nobody but its author ran.
APART = frozenset({GIVEN_WEIGHTS, OWN_TRAINING, CLAIMED})


@dataclass(slots=True)
class Row:
    """One model in one column of one section. Where a number is not known it is NaN.

    Attributes:
        dataset, budget, precision, engine: The section: what has a table of its own.
        preliminary: Whether the section has too few seeds to rank anything.
        older: How many records of older versions the section left out.
        task, task_version, metric: The column.
        expected: The seeds that the task has of any model.
        unit: Of the metric: ``nats``, ``%``, ``dB``, ...
        direction: ``"lower"`` or ``"higher"`` is better, or ``""``.
        official: Whether the column counts in the overall order.
        floor: The metric of a model that knows nothing.
        task_params, baseline_params: As JSON.
        model: The baseline's name, which tells its parameters.
        standing: ``verified``, ``claimed`` or ``given weights`` where the records came as a submission.
        family, supervision: As the model declares them.
        source: A hash of the files that it is written in.
        parameters, flops_per_image, train_seconds, images_per_second: What the model costs.
        tuned: Of how many trials the model's parameters were chosen; 0 where they are as declared or as given.
        search_trials, search_seconds, search_flops, search_images: What that search took, all trials together.
        supervised: Whether the model saw labels.
        apart: Whether the model has weights or training of its own, so that it is not ranked.
        status: ``ok``, ``partial`` (seeds are missing), or why there is no value: ``failed``, ``not run``, ...
        reason: What is missing, in one line.
        value: Mean over seeds.
        seeds, seed_values, keys: The seeds behind the value, their scores, the keys of their records.
        seed_variance: Variance of the value between seeds, s^2 / S.
        image_quantile: Half-width of the interval that is due to the images alone.
        images: How many images are behind each score.
        flags, notes: What the records say beside their numbers.
        records: How many records the cell has.
        half, low, high: The 95 % interval of the value itself.
        resolution: Differences below it are ties.
        rank_best, rank_worst: The places that the model may have in the column.
        ranked_among: How many models the column ranks.
        paired: Whether the rank rests on per-image values.
        beaten_by: The models that the column ranks above this one.
        overall: Mean of the middle ranks in the official columns.
        overall_best, overall_worst: The places that the model may have in the overall order.
    """

    dataset: str
    budget: str
    precision: str
    engine: int
    preliminary: bool
    older: int
    task: str
    task_version: int
    expected: tuple[int, ...]
    metric: str
    unit: str
    direction: str
    official: bool
    floor: float
    task_params: str
    model: str
    standing: str
    baseline_params: str
    family: str
    source: str
    supervision: str
    parameters: float
    flops_per_image: float
    train_seconds: float
    images_per_second: float
    tuned: int
    search_trials: float
    search_seconds: float
    search_flops: float
    search_images: float
    supervised: bool
    apart: bool
    status: str
    reason: str
    value: float
    seeds: tuple[int, ...]
    seed_values: tuple[float, ...]
    images: int
    flags: tuple[str, ...]
    notes: tuple[str, ...]
    records: int
    keys: tuple[str, ...]
    seed_variance: float
    image_quantile: float
    half: float = math.nan
    low: float = math.nan
    high: float = math.nan
    resolution: float = 0.0
    rank_best: float = math.nan
    rank_worst: float = math.nan
    ranked_among: int = 0
    paired: bool = False
    beaten_by: tuple[str, ...] = ()
    overall: float = math.nan
    overall_best: float = math.nan
    overall_worst: float = math.nan

    @property
    def section(self) -> tuple[str, str, str, int]:
        """What has a table of its own, as ``SECTION``."""
        return self.dataset, self.budget, self.precision, self.engine

    @property
    def class_(self) -> tuple[bool, bool, int, bool]:
        """Who is ranked with whom within a section, and has a table with whom: with as many trials, if any."""
        return self.apart, self.standing == CLAIMED, self.tuned, self.supervised

    @property
    def column(self) -> tuple[str, int, str]:
        """What has a column of its own within a section: the task, its version, the metric."""
        return self.task, self.task_version, self.metric


#: Names of a row's fields, which are a board's columns.
FIELDS = [field.name for field in dataclasses.fields(Row)]


def table_of(rows: Sequence[Row]) -> pd.DataFrame:
    """Returns rows as a table, a column per field."""
    import pandas as pd

    columns = zip(*map(attrgetter(*FIELDS), rows), strict=True)
    return pd.DataFrame(dict(zip(FIELDS, map(list, columns), strict=True)))


def rows_of(board: pd.DataFrame) -> list[Row]:
    """Returns the rows of a table as ``table_of`` makes it; far faster than pandas' own iteration."""
    return [Row(*values) for values in zip(*(board[name].tolist() for name in FIELDS), strict=True)]


Key = TypeVar("Key", bound=Hashable)


def parts(rows: Iterable[Row], key: Callable[[Row], Key]) -> dict[Key, list[Row]]:
    """Returns the rows by a key, the keys and the rows of each in the order in which they came."""
    found: dict[Key, list[Row]] = {}
    for value, run in groupby(rows, key):
        found.setdefault(value, []).extend(run)
    return found


def plain(row: Row) -> dict[str, Any]:
    """Returns a row's fields by name."""
    return {name: getattr(row, name) for name in FIELDS}
