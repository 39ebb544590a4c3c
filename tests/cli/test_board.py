"""``suite board`` and ``suite compare`` as a user meets them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from suite.cli.app import main
from tests.factories import record, write_records

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def suite(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models whose difference only pairing shows, one without values, one of which a seed failed."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "values").mkdir()
    rng = np.random.default_rng(3)
    hard = rng.normal(100, 20, 300)
    rows = []
    for name, shift, kept in (("vae", 0.0, True), ("autoencoder", 1.0, True), ("pca", 1.0, False)):
        for seed in range(3):
            values = hard + shift + rng.normal(0, 0.5, 300)
            row = record("reconstruction", name, seed, float(values.mean()), se=20 / 300**0.5, n=300)
            rows.append(row)
            if kept:
                np.savez(folder / "values" / f"{row['key'][:32]}.npz", nats=values)
    for name, share in (("vae", 0.9), ("autoencoder", 0.5)):
        for seed in range(3):
            hits = rng.random(300) < share
            row = record("linear_probe", name, seed, 100 * float(hits.mean()), se=2.0, n=300)
            rows.append(row)
            np.savez(folder / "values" / f"{row['key'][:32]}.npz", accuracy_64=hits)
    rows += [record("linear_probe", "pca", seed, status="failed", reason="Diverged: step 5") for seed in range(3)]
    return write_records(folder, rows)


def test_board_prints_the_workspace(suite: Run, workspace: Path) -> None:
    code, out, err = suite("board", "--workspace", workspace)
    assert (code, err) == (0, "")
    assert "digits · quick · float32" in out
    assert "vae" in out
    assert "Anchors of linear_probe" in out  # as the task in this repository declares them


def test_board_reads_folders_of_published_records(suite: Run, workspace: Path) -> None:
    code, out, _ = suite("board", workspace / "records", "--format", "json", "--task", "reconstruction")
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
def test_a_mistake_is_one_line_and_exit_code_2(suite: Run, workspace: Path, arguments: list[str], message: str) -> None:
    code, out, err = suite("board", "--workspace", workspace, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_without_records_the_line_says_how_to_make_some(suite: Run, tmp_path: Path) -> None:
    code, _, err = suite("board", "--workspace", tmp_path / "nothing")
    assert code == 2
    assert "`suite run` makes them" in err


def compared(suite: Run, *arguments: object) -> dict[str, dict]:
    code, out, err = suite("compare", *arguments, "--format", "json")
    assert (code, err) == (0, "")
    return {row["task"]: row for row in json.loads(out)}


def test_compare_pairs_images_and_so_sees_what_the_board_cannot(suite: Run, workspace: Path) -> None:
    rows = compared(suite, "vae", "autoencoder", "--workspace", workspace)
    nats = rows["reconstruction"]
    assert nats["paired"]
    assert nats["difference"] == pytest.approx(-1, abs=0.2)
    assert nats["high"] < 0
    assert (nats["better"], nats["images"], nats["seeds_a"]) == ("vae", 300, [0, 1, 2])
    probe = rows["linear_probe"]  # hits are kept as 0 and 1, the score is in per cent
    assert probe["paired"]
    assert probe["difference"] == pytest.approx(40, abs=8)
    assert probe["better"] == "vae"
    _, out, _ = suite("board", "--workspace", workspace, "--task", "reconstruction", "--format", "json")
    ranks = [model["cells"][0] for model in json.loads(out)["sections"][0]["models"]]
    assert {(cell["rank_best"], cell["rank_worst"]) for cell in ranks} == {(1, 3)}


def test_compare_without_values_says_that_it_did_not_pair(suite: Run, workspace: Path) -> None:
    rows = compared(suite, "vae", "pca", "--workspace", workspace)
    nats = rows["reconstruction"]
    assert not nats["paired"]
    assert nats["note"] == "not paired: no per-image values of pca"
    assert nats["better"] == ""
    assert nats["low"] < 0 < nats["high"]
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


def test_compare_swapped_is_the_mirror_image(suite: Run, workspace: Path) -> None:
    one = compared(suite, "vae", "autoencoder", "--workspace", workspace, "--task", "reconstruction")["reconstruction"]
    two = compared(suite, "autoencoder", "vae", "--workspace", workspace, "--task", "reconstruction")["reconstruction"]
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


def test_compare_prints_a_line_per_task(suite: Run, workspace: Path) -> None:
    code, out, _ = suite("compare", "vae", "autoencoder", "--workspace", workspace)
    assert code == 0
    assert "-1." in out or "-0.9" in out
    assert "reconstruction (digits quick float32)" in out
    assert "95 % interval" in out


def test_compare_prints_markdown(suite: Run, workspace: Path) -> None:
    code, out, _ = suite("compare", "vae", "autoencoder", "--workspace", workspace, "--format", "markdown")
    head, align, first, *_ = (line.split(" | ") for line in out.splitlines())
    assert code == 0
    assert (head[2:5], align[2:5]) == (["vae", "autoencoder", "difference"], ["---:"] * 3)
    assert len(head) == len(align) == len(first)
    assert "| accuracy\\_64 ↑ |" in out


@pytest.mark.parametrize(
    ("names", "message"),
    [(("vae", "autoencodr"), "did you mean 'autoencoder'?"), (("vae", "vae"), "name two to compare")],
)
def test_comparing_what_is_not_there_is_a_mistake(
    suite: Run, workspace: Path, names: tuple[str, str], message: str
) -> None:
    code, out, err = suite("compare", *names, "--workspace", workspace)
    assert (code, out) == (2, "")
    assert message in err
