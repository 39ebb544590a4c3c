"""Names for tab completion, found without importing any file; whatever goes wrong completes nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable


def tasks(incomplete: str) -> list[str]:
    """Returns the tasks whose names start so."""
    return _discovered("task", incomplete)


def baselines(incomplete: str) -> list[str]:
    """Returns the baselines whose names start so."""
    return _discovered("baseline", incomplete)


def datasets(incomplete: str) -> list[str]:
    """Returns the datasets whose names start so."""
    from suite import data

    return _starting(data.names(), incomplete)


def budgets(incomplete: str) -> list[str]:
    """Returns the budgets whose names start so."""
    from suite.training import BUDGETS

    return _starting(BUDGETS, incomplete)


def _discovered(kind: str, incomplete: str) -> list[str]:
    from suite.errors import UserError
    from suite.plugins import registry

    with contextlib.suppress(UserError):
        return _starting(registry.discover(kind), incomplete)
    return []


def _starting(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
