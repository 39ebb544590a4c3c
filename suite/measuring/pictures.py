"""Pictures of images in rows: what a task shows beside its numbers."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from torch import Tensor

from suite.files import write_atomically


def grid(rows: list[Tensor], pad: int = 2, scale: int = 2) -> Tensor:
    """Lays out rows of images on white.

    Args:
        rows: Each (n, C, H, W) in [0, 1]; shorter rows leave white space. Grey and colour may be mixed.
        pad: White pixels between images, before scaling.
        scale: Every pixel becomes a square of this side.

    Returns:
        One image (3, H', W').
    """
    rows = [row.detach().cpu().float().clamp(0, 1) for row in rows]
    columns, (height, width) = max(len(row) for row in rows), rows[0].shape[-2:]
    canvas = torch.ones(3, len(rows) * (height + pad) + pad, columns * (width + pad) + pad)
    for r, row in enumerate(rows):
        for c, image in enumerate(row):
            top, left = pad + r * (height + pad), pad + c * (width + pad)
            canvas[:, top : top + height, left : left + width] = image
    return canvas.repeat_interleave(scale, 1).repeat_interleave(scale, 2)


def save_png(path: Path, image: Tensor) -> None:
    """Writes an image (C, H, W) in [0, 1] as PNG, atomically."""
    from PIL import Image

    array = (image.detach().cpu().clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    written = io.BytesIO()
    Image.fromarray(array.squeeze(-1) if array.shape[-1] == 1 else array).save(written, format="PNG")
    write_atomically(path, written.getvalue())
