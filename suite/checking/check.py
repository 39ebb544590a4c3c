"""``suite check``: tries a baseline or task file against the contract and the integrity checks, on digits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.errors import Unsupported, UserError, unknown
from suite.plugins import registry
from suite.training import BUDGETS

if TYPE_CHECKING:
    from suite.checking.integrity import Specimen
    from suite.data import Dataset
    from suite.measuring import Task
    from suite.plugins import Source
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
    data_root: str | None = None,
) -> Iterator[Finding]:
    """Checks every baseline and task of a file, in this process, and yields the findings as they come.

    Args:
        path: The file.
        dataset: On which the checks train and score.
        budget: How long the model is trained that the tasks are tried on; the integrity checks train a few steps.
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
        raise UserError(f"no such file: {path}")
    entries = [entry for kind in ("baseline", "task") for entry in registry.read_file(kind, file)]
    if not entries:
        raise UserError(f"{path} holds no baseline and no task (a public class that derives from Baseline or Task)")
    for entry in entries:
        other = registry.discover(entry.kind).get(entry.name)
        if other is not None and other.path != entry.path:
            raise UserError(f"the name '{entry.name}' is taken by {other.path}: give the {entry.kind} another")
    for entry in entries:
        source = registry.source(entry)
        cls = registry.load(source)
        if entry.kind == "task":
            yield from check_task(cls, entry.name)
            continue
        yield from check_baseline(cls, entry.params, entry.name, source, data.load(dataset, data_root), budget)


def check_baseline(
    cls: type[Baseline],
    params: dict[str, Any],
    name: str,
    source: Source | None = None,
    dataset: Dataset | None = None,
    budget: str = BUDGET,
) -> Iterator[Finding]:
    """Trains a baseline briefly and yields what each check finds.

    Args:
        cls: The class.
        params: Its hyperparameters.
        name: For the findings.
        source: Its file, if it came from one; without it nothing runs in a fresh process.
        dataset: By default the digits.
        budget: How long the model is trained that the tasks are tried on.
    """
    from suite import data
    from suite.checking.integrity import AFTER, Specimen

    images = dataset or data.load(DATASET)
    try:
        specimen = Specimen.grow(cls, params, images, source)
        tried = specimen if budget == BUDGET else Specimen.grow(cls, params, images, source, budget)
    except Exception as error:
        yield _objection(name, "trains", error)
        yield Finding(name, "all other checks", "skipped", "it did not train")
        return
    yield Finding(name, "trains", "pass", f"the {budget} budget on {images.info.name}")
    failed: set[str] = set()
    for check, function in _baseline_checks(specimen, tried):
        if (needed := AFTER.get(check)) in failed:
            yield Finding(name, check, "skipped", f"it says nothing where '{needed}' failed")
            continue
        finding = run_check(name, check, function)
        failed |= {check} if finding.status == "fail" else set()
        yield finding


def check_task(cls: type[Task], name: str) -> Iterator[Finding]:
    """Tries a task on three small models and yields what each check finds."""
    from suite import data
    from suite.checking import rehearsal
    from suite.checking.small_models import SPECIMENS

    task, dataset = cls(), data.load(DATASET)
    yield run_check(name, "declarations", partial(rehearsal.declarations, task))
    skipped = 0
    for model in SPECIMENS:
        score = partial(rehearsal.score_twice, task, model, dataset)
        finding = run_check(name, f"scores {model.__name__.lower()}", score)
        skipped += finding.status == "skipped"
        yield finding
    if skipped == len(SPECIMENS):
        yield Finding(name, "scores something", "fail", "unsupported for every model")


def _baseline_checks(specimen: Specimen, tried: Specimen) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yields the name of each check and the check itself, the quick ones first; tasks score the one to be tried."""
    from suite.checking import integrity, rehearsal
    from suite.checking.fresh_process import fresh_process

    for check in (*integrity.CHECKS, *([fresh_process] if specimen.source else [])):
        yield check.__name__.replace("_", " "), partial(check, specimen)
    public, secret = rehearsal.public_and_secret(tried)
    yield "no test image by heart", partial(rehearsal.no_test_image_by_heart, public)
    for name, task in rehearsal.tasks(tried.dataset.info):
        yield f"task {name}", partial(rehearsal.same_under_secret_noise, task, public, secret)


def run_check(subject: str, check: str, function: Callable[[], str]) -> Finding:
    """Runs one check; whatever it raises becomes its finding."""
    try:
        return Finding(subject, check, "pass", function())
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
