"""The stopwatch: each second is charged once."""

from __future__ import annotations

import pytest

from suite.running import costs


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> costs.Stopwatch:
    """A stopwatch on a clock that goes on by a second whenever it is looked at, while four cores are busy."""
    now, used = iter(range(100)), iter(range(0, 400, 4))
    monkeypatch.setattr(costs.time, "perf_counter", lambda: float(next(now)))
    monkeypatch.setattr(costs.time, "process_time", lambda: float(next(used)))
    return costs.Stopwatch()


def test_a_block_is_charged_to_its_name_and_a_second_one_is_added(clock: costs.Stopwatch) -> None:
    for _ in range(2):
        with clock.timing("score"):
            pass
    assert clock.seconds == {"score": 2.0}


def test_time_within_an_inner_block_is_the_inner_ones_alone(clock: costs.Stopwatch) -> None:
    with clock.timing("setup"), clock.timing("training"):
        pass
    assert clock.seconds == {"setup": 2.0, "training": 1.0}
    assert clock.core == {"setup": 8.0, "training": 4.0}


def test_a_block_that_raises_is_charged_all_the_same(clock: costs.Stopwatch) -> None:
    with pytest.raises(ValueError, match="no"), clock.timing("setup"), clock.timing("training"):
        raise ValueError("no")
    with clock.timing("score"):
        pass
    assert clock.seconds == {"setup": 2.0, "training": 1.0, "score": 1.0}
