"""Waves of trials, as a search runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite.errors import UserError
from suite.running.executor import Execution
from suite.running.wave import Workers


def test_a_search_on_nodes_that_do_not_see_the_workspace_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a search needs a workspace that all nodes see"):
        Workers(tmp_path, Execution(shared=False), quiet=True)
