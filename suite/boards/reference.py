"""What a board goes by where records disagree: the suite's own tasks, then the word of most models.

A record may come from anybody, and says of itself what it likes. No single one may decide for the others what a
column ranks by, in which direction, at which version, on which data, or for how many seeds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from suite.plugins import registry

if TYPE_CHECKING:
    from pandas import DataFrame, Series

    from suite.boards.outcome import Outcome
    from suite.plugins import Entry


def majority(data: DataFrame, owner: Sequence[str], column: str) -> Series[Any]:
    """Returns for each row the value of a column that most models of its owner have; of several, the newest.

    Foreign records are heard where an owner has no others: any number of models is easily invented.

    Args:
        data: Records in the order in which they ended, with a column ``foreign``.
        owner: The columns within which the value must be one.
        column: What must agree.
    """
    ordered = data.assign(_last=range(len(data)))
    heard = ~ordered["foreign"] | ordered.groupby([*owner])["foreign"].transform("all")
    votes = (
        ordered[heard]
        .groupby([*owner, column], sort=False)
        .agg(_models=("baseline", "nunique"), _last=("_last", "max"))
    )
    won = votes.sort_values(["_models", "_last"]).reset_index().drop_duplicates([*owner], keep="last")
    keys = data[[*owner]].merge(won[[*owner, column]], on=[*owner], how="left", validate="many_to_one")
    return keys[column].set_axis(data.index)


def heard(rows: Iterable[Outcome]) -> list[Outcome]:
    """Returns the rows that decide something for others: all but the foreign ones, where there are any."""
    found = list(rows)
    return [row for row in found if not row.foreign] or found


def chosen(rows: Iterable[Outcome], of: Callable[[Outcome], Hashable]) -> Any:
    """Returns what most models say by their newest record; of several answers, the newest."""
    newest = {row.baseline: of(row) for row in heard(rows)}
    counts = Counter(newest.values())
    return max(newest.values(), key=lambda answer: counts[answer]) if counts else None


def shared_seeds(rows: Iterable[Outcome]) -> tuple[int, ...]:
    """Returns the seeds that at least half of the models have: one that ran more leaves the others whole."""
    models: dict[int, set[str]] = {}
    for row in heard(rows):
        models.setdefault(row.seed, set()).add(row.baseline)
    total = len(set().union(*models.values())) if models else 0
    return tuple(sorted(seed for seed, those in models.items() if 2 * len(those) >= total))


class OwnTasks:
    """The tasks of this suite, built in or installed, read as text: what they say of themselves counts."""

    def __init__(self) -> None:
        self._found: dict[str, Entry] = registry.discover("task")

    def of(self, task: str, version: int) -> Entry | None:
        """Returns the task of a column, None where the suite has none of this name and version."""
        entry = self._found.get(task.partition(":")[0])
        return entry if entry is not None and entry.static["version"] == version else None

    def known(self, task: str) -> bool:
        """Whether the suite has a task of this name, whatever its version."""
        return task.partition(":")[0] in self._found

    def newest(self, task: str) -> int | None:
        """Returns the version of a task that the suite has."""
        entry = self._found.get(task.partition(":")[0])
        return None if entry is None else int(entry.static["version"])

    def official(self, task: str, version: int, rows: Iterable[Outcome]) -> bool:
        """Whether a column counts in the overall order; a task that the suite does not have never does."""
        entry = self.of(task, version)
        if ":" in task or not self.known(task):
            return False
        return bool(entry.static["official"] if entry else chosen(rows, lambda row: bool(row.official)))

    def primary(self, task: str, version: int, rows: Iterable[Outcome]) -> str:
        """Returns the metric that a column ranks by."""
        entry = self.of(task, version)
        return str(entry.static["primary"] if entry else chosen(rows, lambda row: row.primary or ""))

    def metric(self, task: str, version: int, name: str, rows: Iterable[Outcome]) -> tuple[str, str, str]:
        """Returns (name, unit, direction) of a metric."""
        entry = self.of(task, version)
        for declared, unit, direction in entry.facts.metrics if entry else ():
            if fnmatchcase(name, declared):
                return name, unit, direction
        told = [row for row in rows if name in row.metrics]
        unit, direction = chosen(told, lambda row: _about(row, name)) or ("", "")
        return name, unit, direction


def _about(row: Outcome, name: str) -> tuple[str, str]:
    entry = row.metrics[name]
    return entry.get("unit", ""), entry.get("direction", "")
