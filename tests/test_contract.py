"""One contract for all: every baseline passes the integrity checks and can be scored, every task scores.

By default one variant of each family is tried; ``pytest -m ''`` tries them all.
"""

from __future__ import annotations

import functools
from dataclasses import replace

import pytest
import torch
from _pytest.mark import ParameterSet

from suite import data
from suite.checking import integrity, rehearsal
from suite.checking.check import Finding, check_task, run_check
from suite.measuring import noise
from suite.plugins import registry

BASELINES = registry.discover("baseline")
TASKS = registry.discover("task")

#: What is wide by default and need not be to keep a promise.
SMALLER = {
    "unet_autoencoder": {"width": 2},
    "conv_autoencoder": {"latent": 4},
    "conv_vae": {"latent": 4},
    "filtered_skip_autoencoder": {"width": 2},
    **{f"variational_skip_autoencoder{price}": {"width": 8} for price in ("", "_2x", "_4x")},
    **{name: {"architecture": "(2)5c-2p-(2)3c-(2)3c-2p"} for name in ("swwae", "swwae_no_where", "swwae_soft")},
    "swwae_semi": {"architecture": "(2)5c-2p-(2)3c-(2)3c-2p", "labels": 100},
    **{f"swwae_pool{size}": {"architecture": f"(2)5c-(2)3c-{size}p"} for size in (4, 7, 14)},
    **{f"inverted_{name}": {"width": 16} for name in ("autoencoder", "curriculum", "m32", "m256", "source")},
}


def of_families() -> list[ParameterSet]:
    """Returns every baseline; of each family all but one are marked: that of the family's name, else the first."""
    families = {entry.static["family"]: name for name, entry in reversed(BASELINES.items())}
    tried = {family if family in BASELINES else first for family, first in families.items()}
    further = pytest.mark.exhaustive
    return [pytest.param(name, marks=() if name in tried else further, id=name) for name in BASELINES]


def fit_roughly(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread, a channel that is fitted roughly, inputs that are found roughly: enough for shapes and promises."""
    torch.set_num_threads(1)
    for name, value in {"STARTS": (1.0,), "MAX_BLOCKS": 1, "BLOCK_STEPS": 2}.items():
        monkeypatch.setattr(noise, name, value)
    search = registry.load(registry.source(TASKS["input_optimization"])).score.__globals__
    for name, value in {"STEPS": {}, "FULL_STEPS": 10, "TRIAL_STEPS": 3}.items():
        monkeypatch.setitem(search, name, value)


@pytest.fixture(autouse=True)
def _short_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    fit_roughly(monkeypatch)


@functools.cache
def some_digits() -> data.Dataset:
    """Few of them, so that a task takes seconds; by fours, also where a task reads a part: kernels go by fours."""
    whole = data.load("digits")

    def few(split: data.Split, n: int) -> data.Split:
        return data.Split(split.grey[:n], split.labels[:n])

    test = few(whole.test, 80)
    spec = replace(whole.spec, train_images=400)
    return replace(whole, spec=spec, train=few(whole.train, 400), val=few(whole.val, 60), read_test=lambda: test)


@functools.cache
def specimen(name: str) -> integrity.Specimen:
    entry = BASELINES[name]
    params = entry.params | SMALLER.get(name, {})
    return integrity.Specimen.grow(registry.load(registry.source(entry)), params, some_digits())


def complaints(findings: list[Finding]) -> list[str]:
    return [f"{finding.check}: {finding.reason}" for finding in findings if finding.status == "fail"]


@pytest.mark.parametrize("name", of_families())
def test_every_baseline_passes_the_integrity_checks(name: str) -> None:
    findings = [run_check(name, c.__name__, lambda c=c: c(specimen(name))) for c in integrity.CHECKS]
    assert not complaints(findings)


@pytest.mark.parametrize("name", of_families())
def test_every_baseline_is_scored_by_every_task_or_told_why_not(name: str) -> None:
    subject = replace(specimen(name).subject(), seed=1)  # of seed 0 an untrained twin is scored as well
    findings = [
        run_check(name, task_name, lambda task=task: str(rehearsal.score(task, subject).metrics))
        for task_name, task in rehearsal.tasks(subject.dataset.info)
    ]
    assert not complaints(findings)
    assert all(finding.reason for finding in findings)
    assert any(finding.status == "pass" for finding in findings)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_keeps_its_promises(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cls = registry.load(registry.source(TASKS[name]))
    digits = some_digits()
    monkeypatch.setattr(data, "load", lambda name: digits)
    findings = list(check_task(cls, name))
    assert not complaints(findings)
    assert TASKS[name].static["primary"] == cls.primary


def test_every_baseline_says_what_it_is_and_what_its_groups_hold() -> None:
    for entry in BASELINES.values():
        assert entry.static["summary"], entry.name
        assert not entry.static.get("groups") or entry.static.get("core", "z") in entry.static["groups"], entry.name
