"""What a run shows while it goes on: one live display on a terminal or in a notebook, else one line a cell."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from suite.files import PACKAGE
from suite.records import clean
from suite.running.notebook import notebook_display

if TYPE_CHECKING:
    from suite.planning import Cell, Trial
    from suite.records import Record

#: Statuses of a cell that nothing is wrong with.
FINE = ("ok", "unsupported")


class Progress:
    """Shows cells done and failed, what runs where, and the time left.

    Args:
        cells: All that will run.
        console: Where to show it.
        weights: Key -> expected cost of a cell in any unit, where known; the time left goes by it.
    """

    def __init__(self, cells: Sequence[Cell], console: Console, weights: Mapping[str, float | None]) -> None:
        known = [weight for weight in weights.values() if weight]
        default = sum(known) / len(known) if known else 1.0
        self._weights = {cell.key: weights.get(cell.key) or default for cell in cells}
        self._widths = [max((len(text(cell)) for cell in cells), default=0) for text in (_task, _model, _data)]
        self._console = console
        self._began: float | None = None
        self._done = self._failed = 0
        self._done_weight = 0.0
        self._running: dict[str, tuple[Trial, str, float, str]] = {}
        self._live = Live(
            get_renderable=self._render,
            console=console,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._notebook = None if console.quiet else notebook_display()
        self._is_live = console.is_terminal and not console.is_dumb_terminal and self._notebook is None

    def __enter__(self) -> Progress:
        if self._is_live:
            with _shown():
                self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_live:
            with _shown():
                self._live.stop()
        self._draw(now=True)

    def _print(self, line: Text) -> None:
        """Prints a line; what is in it may come from a model, and no terminal is to obey it."""
        with _shown():
            self._console.print(Text(clean(line.plain), line.style), soft_wrap=True)

    def _draw(self, now: bool = False) -> None:
        """Draws the display of a notebook anew; a terminal's draws itself."""
        if self._notebook is not None:
            self._notebook.show(self._render(), now)

    def started(self, trial: Trial, where: str) -> None:
        """A trial has begun."""
        self._began = self._began or time.monotonic()
        self._running[trial.checkpoint_key] = (trial, where, time.monotonic(), "starting")
        self._draw()

    def event(self, trial: Trial, event: Mapping[str, Any]) -> None:
        """A trial tells its phase, or warns."""
        if "phase" in event and trial.checkpoint_key in self._running:
            _, where, since, _ = self._running[trial.checkpoint_key]
            self._running[trial.checkpoint_key] = (trial, where, since, event["phase"])
        if "warning" in event:
            self.warn(event["warning"])
        self._draw()

    def warn(self, message: str) -> None:
        """Shows a line that stays."""
        self._print(Text(f"warning: {message}"))

    def last(self, line: str) -> None:
        """Takes the display down and shows a line: the process ends."""
        self.__exit__()
        self._print(Text(line))

    def record(self, trial: Trial, record: Record) -> None:
        """A cell has ended."""
        self._done += 1
        self._failed += record.status not in FINE
        self._done_weight += self._weights.get(record.key, 0.0)
        self._draw()
        quietly = self._is_live or self._notebook is not None
        if not quietly or record.status not in FINE:
            style = "" if record.status in FINE else "red"
            self._print(Text(self._line(record), style))
            if record.traceback:
                self._print(Text(f"         {place(record)}", "dim"))

    def ended(self, trial: Trial) -> None:
        """A trial has ended."""
        self._running.pop(trial.checkpoint_key, None)

    def _line(self, record: Record) -> str:
        names = [text(record).ljust(width) for text, width in zip((_task, _model, _data), self._widths, strict=True)]
        return "  ".join([record.status.ljust(7), *names, outcome(record)]).rstrip()

    def _render(self) -> Group:
        total = len(self._weights)
        head = Table.grid(padding=(0, 2))
        failed = Text(f"{self._failed} failed", "red" if self._failed else "dim")
        bar = ProgressBar(total=total, completed=self._done, width=30)
        head.add_row(bar, f"{self._done}/{total} cells", failed, Text(self._left(), "dim"))
        running = Table.grid(padding=(0, 2))
        for trial, where, since, phase in list(self._running.values()):
            running.add_row("", trial.name, phase, Text(f"{time.monotonic() - since:.0f} s", "dim"), Text(where, "dim"))
        return Group(head, running)

    def _left(self) -> str:
        left = self.seconds_left()
        if left is None:
            return "starting workers" if self._began is None else ""
        return f"{left / 60:.0f} min left" if left > 90 else f"{left:.0f} s left"

    def seconds_left(self) -> float | None:
        """Returns the time left, from the pace so far; None before the first cell has ended."""
        if self._began is None or not self._done_weight:
            return None
        left = sum(self._weights.values()) - self._done_weight
        return (time.monotonic() - self._began) * max(left, 0.0) / self._done_weight


@contextlib.contextmanager
def _shown() -> Iterator[None]:
    """A display that is closed, or that cannot show a text, ends no run."""
    try:
        yield
    except (OSError, ValueError, SystemExit):  # rich leaves the program where a pipe is closed
        return


def outcome(record: Record) -> str:
    """Returns what came of a cell: the primary metric and the time, or the reason why there is none."""
    measure = record.metrics.get(record.primary)
    if record.status != "ok" or measure is None:
        return record.reason
    value = significant(measure["value"], measure["se"])
    unit = "" if measure["unit"] == record.primary else f" {measure['unit']}"
    return f"{record.primary} {value}{unit}  {record.cost.get('score_seconds', 0.0):.1f} s"


def place(record: Record) -> str:
    """Returns where a cell failed, in the last line outside the engine and its libraries, and how to see more."""
    frames = re.findall(r'File "([^"]+)", line (\d+)', record.traceback)
    own = [f"{name}:{line}" for name, line in frames if not _is_library(name)]
    return ": ".join([*own[-1:], f"suite show {record.key[:12]}"])


def _is_library(name: str) -> bool:
    path = Path(name)
    return "site-packages" in path.parts or path.is_relative_to(PACKAGE) or name.startswith("<")


def significant(value: float, se: float | None) -> str:
    """Returns a value with its standard error, both to the error's first digit."""
    if not se or se < 1e-6:
        return f"{value:.4g}"
    digits = max(0, -int(f"{se:e}".split("e")[1]))
    return f"{value:.{digits}f} ± {se:.{digits}f}"


def _task(item: Cell | Record) -> str:
    return item.task


def _model(item: Cell | Record) -> str:
    return item.baseline


def _data(item: Cell | Record) -> str:
    return f"{item.dataset} seed {item.seed}"
