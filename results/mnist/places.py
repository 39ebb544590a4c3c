"""How fine the ranks of a board are: mean number of places in a rank, and pairs of models whose ranks do not overlap.

python results/mnist/places.py BOARD.md ...

Each board is Markdown as ``suite board --format markdown`` prints it; its first table counts, that of the models
trained without labels.
"""

from __future__ import annotations

import re
import sys
from itertools import combinations
from pathlib import Path

#: A rank at the end of a cell: one place, or the first and the last.
RANK = re.compile(r"\((\d+)(?:-(\d+))?\)$")


def ranks(board: str) -> dict[str, list[tuple[int, int]]]:
    """Returns each column's ranks, (best, worst), in the first table of a board."""
    rows: list[list[str]] = []
    for line in board.splitlines():
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            break
    found: dict[str, list[tuple[int, int]]] = {}
    for column, head in enumerate(rows[0]):
        matches = (RANK.search(row[column]) for row in rows[1:])
        places = [(int(m[1]), int(m[2] or m[1])) for m in matches if m]
        if places:
            found[" ".join(head.replace("<br>", " ").replace("\\", "").removesuffix("(rank)").split())] = places
    return found


def fineness(places: list[tuple[int, int]]) -> tuple[float, int, int]:
    """Returns the mean number of places in a rank, the pairs whose ranks do not overlap, and all pairs."""
    pairs = list(combinations(places, 2))
    apart = sum(a[1] < b[0] or b[1] < a[0] for a, b in pairs)
    return sum(worst - best + 1 for best, worst in places) / len(places), apart, len(pairs)


if __name__ == "__main__":
    for path in sys.argv[1:]:
        sys.stdout.write(f"{path}\n")
        for column, places in ranks(Path(path).read_text()).items():
            mean, apart, pairs = fineness(places)
            sys.stdout.write(f"  {column}: {mean:.1f} places, {apart} of {pairs} pairs apart\n")
