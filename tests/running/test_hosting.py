"""A model from outside is hosted in processes of its own: the same numbers as in process, and records that tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from suite.planning.selection import Selection
from suite.running.executor import Execution
from suite.running.run import execute
from tests.toys import write_baseline, write_task

Raw = dict[str, Any]


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toys")
    write_task(folder)
    write_task(folder, "Other")
    write_baseline(folder, "Toy")
    write_baseline(folder, "Broken", encode="raise ValueError('seven')")
    write_baseline(folder, "Gone", loss="os._exit(3)")
    return folder


def run(toys: Path, workspace: Path, baseline: str, *tasks: str, **options: Any) -> list[Raw]:
    selection = Selection(
        tasks=tasks or ("error",),
        baselines=(baseline,),
        seeds=(0,),
        budget="smoke",
        paths=(str(toys),),
        workspace=str(workspace),
    )
    return execute(selection, Execution("local", **options), quiet=True).records


def test_a_hosted_model_has_the_numbers_that_it_has_in_process(toys: Path, tmp_path: Path) -> None:
    (guest,) = run(toys, tmp_path / "hosted", "toy")
    kept = guest["env"]["guest"]
    assert kept["kind"] in ("contained", "processes")
    (trusted,) = run(toys, tmp_path / "trusted", "toy", trust=True, noise=kept["noise"])
    assert trusted["env"]["guest"] == {"kind": "none"}
    assert guest["status"] == trusted["status"] == "ok"
    assert guest["metrics"] == trusted["metrics"]
    assert guest["key"] == trusted["key"]
    costs = ("parameters", "flops_per_image")
    assert [guest["cost"][name] for name in costs] == [trusted["cost"][name] for name in costs]
    assert guest["cost"]["train_core_seconds"] is None, "its own word"
    assert "score_core_seconds" not in guest["cost"], "what its processes take is not seen"


def test_the_noise_of_a_guest_is_a_secret_until_its_record_reveals_it(toys: Path, tmp_path: Path) -> None:
    first, second = (run(toys, tmp_path / name, "toy")[0]["env"]["guest"] for name in ("one", "two"))
    assert first["noise"] != second["noise"]
    assert len(first["noise"]) >= 32


def test_a_hosted_model_is_trained_once_and_its_weights_serve_later_tasks(toys: Path, tmp_path: Path) -> None:
    (first,) = run(toys, tmp_path, "toy")
    _, second = run(toys, tmp_path, "toy", "error", "other", noise=first["env"]["guest"]["noise"])
    assert first["checkpoint_key"] == second["checkpoint_key"]
    assert first["cost"]["train_seconds"] == second["cost"]["train_seconds"]
    assert first["metrics"] == second["metrics"]


@pytest.mark.parametrize(
    ("baseline", "reason"), [("broken", "broken.py:24: ValueError: seven"), ("gone", "the guest's process ended")]
)
def test_what_a_guest_does_wrong_is_its_cells_reason(toys: Path, tmp_path: Path, baseline: str, reason: str) -> None:
    (record,) = run(toys, tmp_path, baseline)
    assert record["status"] == "failed"
    assert reason in record["reason"]
    assert not any(tmp_path.glob("checkpoints/*/checkpoint.json")) or baseline == "broken"
