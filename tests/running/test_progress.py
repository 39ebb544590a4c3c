"""What a run shows."""

from __future__ import annotations

import io
import sys
import types
from typing import Any

import pytest
from rich.console import Console

from suite.planning.cells import Cell, Trial
from suite.plugins.source import Source
from suite.records.record import Record
from suite.running.progress import Progress, outcome, significant


def cell(seed: int, task: str = "reconstruction") -> Cell:
    return Cell(task, {}, "vae", {}, "digits", seed, "smoke", "float32", f"{task}-{seed}", f"model-{seed}", {})


def trial(*cells: Cell) -> Trial:
    source = Source("baseline", "vae", "VAE", "vae.py", {}, "d", "vae.py", {})
    return Trial(source, {c.task: source for c in cells}, cells, "/data", "/runs")


def ended(of: Cell, status: str = "ok", **fields: Any) -> Record:
    metrics = {"nats": {"value": 99.523, "unit": "nats", "direction": "lower", "se": 0.31, "n": 400}}
    return Record(
        key=of.key,
        status=status,
        task=of.task,
        baseline=of.baseline,
        dataset=of.dataset,
        seed=of.seed,
        primary="nats",
        metrics=metrics if status == "ok" else {},
        cost={"score_seconds": 12.34},
        **fields,
    )


def shown(terminal: bool) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, force_terminal=terminal, width=100, _environ={"TERM": "xterm"}), out


def test_without_a_terminal_each_cell_is_one_line() -> None:
    console, out = shown(terminal=False)
    cells = [cell(0), cell(1, "probe")]
    with Progress(cells, console, {}) as progress:
        progress.started(trial(*cells), "here")
        progress.event(trial(*cells), {"phase": "training"})
        progress.record(trial(*cells), ended(cells[0]))
        progress.record(trial(*cells), ended(cells[1], "failed", reason="ValueError: no"))
    assert out.getvalue().splitlines() == [
        "ok       reconstruction  vae  digits seed 0  nats 99.5 ± 0.3  12.3 s",
        "failed   probe           vae  digits seed 1  ValueError: no",
    ]


def test_no_terminal_obeys_what_a_model_says() -> None:
    console, out = shown(terminal=False)
    with Progress([cell(0)], console, {}) as progress:
        progress.record(trial(cell(0)), ended(cell(0), "failed", reason="E\x1b[2J: \x9b31m\u202e\r\nnext"))
        progress.warn("\x1b[31mred")
    mark = "\N{REPLACEMENT CHARACTER}"
    assert out.getvalue().splitlines() == [
        f"failed   reconstruction  vae  digits seed 0  E{mark}[2J: {mark}31m{mark} next",
        f"warning: {mark}[31mred",
    ]


def test_on_a_terminal_the_display_names_what_runs_and_keeps_failures() -> None:
    console, out = shown(terminal=True)
    cells = [cell(0), cell(1), cell(2)]
    with Progress(cells, console, {}) as progress:
        progress.started(trial(cells[0]), "box:77")
        progress.event(trial(cells[0]), {"phase": "reconstruction"})
        progress.record(trial(cells[1]), ended(cells[1], "killed", reason="the worker died"))
        progress._live.refresh()
    text = out.getvalue()
    assert "1/3 cells" in text
    assert "1 failed" in text
    assert "vae/digits/seed 0" in text
    assert "box:77" in text
    assert "the worker died" in text


def test_the_time_left_goes_by_the_cost_of_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    cells = [cell(0), cell(1), cell(2)]
    progress = Progress(cells, shown(terminal=False)[0], {cells[0].key: 1.0, cells[1].key: 3.0, cells[2].key: None})
    assert progress.seconds_left() is None
    progress.started(trial(cells[0]), "here")
    now = 110.0
    progress.record(trial(cells[0]), ended(cells[0]))
    assert progress.seconds_left() == pytest.approx(50.0)  # 10 s for 1 unit; 3 are left, and 2 for the unknown one


@pytest.mark.parametrize(
    ("value", "se", "text"),
    [
        (99.523, 0.31, "99.5 ± 0.3"),
        (0.5, 0.0123, "0.50 ± 0.01"),
        (1234.5, 20.0, "1234 ± 20"),
        (7.25, None, "7.25"),
        (0.5, 1e-17, "0.5"),
    ],
)
def test_a_value_is_shown_to_the_digit_of_its_error(value: float, se: float | None, text: str) -> None:
    assert significant(value, se) == text


def test_a_cell_without_a_score_shows_its_reason() -> None:
    assert outcome(ended(cell(0), "unsupported", reason="no labels")) == "no labels"


class Handle:
    """What IPython's ``display`` returns: keeps what it was told to show."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def update(self, data: dict[str, str], raw: bool) -> None:
        assert raw
        self.shown.append(data["text/plain"])


def test_in_a_notebook_one_display_is_drawn_anew_and_only_failures_leave_a_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handle = Handle()
    ipython, display = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())  # type: ignore[attr-defined]
    display.display = lambda *_, **__: handle  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    console, out = shown(terminal=False)
    cells = [cell(0), cell(1, "probe")]
    with Progress(cells, console, {}) as progress:
        progress.started(trial(*cells), "here")
        progress.record(trial(*cells), ended(cells[0]))
        progress.record(trial(*cells), ended(cells[1], "failed", reason="ValueError: no"))
        progress.ended(trial(*cells))
    assert "vae/digits/seed 0" in handle.shown[0]
    assert "2/2 cells" in handle.shown[-1]
    assert "1 failed" in handle.shown[-1]
    assert out.getvalue().splitlines() == ["failed   probe           vae  digits seed 1  ValueError: no"]


def test_a_failure_says_where_in_the_model_s_file_and_how_to_see_more() -> None:
    console, out = shown(terminal=False)
    stack = 'File "/me/my_model.py", line 12, in loss\n  File "/x/site-packages/torch/nn.py", line 9, in f\nValueError'
    with Progress([cell(0)], console, {}) as progress:
        progress.record(trial(cell(0)), ended(cell(0), "failed", reason="ValueError: no", traceback=stack))
    assert out.getvalue().splitlines()[1].strip() == "/me/my_model.py:12: suite show reconstructi"
