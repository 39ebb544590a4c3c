from __future__ import annotations

import json
from pathlib import Path

import pytest

from suite import records
from tests.cli.calling import Run, run
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


def test_a_task_s_file_is_shown_as_its_text_tells_and_is_not_run(suite: Run, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    (tmp_path / "mine.py").write_text(f"""
from suite.contract import Anchor, Metric, Task

open({str(ran)!r}, "w")


class Mine(Task):
    version = 3
    primary = "m"
    summary = "one of my own"
    metrics = (Metric("m", "nats", "lower", "a number"),)
    anchors = (Anchor("floor", "none"),)

    def score(self, subject):
        pass
""")
    for arguments in (
        ["show", tmp_path / "mine.py"],
        ["show", "mine", "--path", tmp_path],
        ["list", "--path", tmp_path],
    ):
        code, out, err = suite(*arguments)
        assert (code, err) == (0, ""), err
        assert "one of my own" in out and not ran.exists()


@pytest.mark.parametrize("text", ["(" * 5000 + ")" * 5000, "x = " + "+".join(["1"] * 200_000), "-" * 99_999 + "1"])
def test_an_expression_without_end_is_an_error_line(suite: Run, tmp_path: Path, text: str) -> None:
    file = tmp_path / "deep.py"
    file.write_text(text)
    code, _, err = suite("show", file)
    assert code == 2 and err.startswith("error: ") and err.count("\n") == 1
