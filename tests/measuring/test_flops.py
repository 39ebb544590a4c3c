"""Operations per image: exact where arithmetic gives them, torch's own counter's everywhere else."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from suite import training
from suite.contract import Baseline, DataSpec
from suite.errors import TrialTimeout
from suite.measuring.flops import IMAGES, Coding, Count, coding
from suite.measuring.trust import Frozen
from suite.seeds import global_seed
from suite.training import Counter
from tests.models import builtin, digits, subject_of


class Layers(Baseline):
    """A convolution of 3 x 3 into 5 channels at stride 2, and a linear decoder."""

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(spec)
        self.encoder = nn.Conv2d(1, 5, 3, stride=2, padding=1)
        self.decoder = nn.Linear(5 * 14 * 14, spec.pixels)

    def encode(self, x: Tensor) -> dict[str, Any]:
        return {"z": self.encoder(x).flatten(1)}

    def decode(self, values: Any) -> Tensor:
        return self.decoder(values["z"]).sigmoid().view(-1, *self.spec.shape)


#: Operations of coding one image with them.
LAYERS = 2 * (5 * 9 * 14 * 14 + 5 * 14 * 14 * 784)


class Inferring(Layers):
    """The same where autograd, which takes a linear layer apart, is out of the way altogether."""

    def decode(self, values: Any) -> Tensor:
        with torch.inference_mode():
            return super().decode(values)


@pytest.mark.parametrize("cls", [Layers, Inferring])
def test_a_multiply_add_is_two_operations(cls: type[Baseline]) -> None:
    assert coding(subject_of(cls).model, digits()) == Coding(LAYERS, 0, LAYERS)


@pytest.mark.parametrize("name", ["copy", "pca", "vae", "conv_vae", "bernoulli_mixture", "swwae", "vunet", "acn"])
def test_the_figures_are_those_of_torchs_own_counter(name: str) -> None:
    model = subject_of(builtin(name)).model
    with FlopCounterMode(display=False) as counter, global_seed("flops"):
        model.decode(model.means(digits().train.grey[:IMAGES]))
    found = coding(model, digits())
    assert found is not None
    assert found.per_image == counter.get_total_flops() // IMAGES
    assert (counter.get_total_flops() > 0) == (name != "copy")


def test_what_cannot_be_counted_is_none() -> None:
    assert coding(Frozen(training.Recipe(Baseline, digits().spec).build()), digits()) is None


class Studious(Layers):
    """Learns before its first answer, from what it keeps; ``once`` for a whole process, however often it is made."""

    once, done = False, 0

    def encode(self, x: Tensor) -> dict[str, Any]:
        if not (Studious.done if self.once else hasattr(self, "studied")):
            self.studied = Studious.done = 1
            with torch.enable_grad():
                ones = torch.ones(100, 100, requires_grad=True)
                (ones @ torch.ones(100, 100)).sum().backward()
        return super().encode(x)


class Refining(Layers):
    """Follows gradients for every image."""

    def decode(self, values: Any) -> Tensor:
        with torch.enable_grad():
            z = values["z"].clone().requires_grad_()
            z = z - torch.autograd.grad(super().decode({"z": z}).sum(), z)[0]
        return super().decode({"z": z})


def count(cls: type[Baseline], n: int) -> Count:
    """Operations of a new model's first answer about n images."""
    model = Frozen(training.Recipe(cls, digits().spec).build())
    with Counter() as counter:
        model.decode(model.means(digits().train.grey[:n]))
    return counter.flops, counter.backward


@pytest.mark.parametrize("once", [False, True])
def test_what_is_done_before_the_first_answer_is_told_from_what_grows_with_the_images(once: bool) -> None:
    Studious.once, Studious.done = once, 0
    found = Coding.of(32, count(Studious, 32), count(Studious, 64))
    assert found.fixed == (1 + once) * 4 * 100**3
    assert found.unit <= LAYERS
    assert once or found == Coding(LAYERS + 100**3, 4 * 100**3, LAYERS)
    assert Coding.of(32, (0, 0), (0, 0), beside=(7, 9)).fixed == 5  # in priors or features


def test_gradients_at_an_answer_are_no_unit_of_a_budget() -> None:
    found, decoder = Coding.of(4, count(Refining, 4), count(Refining, 8)), 2 * 5 * 14 * 14 * 784
    assert found == Coding(LAYERS + 2 * decoder, 0, LAYERS + decoder)


def test_a_timeout_is_not_taken_for_a_failure_to_count() -> None:
    class Late(Layers):
        def encode(self, x: Tensor) -> dict[str, Any]:
            raise TrialTimeout(1.0)

    with pytest.raises(TrialTimeout):
        coding(Frozen(training.Recipe(Late, digits().spec).build()), digits())


def test_training_and_counting_leave_torchs_compiler_unloaded() -> None:
    code = """
import sys
from tests.models import builtin, digits, subject_of
from suite.measuring.flops import coding
assert coding(subject_of(builtin("vae"), "smoke").model, digits()).per_image > 0
print(*{"torch._dynamo", "torch._inductor", "sympy"} & sys.modules.keys())
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []
