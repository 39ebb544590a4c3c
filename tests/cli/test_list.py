from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.calling import run
from tests.projects import write_project


def test_list_shows_tasks_baselines_and_datasets(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "list")
    assert code == 0
    rows = {line.split()[0]: line for line in out.splitlines() if line}
    assert "nats" in rows["reconstruction"]
    assert "labels" in rows["conditional_vae"]
    assert rows["conv_autoencoder"].split()[1] == "autoencoder"
    assert rows["conv_autoencoder"].endswith("; architecture=conv")
    assert "yes" in rows["digits"]
    assert "1200" in rows["digits"]


def test_list_says_which_datasets_are_on_disk(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3.gz", "t10k-labels-idx1"):
        (raw / f"{name.removesuffix('.gz')}-ubyte{'.gz' * name.endswith('.gz')}").touch()
    _, out, _ = run(capsys, "list", "datasets", "--data-root", tmp_path, "--format", "json")
    there = {"digits": True, "mnist": True, "fashion_mnist": False, "kmnist": False, "emnist": False, "omniglot": False}
    inked = {f"colored:{name}": found for name, found in there.items()}
    assert {d["name"]: d["on disk"] for d in json.loads(out)["datasets"]} == there | inked


def test_list_as_json_holds_one_kind_with_parameters_and_the_users_own(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write_project(tmp_path)
    _, out, _ = run(capsys, "list", "baselines", "--path", tmp_path, "--format", "json")
    found = json.loads(out)
    assert list(found) == ["baselines"]
    small = next(item for item in found["baselines"] if item["name"] == "small")
    assert (small["family"], small["supervision"], small["params"]) == ("other_model", "labels", {"width": 1})
