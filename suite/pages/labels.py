"""Names beside the points of a plot, such that none covers another."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

#: Size of the names, distance from point to name and the steps in which it grows, in points.
SIZE, NEAR, STEP = 8, 6.0, 9.0

#: How many distances and directions are tried before a name is left out of reach of all others.
RINGS, DIRECTIONS = 24, 16


def place_labels(axes: Axes, points: Sequence[tuple[str, float, float]]) -> None:
    """Writes a name beside each point; where there is no room close by, further off with a line to its point.

    Args:
        axes: With everything else drawn and scaled.
        points: (name, x, y).
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())
    frame = axes.get_window_extent()
    scale = figure.get_dpi() / 72
    spots = [axes.transData.transform((x, y)) for _, x, y in points]
    taken = [_around(x, y, 3 * scale) for x, y in spots]
    for (name, x, y), _ in sorted(zip(points, spots, strict=True), key=lambda item: -item[1][1]):
        text = axes.annotate(name, (x, y), xytext=(NEAR, NEAR), textcoords="offset points", fontsize=SIZE)
        for dx, dy, side in _offsets():
            text.set_position((dx, dy))
            text.set_horizontalalignment(side)
            box = text.get_window_extent()
            if _inside(box, frame) and not any(box.overlaps(other) for other in taken):
                break
        taken.append(text.get_window_extent())
        if math.hypot(dx, dy) > NEAR + STEP:
            line = {"arrowstyle": "-", "color": "0.7", "linewidth": 0.6}
            axes.annotate("", (x, y), xytext=(dx, dy), textcoords="offset points", arrowprops=line, zorder=0)


def _offsets() -> Iterator[tuple[float, float, Literal["left", "right"]]]:
    """Offsets from a point, the nearest first, with the side at which the name starts."""
    for ring, k in itertools.product(range(RINGS), range(DIRECTIONS)):
        angle, radius = 2 * math.pi * (k + 1) / DIRECTIONS, NEAR + STEP * ring
        dx, dy = radius * math.cos(angle), radius * math.sin(angle)
        yield dx, dy, "left" if dx >= 0 else "right"


def _around(x: float, y: float, half: float) -> Bbox:
    from matplotlib.transforms import Bbox

    return Bbox.from_extents(x - half, y - half, x + half, y + half)


def _inside(box: Bbox, frame: Bbox) -> bool:
    return bool(box.x0 >= frame.x0 and box.x1 <= frame.x1 and box.y0 >= frame.y0 and box.y1 <= frame.y1)
