"""``suite tune`` as a user meets it: the table of trials, what is chosen, its row, exit codes."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from suite import training
from suite.cli.app import main
from tests.cli.calling import run as call
from tests.toys import write_task
from tests.tuning.test_tune import LEARNER

OPTIONS = ("--path", "toys", "--objective", "error", "-t", "error", "--seeds", "0", "--budget", "smoke")
LOCAL = ("--executor", "local", "--tracking", "off", "--trust", "--trials", "4")


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(training.BUDGETS, "smoke", 6 * 1_200)
    write_task(tmp_path / "toys")
    (tmp_path / "toys" / "learner.py").write_text(LEARNER.format(loss="pass"))
    return tmp_path / "toys"


def test_a_search_shows_its_trials_and_runs_what_it_chose_beside_the_declared_model(
    toys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = functools.partial(call, capsys)
    plain = [option for option in OPTIONS if option not in ("--objective", "error")]
    assert run("run", "-b", "learner", "-t", "error", *plain[:2], *plain[-4:], *LOCAL[:-2])[0] == 0
    code, out, _ = run("tune", "-b", "learner", *OPTIONS, *LOCAL)
    assert code == 0
    assert "learner: error on validation images" in out
    lines = out.splitlines()
    assert sum(line.split()[-1:] == ["chosen"] for line in lines) == 1
    assert "as declared" in out
    assert any(line.startswith("4 trials: ") and "training images" in line for line in lines)
    (chosen,) = [line.removeprefix("chosen: ") for line in lines if line.startswith("chosen: ")]
    assert "tuned=4" in chosen
    assert "trained without labels, tuned (4 trials each)" in out
    board = out[out.index("trained without labels") :]
    assert sum(line.startswith("learner") for line in board.splitlines()) == 2  # the declared one, and the chosen one
    again = run("tune", "-b", "learner", *OPTIONS, *LOCAL)[1]
    assert [line for line in again.splitlines() if line.startswith("chosen")] == [f"chosen: {chosen}"]
    assert "1 cells: 0 run now, 1 before" in again


def test_a_search_alone_runs_nothing_of_what_it_chose(toys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "tune", "-b", "learner", *OPTIONS, *LOCAL, "--search-only")[0] == 0
    assert not (toys.parent / "runs" / "records").exists()


def test_a_search_of_which_no_trial_ends_well_chooses_nothing(toys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (toys / "learner.py").write_text(LEARNER.format(loss="raise ValueError('no')"))
    code, out, err = call(capsys, "tune", "-b", "learner", *OPTIONS, *LOCAL)
    assert code == 1
    assert "no trial of learner ended well: nothing is chosen" in err
    assert "failed: ValueError: no" in out
    assert not (toys.parent / "runs" / "records").exists()


def test_a_search_that_is_stopped_says_that_the_same_command_goes_on(
    toys: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as late:
        late.setattr("suite.running.wave.run_trials", stopped)
        code, _, err = call(capsys, "tune", "-b", "learner", *OPTIONS, *LOCAL)
    assert code == 130
    assert "stopped: what is known of the trials is kept; the same command goes on" in err
    assert call(capsys, "tune", "-b", "learner", *OPTIONS, *LOCAL, "--search-only")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("-b", "pca"), "pca declares no space"),
        (("-b", "learner", "--trials", "0"), "--trials must be above 0, not 0"),
        (("-b", "learner", "--seed", "-1"), "a seed is a whole number"),
        (("-b", "learner", "-d", "digits", "-d", "mnist"), "a search is on one dataset"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_two(
    toys: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], told: str
) -> None:
    code = main(["tune", "--path", "toys", *arguments])
    err = capsys.readouterr().err
    assert code == 2
    assert err.count("\n") == 1
    assert told in err
