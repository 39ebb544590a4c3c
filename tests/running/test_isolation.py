"""What one trial changes, the next does not see."""

from __future__ import annotations

import os
import random
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from suite.running.isolation import isolated


def numbers() -> list[float]:
    """What a trial computes: draws from every global stream, an initialized layer, a gradient."""
    layer = torch.nn.Linear(3, 2)
    loss = layer(torch.randn(4, 3)).exp().sum()
    loss.backward()
    drawn = [random.random(), float(np.random.rand()), float(torch.distributions.Normal(0.0, 1.0).sample())]
    return [*drawn, float(loss.detach()), float(layer.weight.grad.sum()), float(torch.sin(torch.ones(1)))]


def trial(seed: int = 0, mess: Callable[[], object] | None = None) -> list[float]:
    with isolated(seed):
        measured = numbers()
        if mess:
            mess()
    return measured


@pytest.fixture(scope="module")
def fresh() -> list[float]:
    return trial()


MESSES: dict[str, Callable[[], object]] = {
    "seeds": lambda: (torch.manual_seed(1), np.random.seed(1), random.seed(1)),
    "default dtype": lambda: torch.set_default_dtype(torch.float64),
    "default device": lambda: torch.set_default_device("meta"),
    "threads": lambda: torch.set_num_threads(2),
    "gradients": lambda: torch.set_grad_enabled(False),
    "deterministic": lambda: torch.use_deterministic_algorithms(True, warn_only=True),
    "precision": lambda: torch.set_float32_matmul_precision("medium"),
    "autocast": lambda: torch.set_autocast_enabled("cpu", True),
    "flush denormal": lambda: torch.set_flush_denormal(True),
    "a torch function": lambda: setattr(torch, "sin", torch.cos),
    "a compiled method": lambda: setattr(torch.Tensor, "exp", lambda self: self),
    "a layer's method": lambda: setattr(torch.nn.Linear, "forward", lambda self, x: x * 2),
    "a distribution": lambda: setattr(torch.distributions.Normal, "sample", lambda self, shape=(): torch.zeros(())),
    "a hook on every module": lambda: torch.nn.modules.module.register_module_forward_hook(lambda m, i, o: o * 2),
    "numpy": lambda: setattr(np.random, "rand", lambda: 0.5),
    "the seeding itself": lambda: setattr(torch, "manual_seed", lambda seed: None),
}


@pytest.mark.parametrize("mess", MESSES.values(), ids=MESSES.keys())
def test_a_trial_after_a_dirty_one_computes_what_a_fresh_one_does(
    fresh: list[float], mess: Callable[[], object]
) -> None:
    trial(seed=1, mess=mess)
    assert trial() == fresh


def test_different_seeds_have_different_global_streams() -> None:
    assert trial(0) != trial(1)


def test_the_process_around_the_trial_is_put_back(tmp_path: Path) -> None:
    def mess() -> None:
        os.environ["TOY_SETTING"] = "1"
        os.environ.pop("PATH")
        os.chdir(tmp_path)
        sys.path.insert(0, str(tmp_path))
        warnings.simplefilter("error")

    before = dict(os.environ), Path.cwd(), list(sys.path), list(warnings.filters)
    trial(mess=mess)
    assert (dict(os.environ), Path.cwd(), list(sys.path), list(warnings.filters)) == before


def test_the_callers_own_streams_and_switches_go_on_where_they_were() -> None:
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    torch.set_default_dtype(torch.float64)
    try:
        assert trial() == trial()
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(torch.rand(2), expected)


def test_replaced_functions_are_named_and_put_back_after_an_error_too() -> None:
    original = time.time
    with pytest.raises(ValueError, match="inside"), isolated(0) as replaced:
        time.time = lambda: 0.0
        raise ValueError("inside")
    assert time.time is original
    assert replaced == ["time.time"]


def test_ordinary_training_replaces_nothing() -> None:
    with isolated(0) as replaced:
        layer = torch.nn.Linear(2, 2)
        optimizer = torch.optim.Adam(layer.parameters(), fused=True)
        layer(torch.ones(1, 2)).sum().backward()
        optimizer.step()
    assert replaced == []
