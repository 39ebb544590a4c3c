"""Random streams derived by hashing names, so that adding a task or a seed never moves another's numbers."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch


def derive(*names: object) -> int:
    """Returns the 63-bit seed that belongs to this path of names, e.g. ``derive(seed, "init")``."""
    text = "\x1f".join(str(name) for name in names)
    return int.from_bytes(hashlib.sha256(text.encode(errors="surrogatepass")).digest()[:8], "big") >> 1


def torch_rng(*names: object) -> torch.Generator:
    """Returns a CPU generator of its own; draws are moved to the device, so every device sees the same noise."""
    import torch

    return torch.Generator().manual_seed(derive(*names))


def numpy_rng(*names: object) -> np.random.Generator:
    """Returns NumPy's generator for this path of names."""
    import numpy as np

    return np.random.default_rng(derive(*names))


@contextlib.contextmanager
def global_seed(*names: object) -> Iterator[None]:
    """Seeds torch's global streams inside the block and puts the old state back after it."""
    import torch

    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(derive(*names))
        yield
