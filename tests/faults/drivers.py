"""Faults of the driver: killed, interrupted, doubled, and a clock that is set back."""

from __future__ import annotations

import random
import signal
import time

from tests.faults.findings import Finding, row
from tests.faults.processes import send
from tests.faults.stage import Stage, staged

#: How often the driver is killed, and the longest time after its start, or after its first record.
KILLS, LONGEST = 4, 2.0


@row("the driver killed (SIGKILL) at random moments, four times")
def driver_killed() -> Finding:
    def play(stage: Stage) -> Finding:
        moments = random.Random(0)
        for kill in range(KILLS):
            driver, before = stage.start(), stage.answers()
            if kill:  # the first one hits the start
                stage.until(before + 1)
            time.sleep(moments.uniform(0.0, LONGEST))
            with stage.fault():
                send(driver.pid, signal.SIGKILL)
            driver.wait()
        stage.again()
        return stage.finding(stage.last("run now"))

    return staged(play, "--workers", "2", seeds=8)


@row("the driver killed while a model from outside answers from processes of its own")
def driver_killed_guests() -> Finding:
    def play(stage: Stage) -> Finding:
        driver = stage.start()
        stage.busy()
        with stage.fault():
            send(driver.pid, signal.SIGKILL)
        driver.wait()
        stage.again()
        return stage.finding(stage.last("run now"))

    return staged(play, "--workers", "2", seeds=2, pause=2.0, trust=False)


@row("Ctrl-C once", tested=True)
def interrupted() -> Finding:
    return _interrupted(1)


@row("Ctrl-C twice")
def interrupted_twice() -> Finding:
    return _interrupted(2)


def _interrupted(times: int) -> Finding:
    def play(stage: Stage) -> Finding:
        driver = stage.start()
        stage.until(2)
        with stage.fault():
            for _ in range(times):
                send(driver.pid, signal.SIGINT)
                time.sleep(0.2)
        driver.wait()
        stage.again()
        return stage.finding(stage.says("stopped:"))

    return staged(play, "--workers", "2")


@row("a second driver in the same workspace", quick=True)
def two_drivers() -> Finding:
    def play(stage: Stage) -> Finding:
        first = stage.start()
        stage.busy()
        with stage.fault():
            stage.again()
        first.wait()
        return stage.finding(stage.says("another run"))

    return staged(play, "--executor", "local", seeds=3, pause=4.0)


@row("the driver stopped for 20 s (SIGSTOP, SIGCONT), as a laptop that sleeps")
def driver_asleep() -> Finding:
    def play(stage: Stage) -> Finding:
        driver = stage.start()
        stage.until(2)
        with stage.fault():
            send(driver.pid, signal.SIGSTOP)
        time.sleep(20.0)
        send(driver.pid, signal.SIGCONT)
        driver.wait()
        stage.again()
        return stage.finding(stage.says("run now"))

    return staged(play, "--workers", "2")


#: A clock that a file sets: what Python's own ``time.time`` and the records' time are in this process.
CLOCK = """
import datetime, os, time
from suite.records import record
real = time.time
def shifted():
    with open(os.environ["FAULTS_CLOCK"]) as file: return real() + float(file.read())
class Shifted(datetime.datetime):
    @classmethod
    def now(cls, tz=None): return datetime.datetime.fromtimestamp(shifted(), tz)
time.time, record.datetime = shifted, Shifted
"""


@row("the driver's clock set back by two days in mid-run")
def clock_set_back() -> Finding:
    def play(stage: Stage) -> Finding:
        shift = stage.folder / "clock"
        shift.write_text("0")
        stage.env["FAULTS_CLOCK"] = str(shift)
        driver = stage.start("--tracking", stage.sqlite(), code=CLOCK)
        stage.until(2)
        with stage.fault():
            shift.write_text("-172800")
        driver.wait()
        stage.again("--tracking", stage.sqlite(), code=CLOCK)
        days = {raw["finished"][:10] for raw in stage.records().values()}
        missing = stage.sync(stage.sqlite())
        return stage.finding(stage.says("run now"), more_lost=missing, more_wrong=len(days) < 2)

    return staged(play, "--executor", "local")
