"""A board that has everything a page must show."""

from __future__ import annotations

from typing import Any

from tests.factories import METRICS, record

ANCHORS = {"reconstruction": [("floor", "pixel_marginals: no latents"), ("copy", "the image itself")]}


def everything(models: int = 11) -> list[dict[str, Any]]:
    """Four tasks, twelve models, five seeds; one supervised, one broken, one flagged."""
    rows = []
    for task, base in zip(METRICS, (205.87, 95.0, 3.0, 80.0), strict=True):
        for i in range(models):
            for seed in range(5):
                value = base - 3.17 * i + 0.11 * seed
                name = "copy" if i == 0 else f"conditional_vae_{i}"
                row = record(task, name, seed, value, se=0.4, others={"floor": 205.87} if i else None)
                row["supervision"] = "labels" if i == 5 else "none"
                row["flags"] = ["suspect"] if i == 10 and task == "reconstruction" else []
                rows.append(row)
    reason = "Diverged: step 37: loss is nan_1 | kl=3 & 50 % of <b>"
    return rows + [record("reconstruction", "broken", s, status="failed", reason=reason) for s in range(5)]
