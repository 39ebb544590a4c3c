from __future__ import annotations

import re
from pathlib import Path

from tests.factories import record, write_records
from tests.pages.sites import write


def front(folder: Path, floor: float) -> str:
    """The chart of a front page of two models that cost 100 and 110 nats, with what is said of it."""
    rows = [
        record(value=nats, baseline=name, others={"floor": floor, "rate": rate, "distortion": nats - rate})
        for name, nats, rate in (("a", 100.0, 20.0), ("b", 110.0, 25.0))
    ]
    out = folder / "site"
    write(write_records(folder / "records", rows), out)
    return re.findall(r"<figure.*?</figcaption>", (out / "index.html").read_text(), re.DOTALL)[0]


def test_a_floor_on_the_chart_is_a_line_and_one_beyond_it_is_said(tmp_path: Path) -> None:
    near, far = front(tmp_path / "near", 105.0), front(tmp_path / "far", 574.7)
    assert ">floor: 105.0 nats<" in near and "The dashed line is the floor" in near
    assert ">floor:" not in far and "dashed" not in far
    assert "lies beyond the chart at 574.7 nats" in far


def test_lines_of_equal_nats_have_labels_at_places_of_their_own(tmp_path: Path) -> None:
    labels = re.findall(r'<text class="iso" x="([\d.]+)" y="([\d.]+)">', front(tmp_path, 574.7))
    assert len(labels) > 2
    assert len(set(labels)) == len(labels)
