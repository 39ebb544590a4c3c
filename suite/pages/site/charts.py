"""Charts as SVG text: a scatter with intervals, lines and labels; bars; curves.

They are drawn here, when the site is made, and not by a library in the browser: a page then opens without a megabyte of
script, prints, and shows its charts where scripts are off. Every mark bears its numbers as a tooltip.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from suite.pages.layout import figures

WIDTH, HEIGHT = 760, 480
LEFT, RIGHT, TOP, BOTTOM = 62, 24, 18, 52

#: Width of a letter of a label, height of its line; points nearer than this share a label.
LETTER, LINE, SAME = 6.3, 13.0, 3.0

#: How many names a shared label's tooltip lists.
LISTED = 12

#: How many points get labels, and how far from its point a label may stand, joined to it by a line.
LABELLED, FAR = 80, (24, 40, 58, 78)


@dataclass(frozen=True)
class Axis:
    """One axis: its label, its range, whether it is logarithmic."""

    label: str
    low: float
    high: float
    log: bool = False

    def share(self, value: float) -> float:
        """Returns where a value lies on the axis, 0 to 1; values beyond the ends lie at the ends."""
        low, high, at = (math.log10(v) if self.log else v for v in (self.low, self.high, max(value, self.low)))
        return min((at - low) / (high - low), 1.0)

    def ticks(self) -> list[float]:
        """Returns round values within the range: some six, powers of ten where it is logarithmic."""
        if self.log:
            powers = range(math.ceil(math.log10(self.low)), math.floor(math.log10(self.high)) + 1)
            return [10.0**power for power in powers]
        raw = (self.high - self.low) / 6
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(step for step in (1, 2, 5, 10) if step * power >= raw) * power
        first = math.ceil(self.low / step - 1e-9)
        return [round(i * step, 10) for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


@dataclass(frozen=True)
class Point:
    """One model in a scatter.

    Attributes:
        name: Its label.
        x, y: Where it stands.
        x_half, y_half: Half-widths of its intervals, 0 for none.
        href: The page that it leads to.
        kind: ``anchor``, ``labels`` or ``model``: how it is drawn.
    """

    name: str
    x: float
    y: float
    x_half: float = 0.0
    y_half: float = 0.0
    href: str = ""
    kind: str = "model"


@dataclass(frozen=True)
class Line:
    """A line through (x, y) pairs, with a label at its last one."""

    points: Sequence[tuple[float, float]]
    label: str = ""
    kind: str = "iso"


def axis_of(label: str, values: Sequence[float], *, zero: bool = False, log: bool = False) -> Axis:
    """Returns an axis that holds all values with some air around them; it begins at 0 where ``zero`` is set."""
    low, high = min(values), max(values)
    if log:
        return Axis(label, low / 1.6, high * 1.6, True)
    air = 0.06 * (high - low) or abs(high) * 0.1 or 1.0
    return Axis(label, 0.0 if zero and low >= 0 else low - air, high + air)


def scatter(title: str, points: Sequence[Point], x: Axis, y: Axis, lines: Sequence[Line] = ()) -> Markup:
    """Returns a scatter as an SVG element, with a point per model that links to its page."""
    place = _Place(x, y)
    parts = [*_axes(x, y), *(text for line in lines for text in _line(line, place))]
    spots = [(place(point.x, point.y), point) for point in points]
    parts += [text for at, point in spots for text in _interval(at, point, place)]
    clusters = _clusters(spots)
    parts += [_mark(at, members) for at, members in clusters]
    parts += _labels(clusters)
    return _svg(title, parts, WIDTH, HEIGHT)


class _Place:
    """Values -> pixels."""

    def __init__(self, x: Axis, y: Axis) -> None:
        self._x, self._y = x, y

    def __call__(self, x: float, y: float) -> tuple[float, float]:
        across, up = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
        return LEFT + across * self._x.share(x), TOP + up * (1 - self._y.share(y))


def _svg(title: str, parts: Sequence[str], width: int, height: int) -> Markup:
    head = f'<svg class="chart" viewBox="0 0 {width} {height}" role="group" aria-label="{escape(title)}">'
    return Markup(head + "".join(parts) + "</svg>")


def _axes(x: Axis, y: Axis) -> Iterator[str]:
    place = _Place(x, y)
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for tick in x.ticks():
        at = place(tick, y.low)[0]
        yield f'<path class="grid" d="M{at:.1f} {TOP}V{bottom}"/>'
        yield f'<text x="{at:.1f}" y="{bottom + 17}" text-anchor="middle">{tick:g}</text>'
    for tick in y.ticks():
        at = place(x.low, tick)[1]
        yield f'<path class="grid" d="M{LEFT} {at:.1f}H{right}"/>'
        yield f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{tick:g}</text>'
    middle = (LEFT + right) / 2, (TOP + bottom) / 2
    yield f'<text class="axis" x="{middle[0]:.1f}" y="{HEIGHT - 10}" text-anchor="middle">{escape(x.label)}</text>'
    turned = f'transform="rotate(-90 14 {middle[1]:.1f})" text-anchor="middle"'
    yield f'<text class="axis" x="14" y="{middle[1]:.1f}" {turned}>{escape(y.label)}</text>'


def _line(line: Line, place: _Place) -> Iterator[str]:
    spots = [place(*point) for point in line.points]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in spots)
    yield f'<path class="{line.kind}" d="M{path}"/>'
    if line.label:
        (x, y), (x0, y0) = spots[-1], spots[0]
        if line.kind == "floor":  # its end is where a copy stands
            x, y = x0 + 0.6 * (x - x0), y0 + 0.6 * (y - y0)
        yield f'<text class="{line.kind}" x="{x + 5:.1f}" y="{y - 5:.1f}">{escape(line.label)}</text>'


def _interval(at: tuple[float, float], point: Point, place: _Place) -> Iterator[str]:
    x, y = at
    if point.x_half > 0:
        low, high = (place(point.x + sign * point.x_half, point.y)[0] for sign in (-1, 1))
        yield f'<path class="interval" d="M{low:.1f} {y:.1f}H{high:.1f}"/>'
    if point.y_half > 0:
        low, high = (place(point.x, point.y + sign * point.y_half)[1] for sign in (-1, 1))
        yield f'<path class="interval" d="M{x:.1f} {low:.1f}V{high:.1f}"/>'


_Spot = tuple[float, float]


def _clusters(spots: Sequence[tuple[_Spot, Point]]) -> list[tuple[_Spot, list[Point]]]:
    """Returns the points that can be told apart, each with those that stand on it."""
    cells: dict[tuple[int, int], tuple[_Spot, list[Point]]] = {}
    for at, point in spots:
        cells.setdefault((round(at[0] / SAME), round(at[1] / SAME)), (at, []))[1].append(point)
    return list(cells.values())


def _mark(at: _Spot, members: Sequence[Point]) -> str:
    x, y = at
    first = members[0]
    more = [f"and {len(members) - LISTED} more"] if len(members) > LISTED else []
    told = escape("\n".join([*map(_told, members[:LISTED]), *more]))
    shape = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'
    if first.kind == "labels":
        shape = f'<path d="M{x - 4.5:.1f} {y - 4.5:.1f}h9v9h-9z"/>'
    return f'<a class="{first.kind}" href="{escape(first.href)}"><title>{told}</title>{shape}</a>'


def _told(point: Point) -> str:
    known = ((point.x, point.x_half), (point.y, point.y_half))
    x, y = (" ± ".join(filter(None, figures(value, half or math.nan))) for value, half in known)
    return f"{point.name}: {x}; {y}"


def _labels(clusters: Sequence[tuple[_Spot, list[Point]]]) -> Iterator[str]:
    """Labels where there is room: beside a point, above or below it; a point without room has its tooltip alone."""
    taken = [(x - 5, y - 5, x + 5, y + 5) for (x, y), _ in clusters]
    for (x, y), members in clusters[:LABELLED]:
        text = members[0].name + (f" +{len(members) - 1}" if len(members) > 1 else "")
        width = LETTER * len(text)
        for left, middle, far in _spots(x, y, width):
            box = (left, middle - LINE / 2, left + width, middle + LINE / 2)
            inside = box[0] >= LEFT and box[2] <= WIDTH and box[1] >= 0 and box[3] <= HEIGHT - BOTTOM
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                if far:
                    end = min(max(x, left), left + width)
                    yield f'<path class="leader" d="M{x:.1f} {y:.1f}L{end:.1f} {middle:.1f}"/>'
                yield f'<text class="label" x="{left:.1f}" y="{middle + 4:.1f}">{escape(text)}</text>'
                break


def _spots(x: float, y: float, width: float) -> Iterator[tuple[float, float, bool]]:
    """Yields where a label may begin, and its middle line: beside its point, above, below, then further away."""
    for left, middle in ((x + 8, y), (x - 8 - width, y), (x - width / 2, y - 12), (x - width / 2, y + 13)):
        yield left, middle, False
    for far in FAR:
        for up in (-0.5, 0.5, -1.0, 1.0):
            yield x + far * 0.8, y + up * far, True
            yield x - far * 0.8 - width, y + up * far, True


def _overlap(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def bars(title: str, values: Mapping[str, tuple[float, float]], unit: str) -> Markup:
    """Returns a bar per name as an SVG element.

    Args:
        title: What is shown.
        values: Name -> (value, half-width of its interval; NaN for none).
        unit: Of the values.
    """
    reach = [v + s * (h if math.isfinite(h) else 0) for v, h in values.values() for s in (-1, 1)]
    axis = Axis("", min(0.0, *reach), max(0.0, *reach, 1e-9))
    left = 20 + LETTER * 1.1 * max(map(len, values))
    scale = (WIDTH - left - 110) / (axis.high - axis.low)
    parts = []
    for i, (name, (value, half)) in enumerate(values.items()):
        y, zero, end = 8 + 24 * i, left - scale * axis.low, left + scale * (value - axis.low)
        told = " ± ".join(filter(None, figures(value, half)))
        parts.append(f'<text x="{left - 8:.1f}" y="{y + 12}" text-anchor="end">{escape(name)}</text>')
        x, width = min(zero, end), abs(end - zero)
        parts.append(f'<rect class="column" x="{x:.1f}" y="{y}" width="{width:.1f}" height="16"/>')
        if math.isfinite(half) and half > 0:
            path = f"M{end - scale * half:.1f} {y + 8}H{end + scale * half:.1f}"
            parts.append(f'<path class="interval" d="{path}"/>')
        beyond = max(zero, end + (scale * half if math.isfinite(half) else 0))
        parts.append(f'<text x="{beyond + 6:.1f}" y="{y + 12}">{escape(told)} {escape(unit)}</text>')
    return _svg(title, parts, WIDTH, 16 + 24 * len(values))


def curves(title: str, lines: Sequence[Line], x: Axis, y: Axis) -> Markup:
    """Returns curves as an SVG element, each with its label at its end."""
    place = _Place(x, y)
    return _svg(title, [*_axes(x, y), *(text for line in lines for text in _line(line, place))], WIDTH, HEIGHT)


def front(points: Sequence[Point], lower: bool) -> Line:
    """Returns the Pareto front, as steps: no point has less of ``x`` and is better in ``y``."""
    steps: list[tuple[float, float]] = []
    best = math.inf
    for point in sorted(points, key=lambda p: (p.x, p.y if lower else -p.y)):
        value = point.y if lower else -point.y
        if value < best:
            if steps:
                steps.append((point.x, steps[-1][1]))
            steps.append((point.x, point.y))
            best = value
    return Line(steps, "", "front")
