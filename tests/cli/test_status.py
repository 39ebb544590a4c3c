"""``suite status`` and ``suite clean`` as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from suite.running.workspace import locked
from tests.cli.calling import Run
from tests.factories import record, write_records


@pytest.fixture
def used(tmp_path: Path) -> Path:
    rows = [record(baseline="vae", seed=s) for s in (0, 1)]
    rows += [record(baseline="pca", seed=0, source="b", finished="2026-02-01T00:00:00.000+00:00")]
    rows += [record(baseline="pca", seed=1, source="a", finished="2026-01-01T00:00:00.000+00:00")]
    rows += [record(baseline="acn", status="failed", reason="Diverged: step 1")]
    (tmp_path / ".run-dead").mkdir()
    (tmp_path / ".run-dead" / "log").write_text("x")
    return write_records(tmp_path, rows)


def models(workspace: Path) -> list[str]:
    raws = [json.loads(path.read_text()) for path in (workspace / "records").glob("*.json")]
    return sorted(f"{raw['baseline']} {raw['seed']}" for raw in raws)


def test_status_says_what_runs_and_what_is_there(suite: Run, used: Path) -> None:
    code, out, _ = suite("status", "-w", used, "--format", "json")
    found = json.loads(out)
    assert code == 0
    assert found["running"] is None
    assert [(cell["status"], cell["records"]) for cell in found["records"]] == [("failed", 1), ("ok", 4)]
    assert found["holds"]["records"]["files"] == 5
    assert [Path(name).name for name in found["leftovers"]] == [".run-dead"]
    with locked(used):
        assert "process" in suite("status", "-w", used)[1]
    assert "nothing" in suite("status", "-w", used)[1]


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (["--baseline", "vae"], ["acn 0", "pca 0", "pca 1"]),
        (["--failed"], ["pca 0", "pca 1", "vae 0", "vae 1"]),
        (["--stale"], ["acn 0", "pca 0", "vae 0", "vae 1"]),
        (["--leftovers"], ["acn 0", "pca 0", "pca 1", "vae 0", "vae 1"]),
        (["--stale", "--failed", "-b", "vae"], ["pca 0"]),
    ],
)
def test_clean_removes_what_is_named_and_nothing_else(
    suite: Run, used: Path, options: list[str], left: list[str]
) -> None:
    code, out, _ = suite("clean", "-w", used, *options, "--yes")
    assert code == 0
    assert "removed" in out
    assert models(used) == left
    assert (used / ".run-dead").exists() == ("--leftovers" not in options)


def test_clean_asks_first_and_leaves_all_in_place_at_a_no(
    suite: Run, used: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("typer.confirm", lambda question: False)
    code, out, _ = suite("clean", "-w", used, "--failed")
    assert (code, len(models(used))) == (0, 5)
    assert "failed: 1 records" in out
    assert "nothing was removed" in out


def test_clean_without_a_word_of_what_should_go_is_a_mistake(suite: Run, used: Path) -> None:
    assert suite("clean", "-w", used)[0] == 2
    code, _, err = suite("clean", "-w", used, "-b", "vaee")
    assert code == 2
    assert "did you mean 'vae'?" in err


def test_clean_waits_for_no_run(suite: Run, used: Path) -> None:
    with locked(used):
        code, _, err = suite("clean", "-w", used, "--failed", "--yes")
    assert code == 2
    assert "another run" in err
