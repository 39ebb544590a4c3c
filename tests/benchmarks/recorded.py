"""What the cells of a board cost, by its records: core-minutes a seed by part, and peak memory by model.

    python -m tests.benchmarks.recorded results/mnist
    python -m tests.benchmarks.recorded WORKSPACE --budget standard --dataset mnist

Core-minutes are the processors' where a record tells them (``train_core_seconds``, ``score_core_seconds``), so that
other work on the machine shows little; of older records they are the clock's on one thread, in italics, which is at
least as much. A training is counted once, whichever of its cells told it.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from suite import records
from suite.records import Record

TRAINING = "training"
#: What an official cell may take of memory, GiB.
MOST_GIBIBYTES = 3.0


def minutes(found: Iterable[Record]) -> str:
    """A table in Markdown, part x seed: core-minutes of all cells that are ok.

    Args:
        found: Records of cells that are ok.
    """
    spent: dict[str, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    by_clock: set[tuple[str, int]] = set()
    trained: set[str] = set()
    for record in found:
        cost = record.cost
        parts = [(record.task, "score")]
        if record.checkpoint_key not in trained:
            trained.add(record.checkpoint_key)
            parts.append((TRAINING, "train"))
        for part, kind in parts:
            core = cost.get(f"{kind}_core_seconds")
            if core is None:
                core = cost.get(f"{kind}_seconds") or 0.0
                by_clock.add((part, record.seed))
            spent[part][record.seed] += core / 60
    seeds = sorted({seed for row in spent.values() for seed in row})
    lines = [f"| core-minutes | {' | '.join(f'seed {seed}' for seed in seeds)} |", f"| --- |{' ---: |' * len(seeds)}"]
    for part in sorted(spent, key=lambda part: (part != TRAINING, -max(spent[part].values()))):
        cells = [_minutes(spent[part].get(seed), (part, seed) in by_clock) for seed in seeds]
        lines.append(f"| {part} | {' | '.join(cells)} |")
    sums = [sum(row.get(seed, 0.0) for row in spent.values()) for seed in seeds]
    cells = [_minutes(total, any(s == seed for _, s in by_clock)) for seed, total in zip(seeds, sums, strict=True)]
    return "\n".join([*lines, f"| all | {' | '.join(cells)} |"])


def _minutes(value: float | None, by_clock: bool) -> str:
    text = "" if value is None else f"{value:.1f}"
    return f"*{text}*" if text and by_clock else text


def memory(found: Iterable[Record]) -> str:
    """A table in Markdown, model x seed: the largest peak of a model's trial in GiB; bold is what takes too much.

    Args:
        found: Records of cells that are ok.
    """
    peaks: dict[str, dict[int, float]] = defaultdict(dict)
    for record in found:
        peak = (record.cost.get("peak_memory_bytes") or 0) / 2**30
        peaks[record.baseline][record.seed] = max(peak, peaks[record.baseline].get(record.seed, 0.0))
    seeds = sorted({seed for row in peaks.values() for seed in row})
    lines = [f"| peak GiB | {' | '.join(f'seed {seed}' for seed in seeds)} |", f"| --- |{' ---: |' * len(seeds)}"]
    for model, row in sorted(peaks.items(), key=lambda item: -max(item[1].values())):
        lines.append(f"| {model} | {' | '.join(_gibibytes(row.get(seed)) for seed in seeds)} |")
    return "\n".join(lines)


def _gibibytes(value: float | None) -> str:
    text = "" if value is None else f"{value:.2f}"
    return f"**{text}**" if value is not None and value > MOST_GIBIBYTES else text


def main(arguments: list[str]) -> None:
    """Prints both tables of a folder's records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a workspace or a published board")
    parser.add_argument("--budget", default="standard")
    parser.add_argument("--dataset", default="mnist")
    options = parser.parse_args(arguments)
    found = [
        record
        for record in records.read_all(options.folder)
        if (record.dataset, record.budget, record.status) == (options.dataset, options.budget, "ok")
    ]
    if not found:
        parser.error(f"no cell of {options.dataset} at {options.budget} lies in {options.folder}")
    print(minutes(found), memory(found), sep="\n\n")


if __name__ == "__main__":
    main(sys.argv[1:])
