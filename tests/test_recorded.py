"""What a board cost, by its records."""

from __future__ import annotations

from suite.records import Record
from tests.benchmarks.recorded import memory, minutes
from tests.factories import record


def cell(task: str, seed: int, checkpoint: str, **cost: float) -> Record:
    return Record(**record(task=task, seed=seed, checkpoint_key=checkpoint, cost=cost))


def test_a_training_is_counted_once_and_the_clocks_minutes_are_told_from_the_cores() -> None:
    old = {"train_seconds": 600.0, "score_seconds": 60.0}
    new = old | {"train_core_seconds": 300.0, "score_core_seconds": 30.0}
    found = [cell("a", 0, "x", **old), cell("b", 0, "x", **old), cell("a", 1, "y", **new), cell("b", 1, "y", **new)]
    assert minutes(found).splitlines()[2:] == [
        "| training | *10.0* | 5.0 |",
        "| a | *1.0* | 0.5 |",
        "| b | *1.0* | 0.5 |",
        "| all | *12.0* | 6.0 |",
    ]


def test_a_peak_is_the_trials_and_one_over_the_limit_is_bold() -> None:
    peaks = (1.0, 2.5, 3.5)
    found = [cell("a", seed, str(seed), peak_memory_bytes=peak * 2**30) for seed, peak in enumerate(peaks)]
    found.append(cell("b", 0, "0", peak_memory_bytes=1.5 * 2**30))
    assert memory(found).splitlines()[-1] == "| vae | 1.50 | 2.50 | **3.50** |"
