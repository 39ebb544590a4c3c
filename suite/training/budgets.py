"""How much training there is: budgets in images presented, and the precisions."""

from __future__ import annotations

#: Budget -> training images presented, so that batch size buys nothing.
BUDGETS: dict[str, int] = {"smoke": 1_024, "quick": 60_000, "standard": 1_100_000, "long": 11_000_000}
#: Budget -> version, raised when the effort at this budget alone changes: part of its keys. Without one it is 1.
BUDGET_VERSIONS: dict[str, int] = {"quick": 2}
PRECISIONS = ("float32", "bf16")
