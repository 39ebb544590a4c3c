"""One metric against another: the points are the board's values, and what can't be plotted is said in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from suite.boards.board import board
from suite.errors import UserError
from suite.pages.plot import _bar, draw, points
from tests.factories import record


def table(models: dict[str, tuple[float, float]], seeds: int = 3, **extra: Any) -> Any:
    rows = []
    for model, (nats, share) in models.items():
        for seed in range(seeds):
            metrics = {
                "nats": {"value": nats + 0.1 * seed, "unit": "nats", "direction": "lower", "se": 0.1, "n": 100},
                "core_share": {"value": share, "unit": "", "direction": ""},
            }
            rows.append(record(baseline=model, seed=seed, metrics=metrics, **extra))
    return board(rows, metrics=("nats", "core_share"))


def test_a_point_is_a_models_two_values_with_their_intervals() -> None:
    found = points(table({"a": (100.0, 0.5), "b": (90.0, 0.25)}), "core_share", "nats")
    assert {p.model: (p.x, pytest.approx(p.y)) for p in found} == {"a": (0.5, 100.1), "b": (0.25, 90.1)}
    assert all(p.y_half > 0.2 and p.x_half == 0 for p in found)


def test_a_model_without_one_of_them_is_left_out() -> None:
    found = points(table({"a": (100.0, 0.5), "b": (90.0, float("nan"))}), "core_share", "nats")
    assert [p.model for p in found] == ["a"]


def test_the_picture_is_written_in_the_format_of_its_name(tmp_path: Path) -> None:
    drawn = table({"a": (100.0, 0.5), "b": (90.0, 0.25)})
    draw(drawn, "core_share", "nats", tmp_path / "p.png", join=("a", "b"))
    with Image.open(tmp_path / "p.png") as image:
        assert image.size == (960, 660)
    draw(drawn, "core_share", "nats", tmp_path / "p.svg")
    assert "</svg>" in (tmp_path / "p.svg").read_text()


def test_what_cannot_be_plotted_is_said(tmp_path: Path) -> None:
    drawn = table({"alpha": (100.0, 0.5), "b": (90.0, 0.25)})
    with pytest.raises(UserError, match=r"\.png, \.svg or \.pdf"):
        draw(drawn, "core_share", "nats", tmp_path / "p.gif")
    with pytest.raises(UserError, match="no 'alpa' to join; did you mean 'alpha'"):
        draw(drawn, "core_share", "nats", tmp_path / "p.png", join=("alpa",))
    with pytest.raises(UserError, match=r"cannot write .*nowhere/p\.png: No such file"):
        draw(drawn, "core_share", "nats", tmp_path / "nowhere" / "p.png")
    nothing = table({"a": (float("nan"), 0.5), "b": (90.0, float("nan"))})
    with pytest.raises(UserError, match="no model has both"):
        points(nothing, "core_share", "nats")


def test_a_cost_is_an_axis_too(tmp_path: Path) -> None:
    found = points(table({"a": (100.0, 0.5), "b": (90.0, 0.25)}, cost={"parameters": 1234}), "parameters", "nats")
    assert {(p.model, p.x, p.x_half) for p in found} == {("a", 1234.0, 0.0), ("b", 1234.0, 0.0)}
    with pytest.raises(UserError, match="no model has both 'train_seconds' and 'nats'"):
        points(table({"a": (1.0, 1.0)}, cost={"parameters": 1}), "train_seconds", "nats")


def test_a_file_that_is_there_is_kept_unless_it_may_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "p.svg").write_text("mine")
    drawn = table({"a": (100.0, 0.5), "b": (90.0, 0.25)})
    with pytest.raises(UserError, match="is there already: --overwrite replaces it"):
        draw(drawn, "core_share", "nats", tmp_path / "p.svg")
    assert (tmp_path / "p.svg").read_text() == "mine"
    draw(drawn, "core_share", "nats", tmp_path / "p.svg", overwrite=True)
    assert "</svg>" in (tmp_path / "p.svg").read_text()


def test_the_bar_of_a_share_ends_at_100_per_cent() -> None:
    assert _bar(90.0, 30.0, "%") == [[30.0], [10.0]]
    assert _bar(20.0, 30.0, "%") == [[20.0], [30.0]]
    assert _bar(90.0, 30.0, "nats") == [[30.0], [30.0]]
