"""How often a rule of ranking separates models that are equal, and how often it finds those that differ.

    python -m suite.boards.simulation [--boards 200]

prints the table of docs/protocol.md. It is a module and no command of ``suite``: only who changes the rule needs it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from scipy import special

from suite.boards import statistics, variances
from suite.boards.order import above, places
from suite.boards.statistics import Floats, Moments
from suite.boards.stepdown import Bools, Column, Evidence, Luck, establish, generator, luck, step_down

MODELS, SEEDS, IMAGES = 27, 5, 10_000

#: Standard deviations in nats: of a seed; over images, of what all models find hard, of what one does, of one seed.
SEED_SD, HARD, OWN, INTERACTION = 0.2, 25.0, 5.0, 3.0

#: Between neighbours of the ladder, in nats.
STEP = 0.6

#: Of the boards that tell what an overall order is worth.
FEW, COLUMNS = 12, 4

Rule = Callable[[Evidence], Bools]


def board(rng: np.random.Generator, sds: Floats, truth: Floats) -> Evidence:
    """Draws one column: models with these true scores, whose seeds vary by these; 0 is a deterministic model."""
    k = len(sds)
    values = rng.standard_normal((k, IMAGES), dtype=np.float32) * np.float32(OWN)
    values += rng.standard_normal(IMAGES, dtype=np.float32) * np.float32(HARD)
    luck = sds[:, None] * rng.standard_normal((k, SEEDS))
    means = truth + values.mean(axis=1, dtype=np.float64) + luck.mean(axis=1)
    values -= values.mean(axis=1, keepdims=True)
    covariance = (values @ values.T).astype(float) / (IMAGES * (IMAGES - 1))
    variance = np.maximum(luck.var(axis=1, ddof=1), np.where(sds > 0, INTERACTION**2 / IMAGES, 0.0))
    return Evidence(means, variance, np.full(k, float(SEEDS)), sds == 0, covariance, float(IMAGES))


def scenarios() -> dict[str, tuple[Floats, Floats]]:
    """Returns name -> the models' standard deviations between seeds, and their true scores."""
    equal, wide = np.full(MODELS, SEED_SD), SEED_SD * np.geomspace(10**-0.5, 10**0.5, MODELS)
    none = np.zeros(MODELS)
    two, five, mixed = equal.copy(), equal.copy(), wide.copy()
    two[:2] = mixed[:2] = 20.0
    five[2:7] = mixed[2:7] = 0.0
    return {
        "equal sds": (equal, none),
        "sds over a factor of 10": (wide, none),
        "two with sd 20": (two, none),
        "five deterministic": (five, none),
        "mixed": (mixed, none),
        "power, ladder": (equal, STEP * np.arange(float(MODELS))),
    }


def _parts(e: Evidence) -> tuple[Floats, Floats, Floats, Floats]:
    """The differences, their variance between seeds and over images, and Welch's degrees of freedom, (K, K) each."""
    g, a = e.covariance, e.variance / e.seeds
    image = np.maximum(np.diag(g)[:, None] + np.diag(g)[None] - 2 * g, 0.0)
    seed, weight = a[:, None] + a[None], (a**2 / (e.seeds - 1))[:, None] + (a**2 / (e.seeds - 1))[None]
    df = np.divide((seed + image) ** 2, weight, out=np.full(seed.shape, np.inf), where=weight > 0)
    return np.abs(e.mean[:, None] - e.mean[None]), seed, image, df


def unpaired(e: Evidence) -> Bools:
    """Each pair at 5 %, images as if every model had its own."""
    m = Moments(e.mean, e.variance / e.seeds, e.seeds, statistics.image_part(np.sqrt(np.diag(e.covariance)), e.images))
    one = Moments(*(field[:, None] for field in (m.mean, m.seed_variance, m.seeds, m.image_quantile)))
    difference, half = statistics.difference(one, m)
    return np.asarray(np.abs(difference) > half)


def paired(e: Evidence) -> Bools:
    """Each pair at 5 %, images paired: the interval of ``statistics.paired_difference``."""
    difference, seed, image, _ = _parts(e)
    a = e.variance / e.seeds
    weight = (a**2 / (e.seeds - 1))[:, None] + (a**2 / (e.seeds - 1))[None]
    df = np.divide(seed**2, weight, out=np.full(seed.shape, np.inf), where=weight > 0)
    half = np.sqrt(statistics.quantile(df) ** 2 * seed + statistics.quantile(e.images - 1) ** 2 * image)
    return np.asarray(difference > half)


def games_howell(e: Evidence) -> Bools:
    """Each pair against the studentized range at its own degrees of freedom (Games & Howell 1976)."""
    difference, seed, image, df = _parts(e)
    grid, ranges = _ranges(len(e.mean))
    return np.asarray(difference > np.interp(1 / df, grid, ranges) * np.sqrt((seed + image) / 2))


def tukey(e: Evidence) -> Bools:
    """The studentized range with one variance between seeds for all models."""
    difference, _, image, _ = _parts(e)
    grid, ranges = _ranges(len(e.mean))
    pooled = 2 * np.mean(e.variance) / SEEDS
    return np.asarray(difference > np.interp(1 / np.sum(e.seeds - 1), grid, ranges) * np.sqrt((pooled + image) / 2))


@cache
def _ranges(k: int) -> tuple[Floats, Floats]:
    """The 5 % point of the studentized range of k means, over 1 / degrees of freedom."""
    from scipy.stats import studentized_range

    grid = np.linspace(0, 1 / (SEEDS - 1), 17)
    return grid, np.array([studentized_range.isf(0.05, k, np.inf if x == 0 else 1 / x) for x in grid])


def holm(e: Evidence) -> Bools:
    """Welch's test of each pair, all pairs by Holm's step-down at 5 %."""
    difference, seed, image, df = _parts(e)
    upper = np.triu_indices(len(e.mean), 1)
    t = (difference / np.sqrt(seed + image + np.eye(len(e.mean))))[upper]
    p = 2 * special.stdtr(np.minimum(df[upper], 1e9), -t)
    order = np.argsort(p)
    kept = np.cumsum(p[order] > 0.05 / (len(p) - np.arange(len(p)))) == 0
    found = np.zeros(difference.shape, dtype=bool)
    found[upper[0][order[kept]], upper[1][order[kept]]] = True
    return found | found.T


def smyth(e: Evidence) -> Bools:
    """Moderated as Smyth (2004) has it, outliers and all, and the step-down at 5 %."""
    df, k = e.seeds - 1, len(e.mean)
    random = ~e.deterministic
    logs = np.log(e.variance[random]) - special.digamma(df[random] / 2) + np.log(df[random] / 2)
    beyond = float(logs.var(ddof=1) - special.polygamma(1, df[random] / 2).mean())
    half = variances.inverse_trigamma(beyond) if beyond > 0 else 1e6
    prior = np.exp(logs.mean() + special.digamma(half) - np.log(half))
    moderated = (2 * half * prior + df * e.variance) / (2 * half + df)
    seeds = Luck(np.where(random, moderated, 0.0) / e.seeds, np.where(random, 2 * half + df, np.inf))
    better = step_down([Column(e, seeds, k * (k - 1) // 2, generator(0), level=0.05)], 0.05)[0]
    return better | better.T


def the_rule(e: Evidence) -> Bools:
    """What the board does (``stepdown``)."""
    better = establish(e)
    return better | better.T


RULES: dict[str, Rule] = {
    "unpaired, 5 % a pair": unpaired,
    "paired, 5 % a pair": paired,
    "Games-Howell": games_howell,
    "Tukey, pooled variance": tukey,
    "Holm + Welch": holm,
    "Smyth + max-t step-down, 5 %": smyth,
    "the rule": the_rule,
}


def rates(boards: int, seed: int = 0, rules: Sequence[str] = tuple(RULES)) -> dict[str, dict[str, float]]:
    """Returns rule -> scenario -> how often, in per cent, it separates any pair of equal models.

    On the ladder, where no two models are equal, it is the share of neighbours that it separates.
    """
    found: dict[str, dict[str, float]] = {rule: {} for rule in rules}
    for number, (name, (sds, truth)) in enumerate(scenarios().items()):
        rng = np.random.default_rng([seed, number])
        drawn = [board(rng, sds, truth) for _ in range(boards)]
        for rule in rules:
            separated = [RULES[rule](evidence) for evidence in drawn]
            hits = [np.diag(s, 1).mean() if truth.any() else s.any() for s in separated]
            found[rule][name] = 100 * float(np.mean(hits))
    return found


def winners(boards: int, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Returns rule -> how often it names a sole winner, in per cent, and which share of right orders it finds.

    The boards have four columns and two equal models on top, so that any sole winner is false; all others are a ladder.
    """
    truth = STEP * np.maximum(np.arange(FEW) - 1, 0)
    right = truth[:, None] < truth[None]
    rng = np.random.default_rng([seed, len(scenarios())])
    sole: dict[str, list[bool]] = {}
    orders: dict[str, list[float]] = {}
    for _ in range(boards):
        columns = [board(rng, np.full(FEW, SEED_SD), truth) for _ in range(COLUMNS)]
        found = {
            "mean of the middle ranks, unpaired": _by_mean([unpaired(e) & _lower(e) for e in columns]),
            "mean of the middle ranks, the rule's": _by_mean([establish(e) for e in columns]),
            "the rule": _joint(columns),
        }
        for name, better in found.items():
            sole.setdefault(name, []).append(bool((places(better)[1] == 1).any()))
            orders.setdefault(name, []).append(float(better[right].mean()))
    return {name: (100 * float(np.mean(sole[name])), 100 * float(np.mean(orders[name]))) for name in sole}


def _lower(e: Evidence) -> Bools:
    return np.asarray(e.mean[:, None] < e.mean[None])


def _by_mean(columns: Sequence[Bools]) -> Bools:
    means = np.mean([np.sum(places(better), axis=0) for better in columns], axis=0)
    return np.asarray(means[:, None] < means[None])


def _joint(columns: Sequence[Evidence]) -> Bools:
    k = len(columns[0].mean)
    pairs = len(columns) * k * (k - 1) // 2
    return above(step_down([Column(e, luck(e), pairs, generator(i)) for i, e in enumerate(columns)]))


def table(boards: int) -> str:
    """Returns both tables as Markdown."""
    names = list(scenarios())
    lines = [f"| rule | {' | '.join(names)} |", f"| --- |{' --: |' * len(names)}"]
    for rule, row in rates(boards).items():
        lines.append(f"| {rule} | {' | '.join(f'{row[name]:.1f}' for name in names)} |")
    lines += ["", "| overall order | false sole winner | right orders found |", "| --- | --: | --: |"]
    for rule, (sole, right) in winners(boards).items():
        lines.append(f"| {rule} | {sole:.1f} | {right:.1f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(prog="python -m suite.boards.simulation", description=__doc__.splitlines()[0])
    parser.add_argument("--boards", type=int, default=200, metavar="N", help="boards of each scenario [200]")
    sys.stdout.write(table(parser.parse_args().boards))


if __name__ == "__main__":
    main()
