"""A display in a notebook's cell that is drawn anew in place."""

from __future__ import annotations

import io
import sys
import time
from html import escape
from typing import Any

from rich.console import Console, RenderableType

#: Seconds between two drawings: a notebook's messages go through a browser.
PAUSE = 0.25

#: Characters in a line.
WIDTH = 110


class NotebookDisplay:
    """Shows a renderable in the cell that runs, in place of what it showed before."""

    def __init__(self, display: Any) -> None:
        self._handle = display({"text/html": ""}, raw=True, display_id=True)
        self._last = 0.0

    def show(self, content: RenderableType, now: bool = False) -> None:
        """Draws the content, unless it was drawn a moment ago and ``now`` is not said."""
        if not now and time.monotonic() - self._last < PAUSE:
            return
        self._last = time.monotonic()
        out = io.StringIO()
        Console(file=out, width=WIDTH, force_jupyter=False, legacy_windows=False).print(content)
        text = out.getvalue().rstrip()
        self._handle.update({"text/html": f"<pre>{escape(text)}</pre>", "text/plain": text}, raw=True)


def notebook_display() -> NotebookDisplay | None:
    """Returns the display of the cell that runs; None where this process serves no notebook."""
    ipython = sys.modules.get("IPython")  # a notebook has imported it
    shell = ipython.get_ipython() if ipython is not None else None
    if ipython is None or getattr(shell, "kernel", None) is None:
        return None
    from importlib import import_module

    return NotebookDisplay(import_module("IPython.display").display)
