from __future__ import annotations

import pandas as pd
import pytest

from suite.boards.board import board
from suite.errors import UserError
from suite.pages.render import FORMATS, find_anchors, render
from tests.factories import records


def test_an_unknown_format_names_the_nearest(table: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="did you mean 'markdown'"):
        render(table, "markdwon", anchors={})


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_shows_every_model_of_every_section(format: str) -> None:
    rows = records({"one": [1.0, 1.1, 1.2]}) + records({"two": [3.0]}, budget="standard", precision="bf16")
    text = render(board(rows), format, anchors={})
    assert text.endswith("\n")
    for part in ("one", "two", "standard", "bf16"):
        assert part in text


def test_anchors_of_a_task_that_is_not_here_are_none() -> None:
    assert find_anchors(["somebody_elses_task"]) == {}
