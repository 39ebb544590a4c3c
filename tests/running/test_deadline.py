"""A trial whose worker does not end it is overdue once, a while after the limit."""

from __future__ import annotations

import pytest

from suite.running import deadline
from suite.running.deadline import Deadline, Worker

FIRST, SECOND = Worker("10.0.0.1", 11), Worker("10.0.0.2", 22)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(deadline.time, "monotonic", lambda: now[0])
    return now


def test_a_trial_is_overdue_after_its_limit_and_the_grace_and_is_told_once(clock: list[float]) -> None:
    watch = Deadline(5.0)
    watch.began(0, FIRST)
    clock[0] = 3.0
    watch.began(1, SECOND)
    watch.began(0, FIRST)  # every word of a trial says that it runs; the first counts
    clock[0] = 5.0 + deadline.GRACE
    assert watch.overdue() == {}
    clock[0] += 0.1
    assert watch.overdue() == {0: FIRST}
    assert watch.overdue() == {}
    assert "did not end 30 s after the time limit" in watch.reasons[0]
    clock[0] += 3.0
    assert watch.overdue() == {1: SECOND}


def test_a_trial_that_has_ended_and_one_without_a_limit_are_never_overdue(clock: list[float]) -> None:
    limited, free = Deadline(5.0), Deadline(None)
    limited.began(0, FIRST)
    free.began(0, FIRST)
    limited.ended(0)
    clock[0] = 1e6
    assert limited.overdue() == free.overdue() == {}
    assert limited.reasons == {}
