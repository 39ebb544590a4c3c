"""A trained model becomes a checkpoint, once it is proven that the checkpoint holds all that it says."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from suite import seeds
from suite.errors import ContractError, TrialTimeout
from suite.measuring import answers
from suite.measuring.trust import Frozen
from suite.training import checkpoints

if TYPE_CHECKING:
    from suite.training import Baseline, Recipe, Values

#: Training images that the trained model and the loaded one are both asked about.
IMAGES = 100

Question = Callable[[Frozen], answers.Answers]


def seal(folder: Path, trained: Baseline, recipe: Recipe, grey: Tensor, meta: dict[str, Any]) -> None:
    """Writes the checkpoint of a trained model, if a model loaded from it is the same one.

    Args:
        folder: Of the checkpoint.
        trained: The model; from here on it takes no gradients.
        recipe: What it was made of.
        grey: Training images (N, C, H, W).
        meta: What is to be known of the training.

    Raises:
        ContractError: As ``prove``. Nothing is written.
    """
    state = checkpoints.state_of(trained)
    prove(trained, state, recipe, grey)
    checkpoints.write(folder, state, meta)


def prove(trained: Baseline, state: dict[str, Tensor], recipe: Recipe, grey: Tensor) -> None:
    """Compares a trained model with one that is built anew and given the state of its parameters and buffers.

    Raises:
        ContractError: If that one says something else, or the model changes while it answers; names what.
    """
    name, folder = type(trained).__name__, Path("checkpoint")
    loaded = recipe.build()
    try:
        checkpoints.restore(loaded, state, folder)
    except checkpoints.CorruptCheckpoint as error:
        why = str(error).removeprefix(f"{folder}: ")
        raise ContractError(f"{name} says something else after save and load: {why}") from error
    changed = difference(Frozen(trained), Frozen(loaded), grey[:IMAGES], recipe.seed)
    if changed:
        raise ContractError(
            f"{name} says something else after save and load: {changed}; a checkpoint holds parameters and buffers"
        )
    for part, tensor in checkpoints.state_of(trained).items():
        if part not in state or not torch.equal(tensor.nan_to_num(), state[part].nan_to_num()):
            raise ContractError(f"{name} changes '{part}' while it answers: what it learns, it learns in training")


def difference(trained: Frozen, loaded: Frozen, x: Tensor, seed: int) -> str:
    """Returns what a loaded model says differently from the one that was saved, in a few words; empty: nothing.

    What the trained model cannot answer is not compared: whoever scores it meets the same error and names it.

    Args:
        trained: The model that was saved.
        loaded: The model that was loaded.
        x: Images (N, C, H, W).
        seed: Of the trial; both are asked under the same state of the global streams, from which an encoder may draw.
    """
    values = _answers(partial(Frozen.means, x=x), trained, seed)
    if values is None:
        return ""
    questions: tuple[Question, ...] = (
        partial(_of_groups, x=x, values=values),
        partial(answers.of_decode, values=values),
        partial(answers.of_priors, values=values),
        partial(answers.of_features, values=values),
    )
    for question in questions:
        before = _answers(question, trained, seed)
        if before is None:
            continue
        after = _answers(question, loaded, seed)
        changed = f"{', '.join(before)} ends in an error" if after is None else answers.difference(before, after)
        if changed:
            return changed
    return ""


def _of_groups(model: Frozen, x: Tensor, values: Values) -> answers.Answers:
    """All parameters of a group as one answer."""
    found = answers.of_groups(model, x, values)
    return {f"group '{name}'": torch.cat([part.flatten() for part in parts]) for name, parts in found.items()}


def _answers(question: Question, model: Frozen, seed: int) -> answers.Answers | None:
    """Returns what a model says, None where it ends in an error."""
    state = seeds.derive(seed, "seal")
    random.seed(state)
    np.random.seed(state % 2**32)
    try:
        with seeds.global_seed(seed, "seal"):
            return question(model)
    except TrialTimeout:
        raise
    except Exception:
        return None
