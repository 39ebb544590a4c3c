"""The frozen baseline: what its checks let through."""

from __future__ import annotations

import math

import pytest
import torch

from suite.errors import ContractError
from suite.measuring.trust import MOST_COUNTS, _check_integers, all_finite


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_one_number_that_is_not_finite_is_found(bad: float) -> None:
    x = torch.randn(500, 784, generator=torch.Generator().manual_seed(0))
    assert all_finite(x)
    x[123, 45] = bad
    assert not all_finite(x)


def test_infinities_that_cancel_are_found_and_a_sum_that_overflows_is_no_alarm() -> None:
    assert not all_finite(torch.tensor([math.inf, -math.inf]))
    assert all_finite(torch.full((4,), 3e38))
    assert all_finite(torch.empty(0))


def test_no_more_classes_than_can_be_counted_at_every_position() -> None:
    codes = torch.zeros(3, 4, dtype=torch.int64)
    assert _check_integers("encode", codes, MOST_COUNTS // 4, 3).shape == (3, 4)
    with pytest.raises(ContractError, match=r"4 positions of 4,194,305 classes: at most 16,777,216 in all"):
        _check_integers("encode", codes, MOST_COUNTS // 4 + 1, 3)
