"""How far a verified model's score may be from what a maintainer's run of all its seeds would give."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def margin(values: Sequence[float], tolerances: Sequence[float]) -> float:
    """Returns what the mean may be off by: what is tolerated, or its distance from the mean of a maintainer's runs.

    Args:
        values: Of the seeds.
        tolerances: What ``suite verify`` tolerates of each seed that stands as claimed; 0 where a maintainer ran it.
    """
    if not any(tolerances):
        return 0.0
    again = [value for value, tolerance in zip(values, tolerances, strict=True) if not tolerance]
    beside = abs(float(np.mean(values) - np.mean(again))) if again else math.inf
    return max(float(np.mean(tolerances)), beside)


def note(metric: str, unit: str, values: Sequence[float], tolerances: Sequence[float]) -> set[str]:
    """Returns what to say of seeds that no maintainer has run again; of none, nothing. Arguments as for ``margin``."""
    count = sum(tolerance > 0 for tolerance in tolerances)
    if not count:
        return set()
    off = margin(values, tolerances)
    rule = "no lead counts" if math.isinf(off) else f"a lead counts from where it exceeds {off:.2g} {unit}"
    return {f"{metric}: {count} of {len(values)} seeds stand as claimed; {rule.rstrip()}"}
