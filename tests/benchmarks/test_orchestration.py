"""What Ray costs: the wall time of a whole run over the trials' own time shared among its workers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from suite.records.store import read_all
from tests.toys import write_baseline, write_task

ROOT = Path(__file__).resolve().parents[2]

TRIALS, WORKERS, SECONDS = 20, 2, 5.0

#: Wall time over (sum of the trials' own seconds / workers) should stay below this, the start of Ray included.
LIMIT = 1.25

#: A score that keeps its core busy.
WORK = f"""import time
        end = time.monotonic() + {SECONDS}
        while time.monotonic() < end:
            torch.ones(300, 300).mm(torch.ones(300, 300))"""


@pytest.mark.slow
def test_a_run_of_twenty_trials(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    write_task(tmp_path / "toys", score=WORK)
    write_baseline(tmp_path / "toys", "Toy")
    options = f"--path toys -t error -b toy --seeds 0-{TRIALS - 1} --budget smoke --tracking off --trust"
    options += f" --workers {WORKERS}"

    def run() -> None:
        subprocess.run(
            [sys.executable, "-m", "suite", "run", *options.split()],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
        )

    start = time.monotonic()
    benchmark.pedantic(run, rounds=1)
    wall = time.monotonic() - start
    costs = [record.cost for record in read_all(tmp_path / "runs")]
    own = sum(cost["train_seconds"] + cost["score_seconds"] for cost in costs)
    # What a trial loads, builds and counts is its own work as well; the first figure calls it overhead.
    setup = sum(cost["setup_seconds"] for cost in costs)
    benchmark.extra_info.update(wall_seconds=wall, own_seconds=own, ratio=wall / (own / WORKERS), limit=LIMIT)
    benchmark.extra_info.update(setup_seconds=setup, ratio_with_setup=wall / ((own + setup) / WORKERS))
    assert len(costs) == TRIALS
    assert all(cost["score_seconds"] >= SECONDS for cost in costs)
