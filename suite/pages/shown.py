"""What the library hands out: a board and a comparison that print themselves as the command does."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from suite.boards import rows_of
from suite.pages.compared import as_html, as_text
from suite.pages.html import fragment
from suite.pages.layout import pages
from suite.pages.render import find_anchors, render
from suite.pages.text import WIDTH

if TYPE_CHECKING:
    import pandas as pd


class Board:
    """A board: printed it is the table of ``suite board``, in a notebook its page.

    Args:
        frame: From ``suite.boards.board``.

    Attributes:
        frame: One row per (section, task column, model), as a DataFrame; ``board["value"]`` is a column of it.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame

    def render(self, format: str = "table", **options: Any) -> str:
        """Returns the board in any format; ``suite.pages.render`` names formats and options."""
        return render(self.frame, format, **options)

    def __repr__(self) -> str:
        return self.render(width=shutil.get_terminal_size((WIDTH, 0)).columns).rstrip()

    def _repr_html_(self) -> str:
        return fragment(pages(rows_of(self.frame), find_anchors(set(self.frame["task"]))))

    def __getitem__(self, column: Any) -> Any:
        return self.frame[column]

    def __len__(self) -> int:
        return len(self.frame)


class Comparison:
    """Two models compared: printed it is the table of ``suite compare``.

    Args:
        rows: From ``suite.boards.compare``.
        a: A model.
        b: The other.

    Attributes:
        rows: One dict per column of the board.
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]], a: str, b: str) -> None:
        self.rows, self._names = list(rows), (a, b)

    @property
    def frame(self) -> pd.DataFrame:
        """The rows as a DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.rows)

    def __repr__(self) -> str:
        return as_text(self.rows, *self._names).rstrip()

    def _repr_html_(self) -> str:
        return as_html(self.rows, *self._names)

    def __len__(self) -> int:
        return len(self.rows)
