"""``suite board`` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.calling import Run
from tests.factories import record, write_records


def test_board_prints_the_workspace(suite: Run, scored: Path) -> None:
    code, out, err = suite("board", "--workspace", scored, "--notes")
    assert (code, err) == (0, "")
    assert "digits · quick · float32" in out
    assert "vae" in out
    assert "Anchors of linear_probe" in out  # as the task in this repository declares them


def test_board_sorts_by_a_cost(suite: Run, tmp_path: Path) -> None:
    sizes = {"big": 9e6, "small": 10.0, "unknown": None}
    write_records(
        tmp_path, [record(baseline=m, seed=s, cost={"parameters": n}) for m, n in sizes.items() for s in (0, 1, 2)]
    )
    code, out, _ = suite("board", "--workspace", tmp_path, "--sort", "parameters", "--format", "json")
    assert code == 0
    assert [model["model"] for model in json.loads(out)["sections"][0]["models"]] == ["small", "big", "unknown"]


def test_board_reads_folders_of_published_records(suite: Run, scored: Path) -> None:
    code, out, _ = suite("board", scored / "records", "--format", "json", "--task", "reconstruction")
    assert code == 0
    models = json.loads(out)["sections"][0]["models"]
    assert {model["model"] for model in models} == {"vae", "autoencoder", "pca"}


def test_board_sets_a_corrupt_record_aside_and_goes_on(suite: Run, tmp_path: Path) -> None:
    write_records(tmp_path, [record(seed=seed) for seed in range(4)])
    victim = next((tmp_path / "records").iterdir())
    victim.write_text('{"key": ')
    code, out, err = suite("board", "--workspace", tmp_path)
    assert code == 0
    assert victim.name in err
    assert "3 records" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "tabel"], "unknown format 'tabel'; did you mean 'table'?"),
        (["--dataset", "digit"], "no records of dataset 'digit'; did you mean 'digits'?"),
        (["--seeds", "4-0"], "4-0"),
        (["--sort", "reconstrution"], "did you mean 'reconstruction'?"),
        (["--metric", "nast"], "did you mean 'nats'?"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(suite: Run, scored: Path, arguments: list[str], message: str) -> None:
    code, out, err = suite("board", "--workspace", scored, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_without_records_the_line_says_how_to_make_some(suite: Run, tmp_path: Path) -> None:
    code, _, err = suite("board", "--workspace", tmp_path / "nothing")
    assert code == 2
    assert "`suite run` makes them" in err
