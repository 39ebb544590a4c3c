"""How long the command line takes to answer; wall time of whole processes, interpreter included."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from suite import records
from suite.planning.plan import Plan, make_plan
from suite.planning.selection import Selection

#: Command -> seconds it should take.
LIMITS = {"--help": 0.3, "list": 0.5}


@pytest.mark.parametrize("command", LIMITS)
def test_a_command_answers(benchmark: BenchmarkFixture, command: str) -> None:
    def answer() -> None:
        subprocess.run([sys.executable, "-m", "suite", command], check=True, capture_output=True)

    benchmark.pedantic(answer, rounds=9, warmup_rounds=1)
    median = benchmark.stats.stats.median
    benchmark.extra_info.update(median_seconds=median, limit_seconds=LIMITS[command])


def test_planning_ten_thousand_done_cells(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    first = Selection(seeds=(0,), workspace=str(tmp_path))
    per_seed = len(make_plan(first).cells)
    selection = dataclasses.replace(first, seeds=tuple(range(-(-10_000 // per_seed))))
    plan = make_plan(selection)
    _write_records(plan)

    found = benchmark.pedantic(make_plan, (selection,), rounds=5, warmup_rounds=1)
    median = benchmark.stats.stats.median
    benchmark.extra_info.update(median_seconds=median, limit_seconds=3, cells=len(found.cells))
    assert found.counts() == {"done": len(found.cells)}
    assert len(found.cells) >= 10_000


def _write_records(plan: Plan) -> None:
    """Writes an ok record for every cell, without the fsync of the real thing."""
    (Path(plan.workspace) / "records").mkdir(parents=True, exist_ok=True)
    for cell in plan.cells:
        record = cell.ended(plan.baselines[cell.baseline], plan.tasks[cell.task], "ok")
        records.record_path(plan.workspace, cell.key).write_text(json.dumps(dataclasses.asdict(record)))
