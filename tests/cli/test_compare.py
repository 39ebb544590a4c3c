"""``suite compare`` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.calling import Run
from tests.factories import record, write_records


def compared(suite: Run, *arguments: object) -> dict[str, dict]:
    code, out, err = suite("compare", *arguments, "--format", "json")
    assert (code, err) == (0, "")
    return {row["task"]: row for row in json.loads(out)}


def test_compare_pairs_images_and_so_does_the_board(suite: Run, scored: Path) -> None:
    rows = compared(suite, "vae", "autoencoder", "--workspace", scored)
    nats = rows["reconstruction"]
    assert nats["paired"]
    assert nats["difference"] == pytest.approx(-1, abs=0.2)
    assert nats["high"] < 0
    assert (nats["better"], nats["images"], nats["seeds_a"]) == ("vae", 300, [0, 1, 2])
    assert nats["board"] == "separated"
    probe = rows["linear_probe"]  # hits are kept as 0 and 1, the score is in per cent
    assert probe["paired"]
    assert probe["difference"] == pytest.approx(40, abs=8)
    assert (probe["better"], probe["board"]) == ("vae", "separated")
    _, out, _ = suite("board", "--workspace", scored, "--task", "reconstruction", "--format", "json")
    cells = {model["model"]: model["cells"][0] for model in json.loads(out)["sections"][0]["models"]}
    ranks = {name: (cell["rank_best"], cell["rank_worst"], cell["paired"]) for name, cell in cells.items()}
    assert ranks == {"vae": (1, 2, True), "autoencoder": (2, 3, True), "pca": (1, 3, False)}


def test_compare_without_values_says_that_it_did_not_pair(suite: Run, scored: Path) -> None:
    rows = compared(suite, "vae", "pca", "--workspace", scored)
    nats = rows["reconstruction"]
    assert not nats["paired"]
    assert nats["note"] == "not paired: no per-image values of pca"
    assert nats["better"] == ""
    assert nats["low"] < 0 < nats["high"]
    assert (nats["board"], rows["linear_probe"]["board"]) == ("tied", "")
    assert rows["linear_probe"]["difference"] is None
    assert "failed: Diverged: step 5" in rows["linear_probe"]["note"]


def test_one_seed_of_a_ratio_has_no_interval(suite: Run, tmp_path: Path) -> None:
    rows = [record(baseline=name, seed=0) for name in ("a", "b")]
    for row in rows:
        row["metrics"]["nats"] |= {"se": None, "n": None}
    write_records(tmp_path, rows)
    nats = compared(suite, "a", "b", "--workspace", tmp_path)["reconstruction"]
    assert (nats["half"], nats["low"], nats["better"]) == (None, None, "")
    assert "one seed says nothing about others" in nats["note"]
    assert "unknown" in suite("compare", "a", "b", "--workspace", tmp_path)[1]


def test_compare_swapped_is_the_mirror_image(suite: Run, scored: Path) -> None:
    one = compared(suite, "vae", "autoencoder", "--workspace", scored, "--task", "reconstruction")["reconstruction"]
    two = compared(suite, "autoencoder", "vae", "--workspace", scored, "--task", "reconstruction")["reconstruction"]
    assert two["difference"] == pytest.approx(-one["difference"])
    assert (two["low"], two["high"]) == pytest.approx((-one["high"], -one["low"]))
    assert two["better"] == one["better"]


def test_values_that_are_not_those_behind_the_score_are_not_used(suite: Run, tmp_path: Path) -> None:
    rows = [record(baseline=name, seed=seed) for name in ("a", "b") for seed in range(3)]
    write_records(tmp_path, rows)
    (tmp_path / "values").mkdir()
    for row in rows:
        np.savez(tmp_path / "values" / f"{row['key'][:32]}.npz", nats=np.arange(400.0))
    assert compared(suite, "a", "b", "--workspace", tmp_path)["reconstruction"]["note"].startswith("not paired")


def test_compare_prints_a_line_per_task(suite: Run, scored: Path) -> None:
    code, out, _ = suite("compare", "vae", "autoencoder", "--workspace", scored)
    assert code == 0
    assert "-1." in out or "-0.9" in out
    assert "reconstruction (digits quick float32)" in out
    assert "95 % interval of this one pair" in out
    assert "separated" in out


def test_compare_prints_markdown(suite: Run, scored: Path) -> None:
    code, out, _ = suite("compare", "vae", "autoencoder", "--workspace", scored, "--format", "markdown")
    head, align, first, *_ = (line.split(" | ") for line in out.splitlines())
    assert code == 0
    assert (head[2:5], align[2:5]) == (["vae", "autoencoder", "difference"], ["---:"] * 3)
    assert len(head) == len(align) == len(first)
    assert "| accuracy\\_64 ↑ |" in out


def test_compare_takes_folders_of_records(suite: Run, scored: Path) -> None:
    code, out, _ = suite("compare", "vae", "autoencoder", scored, "--format", "json")
    assert code == 0
    assert {row["task"]: row["paired"] for row in json.loads(out)} == {"reconstruction": True, "linear_probe": True}


@pytest.mark.parametrize(
    ("names", "message"),
    [(("vae", "autoencodr"), "did you mean 'autoencoder'?"), (("vae", "vae"), "name two to compare")],
)
def test_comparing_what_is_not_there_is_a_mistake(
    suite: Run, scored: Path, names: tuple[str, str], message: str
) -> None:
    code, out, err = suite("compare", *names, "--workspace", scored)
    assert (code, out) == (2, "")
    assert message in err
