"""A recipe makes one and the same untrained model, whatever the global streams say."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from suite.contract import Baseline, DataSpec
from suite.training import Recipe

SPEC = DataSpec("made up", (1, 28, 28), 10, 100)


class Wide(Baseline):
    def __init__(self, spec: DataSpec, width: int = 3) -> None:
        super().__init__(spec)
        self.encoder = nn.Linear(spec.pixels, width)


def weight(recipe: Recipe) -> Tensor:
    return recipe.build().get_parameter("encoder.weight")


def test_equal_recipes_make_equal_models_and_another_seed_another() -> None:
    first = weight(Recipe(Wide, SPEC))
    torch.manual_seed(7)
    assert torch.equal(weight(Recipe(Wide, SPEC)), first)
    assert not torch.equal(weight(replace(Recipe(Wide, SPEC), seed=1)), first)


def test_parameters_reach_the_constructor_and_the_global_stream_goes_on_as_it_was() -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    assert weight(Recipe(Wide, SPEC, {"width": 5})).shape == (5, 784)
    assert torch.equal(torch.rand(1), expected)


class Greedy(Baseline):
    def __init__(self, spec: DataSpec, sizes: list[int]) -> None:
        super().__init__(spec)
        sizes.append(7)
        self.encoder = nn.Linear(spec.pixels, len(sizes))


def test_parameters_stay_what_they_are_whatever_the_model_does_with_them() -> None:
    recipe = Recipe(Greedy, SPEC, {"sizes": [1]})
    assert weight(recipe).shape == weight(recipe).shape == (2, 784)
    assert recipe.params == {"sizes": [1]}
