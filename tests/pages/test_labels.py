from __future__ import annotations

import itertools

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from suite.pages.labels import place_labels


@pytest.mark.parametrize("spread", [0.0, 0.001, 1.0])
def test_names_of_points_however_close_do_not_cover_each_other_and_stay_inside(spread: float) -> None:
    figure = Figure(figsize=(8.0, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    points = [(f"a_model_of_some_length_{i}", 5 + spread * i % 7, 3 + spread * i) for i in range(20)]
    axes.plot([x for _, x, _ in points], [y for _, _, y in points], "o")
    place_labels(axes, points)
    figure.draw_without_rendering()
    names = [text for text in axes.texts if text.get_text()]
    boxes = [text.get_window_extent() for text in names]
    assert sorted(text.get_text() for text in names) == sorted(name for name, _, _ in points)
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert all(axes.get_window_extent().containsx(x) for box in boxes for x in (box.x0, box.x1))
