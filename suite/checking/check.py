"""``suite check``: tries a baseline or task file against the contract and the integrity checks, on digits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.errors import Unsupported, UserError
from suite.plugins import registry

if TYPE_CHECKING:
    from suite.checking.integrity import Specimen
    from suite.measuring import Task
    from suite.plugins import Source
    from suite.training import Baseline

DATASET = "digits"


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


def check_file(path: str) -> Iterator[Finding]:
    """Checks every baseline and task of a file and yields the findings as they come.

    Raises:
        UserError: If there is no such file, it does not import, or it holds neither a baseline nor a task.
    """
    file = Path(path).expanduser().resolve()
    if not file.is_file():
        raise UserError(f"no such file: {path}")
    entries = [entry for kind in ("baseline", "task") for entry in registry.read_file(kind, file)]
    if not entries:
        raise UserError(f"{path} holds no baseline and no task (a public class that derives from Baseline or Task)")
    for entry in entries:
        source = registry.source(entry)
        cls = registry.load(source)
        if entry.kind == "baseline":
            yield from check_baseline(cls, entry.params, entry.name, source)
        else:
            yield from check_task(cls, entry.name)


def check_baseline(
    cls: type[Baseline], params: dict[str, Any], name: str, source: Source | None = None
) -> Iterator[Finding]:
    """Trains a baseline briefly and yields what each check finds.

    Args:
        cls: The class.
        params: Its hyperparameters.
        name: For the findings.
        source: Its file, if it came from one; without it nothing runs in a fresh process.
    """
    from suite import data
    from suite.checking import integrity

    dataset = data.load(DATASET)
    grown: list[Specimen] = []

    def grow() -> str:
        grown.append(integrity.Specimen.grow(cls, params, dataset, source))
        return f"the {integrity.BUDGET} budget"

    finding = run_check(name, "trains", grow)
    yield finding
    if finding.status != "pass":
        yield Finding(name, "all other checks", "skipped", "it did not train")
        return
    for check, function in _baseline_checks(grown[0]):
        yield run_check(name, check, function)


def check_task(cls: type[Task], name: str) -> Iterator[Finding]:
    """Tries a task on three small models and yields what each check finds."""
    from suite import data
    from suite.checking import rehearsal
    from suite.checking.small_models import SPECIMENS

    task, dataset = cls(), data.load(DATASET)
    yield run_check(name, "declarations", lambda: rehearsal.declarations(task))
    findings = [
        run_check(name, f"scores {m.__name__.lower()}", lambda m=m: rehearsal.score_twice(task, m, dataset))  # type: ignore[misc]
        for m in SPECIMENS
    ]
    yield from findings
    if all(finding.status == "skipped" for finding in findings):
        yield Finding(name, "scores something", "fail", "unsupported for every model")


def _baseline_checks(specimen: Specimen) -> Iterator[tuple[str, Callable[[], str]]]:
    from suite.checking import fresh_process as errand
    from suite.checking import integrity, rehearsal

    checks = [*integrity.CHECKS, *([errand.fresh_process] if specimen.source else [])]
    for function in checks:
        yield function.__name__.replace("_", " "), lambda function=function: function(specimen)  # type: ignore[misc]
    subjects = rehearsal.public_and_secret(specimen)
    yield "no test image by heart", lambda: rehearsal.no_test_image_by_heart(subjects[0])
    for name, task in rehearsal.tasks(specimen.dataset.info):
        yield f"task {name}", lambda task=task: rehearsal.same_under_secret_noise(task, *subjects)  # type: ignore[misc]


def run_check(subject: str, check: str, function: Callable[[], str]) -> Finding:
    """Runs one check; whatever it raises becomes its finding."""
    from suite.checking.integrity import Caught

    try:
        return Finding(subject, check, "pass", function())
    except Unsupported as error:
        return Finding(subject, check, "skipped", str(error))
    except Caught as error:
        return Finding(subject, check, "fail", str(error))
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        return Finding(subject, check, "fail", f"{type(error).__name__}: {first}")
