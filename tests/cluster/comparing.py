"""What a run over a cluster has left, held against its records, against a run without Ray, and against its secrets."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

from suite import records as store
from suite.records import Record
from suite.tracking import mirror
from suite.tracking.store import client


def mirrored(uri: str, records: Sequence[Record]) -> list[str]:
    """Returns in what an MLflow server differs from the records, a line each: runs, numbers, records as files."""
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    mlflow = client(uri)
    experiments = [e.experiment_id for e in mlflow.search_experiments() if e.name != "Default"]
    shown = list(mlflow.search_runs(experiments, max_results=1000))
    runs = {run.info.run_name: run for run in shown}
    trials = {mirror.run_name(record) for record in records}
    found = [f"MLflow has a run too many or too few: {name}" for name in sorted(set(runs) ^ trials)]
    found += ["MLflow has several runs of a trial"] if len(shown) != len(runs) else []
    for name in sorted(trials & set(runs)):
        own = [record for record in records if mirror.run_name(record) == name]
        found += [f"{name}: {fault}" for fault in _run(mlflow, runs[name], own)]
    return found


def _run(mlflow: Any, run: Any, records: Sequence[Record]) -> Iterable[str]:
    """Yields in what a run differs from the records of its trial."""
    expected = {name: value for record in records for name, value, _, _ in mirror.points(record, {})}
    shown = {name: value for name, value in run.data.metrics.items() if not name.startswith("curve/")}
    if shown != expected:
        yield f"other numbers: {sorted(set(shown.items()) ^ set(expected.items()))[:4]}"
    if run.info.status != "FINISHED":
        yield f"is {run.info.status}"
    with tempfile.TemporaryDirectory() as folder:
        for record in records:
            path = mlflow.download_artifacts(run.info.run_id, f"records/{mirror.label(record)}.json", folder)
            if json.loads(Path(path).read_text()) != json.loads(json.dumps(asdict(record))):
                yield f"its artifact is not the record of {record.task}"


def numbers(records: Iterable[Record]) -> dict[tuple[str, int, str], dict[str, Any]]:
    """Returns what records say that does not depend on when and where they were made."""
    return {
        (record.baseline, record.seed, record.task): {
            "key": record.key,
            "status": record.status,
            "metrics": record.metrics,
        }
        for record in records
    }


def board(workspace: Path) -> str:
    """Returns the board of a workspace as text, without what models cost in seconds."""
    from suite.boards import board, load_records
    from suite.pages import find_anchors, render

    found = board(load_records(workspace))
    return render(found, anchors=find_anchors(set(found["task"]), ()), width=200, costs=False, notes=True)


def read(workspace: Path) -> list[Record]:
    """Returns the records of a workspace."""
    return store.read_all(workspace)


def leaks(folder: Path, secrets: Iterable[str]) -> list[str]:
    """Returns the files below a folder that hold a secret, as it is or as it stands in a URI."""
    forms = {form.encode() for secret in secrets for form in (secret, quote(secret, safe=""))}
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            found += [str(path.relative_to(folder))] if any(form in content for form in forms) else []
    return found


def told_arguments(secrets: Iterable[str]) -> list[str]:
    """Returns the command lines of running processes that hold a secret: everybody on a machine can read them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        found += [line] if any(secret in line for secret in secrets) else []
    return found
