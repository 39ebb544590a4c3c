"""Shares of a selection: every trial in exactly one, as even as costs allow, and merged they are the whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.cli.app import main
from suite.errors import UserError
from suite.planning.cells import Cell
from suite.planning.shards import costs, parse_shard, shard
from suite.records import read_raw
from tests.factories import record
from tests.toys import write_baseline, write_task


def cells(models: int, seeds: int, tasks: int = 2) -> list[Cell]:
    return [
        Cell(f"task{t}", {}, f"model{m}", {}, "digits", s, "quick", "float32", f"{t}/{m}/{s}", f"{m}/{s}", {})
        for s in range(seeds)
        for m in range(models)
        for t in range(tasks)
    ]


def known(seconds: dict[str, float]) -> dict[tuple[str, ...], float]:
    """What models cost: training takes it all."""
    parts = {("", name, "digits", "quick", "float32"): cost for name, cost in seconds.items()}
    return parts | {(f"task{t}", *key[1:]): 0.0 for key in parts for t in range(2)}


@given(
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(1, 9),
    st.dictionaries(st.sampled_from([f"model{m}" for m in range(6)]), st.floats(0.0, 1e4)),
)
def test_shares_are_disjoint_and_complete_and_a_trial_is_never_cut(
    models: int, seeds: int, of: int, seconds: dict[str, float]
) -> None:
    whole = cells(models, seeds)
    shares = [shard(whole, number, of, known(seconds)) for number in range(1, of + 1)]
    assert sorted(cell.key for share in shares for cell in share) == sorted(cell.key for cell in whole)
    trials = [{cell.checkpoint_key for cell in share} for share in shares]
    assert sum(map(len, trials)) == len({cell.checkpoint_key for cell in whole})


@given(st.lists(st.floats(1.0, 100.0), min_size=2, max_size=6), st.integers(1, 5))
def test_no_share_is_longer_than_the_mean_by_more_than_one_trial(lengths: list[float], of: int) -> None:
    seconds = {f"model{m}": length for m, length in enumerate(lengths)}
    whole = cells(len(lengths), 4, tasks=1)
    shares = [shard(whole, number, of, known(seconds)) for number in range(1, of + 1)]
    loads = [sum(seconds[cell.baseline] for cell in share) for share in shares]
    assert max(loads) <= sum(loads) / of + max(lengths) + 1e-6


def test_without_costs_each_share_has_as_many_trials_of_each_model() -> None:
    whole = cells(models=3, seeds=8)
    for number in range(1, 5):
        share = shard(whole, number, 4, {})
        assert sorted(cell.baseline for cell in share) == sorted(f"model{m}" for m in range(3) for _ in range(4))


def test_a_long_model_has_a_share_to_itself() -> None:
    whole = cells(models=4, seeds=1)
    seconds = known({"model0": 30.0, "model1": 10.0, "model2": 10.0, "model3": 10.0})
    assert {cell.baseline for cell in shard(whole, 1, 2, seconds)} == {"model0"}


def test_shares_that_outnumber_the_trials_are_empty_and_cost_no_memory() -> None:
    whole = cells(models=2, seeds=2)
    shares = [shard(whole, number, 900_000_000, {}) for number in range(1, 6)]
    assert [len({cell.checkpoint_key for cell in share}) for share in shares] == [1, 1, 1, 1, 0]


def test_costs_are_the_medians_of_records() -> None:
    rows = [record(seed=s, cost={"train_seconds": t, "score_seconds": 1.0}) for s, t in enumerate((1.0, 2.0, 9.0))]
    model = ("vae", "digits", "quick", "float32")
    assert costs(rows) == {("", *model): 2.0, ("reconstruction", *model): 1.0}


@pytest.mark.parametrize("text", ["0/4", "5/4", "3", "a/b", "1/0", "-1/2", f"1/{'9' * 5000}", "\u0661/\u0662"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="is not a share: write 1/16"):
        parse_shard(text)


@pytest.mark.journey
def test_two_shares_run_apart_and_merged_are_the_board_of_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_task(tmp_path / "toys")
    for name in ("Toy", "Other"):
        write_baseline(tmp_path / "toys", name)
    common = ["run", "--path", "toys", "-t", "error", "-b", "toy", "-b", "other", "--seeds", "0-2"]
    common += ["--budget", "smoke", "--executor", "local", "--tracking", "off", "--noise", "one for all"]
    assert main([*common, "-w", "whole"]) == 0
    board = capsys.readouterr().out.split("6 cells")[0]
    for _ in range(2):  # the second time there is nothing to run: a share stays what it is
        for number in (1, 2):
            assert main([*common, "-w", f"part{number}", "--shard", f"{number}/2"]) == 0
    assert len(read_raw(["part1"])) == len(read_raw(["part2"])) == 3
    assert main(["merge", "part1", "part2", "-w", "merged"]) == 0
    capsys.readouterr()
    assert main([*common, "-w", "merged"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(board)
    assert "6 cells: 0 run now" in printed
    assert main([*common, "-w", "part1", "--costs", "whole"]) == 2
    assert "needs --shard" in capsys.readouterr().err
