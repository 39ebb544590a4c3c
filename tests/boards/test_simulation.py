"""The rule keeps what it promises on boards whose truth is known; a few boards of each kind, from a fixed seed."""

from __future__ import annotations

import pytest

from suite.boards.simulation import rates, scenarios, winners

BOARDS = 16


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, float]]:
    return rates(BOARDS, rules=["unpaired, 5 % a pair", "paired, 5 % a pair", "the rule"])


@pytest.mark.parametrize("scenario", [name for name in scenarios() if "power" not in name])
def test_equal_models_are_rarely_separated(found: dict[str, dict[str, float]], scenario: str) -> None:
    # Were it 5 %, more than three of sixteen boards would be seen once in 140 times.
    assert found["the rule"][scenario] <= 100 * 3 / BOARDS
    assert found["paired, 5 % a pair"][scenario] > 70


def test_neighbours_on_a_ladder_are_found(found: dict[str, dict[str, float]]) -> None:
    assert found["the rule"]["power, ladder"] > 80
    assert found["unpaired, 5 % a pair"]["power, ladder"] < 20


def test_two_equal_models_on_top_get_no_sole_winner() -> None:
    found = winners(8)
    assert found["the rule"][0] == 0
    assert found["the rule"][1] > 70
    assert found["mean of the middle ranks, unpaired"][0] > 20
