"""How far two measurements of one cell may lie apart: other threads and processors add in another order.

What is stated here is what ``suite verify`` holds a submission to. The last digit in which two processors differ grows
as a training goes on: mostly into a small difference of the trained model, and where a clustering or a search decides
otherwise into another model, as another seed gives. Nothing turns it into a better one.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tolerance:
    """What is tolerated of a metric.

    Attributes:
        share: Of the value's size.
        least: In the metric's unit.
    """

    share: float
    least: float


#: Standard errors over images that are tolerated beside: a guest's noise is drawn anew each time.
ERRORS = 1.0

#: Standard deviations between seeds that are tolerated beside where another processor, or another number of threads,
#: trained. Of 1,056 numbers of nine models of digits, on an Intel and an AMD processor, 13 differed by more than the
#: rest allows, up to 4.75 points of accuracy (classes by k-means); none by more than this besides.
SEEDS = 4.0

#: Unit -> what is tolerated; a unit that is not here is treated as the empty one.
TOLERANCES = {
    "nats": Tolerance(0.01, 0.5),
    "bits": Tolerance(0.01, 0.001),
    "%": Tolerance(0.0, 2.0),
    "dB": Tolerance(0.01, 0.3),
    "steps": Tolerance(0.5, 2.0),
    "": Tolerance(0.1, 0.02),
}


def tolerated(unit: str, value: float, se: float | None = None, spread: float = 0.0) -> float:
    """Returns how far a second measurement may lie from a value, in its unit.

    Args:
        unit: The metric's, as its task declares it.
        value: The first measurement.
        se: Its standard error over images, where it has one.
        spread: Its standard deviation between seeds, where another processor trained for the second measurement.
    """
    rule = TOLERANCES.get(unit, TOLERANCES[""])
    return rule.share * abs(value) + rule.least + ERRORS * (se or 0.0) + SEEDS * spread
