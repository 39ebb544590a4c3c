from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.pages.site.charts import HEIGHT, WIDTH, Axis, Point, axis_of, bars, front, scatter


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_an_axis_holds_all_its_values_and_its_ticks_lie_on_it(values: list[float]) -> None:
    axis = axis_of("x", values)
    assert all(0 <= axis.share(value) <= 1 for value in values)
    assert 1 <= len(axis.ticks()) <= 9
    assert all(axis.low - 1e-6 <= tick <= axis.high + 1e-6 for tick in axis.ticks())


def test_ticks_are_round() -> None:
    assert Axis("x", 0.0, 205.9).ticks() == [0, 50, 100, 150, 200]
    assert Axis("x", 0.5, 2000.0, log=True).ticks() == [1, 10, 100, 1000]
    assert Axis("x", 1.0, 100.0, log=True).share(10.0) == pytest.approx(0.5)


def test_the_front_leaves_out_what_is_beaten_by_something_as_cheap() -> None:
    points = [Point("a", 1, 9), Point("b", 2, 5), Point("beaten", 3, 6), Point("c", 4, 1)]
    assert front(points, lower=True).points == [(1, 9), (2, 9), (2, 5), (4, 5), (4, 1)]
    assert front(points, lower=False).points == [(1, 9)]


def test_points_on_one_place_share_a_label_and_every_point_has_its_numbers() -> None:
    points = [Point("a", 0, 1, 0.5, 0.1, "a.html"), Point("b", 0, 1), Point("<c>", 5, 5, href="c.html")]
    text = str(scatter("t", points, Axis("x", 0, 10), Axis("y", 0, 10)))
    assert ">a +1<" in text
    assert "a: 0.0 ± 0.5; 1.00 ± 0.10\nb: 0; 1" in text
    assert 'href="c.html"' in text
    assert "<c>" not in text and "&lt;c&gt;" in text


def test_labels_do_not_overlap_and_do_not_leave_the_chart() -> None:
    points = [Point(f"model_{i}", 5 + i / 10, 5 - i / 8) for i in range(12)]
    text = str(scatter("t", points, Axis("x", 0, 10), Axis("y", 0, 10)))
    labels = [(float(x), float(y)) for x, y in re.findall(r'class="label" x="([\d.]+)" y="([\d.]+)"', text)]
    assert len(labels) == 12
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in labels)
    assert all(abs(a[1] - b[1]) >= 13 or abs(a[0] - b[0]) >= 45 for i, a in enumerate(labels) for b in labels[:i])


def test_a_bar_below_zero_begins_left_of_zero() -> None:
    text = str(bars("t", {"up": (3.0, 0.2), "down": (-1.0, float("nan"))}, "nats"))
    (up, down) = [(float(x), float(w)) for x, w in re.findall(r'x="([\d.]+)" y="\d+" width="([\d.]+)"', text)]
    assert up[0] == pytest.approx(down[0] + down[1], abs=0.2)
    assert up[1] == pytest.approx(3 * down[1], abs=0.3)


def test_the_value_of_a_bar_below_zero_stands_beside_it() -> None:
    text = str(bars("t", {"up": (100.0, 10.0), "down": (-900.0, 500.0)}, "nats"))
    zero = float(re.findall(r'x="([\d.]+)" y="\d+" width', text)[0])
    told = [float(x) for x in re.findall(r'<text x="([\d.]+)" y="\d+">', text)]
    assert told[0] > zero
    assert told[1] == pytest.approx(zero + 6, abs=0.2)
