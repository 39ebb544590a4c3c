"""Faults of the driver: killed, interrupted, doubled, and a clock that is set back."""

from __future__ import annotations

import os
import random
import signal
import time

from tests.faults.findings import Finding, row
from tests.faults.processes import wait_for
from tests.faults.stage import Stage, staged


@row("the driver killed (SIGKILL)")
def driver_killed() -> Finding:
    def play(stage: Stage) -> Finding:
        driver = stage.start()
        stage.until(2)
        with stage.fault():
            os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
        stage.again()
        return stage.finding(stage.says("run now"))

    return staged(play, "--workers", "2")
