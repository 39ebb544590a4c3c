"""A site of 1,000 models with five seeds, records and values read included: under 60 s."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite.records.values import write_values
from tests.factories import METRICS, record, write_records
from tests.pages.sites import write

MODELS, SEEDS, IMAGES = 1_000, 5, 400
LIMIT = 60.0


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,000 models x 5 seeds x 4 tasks, with values of 400 images for every reconstruction."""
    folder, draw, rows = tmp_path_factory.mktemp("models"), np.random.default_rng(0), []
    for task, model, seed in itertools.product(METRICS, range(MODELS), range(SEEDS)):
        others = {"floor": 205.87, "rate": 30.0 + model / 100, "distortion": 70.0} if task == "reconstruction" else {}
        row = record(task, f"model_{model}", seed, 100 + model / 50 + seed / 10, others=others, n=IMAGES)
        rows.append(row)
        if others:
            values = draw.normal(0, 20, IMAGES)
            values += row["metrics"]["nats"]["value"] - values.mean()
            write_values(folder, row["key"], {"nats": values})
    return write_records(folder, rows)


@pytest.mark.slow
def test_a_site_of_1000_models(benchmark: Any, workspace: Path, tmp_path: Path) -> None:
    def run() -> int:
        began, processor = time.perf_counter(), time.process_time()
        files = write(workspace, tmp_path / "site")
        benchmark.extra_info.update(
            limit_seconds=LIMIT,
            total_seconds=round(time.perf_counter() - began, 2),
            processor_seconds=round(time.process_time() - processor, 2),
            board_page_mib=round((tmp_path / "site" / "board.html").stat().st_size / 2**20, 2),
        )
        return files

    assert benchmark.pedantic(run, rounds=1) > MODELS
