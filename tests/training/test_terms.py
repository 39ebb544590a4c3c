from __future__ import annotations

import pytest
import torch

from suite.errors import ContractError, Diverged
from suite.training.terms import LOOK, Terms


@pytest.mark.parametrize("steps", [1, LOOK - 1, LOOK, LOOK + 1, 3 * LOOK])
def test_every_term_is_averaged_over_all_steps_however_many_looks_there_were(steps: int) -> None:
    terms = Terms(0)
    for step in range(steps):
        terms.add({"loss": torch.tensor([step, step + 2.0]), "kl": torch.full((2,), 3.0)}, 2)
    assert terms.close() == pytest.approx({"loss": (steps - 1) / 2 + 1, "kl": 3.0})
    assert list(terms.close()) == ["loss", "kl"]


def test_what_a_step_handed_over_may_be_overwritten_afterwards() -> None:
    terms, loss = Terms(0), torch.ones(2)
    terms.add({"loss": loss}, 2)
    loss.fill_(5)
    assert terms.close() == {"loss": 1.0}


@pytest.mark.parametrize("bad", [0, 5, LOOK - 1])
def test_the_step_that_is_not_finite_is_counted_from_the_start_of_training(bad: int) -> None:
    terms = Terms(100)
    with pytest.raises(Diverged, match=rf"^step {100 + bad + 1}: loss is nan \(kl=0.5\)$"):
        for step in range(LOOK):
            terms.add({"loss": torch.tensor([torch.nan if step == bad else 1.0]), "kl": torch.tensor([0.5])}, 1)
        terms.close()


def test_terms_that_change_their_names_break_the_contract() -> None:
    terms = Terms(0)
    terms.add({"loss": torch.ones(2)}, 2)
    with pytest.raises(ContractError, match="its terms changed from loss to loss, kl"):
        terms.add({"loss": torch.ones(2), "kl": torch.ones(2)}, 2)


def test_a_term_is_one_value_per_image() -> None:
    with pytest.raises(ContractError, match=r"loss\['loss'\]: expected shape \(3,\)"):
        Terms(0).add({"loss": torch.ones(2)}, 3)
