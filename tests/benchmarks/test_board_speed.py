"""A board from 100,000 records, files read included: under 20 s."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import Any

import pytest

from suite.boards.board import board
from suite.boards.frame import load_records
from suite.pages.render import render
from tests.factories import METRICS, record

MODELS, SEEDS, SECTIONS = 500, 5, 10
LIMIT = 20.0


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """500 models x 5 seeds x 4 tasks x 10 sections, each record with 16 metrics, as a run writes them."""
    folder = tmp_path_factory.mktemp("many") / "records"
    folder.mkdir()
    others = {f"metric_{i}": float(i) for i in range(15)}
    for section in range(SECTIONS):
        place = {"dataset": f"d{section % 5}", "budget": "quick" if section < 5 else "standard"}
        for task, model, seed in itertools.product(METRICS, range(MODELS), range(SEEDS)):
            value = 100 + model / 50 + seed / 10
            row = record(task, f"model_{model}", seed, value, others=others, **place)
            (folder / f"{row['key'][:32]}.json").write_text(json.dumps(row))
    return folder.parent


@pytest.mark.slow
def test_a_board_from_100000_records(benchmark: Any, workspace: Path) -> None:
    def run() -> str:
        began, processor = time.perf_counter(), time.process_time()
        data = load_records(workspace)
        read = time.perf_counter()
        found = board(data)
        text = render(found, "table", anchors={})
        benchmark.extra_info.update(
            records=len(data),
            limit_seconds=LIMIT,
            read_seconds=round(read - began, 2),
            total_seconds=round(time.perf_counter() - began, 2),
            processor_seconds=round(time.process_time() - processor, 2),
        )
        assert len(found) == len(METRICS) * MODELS * SECTIONS
        assert found["rank_best"].notna().all()
        return text

    text = benchmark.pedantic(run, rounds=1)
    assert "model_499" in text
    assert benchmark.extra_info["records"] == 100_000
