"""Where two models' answers differ: what counts as the same, and what does not."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from suite.measuring.answers import difference


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0001]), ""),
        (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.5]), "a changed by up to 0.5"),
        (torch.tensor([20_000, 3]), torch.tensor([20_000, 4]), "a changed by up to 1"),
        (torch.tensor([math.inf, 1.0]), torch.tensor([math.inf, 1.0]), ""),
        (torch.tensor([math.inf, 1.0]), torch.tensor([math.inf, 2.0]), "a changed by up to 1"),
        (torch.tensor([math.inf]), torch.tensor([1.0]), "a changed by up to inf"),
        (torch.tensor([math.nan]), torch.tensor([math.nan]), "a changed by up to nan"),
        (torch.zeros(2), torch.zeros(3), "a changed its shape from (2,) to (3,)"),
        (torch.zeros(0), torch.zeros(0), ""),
    ],
)
def test_answers_differ_beyond_rounding_integers_at_all_and_what_is_infinite_equals_itself(
    first: Tensor, second: Tensor, told: str
) -> None:
    assert difference({"a": first}, {"a": second}) == told


def test_groups_that_come_or_go_are_named() -> None:
    assert difference({"a": torch.zeros(1)}, {"b": torch.zeros(1)}) == "the groups changed from a to b"
