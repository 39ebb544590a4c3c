"""The charts of the front page and of the page of charts: which metrics they show, and of which models."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from suite.boards import Row, parts
from suite.pages.layout import ARROWS
from suite.pages.site import charts
from suite.pages.site.charts import Axis, Line, Point
from suite.pages.site.contents import Column, Names, Section

#: The axes and the sum of the rate-distortion chart; the metric of the floor beside it.
RATE, DISTORTION, NATS, FLOOR = "rate", "distortion", "nats", "floor"

#: Share of the nats that the core alone carries.
CORE = "core_share"


@dataclass(frozen=True)
class Figure:
    """One chart with what is said of it, and its numbers as a table."""

    id: str
    title: str
    text: str
    chart: Markup
    heads: tuple[str, ...]
    rows: list[tuple[str, ...]]


class Drawing:
    """Draws one section.

    Args:
        section: What is drawn.
        rows: Every metric of it.
        names: Of the models' files.
        root: What leads from the page to the site's root.
    """

    def __init__(self, section: Section, rows: Sequence[Row], names: Names, root: str = "") -> None:
        self._section, self._names, self._root = section, names, root
        known = [row for row in rows if math.isfinite(row.value)]
        self._by_metric = {
            key: {row.model: row for row in members}
            for key, members in parts(known, lambda row: (row.task, row.metric)).items()
        }
        self._anchors = {line.model for table in section.tables for line in table.lines if line.anchor}

    def figures(self) -> list[Figure]:
        """Returns every chart for which the section has the metrics."""
        found = [self.rate_distortion(), *self._against_others(), *self._against_costs()]
        return [figure for figure in found if figure is not None]

    def rate_distortion(self) -> Figure | None:
        """Rate against distortion, lines of equal nats, the floor's line."""
        task = next((t for t, metric in self._by_metric if metric == RATE and self._has(t, DISTORTION, NATS)), None)
        if task is None:
            return None
        rates, distortions = self._by_metric[task, RATE], self._by_metric[task, DISTORTION]
        points = self._points(rates, distortions)
        floors = self._by_metric.get((task, FLOOR), {})
        floor = next(iter(floors.values())).value if floors else math.nan
        x = charts.axis_of("rate: nats that the decoder receives", [p.x for p in points] or [1.0], zero=True)
        y = charts.axis_of("distortion: nats that are left", [p.y for p in points] or [1.0], zero=True)
        text = (
            "Each line joins equal sums: what a model spends on its code and what the code leaves, in nats per image. "
            "Nearer to the lower left is better."
        )
        if math.isfinite(floor) and _lies_on(x, y, floor):
            text += (
                " The dashed line is the floor, a model that knows nothing of the image; one that copies its input "
                "pays for every bit of the copy and ends on that line, wherever its reconstruction stands."
            )
        elif math.isfinite(floor):
            text += f" The floor, a model that knows nothing of the image, lies beyond the chart at {floor:.1f} nats."
        lines = [*_iso_lines(x, y, floor), *_floor_line(x, y, floor)]
        return self._figure("rate-distortion", "Rate against distortion", text, points, x, y, lines)

    def _against_others(self) -> list[Figure | None]:
        nats = next(((t, m) for t, m in self._by_metric if m == NATS and self._has(t, RATE)), None)
        if nats is None:
            return []
        found = []
        percent = next((c for c in self._section.columns if c.unit == "%" and c.official), None)
        if percent is not None:
            text = "Whether a code that is cheap is also one that a linear classifier can read."
            found.append(self._pair("probe", nats, (percent.task, percent.metric), text))
        core = next((key for key in self._by_metric if key[1] == CORE), None)
        if core is not None:
            text = "How much of what the decoder learns comes through the core, and what an image costs."
            found.append(self._pair("core-share", nats, core, text))
        return found

    def _against_costs(self) -> list[Figure | None]:
        return [self._cost(column) for column in self._section.columns if column.official]

    def _cost(self, column: Column) -> Figure | None:
        rows = self._by_metric.get((column.task, column.metric), {})
        timed = {name: row for name, row in rows.items() if row.train_seconds and row.train_seconds > 0}
        if len(timed) < 2:
            return None
        lower = next(iter(timed.values())).direction == "lower"
        points = [self._point(row, row.train_seconds, row.value, 0.0, _half(row)) for row in timed.values()]
        x = charts.axis_of("training, seconds as it ran", [p.x for p in points], log=True)
        y = charts.axis_of(_label(next(iter(timed.values()))), [p.y for p in points])
        text = "The line is the Pareto front: what lies on it is beaten by nothing that trains as fast or faster."
        task = column.task
        title = f"{task} against training cost"
        return self._figure(f"cost-{task.replace(':', '-')}", title, text, points, x, y, [charts.front(points, lower)])

    def _pair(self, id: str, a: tuple[str, str], b: tuple[str, str], text: str) -> Figure | None:
        rows_a, rows_b = self._by_metric.get(a, {}), self._by_metric.get(b, {})
        points = self._points(rows_b, rows_a)
        if len(points) < 2:
            return None
        x = charts.axis_of(_label(next(iter(rows_b.values()))), [p.x for p in points])
        y = charts.axis_of(_label(next(iter(rows_a.values()))), [p.y for p in points])
        return self._figure(id, f"{a[1]} against {b[1]}", text, points, x, y)

    def _has(self, task: str, *metrics: str) -> bool:
        return all((task, metric) in self._by_metric for metric in metrics)

    def _points(self, xs: Mapping[str, Row], ys: Mapping[str, Row]) -> list[Point]:
        return [self._point(ys[m], xs[m].value, ys[m].value, _half(xs[m]), _half(ys[m])) for m in xs if m in ys]

    def _point(self, row: Row, x: float, y: float, x_half: float, y_half: float) -> Point:
        kind = "anchor" if row.model in self._anchors else ("labels" if row.supervised else "model")
        return Point(row.model, x, y, x_half, y_half, f"{self._root}models/{self._names[row.model]}.html", kind)

    def _figure(
        self, id: str, title: str, text: str, points: Sequence[Point], x: Axis, y: Axis, lines: Sequence[Line] = ()
    ) -> Figure:
        chart = charts.scatter(f"{title}: {x.label}; {y.label}", points, x, y, lines)
        rows: list[tuple[str, ...]] = [
            (p.name, f"{p.x:.4g}", f"{p.y:.4g}") for p in sorted(points, key=lambda p: p.name)
        ]
        return Figure(f"{id}-{self._section.number}", title, text, chart, ("model", x.label, y.label), rows)


def _half(row: Row) -> float:
    return row.half if math.isfinite(row.half) else 0.0


def _label(row: Row) -> str:
    unit = f" ({row.unit})" if row.unit else ""
    return f"{row.task}: {row.metric}{unit} {ARROWS.get(row.direction, '')}".rstrip()


def _iso_lines(x: Axis, y: Axis, floor: float) -> list[Line]:
    """Lines of equal nats at round values below the floor, or below all that is shown."""
    top = min(floor, x.high + y.high) if math.isfinite(floor) else x.high + y.high
    ticks = Axis("", 0.0, top).ticks()
    return [_diagonal(x, y, nats, f"{nats:g} nats", "iso") for nats in ticks if 0 < nats < 0.97 * top]


def _floor_line(x: Axis, y: Axis, floor: float) -> list[Line]:
    shown = math.isfinite(floor) and _lies_on(x, y, floor)
    return [_diagonal(x, y, floor, f"floor: {floor:.1f} nats", "floor")] if shown else []


def _lies_on(x: Axis, y: Axis, nats: float) -> bool:
    """Whether the line of rate + distortion = nats crosses the chart."""
    return nats < x.high + y.high


def _diagonal(x: Axis, y: Axis, nats: float, label: str, kind: str) -> Line:
    """Returns the part of rate + distortion = nats that lies on the chart, its label at its lower end."""
    ends = [(nats - min(nats, y.high), min(nats, y.high)), (min(nats, x.high), nats - min(nats, x.high))]
    return Line(ends, label, kind)
