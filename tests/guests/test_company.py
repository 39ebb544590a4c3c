"""Rows are asked about in random company, and come back as if they had been alone."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.guests.company import MOST, TOGETHER, Company


def known(n: int = 50) -> Company:
    company = Company("a secret")
    company.remember("decode", [torch.full((n, 3), 9.0), torch.full((n,), 9)], n)
    return company


@settings(deadline=None)
@given(n=st.integers(0, 40), requests=st.integers(1, 5))
def test_rows_come_back_in_their_order_whoever_was_with_them(n: int, requests: int) -> None:
    company, rows, codes = known(), torch.randn(n, 3), torch.arange(n)
    for _ in range(requests):
        (mixed, same), back, total = company.mix("decode", [rows, codes], n)
        assert torch.equal(mixed[back], rows)
        assert torch.equal(same[back], codes)
        assert len(mixed) == len(same) == total
        assert n <= total <= n + MOST and (total - n) % TOGETHER == 0
        others = torch.ones(total, dtype=torch.bool)
        others[back] = False
        assert bool((mixed[others] == 9).all()) and bool((same[others] == 9).all())


def test_order_and_number_change_from_request_to_request_and_come_from_the_secret() -> None:
    tensors = [torch.randn(20, 3), torch.arange(20)]
    first, again = known(), known()
    one, two = ([company.mix("decode", tensors, 20) for _ in range(20)] for company in (first, again))
    assert len({total for _, _, total in one}) > 5
    assert len({tuple(back.tolist()) for _, back, _ in one}) == 20
    assert all(torch.equal(a[0][0], b[0][0]) for a, b in zip(one, two, strict=True))


def test_company_looks_like_those_that_are_asked_about() -> None:
    company = Company("a secret")
    company.remember("encode", [torch.ones(40, 1, 2, 2)], 40)  # binary images
    grey = torch.full((5, 1, 2, 2), 0.5)
    assert {company.mix("encode", [grey], 5)[2] for _ in range(20)} == {5}
    assert {company.mix("decode", [torch.ones(5, 1, 2, 2)], 5)[2] for _ in range(20)} == {5}
    assert max(company.mix("encode", [torch.ones(5, 1, 2, 2)], 5)[2] for _ in range(20)) > 5


def test_a_tensor_that_is_not_one_row_an_image_stays_as_it_is() -> None:
    one, rows = torch.randn(1, 4), torch.randn(6, 4)
    (same, mixed), back, _ = known().mix("decode", [one, rows], 6)
    assert torch.equal(same, one)
    assert torch.equal(mixed[back], rows)


def test_rows_that_are_no_image_s_come_in_an_order_of_their_own() -> None:
    rows = torch.arange(100)
    (found,) = Company("a secret").shuffled([rows])
    assert not torch.equal(found, rows)
    assert torch.equal(found.sort().values, rows)
