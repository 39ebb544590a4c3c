"""What a cell's record says of an error, whatever a model raises."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from suite.errors import TrialTimeout
from suite.running.faults import fault_of_machine, stack_of, text_of


class Mute(OSError):
    """An error that raises another when it is asked what it says."""

    answer: type[BaseException] = ValueError

    def __str__(self) -> str:
        raise self.answer("mute")


@pytest.mark.parametrize("answer", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_error_that_cannot_say_what_it_is_says_nothing(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    monkeypatch.setattr(Mute, "answer", answer)
    assert text_of(Mute()) == ""
    assert fault_of_machine(Mute(errno.ENOSPC, "full")).startswith("machine ")


def test_an_error_that_does_not_say_of_which_class_it_is_is_no_fault_of_the_machine() -> None:
    hidden = type("Hidden", (Exception,), {"__class__": property(lambda self: 1 / 0)})
    assert fault_of_machine(hidden("x")) == ""


def test_the_end_of_a_trials_time_is_not_swallowed_with_what_an_error_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Mute, "answer", TrialTimeout)
    with pytest.raises(TrialTimeout):
        text_of(Mute())


def test_an_error_whose_traceback_cannot_be_written_down_has_none() -> None:
    error = SyntaxError("odd")
    error.filename, error.lineno, error.text = "odd.py", 1, 5  # type: ignore[assignment]
    assert stack_of(error) == ""
    assert "ValueError: plain" in stack_of(ValueError("plain"))
