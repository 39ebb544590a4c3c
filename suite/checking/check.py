"""``suite check``: tries a baseline or task file against the contract and the integrity checks, on digits.

No line of the file runs in this process: a model plays as a guest, as in ``suite run``, and a task is scored in a
process of its own, which hands over what it found and no verdict.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite import records
from suite.checking.lint import REFUSED, lint
from suite.errors import MachineFault, Unsupported, UserError, no_file, unknown
from suite.plugins import registry
from suite.training import BUDGETS

if TYPE_CHECKING:
    from suite.checking.apart import Evidence
    from suite.checking.integrity import Examinee
    from suite.data import Dataset
    from suite.guests import Rooms
    from suite.measuring import Task
    from suite.training import Baseline

#: What the checks train on, and how long, unless told otherwise.
DATASET, BUDGET = "digits", "smoke"


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        subject: The baseline or task.
        check: The check.
        status: ``"pass"``, ``"fail"`` or ``"skipped"``.
        reason: One line: what was seen, what is wrong, or why it was skipped.
    """

    subject: str
    check: str
    status: str
    reason: str


def check_file(
    path: str,
    *,
    dataset: str = DATASET,
    budget: str = BUDGET,
    workspace: str | Path | None = None,
    data_root: str | None = None,
) -> Iterator[Finding]:
    """Checks every baseline and task of a file and yields the findings as they come.

    Args:
        path: The file.
        dataset: On which the checks train and score.
        budget: How long the model is trained that the tasks are tried on; the integrity checks train a few steps.
        workspace: Where it is kept which sources passed, with the version that tried them; None keeps nothing.
        data_root: Where datasets lie.

    Raises:
        UserError: If there is no such file, it does not import, it holds neither a baseline nor a task, or a name of it
            is taken; for an unknown dataset or budget.
    """
    from suite import data

    data.info(dataset)
    if budget not in BUDGETS:
        raise unknown("budget", budget, BUDGETS)
    file = Path(path).expanduser().resolve()
    if not file.is_file():
        raise no_file(path)
    entries = [entry for kind in ("baseline", "task") for entry in registry.read_file(kind, file)]
    if not entries:
        raise UserError(f"{path} holds no baseline and no task (a public class that derives from Baseline or Task)")
    for entry in entries:
        other = registry.discover(entry.kind).get(entry.name)
        if other is not None and other.path != entry.path:
            raise UserError(f"the name '{entry.name}' is taken by {other.path}: give the {entry.kind} another")
    tasks, models = ([entry for entry in entries if entry.kind == kind] for kind in ("task", "baseline"))
    yield from _check_tasks(file, tasks)
    failed: set[str] = set()
    tried = _check_models(models, data.load(dataset, data_root), budget) if models else ()
    for finding in itertools.chain(map(_source, models), tried):  # as they come
        failed |= {finding.subject} if finding.status == "fail" else set()
        yield finding
    if workspace is not None:
        for entry in models:
            digest, passed = registry.source(entry).digest, entry.name not in failed
            records.write_stamp(workspace, digest, passed, dataset=dataset, budget=budget)


def _check_tasks(file: Path, entries: list[registry.Entry]) -> Iterator[Finding]:
    from suite.checking.apart import Evidence

    for entry in entries:
        yield from judge_task(Evidence.gather(file, entry.name), entry.name)


def _source(entry: registry.Entry) -> Finding:
    """Reads a model's source for what a submission is refused for."""
    found = [str(finding) for finding in lint(registry.source(entry).files) if finding.kind == REFUSED]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    reason = found[0] + more if found else "reaches nothing that a model does not need"
    return Finding(entry.name, "source", "fail" if found else "pass", reason)


def _check_models(entries: list[registry.Entry], dataset: Dataset, budget: str) -> Iterator[Finding]:
    """Opens rooms once, in which every model of the file is tried."""
    from suite.guests import Rooms, available

    with contextlib.closing(Rooms(available())) as rooms:
        for entry in entries:
            grow = partial(_hosted, entry, dataset, rooms)
            yield from check_grown(grow, entry.name, dataset.info.name, budget)


def _hosted(entry: registry.Entry, dataset: Dataset, rooms: Rooms, budget: str) -> Examinee:
    from suite.checking.hosted import Hosted

    return Hosted.grow(registry.source(entry), entry.params, dataset, rooms, budget)


def check_baseline(
    cls: type[Baseline], params: dict[str, Any], name: str, dataset: Dataset | None = None
) -> Iterator[Finding]:
    """Trains a baseline of the suite's own briefly, in this process, and yields what each check finds.

    Args:
        cls: The class.
        params: Its hyperparameters.
        name: For the findings.
        dataset: By default the digits.
    """
    from suite import data
    from suite.checking.integrity import Specimen

    images = dataset or data.load(DATASET)
    return check_grown(partial(Specimen.grow, cls, params, images), name, images.info.name)


def check_grown(grow: Callable[[str], Examinee], name: str, dataset: str, budget: str = BUDGET) -> Iterator[Finding]:
    """Yields what each check finds of a model.

    Args:
        grow: Trains one with a budget.
        name: For the findings.
        dataset: On which it is trained.
        budget: How long the model is trained that the tasks are tried on.
    """
    from suite.checking.integrity import AFTER

    try:
        specimen = grow(BUDGET)
        tried = specimen if budget == BUDGET else grow(budget)
    except MachineFault:
        raise
    except Exception as error:
        yield _objection(name, "trains", error)
        yield Finding(name, "all other checks", "skipped", "it did not train")
        return
    yield Finding(name, "trains", "pass", f"the {budget} budget on {dataset}")
    failed: set[str] = set()
    for check, function in _baseline_checks(specimen, tried):
        if (needed := AFTER.get(check)) in failed:
            yield Finding(name, check, "skipped", f"it says nothing where '{needed}' failed")
            continue
        finding = run_check(name, check, function)
        failed |= {check} if finding.status == "fail" else set()
        yield finding


def check_task(cls: type[Task], name: str) -> Iterator[Finding]:
    """Tries a task of the suite's own on three small models, in this process, and yields what each check finds."""
    from suite.checking.apart import Evidence

    return judge_task(Evidence.of(cls()), name)


def judge_task(evidence: Evidence, name: str) -> Iterator[Finding]:
    """Yields what each check finds in what a task left."""
    from suite.checking import rehearsal
    from suite.checking.small_models import SPECIMENS

    yield run_check(name, "declarations", lambda: rehearsal.declarations(evidence.declared()))
    skipped = 0
    for model in SPECIMENS:
        finding = run_check(name, f"scores {model.__name__.lower()}", partial(_scores, evidence, model.__name__))
        skipped += finding.status == "skipped"
        yield finding
    if skipped == len(SPECIMENS):
        yield Finding(name, "scores something", "fail", "unsupported for every model")


def _scores(evidence: Evidence, model: str) -> str:
    from suite.checking import rehearsal

    return rehearsal.agree(evidence.scored(model), evidence.primary)


def _baseline_checks(specimen: Examinee, tried: Examinee) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yields the name of each check and the check itself, the quick ones first; tasks score the one to be tried."""
    from suite.checking import integrity, rehearsal
    from suite.checking.hosted import Hosted, fresh_process, within_budget

    for check in integrity.CHECKS:
        yield check.__name__.replace("_", " "), partial(_in_one_process, check, specimen)
    if isinstance(specimen, Hosted):
        yield "fresh process", partial(fresh_process, specimen)
    if isinstance(tried, Hosted):
        yield "within its budget", partial(within_budget, tried)
    public, secret = rehearsal.public_and_secret(tried)
    yield "no test image by heart", partial(rehearsal.no_test_image_by_heart, public)
    for name, task in rehearsal.tasks(tried.dataset.info):
        yield f"task {name}", partial(rehearsal.same_under_secret_noise, task, public, secret)


def _in_one_process(check: Callable[[Examinee], str], specimen: Examinee) -> str:
    """Asks one process of a guest's for all: in one that ends at each answer, its noise and memory would not show."""
    with specimen.model.fitting():
        return check(specimen)


def run_check(subject: str, check: str, function: Callable[[], str]) -> Finding:
    """Runs one check; whatever it raises becomes its finding."""
    try:
        return Finding(subject, check, "pass", function())
    except MachineFault:
        raise  # it is no finding about the model
    except Exception as error:
        return _objection(subject, check, error)


def _objection(subject: str, check: str, error: Exception) -> Finding:
    """Returns the finding of a check that ended in an error."""
    from suite.checking.integrity import Caught

    if isinstance(error, Unsupported):
        return Finding(subject, check, "skipped", str(error))
    if isinstance(error, Caught):
        return Finding(subject, check, "fail", str(error))
    first = (str(error).splitlines() or [""])[0]
    return Finding(subject, check, "fail", f"{type(error).__name__}: {first}")
