"""A throw-away project for tests: two baselines and two tasks of a user's own, with helpers of every kind."""

from __future__ import annotations

from pathlib import Path

FILES = {
    "model.py": '''
"""A model."""
import torch
import helper
import package.deep as deep
from twin import SCALE
from .near import SHIFT
from suite.contract import Baseline


class Model(Baseline):
    """Says little."""

    summary = "of a user"

    def __init__(self, spec, width: int = 4, rate: float = 0.5):
        super().__init__(spec)
        self.width, self.rate = width, rate

    def encode(self, x):
        from late import FACTOR

        return {"z": x.flatten(1)[:, :1] * helper.GAIN * deep.DEPTH * SCALE * SHIFT * FACTOR}

    def decode(self, values):
        return torch.zeros(len(values["z"]), *self.spec.shape)
''',
    "helper.py": "from transitive import BASE\n\nGAIN = 2.0 * BASE\n",
    "transitive.py": "BASE = 1.0\n",
    "twin.py": "SCALE = 3.0\n",
    "near.py": "SHIFT = 5.0\n",
    "late.py": "FACTOR = 1.0\n",
    "package/__init__.py": "",
    "package/deep.py": "from . import inner\n\nDEPTH = inner.STEP\n",
    "package/inner.py": "STEP = 7.0\n",
    "package/unused.py": "NOTHING = 0\n",
    "other_model.py": """
from suite.contract import Baseline


class OtherModel(Baseline):
    supervision = "labels"
    variants = {"small": {"width": 1}, "large": {"width": 9}}

    def __init__(self, spec, width: int):
        super().__init__(spec)

    def encode(self, x):
        return {}

    def decode(self, values):
        return values
""",
    "measure.py": '''
from formula import WEIGHT
from suite.contract import Score, Task


class Measurement(Task):
    """Measures."""

    version = 1
    primary = "m"

    def __init__(self, draws: int = 8):
        self.draws = draws

    def score(self, subject):
        return Score()
''',
    "formula.py": "WEIGHT = 1.0\n",
    "other_measure.py": """
from suite.contract import Task


class OtherMeasurement(Task):
    requires = ("labels",)

    def score(self, subject):
        pass
""",
}

MODELS = ("model", "small", "large")
TASKS = ("measure", "other_measure")


def write_project(folder: Path) -> Path:
    """Writes the project's files and returns its folder."""
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def edit(path: Path, old: str, new: str) -> None:
    """Replaces text that must be there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
