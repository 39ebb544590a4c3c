from __future__ import annotations

import pandas as pd
import pytest

from suite.boards.board import board
from tests.pages.shown import everything


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return board(everything())
