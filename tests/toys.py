"""Throw-away baselines and tasks as files, for tests of whole runs: they train and score in a moment."""

from __future__ import annotations

from pathlib import Path

#: Encodes into four numbers; ``{init}``, ``{loss}`` and ``{encode}`` are where misbehaviour goes.
BASELINE = """
import os, random, sys, time
import torch
from torch import nn
from suite.contract import Baseline

class {name}(Baseline):
    summary = "A toy."
    groups = {{"z": "four numbers"}}

    def __init__(self, spec):
        super().__init__(spec)
        self.encoder = nn.Linear(spec.pixels, 4)
        self.decoder = nn.Linear(4, spec.pixels)
        {init}

    def loss(self, batch):
        {loss}
        logits = self.decode({{"z": self.encoder(batch.x.flatten(1)) + 0.1 * torch.randn(len(batch.x), 4)}})
        error = nn.functional.binary_cross_entropy_with_logits(logits, batch.x, reduction="none").sum((1, 2, 3))
        return {{"loss": error}}

    def encode(self, x):
        {encode}
        return {{"z": self.encoder(x.flatten(1))}}

    def decode(self, values):
        return self.decoder(values["z"]).unflatten(1, self.spec.shape)
"""

#: Scores the distortion of the first test images, with everything that a record can have beside it.
TASK = """
import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from suite.contract import Measure, Metric, Score, Task

class {name}(Task):
    summary = "A toy."
    primary = "error"
    metrics = (
        Metric("error", "nats", "lower", "of the first test images"),
        Metric("size/*", "", "", "mean of a group"),
    )

    def score(self, subject):
        {score}
        x = subject.dataset.test.binary[:50]
        values = subject.model.means(x)
        logits = subject.model.decode(values)
        errors = binary_cross_entropy_with_logits(logits, x, reduction="none").sum((1, 2, 3))
        metrics = {{"error": Measure.mean(errors)}}
        metrics |= {{f"size/{{name}}": Measure(float(v.float().mean())) for name, v in values.items()}}
        return Score(metrics, {{"error": errors.numpy()}}, {{"line": [(0, 1.0), (1, 2.0)]}}, {{"inputs": x[0]}})
"""


def write_baseline(folder: Path, name: str, *, init: str = "", loss: str = "", encode: str = "") -> Path:
    """Writes a baseline (one line of code may go into each method) and returns its file."""
    code = BASELINE.format(name=name, init=init or "pass", loss=loss or "pass", encode=encode or "pass")
    return _write(folder, name, code)


def write_task(folder: Path, name: str = "Error", *, score: str = "") -> Path:
    """Writes a task (one line of code may go before the scoring) and returns its file."""
    return _write(folder, name, TASK.format(name=name, score=score or "pass"))


def _write(folder: Path, name: str, code: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name.lower()}.py"
    path.write_text(code)
    return path
