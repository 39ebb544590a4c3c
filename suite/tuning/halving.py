"""Which trials go on: successive halving by ASHA's rule (Li et al. 2020, 1810.05934), asked in the order of the trials.

At each rung a trial is held against those before it: it goes on where it is no worse than the best third of them. ASHA
asks in the order in which results come in, which no two runs share. Here the trials of a rung are asked in the order in
which they were drawn, once all of them are there, so that a search has one outcome however it was interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from suite.errors import UserError

#: From rung to rung training is so many times longer, and about one trial in so many goes on.
REDUCTION = 3
#: Times of the rungs, in units of the shortest: 1/9 of the budget, a third, all of it.
TIMES = (1, 3, 9)

#: (time, trial, its value there) -> whether it goes on.
Rule = Callable[[int, str, float], bool]


@dataclass(frozen=True)
class Rung:
    """Where trials are held against each other.

    Attributes:
        time: One of ``TIMES``.
        images: Training ends with the first epoch in which so many have been presented.
    """

    time: int
    images: int


def rungs(budget: int, batch: int, images: int, *, whole: bool = False) -> list[Rung]:
    """Returns the rungs of a model: those that lie in one epoch are one, and the last is the end of its budget.

    Args:
        budget: Images presented in all.
        batch: The model's batch size.
        images: Of the training split.
        whole: Whether a model can only be trained at a stretch.
    """
    batch = min(batch, images)
    per_epoch = images // batch * batch
    end = math.ceil(max(1, budget // batch) * batch / per_epoch)
    found: dict[int, Rung] = {}
    for time in () if whole else TIMES[:-1]:
        epoch = math.ceil(budget * time / TIMES[-1] / per_epoch)
        if epoch < end:
            found[epoch] = Rung(time, epoch * per_epoch)
    return [*found.values(), Rung(TIMES[-1], budget)]


def library_rule(lower: bool) -> Rule:
    """Returns the rule of Ray Tune's ``ASHAScheduler``; to be called where Ray has its environment (``Workers``).

    Raises:
        UserError: If Ray is not here.
    """
    from suite.running import load_tune

    try:
        tune = load_tune()
    except ImportError as error:
        raise UserError(f"Ray cannot be imported ({error}); use --executor local") from error
    asha = tune.schedulers.ASHAScheduler(
        time_attr="time",
        metric="value",
        mode="min" if lower else "max",
        grace_period=TIMES[0],
        max_t=TIMES[-1],
        reduction_factor=REDUCTION,
    )
    known: dict[str, SimpleNamespace] = {}

    def goes_on(time: int, trial: str, value: float) -> bool:
        if trial not in known:
            known[trial] = SimpleNamespace(trial_id=trial)
            asha.on_trial_add(None, known[trial])
        answer = asha.on_trial_result(None, known[trial], {"time": time, "value": value})
        return bool(answer == tune.schedulers.TrialScheduler.CONTINUE)

    return goes_on


def plain_rule(lower: bool) -> Rule:
    """Returns the same rule for a run without Ray; the tests hold the two against each other."""
    seen: dict[int, list[float]] = {}

    def goes_on(time: int, trial: str, value: float) -> bool:
        reward = -value if lower else value
        before = seen.setdefault(time, [])
        fine = not before or reward >= float(np.percentile(before, 100 * (1 - 1 / REDUCTION)))
        before.append(reward)
        return fine

    return goes_on
