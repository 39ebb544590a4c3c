"""Reads a board's cells in a test."""

from __future__ import annotations

from typing import Any

import pandas as pd

SPREAD = (-0.1, 0.0, 0.1)


def around(*means: float) -> dict[str, list[float]]:
    """Models m0, m1, ... with three seeds each, spread narrowly round their means."""
    return {f"m{i}": [mean + d for d in SPREAD] for i, mean in enumerate(means)}


def cell(table: pd.DataFrame, model: str, task: str = "reconstruction", **more: Any) -> pd.Series:
    rows = table[(table["model"] == model) & (table["task"] == task)]
    for name, value in more.items():
        rows = rows[rows[name] == value]
    assert len(rows) == 1
    return rows.iloc[0]


def places(table: pd.DataFrame, task: str = "reconstruction") -> dict[str, tuple[float, float]]:
    rows = table[table["task"] == task]
    return {m: (b, w) for m, b, w in zip(rows["model"], rows["rank_best"], rows["rank_worst"], strict=True)}
