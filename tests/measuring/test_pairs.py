from __future__ import annotations

import pytest
import torch

from suite.measuring.pairs import draw_pairs


@pytest.mark.parametrize("same", [True, False])
def test_pairs_are_of_the_classes_asked_for_and_never_an_image_with_itself(same: bool) -> None:
    labels = torch.randint(0, 4, (200,), generator=torch.Generator().manual_seed(0))
    first, second = draw_pairs(labels, 150, same_class=same).T
    assert ((labels[first] == labels[second]) == same).all() and (first != second).all()
    assert len(first) == 150 == len(first.unique())
    torch.manual_seed(5)
    assert torch.equal(draw_pairs(labels, 150, same_class=same)[:, 0], first)


def test_an_image_without_a_partner_is_left_out() -> None:
    assert sorted(draw_pairs(torch.tensor([0, 1, 1]), 9, same_class=True)[:, 0].tolist()) == [1, 2]
    assert draw_pairs(torch.tensor([0, 0]), 9, same_class=False).shape == (0, 2)
