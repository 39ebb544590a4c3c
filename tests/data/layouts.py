"""Small datasets in the layouts of the published files."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def write_idx(folder: Path, *parts: tuple[str, int]) -> None:
    folder.mkdir(parents=True)
    for prefix, n in parts:
        images = np.broadcast_to(np.arange(n)[:, None, None], (n, 28, 28))
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(idx(images))
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(np.arange(n) % 10))
