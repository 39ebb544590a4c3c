"""What is compared between two processors."""

from __future__ import annotations

from suite.records import Record
from tests.benchmarks.processors import pairs, table
from tests.factories import record


def test_numbers_of_the_same_cells_are_compared_and_the_seeds_say_how_far_another_training_lies() -> None:
    def cells(*values: float) -> list[Record]:
        return [Record(**record(seed=seed, value=value)) for seed, value in enumerate(values)]

    found = pairs(cells(100.0, 101.0, 102.0), [*cells(100.5, 105.0), Record(**record(baseline="other"))])
    assert [(pair.there, pair.here) for pair in found] == [(100.0, 100.5), (101.0, 105.0)]
    assert [pair.apart > pair.least for pair in found] == [False, True]
    assert [pair.apart > pair.most for pair in found] == [False, False]
    assert table(found).splitlines()[2:] == ["| reconstruction | 2 | 1 | 0 | vae nats: 101 and 105 |"]
