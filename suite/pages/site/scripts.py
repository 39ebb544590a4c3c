"""Numbers for the browser, as scripts that a page loads when it needs them: that works from a file as well, where
reading data does not.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suite.boards import Exhibits, pairs_of
from suite.pages.site.contents import Column, Section

#: The most per-image values in one script; of more, evenly spaced images are taken.
VALUES = 600_000


def packed(array: NDArray[Any]) -> str:
    """Returns an array as base64: float32 in little-endian order, or bits, the first of a byte being its highest.

    What float32 cannot hold is its largest number.
    """
    most = np.finfo("<f4").max
    data = np.packbits(array) if array.dtype == bool else array.clip(-most, most).astype("<f4")
    return base64.b64encode(data.tobytes()).decode()


def called(function: str, value: Any) -> bytes:
    """Returns a script that hands a value to a function of the page."""
    text = json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return f"{function}({text});\n".encode()


def embedded(value: Any) -> str:
    """Returns a value as JSON that may stand between the tags of a page."""
    return json.dumps(value, ensure_ascii=True, sort_keys=True).replace("<", "\\u003c").replace(">", "\\u003e")


def pairs_script(section: Section, column: Column, exhibits: Exhibits) -> bytes:
    """Returns what is known of all pairs of a column: half-widths above the diagonal, row by row, and verdicts."""
    rows = section.rows[column.id]
    found = pairs_of(rows, exhibits.per_image)
    upper = np.triu_indices(len(rows), 1)
    ranked = np.array([bool(row.ranked_among) for row in rows])
    known = {class_: i for i, class_ in enumerate(sorted({row.class_ for row in rows}))}
    classes = np.array([known[row.class_] for row in rows])
    return called(
        "sitePairs",
        {
            "id": f"{section.number}-{column.id}",
            "models": len(rows),
            "half": packed(found.half[upper]),
            "paired": packed(found.paired[upper]),
            "separated": packed((found.separated | found.separated.T)[upper]),
            "ranked": packed((ranked[:, None] & ranked & (classes[:, None] == classes))[upper]),
        },
    )


def images_script(section: Section, column: Column, exhibits: Exhibits) -> tuple[bytes, int] | None:
    """Returns the per-image values of a column and how many images they are of; None where too few are kept."""
    found = {row.model: exhibits.means(row) for row in section.rows[column.id]}
    known = {model: values for model, values in found.items() if values is not None}
    sizes = [len(values) for values in known.values()]
    images = max(set(sizes), key=lambda n: (sizes.count(n), n), default=0)
    models = [model for model, values in known.items() if len(values) == images]
    if images < 2 or not models:
        return None
    step = -(-len(models) * images // VALUES)
    values = np.stack([known[model] for model in models])[:, ::step]
    script = called(
        "siteImages",
        {
            "id": f"{section.number}-{column.id}",
            "models": models,
            "images": images,
            "step": step,
            "values": packed(values),
        },
    )
    return script, images
