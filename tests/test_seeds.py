from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from suite.seeds import derive, global_seed, numpy_rng, torch_rng

NAMES = st.lists(st.text(st.characters(exclude_characters="\x1f"), max_size=8), min_size=1, max_size=4)


def test_a_path_of_names_has_one_seed_for_ever() -> None:
    # Every published number was drawn from such seeds: these must never move.
    assert derive(0, "init") == 925402481798332886
    assert derive(0, "batches") == 1699441995747717822
    assert derive("score", 0, "", "channel") == 336535684983269645


@given(NAMES, NAMES)
def test_other_names_have_another_seed_of_63_bits(one: list[str], other: list[str]) -> None:
    assert 0 <= derive(*one) < 2**63
    assert (derive(*one) == derive(*other)) == (one == other)


def test_names_are_not_run_together() -> None:
    assert len({derive("a", "bc"), derive("ab", "c"), derive("abc"), derive("a", "b", "c")}) == 4


def test_streams_of_one_path_are_equal_and_of_two_are_not() -> None:
    assert torch.equal(torch.rand(5, generator=torch_rng(1, "x")), torch.rand(5, generator=torch_rng(1, "x")))
    assert not torch.equal(torch.rand(5, generator=torch_rng(1, "x")), torch.rand(5, generator=torch_rng(2, "x")))
    np.testing.assert_array_equal(numpy_rng("y").random(5), numpy_rng("y").random(5))
    assert not np.array_equal(numpy_rng("y").random(5), numpy_rng("z").random(5))


def test_a_stream_of_its_own_leaves_the_global_one_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    torch.rand(5, generator=torch_rng("x"))
    assert torch.equal(torch.rand(3), expected)


def test_a_global_seed_holds_inside_its_block_and_the_old_state_comes_back_whatever_happens() -> None:
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    drawn = []
    for _ in range(2):
        try:
            with global_seed(0, "task"):
                drawn.append(torch.rand(4))
                raise InterruptedError
        except InterruptedError:
            pass
    assert torch.equal(*drawn)
    assert torch.equal(torch.rand(3), expected)
