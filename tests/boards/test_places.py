"""The fineness of a board's ranks, read from its page."""

from __future__ import annotations

import runpy
from pathlib import Path

PLACES = runpy.run_path(str(Path(__file__).parents[2] / "results" / "mnist" / "places.py"))

BOARD = """
### Trained without labels

| model | overall | reconstruction<br>nats ↓ (rank) |
| --- | ---: | ---: |
| a | 1 | 90.0 ± 0.1 (1-2) |
| b | 2 | 91.0 ± 0.1 (2-3) |
| c | 3 | 99.0 ± 0.1 (3) |
| floor° | – | 205.9 |

### Trained with labels

| model | overall | reconstruction<br>nats ↓ (rank) |
| --- | ---: | ---: |
| d | 1 | 80.0 ± 0.1 (1) |
"""


def test_the_places_and_pairs_of_the_first_table_are_counted() -> None:
    ranks = PLACES["ranks"](BOARD)
    assert ranks == {"reconstruction nats ↓": [(1, 2), (2, 3), (3, 3)]}
    assert PLACES["fineness"](ranks["reconstruction nats ↓"]) == (5 / 3, 1, 3)
