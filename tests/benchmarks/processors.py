"""What another processor makes of the same cells: how many numbers differ by more than ``suite verify`` tolerates.

    suite run --file results/digits/board.yaml --workspace here
    python -m tests.benchmarks.processors results/digits here

Cells are the same where their keys are; both folders' records name their processors.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from suite import records
from suite.measuring import tolerated
from suite.records import Record


@dataclass(frozen=True)
class Pair:
    """One number of one cell, measured twice.

    Attributes:
        task, metric, model: What it is.
        there, here: Both values.
        least, most: What is tolerated on one processor, and on two.
    """

    task: str
    metric: str
    model: str
    there: float
    here: float
    least: float
    most: float

    @property
    def apart(self) -> float:
        """How far apart both values lie."""
        return abs(self.there - self.here)


def pairs(published: Iterable[Record], again: Iterable[Record]) -> list[Pair]:
    """Returns the numbers that both have, in the cells that both have."""
    known = [record for record in published if record.status == "ok"]
    seeds: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for record in known:
        for name, metric in record.metrics.items():
            seeds[record.baseline, record.task, name].append(metric["value"])
    by_key, found = {record.key: record for record in known}, []
    for second in again:
        first = by_key.get(second.key)
        for name in first.metrics.keys() & second.metrics.keys() if first else ():
            assert first is not None
            metric, values = first.metrics[name], seeds[first.baseline, first.task, name]
            spread = statistics.stdev(values) if len(values) > 2 else 0.0
            allowed = [tolerated(metric["unit"], metric["value"], metric["se"], beside) for beside in (0.0, spread)]
            value = second.metrics[name]["value"]
            found.append(Pair(first.task, name, first.baseline, metric["value"], value, allowed[0], allowed[1]))
    return found


def table(found: Iterable[Pair]) -> str:
    """A table in Markdown: per task how many numbers were compared, and how many differ by more than is tolerated."""
    by_task: dict[str, list[Pair]] = defaultdict(list)
    for pair in found:
        by_task[pair.task].append(pair)
    lines = ["| task | numbers | beyond the tolerance | and beyond the seeds' spread | farthest |"]
    lines.append("| --- | ---: | ---: | ---: | --- |")
    for task, members in sorted(by_task.items()):
        beyond, besides = (sum(p.apart > getattr(p, limit) for p in members) for limit in ("least", "most"))
        worst = max(members, key=lambda pair: pair.apart / pair.least)
        told = f"{worst.model} {worst.metric}: {worst.there:.5g} and {worst.here:.5g}"
        lines.append(f"| {task} | {len(members)} | {beyond} | {besides} | {told} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Prints the processors and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("published", type=Path, help="a published board")
    parser.add_argument("again", type=Path, help="a workspace with some of its cells, run here")
    chosen = parser.parse_args(arguments)
    folders = [list(records.read_all(folder)) for folder in (chosen.published, chosen.again)]
    found = pairs(*folders)
    if not found:
        parser.error(f"{chosen.again} has no cell of {chosen.published}")
    for name, members in zip(("published", "again"), folders, strict=True):
        print(f"{name}: {', '.join(sorted({str(record.env.get('cpu')) for record in members}))}")
    print("", table(found), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
