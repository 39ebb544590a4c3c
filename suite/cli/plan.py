"""``suite plan``: what would run, what is done, stale or unsupported and why, and the minutes it would take."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

import typer

from suite.cli.blocks import spread
from suite.cli.options import Format, SelectionOptions, check_format
from suite.cli.output import print_json, print_table

if TYPE_CHECKING:
    from suite.planning import Cell, Plan
    from suite.running import Capacity

COLUMNS = ("task", "baseline", "dataset", "seeds", "state", "minutes", "reason")


@spread()
def plan(
    selection: SelectionOptions,
    explain: Annotated[
        bool, typer.Option("--explain", help="Print what each key is made of and what changed since the stale record.")
    ] = False,
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="HOST:PORT", help="Say what this Ray cluster can hold of it ('auto': here)."),
    ] = None,
    threads: Annotated[int, typer.Option("--threads", metavar="N", help="With --address: as of `suite run`.")] = 1,
    gpus_per_trial: Annotated[
        float, typer.Option("--gpus-per-trial", metavar="SHARE", help="With --address: as of `suite run`.")
    ] = 0.0,
    format: Format = "table",
) -> None:
    """Show what `suite run` with the same selection would do, and why."""
    from suite.planning import make_plan

    check_format(format)
    found = make_plan(selection.selection(), download=False)
    for line in found.warnings:
        typer.echo(f"warning: {line}", err=True)
    room = _room(address, threads, gpus_per_trial) if address else None
    if format == "json":
        print_json(_as_dict(found, explain) | ({"cluster": vars(room)} if room else {}))
        return
    _print_table(found)
    if room is not None:
        typer.echo(_told(room, address, len(found.trials())))
    if explain:
        for cell in found.cells:
            print_json(_explanation(found, cell))


def _room(address: str, threads: int, gpus_per_trial: float) -> Capacity:
    """Asks a cluster how many trials it can hold."""
    from suite.running import Execution, capacity_at

    return capacity_at(Execution(address=address, threads=threads, gpus_per_trial=gpus_per_trial))


def _told(room: Capacity, address: str | None, trials: int) -> str:
    if room.fault:
        return f"at {address} none of the {trials} trials can ever run: {room.fault}"
    return f"at {address} {room.holding} of {room.nodes} nodes can hold a trial: {room.at_once} at once"


def _print_table(plan: Plan) -> None:
    """Prints one row per task and model: seeds in the same state for the same reason share it."""
    minutes = plan.minutes()
    rows: dict[tuple[str, ...], list[Cell]] = {}
    for cell in plan.cells:
        rows.setdefault((cell.task, cell.baseline, cell.dataset, cell.state, cell.reason), []).append(cell)
    print_table(
        f"plan in {plan.workspace}",
        COLUMNS,
        [
            (task, baseline, dataset, _seeds([c.seed for c in cells]), state, _total(cells, minutes), reason)
            for (task, baseline, dataset, state, reason), cells in rows.items()
        ],
        ("minutes",),
        names=2,
    )
    counts = ", ".join(f"{number} {state}" for state, number in plan.counts().items())
    pending = plan.pending
    typer.echo(
        f"{len(plan.cells)} cells: {counts}; {len(pending)} to run in {len(plan.trials())} trials"
        + (f", minutes of one worker: {_total(pending, minutes)}" if pending else "")
    )


def _total(cells: Sequence[Cell], minutes: dict[str, float | None]) -> str:
    """Returns the minutes of the cells that would run, ``?`` where one of them is not known."""
    expected = [minutes[cell.key] for cell in cells if cell.run]
    if not expected:
        return ""
    known = [value for value in expected if value is not None]
    total = f"{sum(known):.1f}" if known else ""
    return total if len(known) == len(expected) else f"{total} + ?".removeprefix(" + ")


def _seeds(seeds: Sequence[int]) -> str:
    """Returns ``0-4`` for consecutive seeds, else a list."""
    consecutive = len(seeds) > 1 and all(b == a + 1 for a, b in pairwise(seeds))
    return f"{seeds[0]}-{seeds[-1]}" if consecutive else ",".join(str(seed) for seed in seeds)


def _as_dict(plan: Plan, explain: bool) -> dict[str, Any]:
    minutes = plan.minutes()
    cells = [
        {
            "task": cell.task,
            "baseline": cell.baseline,
            "dataset": cell.dataset,
            "seed": cell.seed,
            "budget": cell.budget,
            "precision": cell.precision,
            "key": cell.key,
            "checkpoint_key": cell.checkpoint_key,
            "state": cell.state,
            "reason": cell.reason,
            "run": cell.run,
            "minutes": minutes.get(cell.key),
            **(_explanation(plan, cell) if explain else {}),
        }
        for cell in plan.cells
    ]
    return {"workspace": plan.workspace, "counts": plan.counts(), "trials": len(plan.trials()), "cells": cells}


def _explanation(plan: Plan, cell: Cell) -> dict[str, Any]:
    """Returns what the key of a cell is made of and, for a stale one, what changed since its record."""
    from suite.planning import changes

    explanation: dict[str, Any] = {
        "cell": f"{cell.task} of {cell.baseline} on {cell.dataset}, seed {cell.seed}",
        "key": cell.key,
        "ingredients": cell.ingredients,
    }
    if cell.key in plan.previous:
        old = plan.previous[cell.key]
        explanation["stale record"] = old["key"]
        explanation["changed"] = changes(old["ingredients"], cell.ingredients)
    return explanation
