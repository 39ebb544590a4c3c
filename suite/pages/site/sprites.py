"""The test images of a dataset in one picture, where the data lie on this machine."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from suite import data
from suite.errors import UserError

#: Images a row; the most pixels in one picture.
ACROSS, PIXELS = 100, 12_000_000


@dataclass(frozen=True)
class Sprite:
    """All test images of a dataset, row by row.

    Attributes:
        png: The picture.
        height, width: Of one image.
        across: Images a row.
        down: Rows.
    """

    png: bytes
    height: int
    width: int
    across: int
    down: int


def sprite(dataset: str, images: int, root: str | Path | None) -> Sprite | None:
    """Returns the test images of a dataset; None where they do not lie here, or are not the ones that were scored.

    Args:
        dataset: Its name.
        images: How many images the scores are of.
        root: Where datasets lie.
    """
    import numpy as np
    from PIL import Image

    try:
        sizes, present = data.info(dataset).sizes, data.on_disk(dataset, data.data_root(root))
    except UserError:
        return None
    if not present or sizes[2] != images:
        return None
    grey = data.load(dataset, root).test.grey
    count, channels, height, width = grey.shape
    if count * height * width > PIXELS:
        return None
    down = -(-count // ACROSS)
    sheet = np.zeros((down * ACROSS, height, width, channels), np.uint8)
    sheet[:count] = (grey.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    rows = sheet.reshape(down, ACROSS, height, width, channels).swapaxes(1, 2)
    whole = rows.reshape(down * height, ACROSS * width, channels)
    written = io.BytesIO()
    Image.fromarray(whole.squeeze(-1) if channels == 1 else whole).save(written, format="PNG")
    return Sprite(written.getvalue(), height, width, ACROSS, down)
