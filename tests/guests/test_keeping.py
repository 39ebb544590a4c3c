"""What a keeper has loaded before it forks a sitting."""

from __future__ import annotations

import subprocess
import sys

FIRST_USE = """
import sys
import torch
from suite.guests.keeping import warm_up
warm_up()
from suite.data import DataSpec
from suite.measuring import Frozen
from suite.plugins import registry
from suite.training import Recipe
spec = DataSpec("toy", (1, 28, 28), 10, 100)
for name in ("swwae", "vunet", "conv_vae", "acn"):
    (source, params), *_ = registry.resolve_all("baseline", name)
    model = Frozen(Recipe(registry.load(source), spec, params, 0).build().eval())
    before = set(sys.modules)
    with torch.no_grad():
        model.decode(model.means(torch.rand(4, *spec.shape)))
    print(name, *sorted(set(sys.modules) - before)[:9])
"""


def test_the_first_answer_of_a_sitting_loads_nothing() -> None:
    """A sitting is forked for every answer: what its first use loads, it loads each time."""
    done = subprocess.run([sys.executable, "-c", FIRST_USE], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["swwae", "vunet", "conv_vae", "acn"], done.stdout + done.stderr
