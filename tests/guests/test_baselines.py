"""No model of the repository fails a check, and as a guest each has the numbers that it has in process, to the bit.

``python -m tests.guests.test_baselines [NAME ...]`` prints the list, ``pytest tests/guests/test_baselines.py -m ''``
tests it, with few digits and a channel that is fitted roughly. All are marked exhaustive: together they take long.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from suite import data
from suite.checking.check import Finding, check_grown
from suite.checking.hosted import Hosted
from suite.guests import Rooms, available
from suite.planning import Selection, longest_first, make_plan
from suite.planning.cells import Trial
from suite.plugins import registry
from suite.records import Record
from suite.running import hosting, preparation
from suite.running.trial import run_trial
from tests.test_contract import BASELINES, SMALLER, fit_roughly, some_digits

TASKS = ("reconstruction", "linear_probe", "input_optimization", "latent_ablation")


class Guarded(Trial):
    """A trial whose model is a guest, although it is the repository's own."""

    guarded = True


def findings(name: str) -> list[Finding]:
    """What ``suite check`` says of a baseline."""
    entry = BASELINES[name]
    with contextlib.closing(Rooms(available())) as rooms:
        source, params = registry.source(entry), entry.params | SMALLER.get(name, {})
        return list(
            check_grown(lambda budget: Hosted.grow(source, params, some_digits(), rooms, budget), name, "digits")
        )


def scored(name: str, kind: type[Trial], folder: Path) -> dict[str, Any]:
    """Task -> what its record says: status, metrics, parameters and operations, marks."""
    selection = Selection(
        tasks=TASKS,
        baselines=(selector(name),),
        datasets=("digits",),
        seeds=(0,),
        budget="smoke",
        workspace=str(folder),
    )
    (trial,) = longest_first(make_plan(selection))
    fields = {field.name: getattr(trial, field.name) for field in dataclasses.fields(trial)}
    found: list[Record] = []
    run_trial(kind(**fields | {"noise": "a secret of both", "device": "cpu"}), found.append)
    costs = ("parameters", "flops_per_image")
    costs_of = {r.task: [r.cost[name] for name in costs] if r.cost else [] for r in found}
    return {r.task: (r.status, r.reason, r.metrics, costs_of[r.task], sorted(r.flags)) for r in found}


def selector(name: str) -> str:
    parameters = ",".join(f"{key}={value}" for key, value in SMALLER.get(name, {}).items())
    return f"{name}:{parameters}" if parameters else name


def differing(name: str) -> list[str]:
    """The tasks whose records differ between plain and guarded."""
    with tempfile.TemporaryDirectory() as here, tempfile.TemporaryDirectory() as there:
        plain, guarded = scored(name, Trial, Path(here)), scored(name, Guarded, Path(there))
    assert list(plain) == list(guarded)
    return [_difference(task, plain[task], guarded[task]) for task in plain if plain[task] != guarded[task]]


def _difference(task: str, plain: Any, guarded: Any) -> str:
    """What is not the same, in a line."""
    pairs = [(plain[i], guarded[i]) for i in (0, 1, 3, 4)]
    pairs += [((name, plain[2].get(name)), (name, guarded[2].get(name))) for name in {*plain[2], *guarded[2]}]
    return f"{task}: " + ", ".join(f"{a} and {b}" for a, b in pairs if a != b)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with quick(monkeypatch):
        yield


@contextlib.contextmanager
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Few digits, one thread, rough fits and searches.

    The importance-weighted bound takes every tenth of the 160: kernels of matrix products take fewer than sixteen rows
    another way, and guests are asked about them in company.
    """
    test = data.load("digits").test
    few = data.Split(test.grey[:160], test.labels[:160])
    digits = dataclasses.replace(some_digits(), read_test=lambda: few)
    with monkeypatch.context() as patched:
        for module in (hosting, preparation):
            patched.setattr(module, "load_data", lambda *_: digits)
        fit_roughly(patched)
        yield


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", BASELINES)
def test_no_model_of_the_repository_fails_a_check(name: str) -> None:
    assert [f"{f.check}: {f.reason}" for f in findings(name) if f.status == "fail"] == []


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", BASELINES)
def test_a_model_of_the_repository_has_the_same_numbers_as_a_guest(name: str) -> None:
    assert differing(name) == []


def _list(names: list[str]) -> None:
    print("| model | checks | guarded |\n| --- | --- | --- |")
    with quick(pytest.MonkeyPatch()):
        for name in names:
            found = findings(name)
            counts = {status: sum(f.status == status for f in found) for status in ("pass", "fail", "skipped")}
            differ = differing(name)
            told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
            print(f"| {name} | {told} | {'the same' if not differ else '; '.join(differ)} |", flush=True)
            for f in found:
                if f.status == "fail":
                    print(f"<!-- {f.check}: {f.reason} -->")


if __name__ == "__main__":
    _list(sys.argv[1:] or list(BASELINES))
