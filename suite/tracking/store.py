"""The only file that imports MLflow: one tracking store, and what is written there, found there and mended there."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.tracking import mirror
from suite.tracking.addresses import database

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from suite.records import Record

#: Set before MLflow is imported: no telemetry, no printing, and a server that is away is given up soon.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "GIT_PYTHON_REFRESH": "quiet",
}

#: Runs in one page of a search.
PAGE = 1_000

#: Metrics in one call; MLflow takes 1,000 entities.
BATCH = 800


def set_environment() -> None:
    """Sets what MLflow reads from the environment, where nobody else has."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def client(uri: str) -> MlflowClient:
    """Returns MLflow's client of a store, quiet."""
    set_environment()
    from mlflow import MlflowClient

    warnings.filterwarnings("ignore", module=r"alembic\.")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return MlflowClient(tracking_uri=uri)


class Store:
    """One tracking store. Whatever several drivers could do at once there is done under a file lock.

    Creating a SQLite store from several processes corrupts it, and two drivers that look for the same run and
    find none would both make it; SQLite serialises writers anyway, so the lock costs nothing. Drivers that
    share a server but no file can still make a run twice: the search drops all but the oldest.
    """

    def __init__(self, uri: str, workspace: Path) -> None:
        self._workspace = workspace
        self._database = database(uri)
        home = self._database or workspace.absolute() / "tracking"
        self._home = home.parent
        self._home.mkdir(parents=True, exist_ok=True)
        self._lock = home.with_name(home.name + ".lock")
        self._remote = uri.startswith("http")
        self._experiments: dict[str, str] = {}
        with self._locked():
            self._client = client(uri)  # makes a SQLite store that does not exist
            self.ping()
        if self._database and (beside := Path(uri.removeprefix("sqlite:///")).parent) != self._home:
            with contextlib.suppress(OSError):
                os.removedirs(beside)  # MLflow makes the folder as the URI escapes it, and leaves it empty

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with self._lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def ping(self) -> None:
        """Raises unless the store answers."""
        self._client.search_experiments(max_results=1)

    def answers(self) -> bool:
        """Whether the store is there at all, so that a failure was the record's."""
        with contextlib.suppress(Exception):
            self.ping()
            return True
        return False

    def mirror(self, records: Sequence[Record]) -> int:
        """Brings one trial's run up to date with its records; returns how many it lacked."""
        with self._locked():
            latest = mirror.newest(records)
            run = self._find(records[0])
            marks = run.data.tags if run else {}
            if any(mirror.is_superseded(r, marks.get(mirror.mark_tag(r))) for r in latest.values()):
                latest = mirror.newest([*self._kept(mirror.trial_key(records[0])), *records])
                self._client.delete_run(run.info.run_id)  # type: ignore[union-attr]
                run, marks = None, {}
            lacking = [r for r in latest.values() if not mirror.is_mirrored(r, marks.get(mirror.mark_tag(r)))]
            if lacking:
                run = run or self._create(records[0])
                for record in lacking:
                    self._write(run.info.run_id, record)
                self._describe(lacking)
            if run and (lacking or run.info.status != mirror.ended(marks)):
                self._finish(run.info.run_id, marks, lacking or list(latest.values()))
            return len(lacking)

    def unlike(self, trials: Sequence[list[Record]]) -> list[list[Record]]:
        """Returns the trials whose runs are missing, or do not show what the records say: one search an experiment."""
        by_experiment: dict[str, list[list[Record]]] = {}
        for trial in trials:
            by_experiment.setdefault(mirror.experiment(trial[0]), []).append(trial)
        found = []
        for name, group in by_experiment.items():
            with self._locked():
                runs = self._all_runs(self._experiment(name))
            for trial in group:
                shown = runs.get(mirror.trial_key(trial[0]), [])
                if len(shown) != 1 or not mirror.is_shown(trial, shown[0].data.tags, shown[0].info.status):
                    found.append(trial)
        return found

    def _all_runs(self, experiment: str) -> dict[str, list[Run]]:
        """Returns checkpoint key -> its runs, of all trials of an experiment."""
        runs: dict[str, list[Run]] = {}
        token = None
        while True:
            page = self._client.search_runs([experiment], max_results=PAGE, page_token=token)
            for run in page:
                runs.setdefault(run.data.tags.get("suite.checkpoint_key", ""), []).append(run)
            token = page.token
            if not token:
                return runs

    def _kept(self, trial_key: str) -> list[Record]:
        from suite.records import read_all

        return [record for record in read_all(self._workspace) if mirror.trial_key(record) == trial_key]

    def _experiment(self, name: str) -> str:
        if name not in self._experiments:
            self._experiments[name] = self._find_experiment(name)
        return self._experiments[name]

    def _find_experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(name)
        if found is None:
            # MLflow's default is a folder below the current directory, wherever that is.
            location = None if self._remote else (self._home / "artifacts" / name).as_uri()
            try:
                return str(self._client.create_experiment(name, artifact_location=location))
            except MlflowException as error:
                found = self._client.get_experiment_by_name(name)
                if error.error_code != "RESOURCE_ALREADY_EXISTS" or found is None:
                    raise
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _describe(self, records: Sequence[Record]) -> None:
        """Says what the experiment is, and adds the records' ranked metrics to the columns of its view."""
        number = self._experiment(mirror.experiment(records[0]))
        tags = self._client.get_experiment(number).tags
        view = mirror.view(records, tags.get(mirror.VIEW_TAG, ""))
        for name, value in (mirror.experiment_tags(records[0]) | {mirror.VIEW_TAG: view}).items():
            if tags.get(name) != value:
                self._client.set_experiment_tag(number, name, value)

    def _find(self, record: Record) -> Run | None:
        """Returns the trial's run, or None; of several the oldest stays."""
        found = self._client.search_runs(
            [self._experiment(mirror.experiment(record))],
            f"tags.`suite.checkpoint_key` = '{mirror.trial_key(record)}'",
        )
        runs = sorted(found, key=lambda run: (run.info.start_time, run.info.run_id))
        for duplicate in runs[1:]:
            self._client.delete_run(duplicate.info.run_id)
        return runs[0] if runs else None

    def _create(self, record: Record) -> Run:
        return self._client.create_run(
            self._experiment(mirror.experiment(record)),
            start_time=mirror.milliseconds(record.started),
            run_name=mirror.run_name(record),
            tags=mirror.trial_tags(record),
        )

    def _write(self, run_id: str, record: Record) -> None:
        from mlflow.entities import Metric, Param, RunTag

        from suite.records import pictures_path

        name = mirror.label(record)
        self._client.log_dict(run_id, asdict(record), f"records/{name}.json")
        for picture in mirror.pictures(record, pictures_path(self._workspace, record.key)):
            self._client.log_artifact(run_id, str(picture), f"pictures/{name}")
        metrics = [Metric(*point) for point in mirror.points(record, self._curves(record))]
        params = [Param(*item) for item in mirror.params(record).items()]
        tags = [RunTag(*item) for item in mirror.record_tags(record).items()]
        while len(metrics) > BATCH:
            self._client.log_batch(run_id, metrics[:BATCH])
            metrics = metrics[BATCH:]
        # A batch writes its tags last, and the mark is the last tag: a kill in between is mended by writing again.
        self._client.log_batch(run_id, metrics, params, tags)

    def _curves(self, record: Record) -> dict[str, Any]:
        from suite.records import load_values

        if not record.values:
            return {}
        values = load_values(self._workspace, record.key)
        return {name.removeprefix("curve/"): value for name, value in values.items() if name.startswith("curve/")}

    def _finish(self, run_id: str, marks: dict[str, str], lacking: Sequence[Record]) -> None:
        after = marks | {mirror.mark_tag(record): mirror.stamp(record) for record in lacking}
        end = max(mirror.milliseconds(record.finished) for record in lacking)
        self._client.set_terminated(run_id, mirror.ended(after), end_time=end)
