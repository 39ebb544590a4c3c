from __future__ import annotations

import math

import pytest

from suite.pages.layout import figures, places


@pytest.mark.parametrize(
    ("value", "half", "shown"),
    [
        (109.8432, 0.3524, ("109.84", "0.35")),
        (109.8432, 0.42, ("109.8", "0.4")),
        (109.8432, 0.972, ("109.8", "1.0")),
        (109.8432, 12.3, ("110", "12")),
        (10984.32, 423.0, ("11000", "400")),
        (0.00123, 0.0000456, ("0.00123", "0.00005")),
        (-0.001, 0.5, ("0.0", "0.5")),
        (12.5, 0.0, ("12.5", "0")),
        (-0.0, 0.0, ("0", "0")),
        (-0.0, math.nan, ("0", "")),
        (98.76543, math.nan, ("98.77", "")),
    ],
)
def test_a_value_has_as_many_digits_as_its_interval_justifies(
    value: float, half: float, shown: tuple[str, str]
) -> None:
    assert figures(value, half) == shown


@pytest.mark.parametrize(
    ("value", "half", "shown"),
    [
        (-0.004946, 0.0000003, ("-0.005", "0")),
        (-0.0002, 0.0000003, ("0", "0")),
        (205.8731, 0.0000003, ("205.873", "0")),
        (-10.9201, 0.0049, ("-10.920", "0.005")),
        (205.8731, 0.92, ("205.9", "0.9")),
    ],
)
def test_no_digit_is_far_below_what_is_worth_a_place(value: float, half: float, shown: tuple[str, str]) -> None:
    assert figures(value, half, resolution=0.01) == shown


def test_ranks_are_printed_as_intervals() -> None:
    assert (places(2, 2), places(1, 3), places(math.nan, math.nan)) == ("2", "1-3", "")
