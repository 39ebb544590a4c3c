"""The public contract: what authors of baselines and tasks import. The classes' docstrings are the specification.

A baseline hands over distributions, codes and logits; it never reports a score. The suite
computes every likelihood, rate, accuracy and distance from what it is handed, with noise of its own.
"""

from suite.data import Batch, DataSpec, TrainSet
from suite.errors import ContractError, Diverged, Unsupported, UserError
from suite.measuring import Anchor, Measure, Metric, Score, Task, image_nats
from suite.training import Baseline, Discrete, Group, Latents, Values

__all__ = [
    "Anchor",
    "Baseline",
    "Batch",
    "ContractError",
    "DataSpec",
    "Discrete",
    "Diverged",
    "Group",
    "Latents",
    "Measure",
    "Metric",
    "Score",
    "Task",
    "TrainSet",
    "Unsupported",
    "UserError",
    "Values",
    "image_nats",
]
