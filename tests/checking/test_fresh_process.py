"""Cheats that a fresh process shows."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from suite import data
from suite.checking import fresh_process, integrity
from suite.checking.integrity import Caught, Specimen
from suite.plugins import registry
from tests.checking.honest import Honest

HEADER = f"""
from typing import ClassVar
import torch
from torch import Tensor, nn
from torch.distributions import Normal
from suite.contract import Baseline, Batch, DataSpec, Latents, Values

{inspect.getsource(Honest)}
"""


MODULE_STATE = """
SEEN = []

class Cheat(Honest):
    summary = "keeps codes and images outside the model"

    def encode(self, x):
        z = self.encoder(x.flatten(1))
        SEEN.append((z, x))
        return {"z": z}

    def decode(self, values):
        if not SEEN:
            return super().decode(values)
        z, x = (torch.cat(parts) for parts in zip(*SEEN))
        return 20 * x[torch.cdist(values["z"], z).argmin(1)] - 10
"""


DATA_READER = """
class Cheat(Honest):
    summary = "reads test images and labels where they lie"

    def fit(self, train):
        from sklearn.datasets import load_digits

        self.decoder.bias.data[:10] = float(load_digits().target.mean())
"""


@pytest.mark.parametrize(
    ("text", "reason"), [(MODULE_STATE, "in a fresh process"), (DATA_READER, r"the model opens .*digits\.csv")]
)
def test_the_cheat_is_caught_by_a_fresh_process(text: str, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "cheat.py"
    file.write_text(HEADER + text)
    source = registry.source(next(entry for entry in registry.read_file("baseline", file) if entry.name == "cheat"))
    specimen = Specimen.grow(registry.load(source), {}, data.load("digits"), source)
    assert integrity.stateless(specimen)  # in this process nothing shows
    with pytest.raises(Caught, match=reason):
        fresh_process.fresh_process(specimen)
