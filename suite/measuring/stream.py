"""Where the suite's own noise comes from: torch's generator, or the stream of a secret.

The Mersenne Twister (Matsumoto and Nishimura 1998) is linear in its bits: some 20,000 of them tell all that follow, and
torch reads only 32 bits of its seed. A receiver that is sent many numbers which vary freely, and so cost nothing, could
solve for the noise of the others and take it away. Published noise is known to everybody as it is, and the models that
meet it are the repository's own; noise that has to stay secret is a keystream, of which no part tells another.
"""

from __future__ import annotations

import hashlib
import math

import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from torch import Tensor

from suite.seeds import derive


class SecretGenerator(torch.Generator):
    """torch's generator for what nobody is sent, with a keystream (AES-256 in counter mode) for what is.

    Args:
        names: A path of names with a secret among them.
    """

    def __new__(cls, *names: object) -> SecretGenerator:
        return super().__new__(cls)

    def __init__(self, *names: object) -> None:
        key = hashlib.sha256("\x1f".join(str(name) for name in names).encode(errors="surrogatepass")).digest()
        self._stream = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
        self.manual_seed(derive("what nobody is sent", *names))

    def uniform(self, shape: tuple[int, ...]) -> Tensor:
        """Returns the next numbers of [0, 1), multiples of 2^-53, float64."""
        n = math.prod(shape)
        words = (
            torch.frombuffer(bytearray(self._stream.update(bytes(8 * n))), dtype=torch.int64) if n else torch.empty(0)
        )
        return ((words.long() >> 11) & (2**53 - 1)).double().mul_(2.0**-53).view(shape)


def uniform(rng: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    """Draws numbers of [0, 1), float64, on the CPU."""
    if isinstance(rng, SecretGenerator):
        return rng.uniform(shape)
    return torch.rand(shape, generator=rng, dtype=torch.float64)


def normal(rng: torch.Generator, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Draws standard normal numbers on the CPU; those of a secret by the method of Box and Muller (1958)."""
    if not isinstance(rng, SecretGenerator):
        return torch.randn(shape, generator=rng, dtype=dtype)
    n = math.prod(shape)
    radius, angle = rng.uniform((2, (n + 1) // 2))
    radius, angle = (-2 * torch.log1p(-radius)).sqrt_(), 2 * math.pi * angle
    return torch.cat([radius * angle.cos(), radius * angle.sin()])[:n].view(shape).to(dtype)
