"""Runs in MLflow are exactly the records, whoever writes them and how often; and tracking never costs a score."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite import tracking
from suite.errors import UserError
from suite.records.record import Record
from suite.records.store import pictures_path, write
from suite.records.values import values_path
from suite.tracking import mirror


def make(task: str = "probe", seed: int = 0, *, version: int = 1, status: str = "ok", **fields: Any) -> Record:
    """A record of trial ``seed``, its values a function of task, seed and version."""
    metric = {"value": seed + len(task) / 100 + version / 7, "unit": "", "direction": "higher", "se": 0.25, "n": 400}
    return Record(
        **{
            "key": f"{task}-{seed}-{version}".encode().hex().ljust(64, "0"),
            "checkpoint_key": f"{seed:064x}",
            "status": status,
            "task": task,
            "task_version": version,
            "baseline": "vae",
            "baseline_params": {"latents": 20},
            "family": "vae",
            "dataset": "digits",
            "seed": seed,
            "budget": "quick",
            "metrics": {"accuracy": metric, "rate/z": {**metric, "se": None}} if status == "ok" else {},
            "env": {"commit": "abc", "dirty": True},
            "started": "2030-01-01T00:00:00.000+00:00",
            "finished": f"2030-01-01T00:00:{10 + version:02d}.000+00:00",
            **fields,
        }
    )


def expected(*records: Record) -> list[tuple[str, str, float]]:
    """(checkpoint key, metric, value) of each record, read off the record by hand."""
    rows = []
    for r in records:
        for name, metric in r.metrics.items():
            rows.append((r.checkpoint_key, f"{r.task}/{name}", metric["value"]))
            if metric["se"] is not None:
                rows.append((r.checkpoint_key, f"se/{r.task}/{name}", metric["se"]))
    return sorted(rows)


QUERY = """SELECT t.value, m.key, m.value FROM metrics m JOIN runs r USING (run_uuid) JOIN tags t USING (run_uuid)
           WHERE r.lifecycle_stage = 'active' AND t.key = 'suite.checkpoint_key'"""


def stored(workspace: Path) -> list[tuple[str, str, float]]:
    """Every point of every metric of every run, straight from the database."""
    return sorted(select(workspace, QUERY))


def select(workspace: Path, query: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(workspace / "mlflow.db")
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def runs(workspace: Path) -> list[tuple[str, str]]:
    return select(workspace, "SELECT name, status FROM runs WHERE lifecycle_stage = 'active' ORDER BY name")


def tags(workspace: Path) -> dict[str, str]:
    query = "SELECT t.key, t.value FROM tags t JOIN runs r USING (run_uuid) WHERE r.lifecycle_stage = 'active'"
    return dict(select(workspace, query))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store, made once: its migrations take seconds."""
    folder = tmp_path_factory.mktemp("store")
    tracking.sync(folder)
    return folder / "mlflow.db"


@pytest.fixture
def workspace(tmp_path: Path, empty_store: Path) -> Path:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return tmp_path


def log(workspace: Path, *records: Record) -> int:
    """What a driver does: write, mirror, close."""
    tracker = tracking.Tracker(None, workspace)
    for record in records:
        write(workspace, record)
        tracker.log(record)
    return tracker.close(60)


DRIVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.tracking.test_tracker import make, write
from suite.tracking import Tracker
number, folder, uri = int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
tracker = Tracker(uri, folder)
for record in [make(f"task{number}", seed) for seed in range(4)] + [make("shared", seed) for seed in range(4)]:
    write(folder, record)
    tracker.log(record)
sys.exit(tracker.close(120))
"""


@pytest.mark.journey
def test_five_drivers_at_once_on_a_store_that_does_not_exist_and_two_syncs_leave_exactly_the_records(tmp_path):
    store = tmp_path / "store"
    uri = f"sqlite:///{store / 'mlflow.db'}"
    arguments = [sys.executable, "-c", DRIVER, str(Path(__file__).parents[2])]
    drivers = [subprocess.Popen([*arguments, str(n), str(tmp_path / str(n)), uri]) for n in range(5)]
    assert [driver.wait(120) for driver in drivers] == [0] * 5, "a driver missed records"
    # Five drivers shared the four trials: one run each, with the six tasks' metrics once.
    records = [make(f"task{n}", seed) for n in range(5) for seed in range(4)]
    records += [make("shared", seed) for seed in range(4)]
    for _ in range(3):
        assert stored(store) == expected(*records)
        assert runs(store) == [(f"vae seed {seed}", "FINISHED") for seed in range(4)]
        assert [tracking.sync(tmp_path / str(n), uri).written for n in range(5)] == [0] * 5


def test_sync_mirrors_what_a_driver_missed(workspace):
    records = [make(task, seed) for task in ("probe", "nats") for seed in range(3)]
    assert log(workspace, records[0]) == 0
    for record in records:
        write(workspace, record)
    done = tracking.sync(workspace)
    assert (done.trials, done.written) == (3, 5)
    assert stored(workspace) == expected(*records)
    assert tracking.sync(workspace).written == 0
    assert stored(workspace) == expected(*records)


def test_a_failed_cell_marks_its_run_and_a_later_success_clears_it(workspace):
    log(workspace, make("probe"), make("nats", status="failed", reason="Diverged: step 3"))
    assert runs(workspace) == [("vae seed 0", "FAILED")]
    assert tags(workspace)["suite.reason.nats"] == "Diverged: step 3"
    log(workspace, make("nats"))
    assert runs(workspace) == [("vae seed 0", "FINISHED")]
    assert stored(workspace) == expected(make("probe"), make("nats"))


def test_a_new_version_of_a_task_takes_the_place_of_the_old_numbers(workspace):
    log(workspace, make("probe"), make("nats"))
    log(workspace, make("probe", version=2))
    assert stored(workspace) == expected(make("probe", version=2), make("nats"))
    assert tracking.sync(workspace).written == 0, "the older record of the same cell must not come back"
    assert tags(workspace)["suite.version.probe"] == "2"


def test_a_run_that_the_server_never_heard_the_end_of_is_ended(workspace):
    log(workspace, make("probe"), make("probe", seed=1, status="failed"))
    connection = sqlite3.connect(workspace / "mlflow.db")
    with connection:
        connection.execute("UPDATE runs SET status = 'RUNNING', end_time = NULL")
    connection.close()
    assert tracking.sync(workspace).written == 0
    assert runs(workspace) == [("vae seed 0", "FINISHED"), ("vae seed 1", "FAILED")]
    assert stored(workspace) == expected(make("probe"))


def test_a_cell_that_succeeds_after_the_clock_was_set_back_clears_its_failure(workspace):
    log(workspace, make("nats", status="failed", reason="Diverged: step 3"))
    early = make("nats", started="2029-01-01T00:00:00.000+00:00", finished="2029-01-01T00:00:01.000+00:00")
    log(workspace, early)
    assert runs(workspace) == [("vae seed 0", "FINISHED")]
    assert stored(workspace) == expected(early)


def test_an_answer_of_another_driver_does_not_give_way_to_a_failure(workspace):
    log(workspace, make("nats"))
    tracker = tracking.Tracker(None, workspace)
    tracker.log(make("nats", status="failed", finished="2031-01-01T00:00:00.000+00:00"))
    assert tracker.close(60) == 0
    assert runs(workspace) == [("vae seed 0", "FINISHED")]


def test_the_end_of_a_run_mends_what_a_killed_driver_left_out(workspace):
    left = [make("probe", seed) for seed in range(3)]
    for record in left:
        write(workspace, record)
    log(workspace, make("nats", 1))
    tracker = tracking.Tracker(None, workspace)
    tracker.compare([*left, make("nats", 1)])
    tracker.log(make("nats", 2))
    assert (tracker.close(60), tracker.mended) == (0, 3)
    assert stored(workspace) == expected(*left, make("nats", 1), make("nats", 2))
    assert len(runs(workspace)) == 3


def test_a_run_bears_params_tags_curves_pictures_and_the_record(workspace):
    record = make("probe:k=5", pictures=["reconstruction.png"], values=True)
    folder = pictures_path(workspace, record.key)
    folder.mkdir(parents=True)
    (folder / "reconstruction.png").write_bytes(b"picture")
    values_path(workspace, record.key).parent.mkdir()
    curve = np.array([[0, 3.0], [10, 2.0], [20, 1.5]])
    np.savez(values_path(workspace, record.key), **{"curve/loss": curve, "accuracy": np.ones(9)})
    log(workspace, record)
    curves = select(workspace, "SELECT step, value FROM metrics WHERE key = 'curve/loss' ORDER BY step")
    assert curves == [(0, 3.0), (10, 2.0), (20, 1.5)]
    params = dict(select(workspace, "SELECT key, value FROM params"))  # type: ignore[arg-type]
    assert params["baseline"] == "vae"
    assert params["params/latents"] == "20"
    assert tags(workspace)["suite.key.probe_k_5"] == record.key
    assert tags(workspace)["suite.commit"] == "abc-dirty"
    artifacts = {p.name: p for p in (workspace / "artifacts" / "digits" / "quick").rglob("*") if p.is_file()}
    assert artifacts["reconstruction.png"].read_bytes() == b"picture"
    assert json.loads(artifacts["probe_k_5.json"].read_text())["key"] == record.key


def test_a_server_that_is_away_costs_no_time_and_no_score(workspace, caplog):
    tracker = tracking.Tracker("http://127.0.0.1:9", workspace)
    start = time.monotonic()
    for seed in range(3):
        write(workspace, make(seed=seed))
        tracker.log(make(seed=seed))
    assert time.monotonic() - start < 0.5
    assert tracker.close(30) == 3
    assert len([r for r in caplog.records if r.name == "suite.tracking.tracker"]) == 1, "one warning, not one a record"
    tracking.sync(workspace)
    assert stored(workspace) == expected(*(make(seed=seed) for seed in range(3)))


def test_a_record_that_mlflow_refuses_does_not_hold_up_the_others(workspace, monkeypatch):
    points = mirror.points

    def refused(record, curves):
        yield from points(record, curves)
        if record.seed == 1:
            yield "a[1]", 1.0, mirror.milliseconds(record.finished), 0  # MLflow has no such name

    monkeypatch.setattr(mirror, "points", refused)
    assert log(workspace, make(seed=0), make(seed=1), make(seed=2)) == 1
    with pytest.raises(UserError, match="1 of 3 trials not mirrored"):
        tracking.sync(workspace)
    assert stored(workspace) == expected(make(seed=0), make(seed=2))


def test_sync_to_a_server_that_is_away_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"tracking store http://127.0.0.1:9: [^\n]+$"):
        tracking.sync(tmp_path, "http://127.0.0.1:9")


def test_tracking_that_is_off_leaves_no_file(tmp_path):
    tracker = tracking.Tracker("off", tmp_path)
    tracker.log(make())
    assert tracker.close() == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("uri", ["mlruns", "file:///tmp/mlruns"])
def test_a_plain_folder_is_refused_with_what_to_write_instead(uri, tmp_path):
    with pytest.raises(UserError, match="sqlite:///PATH"):
        tracking.Tracker(uri, tmp_path)


def test_the_environment_names_the_store_unless_an_option_does(monkeypatch, tmp_path):
    assert tracking.resolve_uri(None, tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://there:5000")
    assert tracking.resolve_uri(None, tmp_path) == "http://there:5000"
    assert tracking.resolve_uri("off", tmp_path) == "off"


def test_an_experiment_is_of_the_training_kind_with_a_description_and_a_view(workspace):
    write(workspace, make(primary="accuracy"))
    tracking.sync(workspace)
    tags = dict(select(workspace, "SELECT key, value FROM experiment_tags"))
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    assert "digits" in tags["mlflow.note.content"]
    assert json.loads(tags["mlflow.sharedViewState.suite"])["selectedColumns"] == [
        "params.`baseline`",
        "params.`seed`",
        "metrics.`probe/accuracy`",
    ]


def test_a_server_that_stops_between_two_questions_ends_a_sync_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*arguments: object, **options: object) -> None:
        raise ConnectionError("the server has gone \x1b[31maway\nand more")

    write(tmp_path, make())
    monkeypatch.setattr("mlflow.MlflowClient.search_runs", away)
    with pytest.raises(UserError) as told:
        tracking.sync(tmp_path)
    assert str(told.value).endswith("the server has gone \N{REPLACEMENT CHARACTER}[31maway")
