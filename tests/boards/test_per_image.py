"""Models are compared image by image wherever their values are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from suite.boards.board import board
from suite.boards.frame import load_records
from tests.boards.reading import cell, places
from tests.factories import record, write_records


def kept(folder: Path, shifts: dict[str, float], spread: float = 0.1, metric: str = "nats") -> Path:
    """A workspace of models that find the same images hard, with their per-image values."""
    rng, rows = np.random.default_rng(0), []
    (folder / "values").mkdir(parents=True)
    hard = rng.normal(100, 20, 300)
    for name, shift in shifts.items():
        own = hard + shift + rng.normal(0, 1, 300)
        for seed in range(3):
            values = own + rng.normal(0, 1, 300) + spread * rng.normal() if spread else own
            rows.append(record(baseline=name, seed=seed, value=float(values.mean()), se=20 / 300**0.5, n=300))
            np.savez(folder / "values" / f"{rows[-1]['key'][:32]}.npz", **{metric: values}, other=values)
    return write_records(folder, rows)


def test_ranks_come_from_paired_differences_where_values_are_kept(tmp_path: Path) -> None:
    data = load_records(kept(tmp_path, {"a": 0.0, "b": 1.0, "c": 2.0}))
    assert places(board(data)) == {"a": (1, 1), "b": (2, 2), "c": (3, 3)}
    assert board(data)["paired"].all()
    assert cell(board(data), "c")["beaten_by"] == ("a", "b")
    alone = board(data, folders=[])
    assert places(alone) == dict.fromkeys("abc", (1, 3))
    assert not alone["paired"].any()


def test_a_model_without_values_is_compared_unpaired_with_all_others(tmp_path: Path) -> None:
    data = load_records(kept(tmp_path, {"a": 0.0, "b": 1.0, "c": 2.0}))
    for key in data[data["baseline"] == "b"]["key"]:
        (tmp_path / "values" / f"{key[:32]}.npz").unlink()
    table = board(data)
    assert table.set_index("model")["paired"].to_dict() == {"a": True, "b": False, "c": True}
    assert places(table) == {"a": (1, 2), "b": (1, 3), "c": (2, 3)}


def test_models_that_are_the_same_in_every_seed_are_compared_by_their_images(tmp_path: Path) -> None:
    table = board(load_records(kept(tmp_path, {"a": 0.0, "b": 1.0, "twin": 1.005}, spread=0.0)))
    assert places(table)["a"] == (1, 1)
    assert places(board(load_records(kept(tmp_path / "x", {"a": 0.0, "b": 0.0}, spread=0.0)))) == dict.fromkeys(
        "ab", (1, 2)
    )
