"""Rows -> ranks: intervals, the places of each column, the overall order, the order of the rows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from suite.boards import statistics
from suite.boards.order import overall, places, steads
from suite.boards.per_image import PerImage
from suite.boards.rows import Row, parts
from suite.boards.statistics import Floats, Moments
from suite.boards.stepdown import Evidence, establish
from suite.errors import unknown
from suite.records import GIVEN_WEIGHTS

#: Values of ``sort`` beside the names of tasks and metrics.
ORDERS = ("name", "overall")

#: Unit -> the smallest difference that is worth a place. Models that share all but a rounding would else be separated
#: by differences that mean nothing, since what they share cancels.
RESOLUTIONS = {"nats": 0.01, "%": 0.01, "dB": 0.01, "bits": 1e-5}

#: That of any other unit: shares, ratios and errors lie between 0 and 1.
RESOLUTION = 1e-4

#: Columns as a reader wants them, by whether they are official, unit and where better lies: what an image costs, what
#: is read from its code, what is gained over a reference; what a message is worth; then all others, by name.
READING = ((True, "nats", "lower"), (True, "%", "higher"), (True, "dB", "higher"), (False, "nats", "higher"))

#: Costs of a model that rows can be sorted by -> whether more is better.
COSTS = {
    **{"parameters": False, "flops_per_image": False, "train_seconds": False, "images_per_second": True},
    **dict.fromkeys(("search_trials", "search_images", "search_seconds", "search_flops"), False),
}

#: Images are added up so many at a time, in single precision.
CHUNK = 2048

#: A model whose interval is so many times the usual one of its column has no place there: nothing is certain of it, and
#: what is certain of others would drown in its rounding. The widest of the published boards has 125 times the usual.
WILD = 1000.0


def rank(rows: Sequence[Row], kept: PerImage) -> None:
    """Fills in the intervals, the places and the overall order of all rows.

    Args:
        rows: Of any sections and classes.
        kept: The per-image values, by which models are compared.
    """
    intervals(rows)
    for (_, (apart, *_)), part in parts(rows, lambda row: (row.section, row.class_)).items():
        if apart or part[0].preliminary:
            continue
        columns = parts((row for row in part if _can_be_ranked(row)), lambda row: row.column)
        columns = {column: _of_one_scale(members) for column, members in columns.items()}
        known = {column: _rank_column(members, kept) for column, members in columns.items()}
        _rank_overall(part, columns, known)


def intervals(rows: Sequence[Row]) -> None:
    """Fills in the interval of every row's value, and the difference below which two are ties."""
    m = Moments(
        np.array([row.value for row in rows]),
        np.array([row.seed_variance for row in rows]),
        np.array([len(row.seeds) for row in rows]),
        np.array([row.image_quantile for row in rows]),
    )
    for row, half in zip(rows, statistics.half_width(m).tolist(), strict=True):
        row.resolution = RESOLUTIONS.get(row.unit, RESOLUTION)
        if not math.isnan(row.value):
            # Weights that a file brings are one training, whatever the seed.
            row.half = row.image_quantile if GIVEN_WEIGHTS in row.flags else half
            row.low, row.high = row.value - row.half, row.value + row.half


def _can_be_ranked(row: Row) -> bool:
    return row.status == "ok" and row.direction != "" and not math.isnan(row.half)


def _of_one_scale(rows: Sequence[Row]) -> list[Row]:
    """Returns the rows of a column but those whose interval is ``WILD``, which are told why they have no place."""
    known = [row.half for row in _own(rows) if row.half > 0] or [math.inf]
    widest = WILD * max(float(np.quantile(known, 0.5, method="lower")), rows[0].resolution)
    for row in rows:
        if row.half > widest:
            row.notes = (*row.notes, f"no place: its interval is over {WILD:g} times the usual one of its column")
    return [row for row in rows if row.half <= widest]


def _own(rows: Sequence[Row]) -> list[Row]:
    """Returns the rows that say what is usual: those of no submission, which could bring any number of models."""
    return [row for row in rows if not row.standing] or list(rows)


def _rank_column(rows: list[Row], kept: PerImage) -> Evidence:
    """Gives the models of one column their places; returns the evidence on them, in the order of their names.

    Of a file from outside one model counts, the best of the column: with many clones a submission would else take from
    others the certainty of theirs.
    """
    rows.sort(key=lambda row: row.model)
    evidence = _evidence(rows, kept)
    families = [row.source if row.standing else row.model for row in rows]
    counting = _counting(families, evidence.mean.tolist())
    better = establish(evidence, counting=counting)
    names = np.array([row.model for row in rows], dtype=object)
    for chosen, told in steads(families, counting):
        among = better[np.ix_(chosen, chosen)]
        first, last = places(among)
        for i in np.flatnonzero(told).tolist():
            row = rows[chosen[i]]
            row.rank_best, row.rank_worst, row.ranked_among = float(first[i]), float(last[i]), len(chosen)
            row.beaten_by = tuple(names[chosen][among[:, i]].tolist())
    return evidence


def _evidence(rows: Sequence[Row], kept: PerImage) -> Evidence:
    """Collects what is known of one column's models, and marks those that are compared image by image."""
    per_image = [kept.of(row) for row in rows]
    usual = {row.model for row in _own(rows)}
    own = [row.model in usual for row in rows]
    known = [values.shape[1] for values, mine in zip(per_image, own, strict=True) if values is not None and mine]
    images = Counter(known or [row.images for row in _own(rows)]).most_common(1)[0][0]  # no single record's word
    variance = np.array([row.seed_variance * len(row.seeds) for row in rows])
    deterministic = np.zeros(len(rows), dtype=bool)
    means: dict[int, Floats] = {}
    for i, (row, values) in enumerate(zip(rows, per_image, strict=True)):
        row.paired = values is not None and values.shape[1] == images
        if values is not None and row.paired:
            means[i] = values.mean(axis=0)
            # What the suite's own noise moves by less than a difference that counts would else be a seed's luck.
            deterministic[i] = bool((np.ptp(values, axis=0) < row.resolution).all())
            # What differs between seeds image by image also differs in their means, however close three of these lie.
            variance[i] = max(variance[i], values.var(axis=0, ddof=1).mean() / images)
    covariance = np.diag(_standard_errors(rows) ** 2)
    if means:
        paired = np.array(list(means))
        common = [place for place, i in enumerate(means) if own[i]] if len(means) == len(rows) else []
        covariance[np.ix_(paired, paired)] = _covariance(list(means.values()), common)
    return Evidence(
        mean=np.array([row.value if row.direction == "lower" else -row.value for row in rows]),
        variance=variance,
        seeds=np.array([float(len(row.seeds)) for row in rows]),
        deterministic=deterministic,
        covariance=covariance,
        images=float(images) if images > 1 else np.inf,
        resolution=rows[0].resolution,
    )


def _standard_errors(rows: Sequence[Row]) -> Floats:
    """Standard errors over images; 0 where a score is not a mean over images: its seeds tell all that is known."""
    quantiles = np.nan_to_num([row.image_quantile for row in rows])
    return np.asarray(quantiles / statistics.image_part(1.0, [row.images or np.inf for row in rows]))


def _covariance(values: Sequence[Floats], common: Sequence[int]) -> Floats:
    """Returns the covariance of the models' means over images, (K, K).

    Where all models share the images what these have in common is taken out first: differences don't see it, and
    single precision then resolves models that are nearly one. ``common`` are the models that tell it; none: not all do.
    """
    n = len(values[0])
    matrix = np.stack(values)
    matrix -= matrix.mean(axis=1, keepdims=True)
    if common:
        matrix -= np.median(matrix[common], axis=0)  # which no single model can move
    single, total = matrix.astype(np.float32), np.zeros((len(values),) * 2)
    for start in range(0, n, CHUNK):
        chunk = single[:, start : start + CHUNK]
        total += chunk @ chunk.T
    return total / (n * (n - 1))


def _rank_overall(
    rows: Sequence[Row],
    columns: Mapping[tuple[str, int, str], Sequence[Row]],
    known: Mapping[tuple[str, int, str], Evidence],
) -> None:
    """Gives models that are ranked in every official task their place over all of these."""
    versions: dict[str, int] = {}
    for row in rows:
        if row.official:
            versions[row.task] = max(versions.get(row.task, 0), row.task_version)
    official = [c for c, members in columns.items() if members[0].official and versions[c[0]] == c[1]]
    if len(versions) < 2 or len(official) < len(versions):
        return
    by_model = [{row.model: (i, row) for i, row in enumerate(columns[column])} for column in official]
    models = [model for model in by_model[0] if all(model in found for found in by_model)]
    if not models:
        return
    chosen = [np.array([found[model][0] for model in models]) for found in by_model]
    families = [_family(by_model[0][model][1]) for model in models]
    middle = [sum(found[model][1].rank_best + found[model][1].rank_worst for found in by_model) for model in models]
    evidence = [known[column].of(index) for column, index in zip(official, chosen, strict=True)]
    means, best, worst = overall(evidence, families, _counting(families, middle))
    place = dict(zip(models, zip(means.tolist(), best.tolist(), worst.tolist(), strict=True), strict=True))
    for row in rows:
        if row.model in place:
            row.overall, row.overall_best, row.overall_worst = map(float, place[row.model])


def _family(row: Row) -> str:
    """A file from outside is one family, whatever its classes call theirs, and none that is called as another is."""
    return row.source if row.standing else f"{row.family or row.model} {row.source}"


def _counting(families: Sequence[str], middle: Sequence[float]) -> np.ndarray:
    """Returns which models count: of each family the first with the best mean rank."""
    best: dict[str, int] = {}
    for i, family in enumerate(families):
        if family not in best or middle[i] < middle[best[family]]:
            best[family] = i
    counting = np.zeros(len(families), dtype=bool)
    counting[list(best.values())] = True
    return counting


def ordered(rows: Sequence[Row], sort: str | None = None) -> list[Row]:
    """Returns the rows as a page shows them: sections, classes, models by ``sort``, official tasks first.

    Raises:
        UserError: If there is no column named ``sort``.
    """
    names = {name for row in rows for name in (row.task, row.metric, f"{row.task}/{row.metric}")} | {*ORDERS, *COSTS}
    if sort is not None and sort not in names:
        raise unknown("column", sort, names)
    classes = parts(rows, lambda row: (row.section, row.class_))
    found: list[Row] = []
    for key in sorted(classes):
        place = reading(classes[key])
        part = sorted(classes[key], key=lambda row: place[row.task, row.task_version])
        models = parts(part, lambda row: row.model)
        found += [row for model in _order(models, sort) for row in models[model]]
    return found


def reading(rows: Sequence[Row]) -> dict[tuple[str, int], tuple[bool, int, str, int]]:
    """Returns (task, version) -> where its columns stand: as ``READING`` has them, official ones before all others."""
    firsts = {task: members[0] for task, members in parts(rows, lambda row: (row.task, row.task_version)).items()}
    kinds = {task: (row.official, row.unit, row.direction) for task, row in firsts.items()}
    place = {kind: i for i, kind in enumerate(READING)}
    return {task: (not kind[0], place.get(kind, len(READING)), *task) for task, kind in kinds.items()}


def _order(models: Mapping[str, Sequence[Row]], sort: str | None) -> list[str]:
    """Returns the models of one table in order; those without the number to sort by come last."""
    if sort == "name":
        return sorted(models)
    rows = [row for members in models.values() for row in members]
    by_overall = sort == "overall" or (sort is None and not all(math.isnan(row.overall) for row in rows))
    wanted = {row.column for row in rows if sort in (None, row.task, row.metric, f"{row.task}/{row.metric}")}

    def key(model: str) -> tuple[bool, float, bool, float, str]:
        members = models[model]
        if by_overall:
            number = members[0].overall
        elif sort in COSTS:
            cost = float(getattr(members[0], sort) or math.nan)
            number = -cost if COSTS[sort] else cost
        else:
            first = next((row for row in members if row.column in wanted), members[0])
            number = -first.value if first.direction == "higher" else first.value
        middle = [row.rank_best + row.rank_worst for row in members if not math.isnan(row.rank_best)]
        mean = float(np.mean(middle)) if middle else math.inf
        return math.isnan(number), 0.0 if math.isnan(number) else number, not middle, mean, model

    return sorted(models, key=key)
