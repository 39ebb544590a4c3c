from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.tracking import mirror
from tests.tracking.test_tracker import make


@given(st.text(max_size=300))
@settings(deadline=None)
def test_mlflow_takes_every_cleaned_name(name):
    from mlflow.utils.validation import _validate_metric_name

    _validate_metric_name(mirror.clean(name))
    assert len(mirror.clean(name)) <= mirror.NAME_LENGTH


@pytest.mark.parametrize("mark", ["", "seen", "by me", "2030 ok", "edited by hand in the browser"])
def test_a_mark_that_somebody_has_edited_shows_no_record(mark: str):
    record = make()
    assert not mirror.is_mirrored(record, mark)
    assert not mirror.is_superseded(record, mark)
    assert mirror.ended({mirror.mark_tag(record): mark}) == "FINISHED"
    assert not mirror.is_shown([record], {mirror.mark_tag(record): mark}, "FINISHED")


def test_a_record_whose_times_are_none_is_mirrored_at_the_beginning_of_time():
    points = list(mirror.points(make(started="", finished="99:99 Z"), {}))
    assert {when for _, _, when, _ in points} == {0}
    assert mirror.is_mirrored(make(finished="99:99 Z"), mirror.stamp(make(finished="99:99 Z")))


def test_a_long_curve_is_thinned_and_keeps_its_last_point():
    curve = [(float(step), step / 2) for step in range(10_007)]
    points = [p for p in mirror.points(make(), {"loss": curve}) if p[0].endswith("curve/loss")]
    assert len(points) <= mirror.CURVE_POINTS
    assert (points[-1][3], points[-1][1]) == (10_006, 5_003.0)


def test_the_view_opens_with_the_model_its_seed_and_what_is_ranked_official_tasks_first():
    metrics = {"nats": {"value": 1.0}, "rate": {"value": 0.5}}
    extra = make(task="b_extra", primary="nats", metrics=metrics)
    official = make(task="z_official", primary="nats", metrics=metrics, official=True)
    failed = make(task="y", primary="nats", metrics={}, official=True, status="failed")
    first = mirror.view([extra, official, failed])
    assert json.loads(first)["selectedColumns"] == [
        "params.`baseline`",
        "params.`seed`",
        "metrics.`z_official/nats`",
        "metrics.`b_extra/nats`",
    ]
    assert mirror.view([official], first) == first
    assert json.loads(mirror.view([official], "not a view"))["selectedColumns"][2:] == ["metrics.`z_official/nats`"]
