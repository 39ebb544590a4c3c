"""``suite run``: train and score what has no record yet, then print the board."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from suite.cli.blocks import spread
from suite.cli.options import ExecutionOptions, SelectionOptions

if TYPE_CHECKING:
    from suite.planning import Selection
    from suite.running import Execution, Outcome

#: Exit codes: some cell has no answer; the run was stopped (Ctrl-C, SIGTERM).
FAILED, STOPPED = 1, 130


@spread()
def run(
    selection: SelectionOptions,
    execution: ExecutionOptions,
    tracking: Annotated[
        str | None,
        typer.Option("--tracking", metavar="URI", help="MLflow's store, or off [default: WORKSPACE/mlflow.db]."),
    ] = None,
) -> None:
    """Train and score every selected cell that has no record yet; run it again to resume."""
    failed = carry_out(selection.selection(), execution.execution(), tracking)
    raise typer.Exit(FAILED if failed else 0)


def carry_out(
    selection: Selection, execution: Execution, tracking: str | None, beside: Selection | None = None
) -> bool:
    """Runs a selection, prints the board and a summary, and returns whether some cell has no answer.

    Args:
        selection: What to run.
        execution: How.
        tracking: MLflow's store.
        beside: Cells whose records, where there are any, are on the board as well.
    """
    import functools
    import signal

    from suite.records import clean
    from suite.running import Interrupted, execute
    from suite.tracking import open_tracker

    mirror = functools.partial(open_tracker, tracking)
    try:
        outcome = execute(selection, execution, mirror=mirror)
    except Interrupted as stopped:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever presses Ctrl-C again and again has been heard
        done, total = len(stopped.outcome.records), len(stopped.outcome.plan.cells)
        typer.echo(f"stopped: {done} of {total} cells have a record; the same command runs the rest", err=True)
        raise typer.Exit(STOPPED) from None
    for warning in outcome.warnings:
        typer.echo(f"warning: {clean(warning)}", err=True)
    _print_board(outcome, [] if beside is None else _known(beside))
    _print_summary(outcome)
    return bool(outcome.failed)


def _known(selection: Selection) -> list[dict[str, Any]]:
    """Returns the records that the workspace has of a selection."""
    from suite.planning import make_plan
    from suite.records import read_keys

    plan = make_plan(selection, download=False)
    return list(read_keys(plan.workspace, [cell.key for cell in plan.cells], []).values())


def _print_board(outcome: Outcome, beside: list[dict[str, Any]]) -> None:
    import shutil

    from suite.boards import board
    from suite.pages import WIDTH, find_anchors, render

    if outcome.records:
        width = shutil.get_terminal_size((WIDTH, 0)).columns
        found = board([*outcome.records, *beside], folders=[outcome.plan.workspace])
        anchors = find_anchors(set(found["task"]), outcome.plan.selection.paths)
        typer.echo(render(found, anchors=anchors, width=width, costs=False))


def _print_summary(outcome: Outcome) -> None:
    cells = len(outcome.plan.cells)
    problems = f", {outcome.failed} failed" if outcome.failed else ""
    typer.echo(f"{cells} cells: {outcome.ran} run now, {cells - outcome.ran} before{problems}")
    typer.echo(f"records: {Path(outcome.plan.workspace) / 'records'}")
    if outcome.tracking:
        typer.echo(f"MLflow: {outcome.tracking} (suite ui)")
