from __future__ import annotations

import json
from pathlib import Path

import pytest

from suite import records
from tests.cli.calling import run
from tests.projects import write_project


def test_show_prints_a_baselines_card(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "show", "conv_vae")
    assert code == 0
    assert "trained on the negative ELBO ([1], eq. 10)" in out


def test_show_prints_a_tasks_card_from_the_class_with_metrics_and_anchors(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "show", "reconstruction")
    assert "official" in out
    assert "floor" in out
    _, out, _ = run(capsys, "show", "reconstruction", "--format", "json")
    shown = json.loads(out)
    assert (shown["primary"], shown["version"]) == ("nats", 3)
    assert shown["card"]
    assert "nats" in [metric["name"] for metric in shown["metrics"]]
    assert "floor" in [anchor["name"] for anchor in shown["anchors"]]


def test_show_prints_a_baselines_groups_parameters_and_source(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "show", "vae:latent=5", "--format", "json")
    shown = json.loads(out)
    assert shown["params"]["latent"] == 5
    assert shown["core"] == "z"
    assert "z" in shown["groups"]
    assert "Kingma" in shown["paper"]
    assert shown["closure"] == ["vae.py"]
    _, out, _ = run(capsys, "show", "vae")
    assert "Kingma" in out
    assert "latent=20" in out


def test_show_prints_a_file_and_a_dataset(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    write_project(tmp_path)
    _, out, _ = run(capsys, "show", tmp_path / "other_model.py")
    assert "small" in out
    assert "large" in out
    _, out, _ = run(capsys, "show", "digits", "--format", "json")
    assert json.loads(out)["sizes"] == [1200, 197, 400]


def test_show_finds_a_record_by_the_start_of_its_key(capsys: pytest.CaptureFixture[str], workspace: Path) -> None:
    metrics = {"nats": {"value": 99.5, "unit": "nats", "direction": "lower", "se": 0.1, "n": 400}}
    for key in ("abcda" * 12 + "0000", "abcde" * 12 + "0000"):
        records.write(workspace, records.Record(key, "ok", "reconstruction", "vae", "digits", 7, metrics=metrics))
    _, out, _ = run(capsys, "show", "abcda")
    assert "99.5" in out
    assert json.loads(run(capsys, "show", "abcda", "--format", "json")[1])["seed"] == 7
    assert "2 records" in run(capsys, "show", "abcd")[2]
    for prefix in ("0000", "abcda" * 12 + "0001"):
        assert "no record" in run(capsys, "show", prefix)[2]
