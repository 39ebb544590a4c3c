"""What a run again disagrees in with a submission's record: its state, its marks, its numbers and how sure they are."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from suite.errors import UserError
from suite.measuring import tolerated
from suite.submitting import Verdict, admitting, claims, folder, verdict, verifying
from suite.submitting.folder import Submission
from tests.factories import record


def told(claimed: dict[str, Any], second: dict[str, Any]) -> list[str]:
    return verifying._differences(claimed, second, {})


def surer(**changes: Any) -> dict[str, Any]:
    raw = record()
    raw["metrics"]["nats"] |= changes
    return raw


def test_a_record_agrees_with_itself_and_with_another_noise() -> None:
    assert told(record(), record()) == []
    assert told(record(se=0.1), record(value=100.1, se=0.12)) == []
    assert told(record(se=0.0), record(se=1e-9)) == []
    # What coding takes may depend on the images: an iterative encoder, a last block that is filled up.
    assert told(record(cost={"flops_per_image": 100}), record(cost={"flops_per_image": 110})) == []


@pytest.mark.parametrize(
    ("claimed", "second", "reason"),
    [
        (record(), record(flags=["own training: 15.1 times"]), "flagged 'own training: 15.1 times'"),
        (record(), record(status="failed", reason="no"), "it ended as failed (no)"),
        (record(status="unsupported", reason="no latents"), record(), "it ended as ok"),
        (record(value=90.0), record(), "nats is claimed to be 90 and was 100"),
        (surer(se=0.0), record(), "the standard error of nats is claimed to be 0.0 and was 0.1"),
        (surer(se=None), record(), "the standard error of nats is claimed to be None"),
        (surer(n=4_000), record(), "nats is claimed to rest on 4000 images and does on 400"),
        (record(values=False), record(values=True), "it has no per-image values"),
        (record(cost={"parameters": 7}), record(cost={"parameters": 8}), "parameters is claimed to be 7 and was 8"),
        (
            record(cost={"flops_per_image": 100}),
            record(cost={"flops_per_image": 130}),
            "flops_per_image is claimed to be 100 and was 130",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_differs_has_a_sentence(claimed: dict[str, Any], second: dict[str, Any], reason: str) -> None:
    assert any(reason in line for line in told(claimed, second)), told(claimed, second)


def test_on_another_processor_the_spread_between_seeds_is_tolerated_beside() -> None:
    rows = [record(seed=seed, value=value) for seed, value in enumerate((100.0, 104.0, 108.0))]
    rows.append(record(baseline="other", value=500.0))
    submission = cast(Submission, SimpleNamespace(records={raw["key"]: raw for raw in rows}))
    spread = verifying._spread(submission, rows[0])
    assert spread == {"nats": pytest.approx(4.0)}
    least, beside = tolerated("nats", 110.0, 0.1), 4 * 4.0
    assert verifying._differences(rows[0], record(value=100 + least + beside - 0.1), spread) == []
    (reason,) = verifying._differences(rows[0], record(value=100 + least + beside + 1), spread)
    assert "is tolerated" in reason
    two = cast(Submission, SimpleNamespace(records={raw["key"]: raw for raw in rows[:2]}))
    assert verifying._spread(two, rows[0]) == {}


@pytest.mark.parametrize(("name", "other"), [("cpu", "another"), ("threads", 2), ("device", "cuda")])
def test_what_was_trained_on_the_same_machine_is_held_to_the_last_digit(name: str, other: object) -> None:
    here = record()
    assert not verifying._trained_elsewhere(here, record())
    assert verifying._trained_elsewhere(here, record(env={**here["env"], name: other}))


def test_another_processor_is_believed_only_where_every_cell_runs_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both it and the seeds that tell how far it may lead are claims: a submitter could choose what is tolerated."""
    rows = [record(seed=seed, value=value) for seed, value in enumerate((100.0, 140.0, 180.0))]
    submission = cast(Submission, SimpleNamespace(records={raw["key"]: raw for raw in rows}))
    again = record(value=130.0) | {"key": rows[0]["key"]}
    again["env"] = again["env"] | {"cpu": "another"}
    monkeypatch.setattr(verifying.records, "read_keys", lambda *_: {again["key"]: again})

    def reasons(every: bool) -> list[str]:
        found = Verdict()
        verifying._compare(submission, rows[:1], found, "", every)
        return found.reasons

    assert reasons(every=True) == []
    told = " ".join(reasons(every=False))
    assert "nats is claimed to be 100 and was 130" in told
    assert "run every cell again with --cells 0" in told


def test_what_is_run_again_lies_side_by_side_so_that_seeds_of_the_same_weights_show(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = [record(seed=seed) for seed in range(3)]
    for row in rows:
        row["checkpoint_key"] = row["key"]
    submission = cast(Submission, SimpleNamespace(records={raw["key"]: raw for raw in rows}))
    places: list[str] = []
    monkeypatch.setattr(verifying, "_run", lambda *args: places.append(args[4]))
    monkeypatch.setattr(verifying, "_compare", lambda *_: None)
    verifying._try(submission, verifying.Options(cells=0, check=False), Verdict(), tmp_path / "own", lambda _: None)
    assert len(places) == 3 and len(set(places)) == 1


@pytest.mark.parametrize(
    ("guests", "contained"),
    [
        ([{"kind": "contained", "filter": True}], True),
        ([{"kind": "contained", "filter": True}, {"kind": "processes", "filter": True}], False),
        ([{"kind": "contained", "filter": False}], False),
        ([None], False),
    ],
)
def test_a_verdict_on_a_model_without_walls_says_so(guests: list[Any], contained: bool) -> None:
    assert all(map(verifying._had_walls, guests)) is contained
    assert verdict.told({"standing": "verified", "contained": contained}) == (
        "verified" if contained else "verified, not contained"
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({}, ""),
        ({"se": 0.0}, "the standard error of its nats is not that of its per-image values"),
        ({"n": 3}, "its nats is said to rest on 3 images, and has values of 400"),
        ({"value": 90.0}, "the mean of its per-image values is not its nats"),
    ],
)
def test_a_score_is_as_sure_as_its_values(monkeypatch: pytest.MonkeyPatch, change: Any, sentence: str) -> None:
    values = np.random.default_rng(0).normal(100.0, 2.0, 400)
    raw = record(values=True)
    raw["metrics"]["nats"] |= {"value": float(values.mean()), "se": float(values.std()) / 20, "n": 400} | change
    monkeypatch.setattr(claims.records, "load_values", lambda *_: {"nats": values})
    assert list(claims._values(Path(), raw)) == [sentence] * bool(sentence)


def test_a_mark_that_the_record_has_too_is_no_difference_whatever_its_number() -> None:
    flags = (["own training: 15.1 times"], ["own training: 15.2 times"])
    assert told(*(record(flags=own) for own in flags)) == []


def test_a_cell_without_a_score_is_run_again_too() -> None:
    rows = [record(task=task, status="unsupported") for task in ("reconstruction", "linear_probe")]
    submission = cast(Submission, SimpleNamespace(records={raw["key"]: raw for raw in rows}))
    assert sum(len(trial) for trial in verifying._sample(submission, 0)) == 2


def test_each_kind_of_cell_is_in_the_sample_however_few_are_asked_for() -> None:
    rows = [record(task=task, seed=seed) for task in ("reconstruction", "linear_probe") for seed in range(50)]
    rows += [record(budget="standard", seed=0), record(task="input_optimization", status="unsupported", seed=0)]
    submission = cast(Submission, SimpleNamespace(records={raw["key"]: raw for raw in rows}))
    for cells, expected in ((1, 4), (4, 4), (9, 9), (0, len(rows)), (1_000, len(rows))):
        picked = [raw for trial in verifying._sample(submission, cells) for raw in trial]
        assert len(picked) == len({raw["key"] for raw in picked}) == expected
        assert {(raw["task"], raw["budget"]) for raw in picked} == {(raw["task"], raw["budget"]) for raw in rows}


def test_a_pipe_in_a_submission_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    os.mkfifo(tmp_path / "source" / "labels")
    with pytest.raises(UserError, match="no plain file"):
        folder.read(tmp_path)


def test_submissions_with_files_of_one_name_are_called_apart(tmp_path: Path) -> None:
    names = set()
    for text in ("one", "two"):
        there = tmp_path / text
        there.mkdir()
        (there / "submission.json").write_text(text)
        names.add(admitting._name(cast(Submission, SimpleNamespace(entry=Path("model.py"), folder=there))))
    assert len(names) == 2 and all(name.startswith("model-") for name in names)


def test_a_folder_that_lost_its_manifest_is_merged_by_nothing(tmp_path: Path) -> None:
    from suite.cli.merge import merge

    (tmp_path / "source").mkdir()
    with pytest.raises(UserError, match=r"a submission without its submission\.json"):
        merge([tmp_path], workspace=tmp_path / "runs")
