from __future__ import annotations

import pytest
import torch

from suite.measuring.density import COMPONENTS, fit


def test_the_reference_density_sums_to_one_and_knows_its_data() -> None:
    rng = torch.Generator().manual_seed(0)
    kinds = torch.rand(2000, 1, generator=rng) < 0.3
    bits = torch.bernoulli(torch.where(kinds, 0.1, 0.9).expand(2000, 4), generator=rng).view(-1, 1, 2, 2)
    mixture = fit(bits, rng)
    everything = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 4).view(-1, 1, 2, 2)
    assert float((-mixture.nats(everything)).exp().sum()) == pytest.approx(1, abs=1e-5)
    frequency = (bits.flatten(1) == 1).all(1).double().mean()
    assert float((-mixture.nats(torch.ones(1, 1, 2, 2))).exp()) == pytest.approx(float(frequency), abs=0.02)
    assert len(mixture.log_weights) == COMPONENTS
