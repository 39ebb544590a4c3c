"""``suite tune``: search a model's parameters on validation images, then train and score what was chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from suite.cli.blocks import spread
from suite.cli.complete import tasks
from suite.cli.options import ExecutionOptions, SelectionOptions
from suite.cli.output import print_table
from suite.cli.run import FAILED, STOPPED, carry_out

if TYPE_CHECKING:
    from suite.planning import Selection
    from suite.tuning import Candidate, Search


@spread(without=("file", "retry", "shard", "costs"))
def tune(
    selection: SelectionOptions,
    execution: ExecutionOptions,
    trials: Annotated[
        int, typer.Option("--trials", metavar="N", help="Trials of each model, the declared one first.")
    ] = 8,
    seed: Annotated[
        int, typer.Option("--seed", metavar="SEED", help="Of the draws, and of every trial's training.")
    ] = 0,
    objective: Annotated[
        str,
        typer.Option(
            "--objective",
            metavar="TASK",
            help="Whose ranked metric decides, on the validation split [default: the official one in nats].",
            autocompletion=tasks,
        ),
    ] = "",
    search_only: Annotated[bool, typer.Option("--search-only", help="Do not train and score what was chosen.")] = False,
    tracking: Annotated[
        str | None,
        typer.Option("--tracking", metavar="URI", help="MLflow's store, or off [default: WORKSPACE/mlflow.db]."),
    ] = None,
) -> None:
    """Search the parameters of models on validation images, then run what was chosen; run it again to resume."""
    import signal

    from suite import tuning
    from suite.planning import check_seeds

    (first,) = check_seeds([seed])
    chosen, how = selection.selection(), execution.execution()
    try:
        found = tuning.tune(chosen, how, trials=trials, seed=first, task=objective)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever presses Ctrl-C again and again has been heard
        typer.echo("stopped: what is known of the trials is kept; the same command goes on", err=True)
        raise typer.Exit(STOPPED) from None
    for search in found:
        _print_search(search)
    well = [search for search in found if search.winner is not None and not search.stuck]
    failed = len(well) < len(found)
    if well and not search_only:
        failed |= carry_out(tuning.tuned(chosen, found), how, tracking, beside=_declared(chosen, well))
    raise typer.Exit(FAILED if failed else 0)


def _declared(selection: Selection, found: Sequence[Search]) -> Selection:
    """The same models as they are declared: their rows, where they have any, belong beside the tuned ones."""
    return replace(selection, baselines=tuple(search.model for search in found))


def _print_search(search: Search) -> None:
    from suite.tuning import TIMES

    columns = ("trial", "parameters", *(f"{time}/{TIMES[-1]}" for time in TIMES), "end")
    print_table(
        f"{search.model}: {search.candidates[0].cell.task} on validation images",
        columns,
        [_line(search, candidate) for candidate in search.candidates],
        columns[2:-1],
    )
    cost = search.cost()
    typer.echo(
        f"{cost['trials']:g} trials: {cost['seconds']:.0f} s, {cost['images']:,.0f} training images, "
        f"{cost['flops'] / 1e12:.3g} TFLOP"
    )
    if search.stuck:
        typer.echo(f"warning: not decided: {search.stuck}; the same command goes on", err=True)
    elif search.winner is None:
        typer.echo(f"warning: no trial of {search.model} ended well: nothing is chosen", err=True)
    else:
        typer.echo(f"chosen: {search.selector(search.winner)}")
    typer.echo()


def _line(search: Search, candidate: Candidate) -> list[object]:
    from suite.plugins import write_params
    from suite.tuning import TIMES

    prices = [candidate.prices.get(time, {}) for time in TIMES]
    values = [f"{p['value']:.2f}" if p.get("value") is not None and not p.get("repeated") else "" for p in prices]
    end = "chosen" if candidate is search.winner and not search.stuck else candidate.end
    return [candidate.number, write_params(candidate.params) or "as declared", *values, end]
