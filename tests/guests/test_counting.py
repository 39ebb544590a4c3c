"""What a guest's answers take is counted as it is in process, and what it learns before them is told from that."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite.measuring import Frozen
from suite.measuring.flops import coding
from suite.plugins import registry
from suite.training import Recipe
from tests.guests.test_guest import _closed, hosted, player  # noqa: F401  # the fixture closes the rooms
from tests.models import digits


@pytest.mark.parametrize("name", ["vae", "conditional_vae", "vhe", "vunet"])
def test_what_coding_takes_is_counted_alike_in_two_rooms_and_in_process(name: str) -> None:
    with hosted(name) as guest:
        found = guest.coding(digits())
    source, params = registry.resolve("baseline", name)
    here = coding(Frozen(Recipe(registry.load(source), digits().spec, params, 0).build()), digits())
    assert found is not None and here is not None
    assert found.per_image == here.per_image > 0
    assert found.fixed <= found.unit  # the templates that a homoencoder decodes


STUDY = """
core = "z"

def study(self):
    if not hasattr(self, "done"):
        self.done = True
        with torch.enable_grad():
            ones = torch.ones(100, 100, requires_grad=True)
            (ones @ torch.ones(100, 100)).sum().backward()
"""


@pytest.mark.parametrize(
    ("where", "sittings"),
    [
        ("def answer(self, z):\n    self.study()\n    return z.sum(1)", 1),
        ("def answer(self, z):\n    len(z) > 64 and self.study()\n    return z.sum(1)", 1),
        ("def encode(self, x):\n    self.study()\n    return {'z': x.flatten(1)[:, :4]}", 1),
        ("def features(self, values):\n    self.study()\n    return super().features(values)", 1),
        ("def train(self, mode=True):\n    mode or self.study()\n    return super().train(mode)", 4),
        ("", 0),
    ],
)
def test_what_a_guest_learns_before_it_answers_is_told_from_coding(tmp_path: Path, where: str, sittings: int) -> None:
    """Sender, receiver, priors and features are asked apart, as they are when it counts."""
    with hosted(player(tmp_path, STUDY + where)) as guest:
        found = guest.coding(digits())
    assert found is not None
    assert found.fixed == sittings * 4 * 100**3
    assert found.unit == 0  # sums count nothing
