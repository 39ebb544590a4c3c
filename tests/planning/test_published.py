"""The identity of every published record, held against this tree: without data, in about a second."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from suite import version
from suite.planning.keys import cell_ingredients, changes, checkpoint_ingredients
from suite.plugins import Source, digest, registry
from suite.training import BUDGET_VERSIONS

RESULTS = Path(__file__).parents[2] / "results"
FILES = sorted([*RESULTS.glob("*/records/*.json"), *RESULTS.glob("next/*/records/*.json")])

Raw = dict[str, Any]


@functools.cache
def resolved(kind: str, selector: str) -> tuple[Source, dict[str, Any]]:
    return registry.resolve(kind, selector)


def of_today(record: Raw) -> Raw:
    """Returns what the key of a record's cell is made of in this tree; the dataset's hash is the record's own."""
    baseline, params = resolved("baseline", record["baseline"])
    task, task_params = resolved("task", record["task"])
    data = record["ingredients"]["checkpoint"]["dataset"]
    cell = (record["seed"], record["budget"], record["precision"])
    return cell_ingredients(checkpoint_ingredients(baseline, params, data, *cell), task, task_params)


def versions(record: Raw) -> Iterator[tuple[str, int, int]]:
    """Yields what has a version -> the record's, and this tree's."""
    made = record["ingredients"]
    yield "engine", made["checkpoint"]["engine"], version.ENGINE_VERSION
    yield f"task {record['task']}", made["task_version"], resolved("task", record["task"])[0].static["version"]
    budget = record["budget"]
    yield f"budget {budget}", made["checkpoint"].get("budget_version", 1), BUDGET_VERSIONS.get(budget, 1)


def faults(record: Raw) -> list[str]:
    """Returns why a record is not of this tree, one line each; one made under a lower version need not be."""
    if digest(record["ingredients"]) != record["key"]:
        return ["its key is not the digest of its ingredients"]
    if digest(record["ingredients"]["checkpoint"]) != record["checkpoint_key"]:
        return ["its checkpoint's key is not the digest of its ingredients"]
    newer = [f"{name}: version {made}, here {here}" for name, made, here in versions(record) if made > here]
    if newer or any(made < here for _, made, here in versions(record)):
        return newer
    return changes(record["ingredients"], of_today(record))


def read(path: Path) -> Raw:
    return json.loads(path.read_text())


def test_every_published_record_is_of_this_tree_or_of_a_lower_version() -> None:
    assert FILES
    found = {path.relative_to(RESULTS).as_posix(): faults(read(path)) for path in FILES}
    table = [f"{name}  {'; '.join(lines)}" for name, lines in found.items() if lines]
    assert not table, "\n".join(["published records that this tree would not make:", *table])


def test_a_published_record_stands_under_its_own_key() -> None:
    assert [path.name for path in FILES if path.stem != read(path)["key"][:32]] == []


@pytest.fixture(scope="module")
def published() -> Raw:
    """Returns a record as this tree would publish it, whatever versions have risen since the last was."""
    record = read(FILES[0])
    return _sealed(record | {"ingredients": of_today(record)})


def _sealed(record: Raw) -> Raw:
    made = record["ingredients"] = json.loads(json.dumps(record["ingredients"]))
    return record | {"key": digest(made), "checkpoint_key": digest(made["checkpoint"])}


def _edited(record: Raw, path: str, value: Any) -> Raw:
    other = copy.deepcopy(record)
    *parents, last = path.split("/")
    functools.reduce(lambda part, name: part[name], parents, other["ingredients"])[last] = value
    return _sealed(other)


def test_a_record_of_this_tree_has_no_fault(published: Raw) -> None:
    assert faults(published) == []


def test_a_source_that_was_edited_under_the_same_version_is_named(published: Raw) -> None:
    name = next(name for name in published["ingredients"]["task"] if name != "class")
    assert faults(_edited(published, f"task/{name}", "0" * 32)) == [f"task source changed ({name})"]


@pytest.mark.parametrize("path", ["task_version", "checkpoint/engine", "checkpoint/budget_version"])
def test_a_lower_version_frees_a_record_and_a_higher_one_is_named(published: Raw, path: str) -> None:
    other = _edited(published, "checkpoint/baseline/class", "Older")
    assert faults(other) == ["baseline class changed"]
    assert faults(_edited(other, path, 0)) == []
    (fault,) = faults(_edited(other, path, 99))
    assert "version 99, here" in fault


def test_a_key_that_is_not_of_its_ingredients_is_told(published: Raw) -> None:
    assert faults(published | {"key": "0" * 64}) == ["its key is not the digest of its ingredients"]
    assert faults(published | {"checkpoint_key": "0" * 64}) == [
        "its checkpoint's key is not the digest of its ingredients"
    ]
