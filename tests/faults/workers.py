"""Faults of workers and of what runs in them."""

from __future__ import annotations

import os
import signal

from tests.faults.findings import Finding, row
from tests.faults.stage import Stage, staged


@row("a worker killed (SIGKILL)", tested=True)
def worker_killed() -> Finding:
    def play(stage: Stage) -> Finding:
        driver = stage.start("--workers", "2")
        stage.until(2)
        with stage.fault():
            os.kill(stage.busy(), signal.SIGKILL)
        driver.wait()
        stage.again("--workers", "2")
        return stage.finding(stage.says("died"))

    return staged(play)


@row("a worker stopped (SIGSTOP), with `--timeout`")
def worker_stalled() -> Finding:
    def play(stage: Stage) -> Finding:
        driver = stage.start()
        stage.until(2)
        with stage.fault():
            os.kill(stage.busy(), signal.SIGSTOP)
        driver.wait()
        stage.again()
        return stage.finding(stage.says("did not end"))

    return staged(play, "--workers", "2", "--timeout", "5")
