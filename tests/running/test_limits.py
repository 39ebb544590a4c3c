"""Limits of time and memory, and what a process that died of them leaves."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from suite.errors import TrialTimeout
from suite.running import limits


def die(path: Path, code: str, seconds: float | None = None) -> tuple[str, str, str]:
    """Runs code in a process of its own inside a black box and returns what became of it."""
    script = f"""
import ctypes, os, signal, sys, time
from pathlib import Path
from suite.running import limits
with limits.black_box(Path({str(path)!r}), {seconds!r}):
    {code}
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    return limits.cause_of_death(path, seconds)


def test_a_process_that_never_ends_is_ended_and_says_where_it_was(tmp_path: Path) -> None:
    status, reason, stack = die(tmp_path / "note", "time.sleep(60)", 0.3)
    assert (status, reason) == ("timeout", "not done after 0.3 s")
    assert "<string>" in stack


def test_a_crash_names_the_signal(tmp_path: Path) -> None:
    status, reason, _ = die(tmp_path / "note", "ctypes.string_at(0)")
    assert status == "killed"
    assert "Segmentation fault" in reason


@pytest.mark.parametrize("code", ["os.kill(os.getpid(), signal.SIGKILL)", "os._exit(3)"])
def test_a_silent_death_is_killed(tmp_path: Path, code: str) -> None:
    status, reason, stack = die(tmp_path / "note", code, 50.0)
    assert status == "killed"
    assert "SIGKILL" in reason
    assert stack == ""


def test_a_block_that_ends_leaves_no_note(tmp_path: Path) -> None:
    with limits.black_box(tmp_path / "note", 30.0):
        assert (tmp_path / "note").exists()
    assert not (tmp_path / "note").exists()


def test_the_alarm_rings_even_where_exceptions_are_swallowed() -> None:
    start = time.monotonic()
    with pytest.raises(TrialTimeout, match=r"0\.1 s"), limits.alarm(0.1):
        try:
            time.sleep(20)
        except Exception:
            time.sleep(20)
    assert time.monotonic() - start < 10


def test_the_alarm_is_off_after_the_block() -> None:
    with limits.alarm(0.05):
        pass
    time.sleep(0.1)


def test_memory_beyond_the_limit_is_refused_and_the_limit_lifted_afterwards() -> None:
    with pytest.raises(RuntimeError, match="allocate"), limits.memory(1.0):
        torch.ones(2**30)
    assert len(torch.ones(2**20)) == 2**20


def test_peak_memory_starts_anew() -> None:
    block = torch.ones(2**26)
    high = limits.peak_memory()
    del block
    limits.reset_peak_memory()
    assert limits.peak_memory() < high


HEAP = """
import ctypes, os, resource
from suite.running import limits

def held():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20

malloc, free = ctypes.CDLL(None).malloc, ctypes.CDLL(None).free
malloc.restype, free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]

def use_and_free():
    blocks = [malloc(2**22) for _ in range(64)]
    for block in blocks:
        ctypes.memset(block, 1, 2**22)
    for block in blocks:
        free(block)

start = held()
with limits.kept_heap():
    use_and_free()
    kept = held() - start
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    use_and_free()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(kept, faults, held() - start)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="malloc is not glibc's")
def test_freed_memory_is_kept_for_the_next_tensor_and_handed_back_at_the_end() -> None:
    done = subprocess.run([sys.executable, "-c", HEAP], capture_output=True, text=True, check=True, timeout=60)
    kept, faults, left = map(float, done.stdout.split())
    assert kept > 200  # of 256 MiB
    assert faults < 100  # of 65,536 pages
    assert left < 100


PAGES = (
    HEAP.partition("start = held()")[0]
    + """
with limits.kept_heap():
    block, small = malloc(24 * 2**20), malloc(2**12)
    ctypes.memset(block, 1, 24 * 2**20)
    full = held()
    free(block)
    print(full - held())
"""
)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="malloc is not glibc's")
def test_a_large_tensor_leaves_no_hole_below_a_small_one() -> None:
    done = subprocess.run([sys.executable, "-c", PAGES], capture_output=True, text=True, check=True, timeout=60)
    assert float(done.stdout) > 20  # of 24 MiB
