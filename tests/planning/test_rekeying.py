"""Records of equal sources get today's keys; of sources that are not shown to be equal, none."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite import records
from suite.errors import UserError
from suite.planning import rekeying
from suite.planning.rekeying import Rekeyed, rekey
from suite.plugins import digest, fingerprint
from suite.records import Record
from tests.projects import edit

#: Kind -> file -> its text when the records were made; ``suite.nats`` has gone since.
OLD = {
    "baseline": {
        "model.py": "import torch\nfrom suite.contract import Baseline\nfrom helper import GAIN\n\n\n"
        "class Model(Baseline):\n    gain = GAIN\n",
        "helper.py": "GAIN = 2.0\n",
    },
    "task": {
        "measure.py": "from suite.nats import charge, draw\nfrom suite.contract import Task\n\n\n"
        "class Measurement(Task):\n    tools = (charge, draw)\n",
    },
}
#: What today's files say otherwise.
MOVED = (
    "from suite.nats import charge, draw\nfrom suite.contract import Task\n",
    "from suite.contract import Task\nfrom suite.measuring import charge, draw\n",
)


@dataclass
class Trees:
    """A checkout from which records were made, today's tree beside it, and the workspace of the records."""

    then: Path
    now: Path
    workspace: Path

    def ingredients(self, tree: Path, seed: int, hashed: Callable[[str, bytes], str]) -> dict[str, Any]:
        """Returns what a cell's key is made of, its sources read from a tree."""

        def identity(kind: str, attribute: str) -> dict[str, str]:
            folder = tree / f"{kind}s"
            return {"class": attribute} | {name: hashed(name, (folder / name).read_bytes()) for name in OLD[kind]}

        checkpoint = {"baseline": identity("baseline", "Model"), "params": {"width": 4}, "seed": seed, "engine": 2}
        return {"checkpoint": checkpoint, "task": identity("task", "Measurement"), "task_version": 1}

    def publish(self, seed: int = 0) -> Record:
        """Writes a record as it was made then, with values, a picture and a checkpoint."""
        made = self.ingredients(self.then, seed, lambda name, data: fingerprint(name, data, frozenset()))
        record = Record(
            key=digest(made),
            status="ok",
            task="measure",
            baseline="model",
            dataset="digits",
            seed=seed,
            ingredients=made,
            checkpoint_key=digest(made["checkpoint"]),
            task_version=made["task_version"],
            baseline_params=made["checkpoint"]["params"],
            metrics={"nats": {"value": 1.5 + seed, "unit": "nats", "direction": "lower", "se": 0.1, "n": 400}},
            values=True,
        )
        records.write(self.workspace, record)
        records.write_values(self.workspace, record.key, {"nats": np.arange(3.0) + seed})
        for folder in (records.pictures_path(self.workspace, record.key), self.checkpoint(record.checkpoint_key)):
            folder.mkdir(parents=True)
            (folder / "file").write_text(f"of seed {seed}")
        return record

    def checkpoint(self, key: str) -> Path:
        return self.workspace / "checkpoints" / key[:32]

    def key(self, seed: int = 0) -> str:
        """Returns the key that a cell has today."""
        return digest(self.ingredients(self.now, seed, fingerprint))

    def files(self) -> dict[str, bytes]:
        """Returns every file of the workspace: path -> bytes."""
        found = (path for path in sorted(self.workspace.rglob("*")) if path.is_file())
        return {path.relative_to(self.workspace).as_posix(): path.read_bytes() for path in found}


@pytest.fixture
def trees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trees:
    made = Trees(tmp_path / "then", tmp_path / "now", tmp_path / "runs")
    for kind, files in OLD.items():
        for name, text in files.items():
            folder = made.then / f"{kind}s"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
    shutil.copytree(made.then, made.now)
    edit(made.now / "tasks" / "measure.py", *MOVED)
    (made.then / "suite").mkdir()
    for name in ("__init__.py", "contract.py", "nats.py"):
        (made.then / "suite" / name).touch()
    monkeypatch.setattr(rekeying, "built_in_folder", lambda kind: made.now / f"{kind}s")
    return made


def test_a_record_of_equal_sources_is_renamed_with_all_that_lies_beside_it(trees: Trees) -> None:
    old = trees.publish()
    assert rekey(trees.workspace, trees.then) == Rekeyed(renamed=1)
    (new,) = records.read_all(trees.workspace)
    assert (new.key, old.key) == (trees.key(), digest(old.ingredients))
    assert new.key != old.key
    assert (digest(new.ingredients), digest(new.ingredients["checkpoint"])) == (new.key, new.checkpoint_key)
    assert (new.metrics, new.status, new.finished) == (old.metrics, old.status, old.finished)
    assert records.load_values(trees.workspace, new.key)["nats"].tolist() == [0, 1, 2]
    for folder in (records.pictures_path(trees.workspace, new.key), trees.checkpoint(new.checkpoint_key)):
        assert (folder / "file").read_text() == "of seed 0"
    assert not [name for name in trees.files() if old.key[:32] in name]


def test_a_checkpoint_of_two_records_moves_with_the_first(trees: Trees) -> None:
    first = trees.publish()
    second = Record(**(vars(first) | {"ingredients": first.ingredients | {"task_version": 2}, "task_version": 2}))
    second.key = digest(second.ingredients)
    records.write(trees.workspace, second)
    assert rekey(trees.workspace, trees.then) == Rekeyed(renamed=2)
    (checkpoint,) = {record.checkpoint_key for record in records.read_all(trees.workspace)}
    assert [path.name for path in (trees.workspace / "checkpoints").iterdir()] == [checkpoint[:32]]


def test_a_second_call_changes_nothing(trees: Trees) -> None:
    trees.publish(0)
    trees.publish(1)
    rekey(trees.workspace, trees.then)
    before = trees.files()
    assert rekey(trees.workspace, trees.then) == Rekeyed(kept=2)
    assert trees.files() == before


def test_a_record_with_today_s_key_needs_no_old_file(trees: Trees) -> None:
    trees.publish()
    rekey(trees.workspace, trees.then)
    shutil.rmtree(trees.then / "tasks")
    (trees.then / "tasks").mkdir()
    assert rekey(trees.workspace, trees.then) == Rekeyed(kept=1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: edit(t.now / "tasks" / "measure.py", "(charge, draw)", "(draw, charge)"), "measure.py is another"),
        (lambda t: edit(t.now / "tasks" / "measure.py", "charge, draw\n", "charge, pay as draw\n"), "is another today"),
        (lambda t: edit(t.now / "baselines" / "helper.py", "2.0", "2.5"), "helper.py is another today"),
        (lambda t: (t.now / "baselines" / "helper.py").unlink(), "helper.py is not there any more"),
        (lambda t: (t.then / "tasks" / "measure.py").unlink(), "measure.py does not exist"),
        (
            lambda t: edit(t.then / "tasks" / "measure.py", "(charge, draw)", "(draw,)"),
            "is not the file that the record was made with",
        ),
    ],
)
def test_a_record_whose_sources_are_not_shown_to_be_equal_keeps_its_key_and_says_why(
    trees: Trees, change: Callable[[Trees], object], reason: str
) -> None:
    trees.publish(0)
    trees.publish(1)
    before = trees.files()
    change(trees)
    done = rekey(trees.workspace, trees.then)
    assert (done.renamed, done.kept, list(done.refused.values())) == (0, 0, [2])
    assert reason in next(iter(done.refused))
    assert trees.files() == before


def test_comments_and_formatting_are_no_other_source(trees: Trees) -> None:
    trees.publish()
    edit(trees.now / "baselines" / "helper.py", "GAIN = 2.0", "# twice\nGAIN = (2.0)")
    assert rekey(trees.workspace, trees.then).renamed == 1


def test_one_record_that_is_refused_holds_up_no_other(trees: Trees) -> None:
    trees.publish(0)
    edit(trees.then / "baselines" / "helper.py", "2.0", "3.0")
    trees.publish(1)  # made with a helper that today's tree does not have
    edit(trees.then / "baselines" / "helper.py", "3.0", "2.0")
    done = rekey(trees.workspace, trees.then)
    assert (done.renamed, list(done.refused.values())) == (1, [1])
    assert {record.seed: record.key == trees.key(0) for record in records.read_all(trees.workspace)} == {
        0: True,
        1: False,
    }


@pytest.mark.parametrize("folder", ["suite", "tasks", "baselines"])
def test_a_folder_that_is_no_checkout_is_refused_before_anything_is_renamed(trees: Trees, folder: str) -> None:
    trees.publish()
    before = trees.files()
    shutil.rmtree(trees.then / folder)
    with pytest.raises(UserError, match="is no checkout: it must hold suite, baselines and tasks"):
        rekey(trees.workspace, trees.then)
    assert trees.files() == before


@pytest.mark.parametrize("survived", range(5))
def test_a_kill_between_two_steps_loses_nothing_and_the_next_call_ends_the_work(
    trees: Trees, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survived: int
) -> None:
    trees.publish()
    whole = tmp_path / "whole"
    shutil.copytree(trees.workspace, whole)
    rekey(whole, trees.then)
    left = survived

    def dying(step: Callable[..., object]) -> Callable[..., object]:
        def take(*args: Any, **kwargs: Any) -> object:
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            return step(*args, **kwargs)

        return take

    with monkeypatch.context() as patch:  # three renamings, the new record, the end of the old one
        patch.setattr(Path, "rename", dying(Path.rename))
        patch.setattr(records, "write", dying(records.write))
        patch.setattr(Path, "unlink", dying(Path.unlink))
        with pytest.raises(KeyboardInterrupt):
            rekey(trees.workspace, trees.then)
    assert {record.metrics["nats"]["value"] for record in records.read_all(trees.workspace)} == {1.5}
    assert rekey(trees.workspace, trees.then).renamed == 1
    assert trees.files() == Trees(trees.then, trees.now, whole).files()
