from __future__ import annotations

import signal
import threading

import pytest

from suite.running.interrupt import interruptible, stop_if_asked

NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture
def handlers() -> list[object]:
    return [signal.getsignal(number) for number in NUMBERS]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_ends_the_block_as_ctrl_c_does_and_the_old_handlers_come_back(
    number: signal.Signals, handlers: list[object]
) -> None:
    with pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(number)
    assert [signal.getsignal(n) for n in NUMBERS] == handlers


def test_an_interrupt_that_was_swallowed_is_raised_again_where_the_block_asks() -> None:
    with interruptible():
        stop_if_asked()  # nobody asked yet
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            stop_if_asked()
    stop_if_asked()  # the next block starts afresh


def test_while_a_block_tidies_up_further_signals_do_nothing_and_the_next_block_hears_them_again() -> None:
    tidied = False
    with pytest.raises(KeyboardInterrupt), interruptible():
        try:
            with interruptible():
                signal.raise_signal(signal.SIGINT)
        finally:
            for _ in range(5):
                signal.raise_signal(signal.SIGINT)
            tidied = True
    assert tidied
    with pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(signal.SIGINT)


def test_another_thread_may_enter_the_block_and_changes_no_handler(handlers: list[object]) -> None:
    seen: list[object] = []

    def work() -> None:
        with interruptible():
            seen.extend(signal.getsignal(n) for n in NUMBERS)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == handlers


def test_nohup_is_left_alone() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)
