from __future__ import annotations

import pytest
import torch

from suite.measuring import noise


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(noise, "STARTS", (1.0,))
    monkeypatch.setattr(noise, "MAX_BLOCKS", 2)
