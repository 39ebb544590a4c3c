"""Searches are run rung by rung, all models together; whatever is known of a trial is kept the moment it is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite import records
from suite.planning import Selection, make_plan
from suite.running import Execution, Workers, interruptible, locked
from suite.tuning.halving import TIMES, Rule, Rung, library_rule, plain_rule
from suite.tuning.search import Candidate, Search, objective, price_of, searches

if TYPE_CHECKING:
    from suite.planning import Trial
    from suite.records import Record


def tune(
    selection: Selection,
    execution: Execution,
    *,
    trials: int = 8,
    seed: int = 0,
    task: str = "",
    quiet: bool = False,
) -> list[Search]:
    """Searches parameters for models, with as many trials for each, by what validation images cost.

    No trial's process has the test split. What was found before in the workspace is not run again, and a search that
    was killed goes on from it to the same end.

    Args:
        selection: Models (none: all that declare a space), one dataset, the budget, paths and the workspace.
        execution: How trials are run.
        trials: Of each model.
        seed: Of the draws and of every training.
        task: Whose primary metric decides, on the validation split; empty: the official task in nats.
        quiet: Show no progress.

    Returns:
        A search for each model. One that a killed trial holds up says so in ``stuck``; the others have a winner.

    Raises:
        UserError: For anything that the user can mend, a model of which no trial ended well among it.
        KeyboardInterrupt: On Ctrl-C or SIGTERM; what is known is kept.
    """
    task = task or objective(selection.paths)
    found = searches(selection, trials, seed, task, trust=execution.trust)
    workspace = Path(selection.workspace).expanduser().absolute()
    with interruptible(), locked(workspace):
        if any(not search.source.built_in for search in found):
            execution = replace(execution, noise=execution.noise or records.tuning_secret(workspace))
        rule = library_rule if execution.executor == "ray" else plain_rule
        with Workers(workspace, execution, quiet) as workers:
            for time in TIMES:
                _climb(found, time, workspace, workers)
                for search in found:
                    _decide(search, time, rule)
        for search in found:
            if search.winner is not None and not search.stuck:
                _keep(search, workspace)
                _tidy(search)
    return found


def tuned(selection: Selection, found: Sequence[Search]) -> Selection:
    """Returns the selection of the models that searches have chosen, to be trained and scored as any others."""
    chosen = [search for search in found if not search.stuck and search.winner is not None]
    selectors = tuple(search.selector(search.winner) for search in chosen if search.winner is not None)
    paths = dict.fromkeys(path for search in chosen for path in search.plan.selection.paths)
    return replace(selection, baselines=selectors, paths=tuple({**dict.fromkeys(selection.paths), **paths}))


def _climb(found: Sequence[Search], time: int, workspace: Path, workers: Workers) -> None:
    """Takes all trials that go on to their next rung."""
    waiting: dict[str, tuple[Search, Candidate, Rung]] = {}
    units: list[Trial] = []
    for search in found:
        rung = search.rung(time)
        for candidate in search.going if rung and not search.stuck else ():
            assert rung is not None
            known = candidate.prices.get(time) or records.read_price(workspace, candidate.key(rung))
            if known:
                candidate.prices[time] = known
            else:
                waiting[candidate.cell.key] = (search, candidate, rung)
                units.append(search.trial(candidate, rung))

    def keep(trial: Trial, record: Record) -> None:
        search, candidate, rung = waiting[record.key]
        if record.status == "killed":  # says nothing of the model: the same command tries again
            search.stuck = search.stuck or f"{record.baseline} was killed: {record.reason}"
            return
        candidate.prices[time] = price_of(record, rung)
        records.write_price(workspace, candidate.key(rung), candidate.prices[time])

    if units:
        title = f"rung {1 + TIMES.index(time)} of {len(TIMES)}: {len(units)} trials to {time}/{TIMES[-1]} of the budget"
        workers.run(units, keep, title)


def _decide(search: Search, time: int, rule: Callable[[bool], Rule]) -> None:
    """Ends those that fall behind at a rung, and those that have failed there."""
    rung = search.rung(time)
    if rung is None or search.stuck:
        return
    last = rung is search.rungs[-1]
    for candidate in search.going:
        price = candidate.prices[rung.time]
        if price["value"] is None:
            candidate.end = f"{price['status']}: {price['reason']}"
        elif not last:
            search.rule = search.rule or rule(price["direction"] != "higher")
            if not search.rule(rung.time, search.selector(candidate), price["value"]):
                candidate.end = f"stopped at {rung.time}/{TIMES[-1]}"
            elif (price["images"] or 0) < rung.images:  # it has ended by itself, or there was nothing to train
                later = [other.time for other in search.rungs if other.time > rung.time]
                candidate.prices |= dict.fromkeys(later, price | {"repeated": True})


def _keep(search: Search, workspace: Path) -> None:
    """Writes how a search ended, where the records of the model that it chose find what it took."""
    winner = search.winner
    assert winner is not None
    chosen = search.selector(winner)
    marked = make_plan(replace(search.plan.selection, baselines=(chosen,)))
    key = records.search_key(marked.cells[0].ingredients["checkpoint"])
    first = search.candidates[0].cell
    content: dict[str, Any] = {
        "model": search.model,
        "chosen": chosen,
        "dataset": first.dataset,
        "budget": first.budget,
        "precision": first.precision,
        "task": first.task,
        "seed": first.seed,
        "space": search.space,
        "cost": search.cost(),
        "trials": [
            {
                "model": candidate.cell.baseline,
                "params": candidate.params,
                "values": {f"{time}/{TIMES[-1]}": price["value"] for time, price in sorted(candidate.prices.items())},
                "end": candidate.end or "trained to the end",
            }
            for candidate in search.candidates
        ],
    }
    records.write_search(workspace, key, content)


def _tidy(search: Search) -> None:
    """Removes what is beside the prices: a finished search needs it no more, and the chosen model is trained anew."""
    folder = Path(search.plan.workspace)
    gone: list[Path] = []
    for candidate in search.candidates:
        gone += (folder / "checkpoints").glob(f"{candidate.cell.checkpoint_key[:32]}*")
        gone += [records.values_path(folder, candidate.cell.key), records.pictures_path(folder, candidate.cell.key)]
    records.remove(path for path in gone if path.exists())
