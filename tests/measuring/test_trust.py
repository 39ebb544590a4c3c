"""The frozen baseline: what its checks let through."""

from __future__ import annotations

import math

import pytest
import torch

from suite.measuring.trust import all_finite


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
