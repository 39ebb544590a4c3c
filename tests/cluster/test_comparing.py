"""What the demonstration finds: a difference between MLflow and the records, another number, a secret."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from suite import tracking
from suite.records import Record
from suite.records.store import write
from tests.cluster import comparing
from tests.tracking.test_tracker import make


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[Record]]:
    workspace = tmp_path_factory.mktemp("mirrored")
    write(workspace, make())
    tracking.sync(workspace)
    return f"sqlite:///{workspace}/mlflow.db", comparing.read(workspace)


def test_a_store_that_mirrors_the_records_differs_in_nothing(mirrored: tuple[str, list[Record]]) -> None:
    assert comparing.mirrored(*mirrored) == []


def test_a_number_that_is_not_the_record_s_is_told_twice(mirrored: tuple[str, list[Record]]) -> None:
    uri, (record,) = mirrored
    metrics = {name: {**metric, "value": 1e-9 + (metric["value"] or 0)} for name, metric in record.metrics.items()}
    faults = comparing.mirrored(uri, [dataclasses.replace(record, metrics=metrics)])
    assert ["other numbers" in faults[0], "is not the record" in faults[1]] == [True, True]


def test_a_run_too_many_and_one_too_few_are_told(mirrored: tuple[str, list[Record]]) -> None:
    uri, (record,) = mirrored
    faults = comparing.mirrored(uri, [dataclasses.replace(record, seed=record.seed + 1)])
    assert len(faults) == 2
    assert all("too many or too few" in fault for fault in faults)


def test_records_that_differ_in_when_and_where_they_were_made_have_the_same_numbers() -> None:
    record = make()
    elsewhere = dataclasses.replace(record, env={"host": "far"}, finished="2030-01-01T00:00:00+00:00", cost={})
    assert comparing.numbers([record]) == comparing.numbers([elsewhere])
    assert comparing.numbers([record]) != comparing.numbers([dataclasses.replace(record, status="failed")])


@pytest.mark.parametrize("written", ["p@ss:w/rd", "p%40ss%3Aw%2Frd"])
def test_a_secret_in_a_file_is_found_however_it_is_written(tmp_path: Path, written: str) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "log").write_text(f"connects to x:{written}@db")
    (tmp_path / "other").write_text("nothing")
    assert comparing.leaks(tmp_path, ["p@ss:w/rd"]) == ["deep/log"]


def test_a_secret_among_arguments_is_found() -> None:
    secret = "only-here-3f9d"
    wait = "import sys; print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", wait, secret]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        assert len(comparing.told_arguments([secret])) == 1
        process.communicate()
    assert comparing.told_arguments([secret]) == []
