"""Faults that a model commits: too much memory, too much time, and what does not let itself be stopped."""

from __future__ import annotations

from tests.faults.findings import Finding, row
from tests.faults.stage import Stage, staged

#: Sleeps in C with the interpreter's lock held: no signal reaches Python.
HANG = "import ctypes; ctypes.PyDLL(None).sleep(1000)"
SWALLOW = "exec('while True:\\n try:\\n  time.sleep(0.01)\\n except BaseException: pass')"
THREADS = """import threading
        for _ in range(3): threading.Thread(target=time.sleep, args=(1000,)).start()"""


def _play(name: str, status: str, says: str, *arguments: str, **code: str) -> Finding:
    def play(stage: Stage) -> Finding:
        stage.add(name, status, **code)
        stage.again()
        stage.again()
        return stage.finding(stage.says(says))

    return staged(play, "--workers", "2", *arguments, seeds=2, pause=0.1)


@row("a trial over its memory, with `--memory`")
def over_memory() -> Finding:
    return _play("Hog", "failed", "allocate", "--memory", "4", loss="torch.empty(2**34)")


@row("a trial over its time, with `--timeout`")
def over_time() -> Finding:
    return _play("Sleeper", "timeout", "not done after", "--timeout", "12", loss="time.sleep(1000)")


@row("a trial that hangs in C, with `--timeout`", tested=True)
def hanging_in_c() -> Finding:
    return _play("Hanging", "timeout", "not done after", "--timeout", "12", loss=HANG)


@row("a trial that swallows every exception, with `--timeout`")
def swallowing() -> Finding:
    return _play("Swallower", "timeout", "not done after", "--timeout", "12", loss=SWALLOW)


@row("a trial that exits its process")
def exiting() -> Finding:
    return _play("Quitter", "killed", "died", loss="os._exit(3)")


@row("a trial that leaves threads running")
def threads_left() -> Finding:
    return _play("Threaded", "ok", "run now", init=THREADS)
