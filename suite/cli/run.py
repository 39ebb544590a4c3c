"""``suite run``: train and score what has no record yet, then print the board."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from suite.cli import options

if TYPE_CHECKING:
    from suite.running import Outcome

#: Exit codes: some cell has no answer; the run was stopped (Ctrl-C, SIGTERM).
FAILED, STOPPED = 1, 130


def run(
    task: options.Tasks = None,
    baseline: options.Baselines = None,
    dataset: options.Datasets = None,
    seeds: options.Seeds = None,
    budget: options.Budget = None,
    precision: options.Precision = None,
    file: options.SelectionFile = None,
    path: options.Paths = None,
    retry: options.Retry = None,
    workspace: options.Workspace = Path("runs"),
    data_root: options.DataRoot = None,
    executor: Annotated[
        str, typer.Option("--executor", metavar="NAME", help="ray, or local: one trial at a time, without Ray.")
    ] = "ray",
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", help="Trials at once [default: as many as cores].")
    ] = None,
    threads: Annotated[int, typer.Option("--threads", metavar="N", help="CPU threads of each trial.")] = 1,
    gpus_per_trial: Annotated[
        float, typer.Option("--gpus-per-trial", metavar="SHARE", help="Share of a GPU for each trial, such as 0.25.")
    ] = 0.0,
    address: Annotated[
        str | None, typer.Option("--address", metavar="HOST:PORT", help="Join this Ray cluster ('auto': the one here).")
    ] = None,
    device: Annotated[
        str,
        typer.Option("--device", metavar="NAME", help="auto (the GPU granted, else the CPU), cpu or cuda."),
    ] = "auto",
    fresh: Annotated[bool, typer.Option("--fresh", help="A new process for each trial, no warm workers.")] = False,
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", help="Longest time a trial may take.")
    ] = None,
    memory: Annotated[
        float | None, typer.Option("--memory", metavar="GIB", help="Most memory a trial may hold.")
    ] = None,
    tracking: Annotated[
        str | None,
        typer.Option("--tracking", metavar="URI", help="MLflow's store, or off [default: WORKSPACE/mlflow.db]."),
    ] = None,
) -> None:
    """Train and score every selected cell that has no record yet; run it again to resume."""
    import functools

    from suite.running import Execution, Interrupted, execute
    from suite.tracking import open_tracker

    selection = options.selection(
        file,
        tasks=task,
        baselines=baseline,
        datasets=dataset,
        seeds=seeds,
        budget=budget,
        precision=precision,
        paths=path,
        retry=retry,
        workspace=workspace,
        data_root=data_root,
    )
    execution = Execution(executor, workers, threads, gpus_per_trial, address, device, fresh, timeout, memory)
    try:
        outcome = execute(selection, execution, mirror=functools.partial(open_tracker, tracking))
    except Interrupted as stopped:
        done, total = len(stopped.outcome.records), len(stopped.outcome.plan.cells)
        typer.echo(f"stopped: {done} of {total} cells have a record; the same command runs the rest", err=True)
        raise typer.Exit(STOPPED) from None
    for warning in outcome.warnings:
        typer.echo(f"warning: {warning}", err=True)
    _print_board(outcome)
    _print_summary(outcome)
    raise typer.Exit(FAILED if outcome.failed else 0)


def _print_board(outcome: Outcome) -> None:
    import shutil

    from suite.boards import board
    from suite.pages import WIDTH, find_anchors, render

    if outcome.records:
        width = shutil.get_terminal_size((WIDTH, 0)).columns
        found = board(outcome.records)
        anchors = find_anchors(set(found["task"]), outcome.plan.selection.paths)
        typer.echo(render(found, anchors=anchors, width=width, costs=False))


def _print_summary(outcome: Outcome) -> None:
    cells = len(outcome.plan.cells)
    problems = f", {outcome.failed} failed" if outcome.failed else ""
    typer.echo(f"{cells} cells: {outcome.ran} run now, {cells - outcome.ran} before{problems}")
    typer.echo(f"records: {Path(outcome.plan.workspace) / 'records'}")
    if outcome.tracking:
        typer.echo(f"MLflow: {outcome.tracking} (suite ui)")
