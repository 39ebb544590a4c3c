from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

from tests.cli.calling import Run, run
from tests.factories import record, write_records


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SUITE_WORKSPACE", str(tmp_path / "runs"))
    return tmp_path / "runs"


@pytest.fixture
def suite(capsys: pytest.CaptureFixture[str]) -> Run:
    return functools.partial(run, capsys)


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models whose difference only pairing shows, one without values, one of which a seed failed."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "values").mkdir()
    rng = np.random.default_rng(3)
    hard = rng.normal(100, 20, 300)
    rows = []
    for name, shift, kept in (("vae", 0.0, True), ("autoencoder", 1.0, True), ("pca", 1.0, False)):
        for seed in range(3):
            values = hard + shift + rng.normal(0, 0.5, 300)
            row = record("reconstruction", name, seed, float(values.mean()), se=20 / 300**0.5, n=300)
            rows.append(row)
            if kept:
                np.savez(folder / "values" / f"{row['key'][:32]}.npz", nats=values)
    for name, share in (("vae", 0.9), ("autoencoder", 0.5)):
        for seed in range(3):
            hits = rng.random(300) < share
            row = record("linear_probe", name, seed, 100 * float(hits.mean()), se=2.0, n=300)
            rows.append(row)
            np.savez(folder / "values" / f"{row['key'][:32]}.npz", accuracy_64=hits)
    rows += [record("linear_probe", "pca", seed, status="failed", reason="Diverged: step 5") for seed in range(3)]
    return write_records(folder, rows)
