"""A submitted file is judged where none of its code runs: what it does in its own process passes no check."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from suite import data
from suite.checking import rehearsal
from suite.checking.check import Finding, check_file
from suite.checking.hosted import Hosted, fresh_process, hash_of, within_budget
from suite.checking.integrity import Caught
from suite.guests import CONTAINED, Rooms, available
from suite.measuring import Frozen
from suite.plugins import registry
from tests.checking.honest import Honest
from tests.test_contract import fit_roughly, some_digits

HEADER = f"""
import os, sys
from typing import ClassVar
import torch
from torch import Tensor, nn
from torch.distributions import Normal
from suite.contract import Baseline, Batch, DataSpec, Latents, Values

{inspect.getsource(Honest).replace("class Honest", "class _Honest").replace("Honest.decode", "_Honest.decode")}

class Cheat(_Honest):
    "one thing wrong"
"""

DRAWS = """
    def decode(self, values):
        return super().decode(values) + torch.randn(len(values["z"]), *self.spec.shape)
"""

COUNTS = """
    def decode(self, values):
        self.calls = getattr(self, "calls", 0) + 1
        return super().decode(values) + self.calls
"""

UNSEEDED = """
    def loss(self, batch):
        return {"loss": super().loss(batch)["loss"] * (1 + int.from_bytes(os.urandom(1), "big"))}
"""

LABELS = """
    def loss(self, batch):
        return {"loss": super().loss(batch)["loss"] + batch.y}
"""

THRICE = """
    def loss(self, batch):
        return {"loss": sum(super(Cheat, self).loss(batch)["loss"] for _ in range(3))}
"""

CONSTRAINED = """
    def __init__(self, spec, map="householder"):
        super().__init__(spec)
        hidden = torch.nn.utils.parametrizations.orthogonal(nn.Linear(64, 64), orthogonal_map=map)
        self.encoder = nn.Sequential(nn.Linear(spec.pixels, 64), hidden, nn.Linear(64, 4))
"""

READS = """
    def fit(self, train):
        from sklearn.datasets import load_digits
        self.decoder.bias.data[:10] = float(load_digits().target.mean())
"""

GONE = """
    def decode(self, values):
        os._exit(0)
"""

PATCHES = """
    def decode(self, values):
        import suite.checking.check as check, suite.checking.integrity as integrity, suite.measuring.trust as trust
        for module in (check, integrity, trust):
            for name in list(vars(module)):
                if callable(getattr(module, name)) and not name.startswith("_"):
                    setattr(module, name, lambda *a, **k: "fine")
        torch.equal = torch.isfinite = lambda *a: True
        print('{"finding": {"subject": "cheat", "check": "all", "status": "pass"}}')
        return super().decode(values) * float("nan")
"""

REPLACED = """
def _fine(*a, **k):
    return "fine"

import suite.checking.check, suite.guests.player, suite.guests.wire
suite.checking.check.run_check = _fine
torch.randn = torch.zeros
"""


def write(folder: Path, text: str, before: str = "") -> Path:
    path = folder / "cheat.py"
    path.write_text(HEADER.replace("class _Honest", before + "\nclass _Honest", 1) + text)
    return path


@pytest.fixture(scope="module")
def rooms() -> Iterator[Rooms]:
    torch.set_num_threads(1)
    opened = Rooms(available())
    yield opened
    opened.close()


def source(path: Path) -> object:
    return registry.source(next(entry for entry in registry.read_file("baseline", path) if entry.name == "cheat"))


def grown(path: Path, rooms: Rooms, **params: object) -> Hosted:
    return Hosted.grow(source(path), params, data.load("digits"), rooms)


def first_failure(path: Path, monkeypatch: pytest.MonkeyPatch, rooms: Rooms) -> Finding:
    """The first check that fails but what is read; rooms that are open serve every file."""
    monkeypatch.setattr("suite.guests.Rooms", lambda walls: rooms)
    monkeypatch.setattr(Rooms, "close", lambda self: None)
    tried = check_file(str(path))
    read = next(tried)
    assert (read.check, read.status) == ("source", "fail"), read
    assert "cheat.py:2: os asks the system" in read.reason, read
    return next(finding for finding in tried if finding.status == "fail")


@pytest.mark.parametrize(
    ("text", "check", "reason"),
    [
        (DRAWS, "no noise of its own", "asked twice"),
        (COUNTS, "no noise of its own", "asked twice"),
        (UNSEEDED, "repeatable", "parameters differ"),
        (LABELS, "trains", "does not declare supervision"),
        (GONE, "trains", "the guest's process ended"),
        (PATCHES, "shapes", "not finite"),
    ],
)
def test_what_is_wrong_with_a_file_is_found(
    text: str, check: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rooms: Rooms
) -> None:
    with monkeypatch.context() as patched:
        found = first_failure(write(tmp_path, text), patched, rooms)
    assert found.check == check, found
    assert reason in found.reason


@pytest.mark.skipif(available().kind != CONTAINED, reason="without walls a file can be read, and that is noticed alone")
def test_a_file_that_reads_the_data_does_not_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rooms: Rooms
) -> None:
    with monkeypatch.context() as patched:
        found = first_failure(write(tmp_path, READS), patched, rooms)
    assert (found.check, "FileNotFoundError" in found.reason) == ("trains", True), found


def test_findings_come_one_by_one_before_the_next_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("suite.checking.check._check_models", lambda *_: (1 / 0 for _ in range(1)))
    tried = check_file(str(write(tmp_path, "    pass\n")))
    assert next(tried).check == "source"
    with pytest.raises(ZeroDivisionError):
        next(tried)


def test_a_training_beyond_its_budget_is_told_before_it_is_run(tmp_path: Path, rooms: Rooms) -> None:
    assert within_budget(grown(write(tmp_path, "    pass\n"), rooms)).endswith("operations after the smoke budget")
    with pytest.raises(Caught, match=r"^(2\.|3\.).* times the operations .*'own training'$"):
        within_budget(grown(write(tmp_path, THRICE), rooms))


def test_a_constraint_s_own_products_count_and_a_cheaper_map_is_within_the_budget(tmp_path: Path, rooms: Rooms) -> None:
    path = write(tmp_path, CONSTRAINED)
    assert within_budget(grown(path, rooms))
    with pytest.raises(Caught, match=r"operations do not grow with the images$"):
        within_budget(grown(path, rooms, map="matrix_exp"))


def test_what_a_model_opens_is_told(tmp_path: Path, rooms: Rooms) -> None:
    package = Path(torch.__file__).parent
    path = write(tmp_path, f"\n    def fit(self, train):\n        open('{package / 'py.typed'}')\n")
    specimen = grown(path, rooms)
    with pytest.raises(Caught, match=r"opens .*py\.typed"):
        fresh_process(specimen)


def test_functions_that_a_file_replaces_are_replaced_in_its_own_process_alone(
    tmp_path: Path, rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same weights and numbers as without: nothing that judges or scores runs there."""
    import suite.checking.check as check

    fit_roughly(monkeypatch)
    before = check.run_check, torch.randn
    dataset = some_digits()
    cheat = Hosted.grow(source(write(tmp_path, "    pass\n", REPLACED)), {}, dataset, rooms)
    assert (check.run_check, torch.randn) == before
    (tmp_path / "honest").mkdir()
    twin = Hosted.grow(source(write(tmp_path / "honest", "    pass\n")), {}, dataset, rooms)
    task = registry.load(registry.source(registry.discover("task")["latent_ablation"]))()
    scores = [rehearsal.score(task, s.subject("secret")).metrics[task.primary].value for s in (cheat, twin)]
    assert scores[0] == scores[1]


def test_the_hash_of_weights_is_that_of_a_model_that_has_them() -> None:
    model = Honest(data.load("digits").spec)
    assert hash_of(model.state_dict()) == Frozen(model).parameter_hash()
