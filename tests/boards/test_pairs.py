from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from suite.boards.board import board
from suite.boards.comparison import compare
from suite.boards.exhibits import Exhibits
from suite.boards.frame import load_records
from suite.boards.pairs import pairs_of
from suite.boards.per_image import PerImage
from suite.boards.rows import Row, rows_of
from suite.records.store import pictures_path
from suite.records.values import write_values
from tests.factories import record, write_records


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Five models: three with the values of their images, one without, one that failed."""
    draw = np.random.default_rng(3)
    hard = draw.normal(100, 20, 200)
    rows = []
    for i, name in enumerate(("a", "b", "c")):
        for seed in range(3):
            values = hard + 5 * i + draw.normal(0, 2, 200) + draw.normal(0, 0.3)
            se = float(values.std(ddof=1) / 200**0.5)
            rows.append(record(baseline=name, seed=seed, value=float(values.mean()), se=se, n=200))
            write_values(tmp_path, rows[-1]["key"], {"nats": values, "curve/loss": np.array([[0.0, 9.0], [1.0, 8.0]])})
    rows += [record(baseline="bare", seed=s, value=103 + s, se=1.0, n=200) for s in range(3)]
    rows += [record(baseline="broken", seed=s, status="failed", reason="Diverged: step 3") for s in range(3)]
    return write_records(tmp_path, rows)


def column(workspace: Path) -> tuple[list[Row], object]:
    found = board(load_records(workspace))
    return rows_of(found), found


def test_the_pairs_of_a_column_are_what_compare_finds_of_each(workspace: Path) -> None:
    rows, found = column(workspace)
    pairs = pairs_of(rows, PerImage([workspace]))
    names = [row.model for row in rows]
    for i, a in enumerate(names):
        for j, b in enumerate(names):
            if a != b:
                (one,) = compare(found, a, b, [workspace])
                expected = np.nan if one["half"] is None else one["half"]
                assert pairs.half[i, j] == pytest.approx(expected, rel=1e-9, nan_ok=True)
                assert pairs.paired[i, j] == one["paired"]
                separated = pairs.separated[i, j] or pairs.separated[j, i]
                assert separated == (one["board"] == "separated")
    assert pairs.separated[names.index("a"), names.index("c")]
    assert not pairs.separated[names.index("c"), names.index("a")]


def test_exhibits_are_what_a_row_s_records_keep(workspace: Path) -> None:
    rows = {row.model: row for row in column(workspace)[0]}
    folder = pictures_path(workspace, rows["a"].keys[1])
    folder.mkdir(parents=True)
    (folder / "samples.png").write_bytes(b"png")
    exhibits = Exhibits([workspace])
    assert exhibits.pictures(rows["a"]) == [(1, folder / "samples.png")]
    assert exhibits.pictures(rows["b"]) == []
    curves = exhibits.curves(rows["a"])
    assert list(curves) == ["loss"]
    assert [(seed, curve.tolist()) for seed, curve in curves["loss"]] == [(s, [[0, 9], [1, 8]]) for s in range(3)]
    means = exhibits.means(rows["a"])
    assert means is not None
    assert means.mean() == pytest.approx(rows["a"].value)
    assert exhibits.means(rows["bare"]) is None
