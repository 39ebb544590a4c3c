"""What goes to a node and what comes back from it, without Ray."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from suite import data
from suite.planning.cells import Trial
from suite.planning.plan import make_plan
from suite.planning.selection import Selection
from suite.running import parcels
from suite.running.trial import run_trial
from suite.training import checkpoints
from tests.toys import write_baseline, write_task


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    write_task(tmp_path / "toys")
    write_baseline(tmp_path / "toys", "Toy")
    chosen = Selection(("error",), ("toy",), ("digits",), (0, 1), "smoke", paths=(str(tmp_path / "toys"),))
    plan = make_plan(dataclasses.replace(chosen, workspace=str(tmp_path / "here")))
    return dataclasses.replace(plan.trials()[0], trust=True)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    return tmp_path / "temporary"


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_a_trial_writes_goes_out_once_and_is_written_as_it_was(trial: Trial, tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    outgoing = parcels.Outgoing(there, trial)
    assert outgoing.new() == []
    sent: list[list[str]] = []

    def bring() -> None:
        found = outgoing.new()
        sent.append([name for name, _ in found])
        parcels.unpack(here, found)

    run_trial(dataclasses.replace(trial, workspace=str(there)), lambda record: bring(), lambda event: bring())
    checkpoint = f"checkpoints/{trial.checkpoint_key[:32]}"
    assert [f"{checkpoint}/model.safetensors", f"{checkpoint}/checkpoint.json"] in sent  # before it is scored
    assert sent[-1] == [f"pictures/{trial.cells[0].key[:32]}/inputs.png", f"values/{trial.cells[0].key[:32]}.npz"]
    assert files(here) == {name: raw for name, raw in files(there).items() if "/kept/" not in name}
    assert outgoing.new() == []


def test_a_file_that_is_written_anew_goes_out_again_and_nothing_of_another_trial_does(
    trial: Trial, tmp_path: Path
) -> None:
    folder = tmp_path / f"checkpoints/{trial.checkpoint_key[:32]}"
    checkpoints.write(folder, {}, {"a": 1})
    (tmp_path / "checkpoints/another").mkdir()
    outgoing = parcels.Outgoing(tmp_path, trial)
    (tmp_path / "checkpoints/another/checkpoint.json").write_text("{}")
    (folder / "link").symlink_to(tmp_path / "toys/toy.py")
    for staying in parcels.STAYING:
        (folder / staying[0]).mkdir()
        (folder / staying[0] / "large").write_text("")
    assert outgoing.new() == []
    checkpoints.write(folder, {}, {"a": 2})
    assert [Path(name).name for name, _ in outgoing.new()] == ["model.safetensors", "checkpoint.json"]


def test_a_checkpoint_goes_out_with_the_notes_of_its_other_seeds_alone(trial: Trial, tmp_path: Path) -> None:
    mine = trial.cells[0].ingredients["checkpoint"]
    own, folder = trial.checkpoint_key, tmp_path / "checkpoints"
    for name, ingredients in ((own[:32], mine), ("b" * 32, mine | {"seed": 7}), ("c" * 32, mine | {"budget": "long"})):
        checkpoints.write(folder / name, {}, {"ingredients": ingredients})
    (folder / "broken").mkdir()
    (folder / "broken/checkpoint.json").write_text("no JSON")
    checkpoints.write(folder / f"{own[:32]}.corrupt", {}, {})
    found = [name for name, _ in parcels.pack(str(tmp_path), own, mine)]
    assert found == [
        f"checkpoints/{'b' * 32}/checkpoint.json",
        f"checkpoints/{own[:32]}/model.safetensors",
        f"checkpoints/{own[:32]}/checkpoint.json",
    ]
    assert parcels.pack(str(tmp_path / "empty"), own, mine) == []


def test_a_node_says_what_it_lacks(tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUITE_DATA", raising=False)
    prefix, digits = parcels.prefix_of("/w"), {"digits": data.content_hash("digits")}
    assert parcels.lacks(prefix, digits, "/nowhere") == ""
    assert parcels.lacks(prefix, {"mnist": "a"}, "/nowhere") == "does not have the dataset 'mnist' in /nowhere"
    assert parcels.lacks(prefix, {"digits": "a" * 64}, "/nowhere").startswith("has another dataset 'digits'")
    monkeypatch.setenv("SUITE_DATA", str(tmp_path))
    assert parcels.lacks(prefix, {"mnist": "a"}, "/nowhere").endswith(f"in {tmp_path}")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "away"))
    assert parcels.lacks(prefix, digits, "/nowhere").startswith(f"cannot write to {tmp_path / 'away'}: No such file")


def test_a_node_keeps_nothing_of_a_trial_that_has_ended_nor_of_a_run_that_was_killed(temporary: Path) -> None:
    prefix = parcels.prefix_of("/w")
    with parcels.lodging(f"{prefix}one-0") as folder:
        (folder / "file").write_text("")
    assert not list(temporary.iterdir())
    for name in (f"{prefix}one-0", f"{prefix}two-0", f"{parcels.prefix_of('/other')}one-0"):
        (temporary / name).mkdir()
    parcels.lacks(prefix, {}, "/nowhere")
    assert [path.name for path in temporary.iterdir()] == [f"{parcels.prefix_of('/other')}one-0"]


def test_a_dead_workers_note_is_taken_with_its_folder(temporary: Path) -> None:
    (temporary / "trial").mkdir()
    (temporary / "trial" / parcels.NOTE).write_text("Fatal Python error: Aborted")
    assert parcels.take_note("trial") == "Fatal Python error: Aborted"
    assert parcels.take_note("trial") == ""
    assert not list(temporary.iterdir())


def test_a_nodes_own_fault_is_told_with_its_name() -> None:
    told = json.loads(parcels.fault(OSError(28, "No space left on device")))
    assert told["host"] and told["fault"] == "cannot keep the trial's files: [Errno 28] No space left on device"
