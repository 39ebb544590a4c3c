"""The core's share of what all groups save, with its paired interval, from published records alone.

    python results/mnist/shares.py MODEL... unet_autoencoder

A share is a ratio of means over test images and has no value of its own for each of them. ``linearized_ratio`` gives it
some, from the per-image rises kept beside the records, and with them images are paired.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from suite import load_records, records
from suite.boards import Floats, linearized_ratio, paired_difference

FOLDER = Path(__file__).parent
CORE = "z"


def shares(model: str) -> Floats:
    """The linearized share of the core in each seed and image, (seeds, images)."""
    table = load_records(FOLDER)
    rows = table[(table["baseline"] == model) & (table["task"] == "latent_ablation") & (table["status"] == "ok")]
    return np.stack([_share(key) for key in sorted(set(rows["key"]))])


def _share(key: str) -> Floats:
    rises = {
        name.removeprefix("rise/"): values
        for name, values in records.load_values(FOLDER, key).items()
        if name.startswith("rise/")
    }
    # As in latent_ablation: a group whose removal helps has no share, and does not diminish those of others.
    counted = {name: values for name, values in rises.items() if values.mean() > 0}
    if CORE not in counted:
        return np.zeros_like(rises[CORE])
    return linearized_ratio(counted[CORE], np.sum(list(counted.values()), axis=0))


def main() -> None:
    """Prints a table: each model's share of the core less the last one's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+")
    parser.add_argument("reference")
    chosen = parser.parse_args()
    reference = shares(chosen.reference)
    lines = [f"| model | core\\_share | less {chosen.reference}'s | interval | images | seeds |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: |")
    for model in chosen.models:
        own = shares(model)
        difference, half = paired_difference(own, reference)
        interval = f"{difference - half:.3f} to {difference + half:.3f}"
        name, counts = model.replace("_", r"\_"), f"{own.shape[1]} | {len(own)}"
        lines.append(f"| {name} | {own.mean():.3f} | {difference:.3f} | {interval} | {counts} |")
    sys.stdout.write("\n".join([*lines, "", ""]))


if __name__ == "__main__":
    main()
