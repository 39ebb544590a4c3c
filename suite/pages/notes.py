"""The footnotes of a page: what its numbers mean, what its marks mean, what its cells have no room for."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from suite.boards import MIN_SEEDS, Row, parts
from suite.data import DATASETS
from suite.records import CLAIMED, VERIFIED

#: Mark of a value with a flag, of a model that is an anchor, and of a verified submission.
FLAG, ANCHOR, TICK = "!", "°", "✓"

#: What the tick means.
RUN_AGAIN = "Verified: somebody else's model that a maintainer has run again; its numbers are those of that run."

#: Names of anchors that are no baselines.
KINDS = ("floor", "exact")

#: What they are; said where they are shown.
COSTS_NOTE = "Costs: of encoding and decoding one image; of training as it ran, on the machine of its record."

#: How much of a reason a cell of a terminal table shows; longer ones have a footnote.
REASON = 20

#: How many models a footnote lists.
LISTED = 8

#: Task -> its anchors as (name, summary).
Anchors = Mapping[str, Sequence[tuple[str, str]]]


#: A number that an anchor's summary gives for one data set, such as ``; about 96.5 % accuracy on MNIST``.
_NUMBER = re.compile(
    rf"(?:[;,:] )?(?:about )?\d[\d.]* (?:[^\s;,:()]+ ){{0,4}}?on (?P<name>{'|'.join(DATASETS)})\b(?: \([^)]*\))?",
    re.IGNORECASE,
)


def first_notes(rows: Sequence[Row], anchors: Anchors) -> list[str]:
    """Returns what a reader of one section needs first: its rules, its marks, what failed."""
    return [*_rules(rows), *_marks(rows, anchors), *_flags(rows)]


def further_notes(rows: Sequence[Row], anchors: Anchors) -> list[str]:
    """Returns the rest: what could not be paired, what the anchors are, what the tasks noted."""
    return [*_unpaired(rows), *_anchor_notes(rows, anchors), *_cell_notes(rows)]


def _rules(rows: Sequence[Row]) -> list[str]:
    """What the numbers mean: interval, rank, overall order, what stands behind them."""
    first = rows[0]
    found = [f"± {_interval(rows)}"]
    if first.preliminary:
        found.append(f"Preliminary: under {MIN_SEEDS} seeds nothing is ranked ({_seeds(rows)}).")
    found += _ranks(rows)
    if not all(math.isnan(row.overall) for row in rows):
        tasks = ", ".join(dict.fromkeys(row.task for row in rows if row.official))
        found.append(
            f"Overall: a model is above another where its leads in {tasks} add up to more than 0, counted in places "
            "that are certain. Rows are in the order of the mean of the middle ranks. Of a family its best variant "
            "counts; any other has the place that it would have in its stead."
        )
    if any(row.standing == CLAIMED for row in rows):
        found.append("Claimed: records of a submission that nobody else has run. They are shown and not ranked.")
    if any(row.apart and row.standing != CLAIMED for row in rows):
        found.append(
            "Weights or training of their own: models that know more than the budget taught them. They are shown and "
            "not ranked; where a file brings its weights the interval is over test images alone."
        )
    found += _searches(rows)
    if any(row.status == "partial" for row in rows):
        found.append("k/n seeds: the mean of the k seeds that are there; not ranked.")
    found.append(COSTS_NOTE)
    stands = ", ".join(f"{row.task} {row.task_version}" for row in _first_of(rows, _task))
    count = sum(row.records for row in _first_of(rows, lambda row: (row.task, row.task_version, row.model)))
    found.append(f"{count} records: {_seeds(rows)}; engine {first.engine}; versions: {stands}.")
    if first.older:
        found.append(f"{first.older} records of older versions are not shown.")
    return found


def _searches(rows: Sequence[Row]) -> list[str]:
    """What it means to be tuned, and what each search took."""
    tuned = _first_of((row for row in rows if row.tuned), lambda row: (row.model,))
    if not tuned:
        return []
    told = "; ".join(f"{row.model}: {_search(row)}" for row in tuned)
    return [
        "Tuned: parameters that a search has chosen on validation images, with as many trials for every model of the "
        f"table. They are ranked apart from models as they are declared. What the searches took: {told}."
    ]


def _search(row: Row) -> str:
    """Returns what a search took; a record that was made without its search beside it does not know."""
    costs = row.search_trials, row.search_images, row.search_seconds, row.search_flops
    if any(cost is None or math.isnan(cost) for cost in costs):
        return "not known"
    trials, images, seconds, flops = costs
    return f"{trials:.0f} trials, {images:,.0f} training images, {seconds:,.0f} s, {flops / 1e12:.3g} TFLOP"


def _ranks(rows: Sequence[Row]) -> list[str]:
    """What a rank means, and below which difference there is none."""
    ranked = [row for row in rows if row.ranked_among]
    if not ranked:
        return []
    units: dict[str, list[str]] = {}
    for row in _first_of(ranked, lambda row: row.column):
        told = f"{row.resolution:g} {_points(row.unit)}".rstrip()
        units.setdefault(told, []).append(row.metric)
    ties = "; ".join(f"{told} ({', '.join(metrics)})" for told, metrics in units.items())
    return [
        "Rank 2-4: the place is somewhere from 2 to 4. One model is certainly better, all but four are certainly "
        "worse, and between those left over these data cannot tell. Images are paired, seeds independent, one level "
        f"holds for all pairs of a column; a model that lacks a seed has no rank. "
        f"Always a tie: differences below {ties}."
    ]


def _unpaired(rows: Sequence[Row]) -> list[str]:
    """Which ranks could not compare images."""
    ranked = [row for row in rows if row.ranked_among]
    unpaired: dict[str, list[str]] = {}
    for row in ranked:
        if not row.paired:
            unpaired.setdefault(row.task, []).append(row.model)
    told = "; ".join(f"{task}: {_names(models)}" for task, models in unpaired.items())
    return [f"Not paired, for want of per-image values, and so ranked by means and errors: {told}."] if told else []


def _points(unit: str) -> str:
    return "points" if unit == "%" else unit


def _interval(rows: Sequence[Row]) -> str:
    told = "95 % interval over seeds and test images"
    if max(len(row.expected) for row in rows) == 1:
        told = "95 % interval over test images alone: one seed says nothing about others"
    own = "; it is for the number itself, not for a comparison, in which what all models find hard cancels."
    return told + own


def _seeds(rows: Sequence[Row]) -> str:
    """Returns e.g. ``seeds 0-4``; with the tasks where these differ."""
    tasks: dict[str, list[str]] = {}
    for row in _first_of(rows, _task):
        tasks.setdefault(_ranges(row.expected), []).append(row.task)
    if len(tasks) == 1:
        return f"seeds {next(iter(tasks))}"
    return "; ".join(f"seeds {seeds} in {', '.join(names)}" for seeds, names in tasks.items())


def _ranges(seeds: Sequence[int]) -> str:
    if len(seeds) > 2 and seeds[-1] - seeds[0] == len(seeds) - 1:
        return f"{seeds[0]}-{seeds[-1]}"
    return ", ".join(map(str, seeds))


def _task(row: Row) -> tuple[str, int]:
    return row.task, row.task_version


def _first_of(rows: Iterable[Row], key: Callable[[Row], tuple[object, ...]]) -> list[Row]:
    return [members[0] for members in parts(rows, key).values()]


def anchor_models(anchors: Sequence[tuple[str, str]]) -> list[str]:
    """Returns the baselines among the anchors: those named, and one that a floor's summary begins with."""
    named = [summary.partition(":")[0] if name in KINDS else name for name, summary in anchors]
    return [name for name in named if name.isidentifier()]


def _marks(rows: Sequence[Row], anchors: Anchors) -> list[str]:
    """What the mark of an anchor means, where one is shown."""
    known = {name for task in {row.task for row in rows} for name in anchor_models(anchors.get(task, ()))}
    shown = any(row.model in known or not math.isnan(row.floor) for row in rows)
    told = "An anchor: its score is known beforehand. The floor knows nothing of the image."
    verified = any(row.standing == VERIFIED for row in rows)
    return [f"{ANCHOR} {told}"] * shown + [f"{TICK} {RUN_AGAIN}"] * verified


def _anchor_notes(rows: Sequence[Row], anchors: Anchors) -> list[str]:
    found, models = [], {row.model for row in rows}
    for task, members in parts(rows, lambda row: row.task).items():
        known = anchors.get(task, ())
        if known:
            told = "; ".join(_anchor(name, summary, members) for name, summary in known)
            absent = [name for name in anchor_models(known) if name not in models]
            missing = f" Not on this board: {', '.join(absent)}." if absent else ""
            found.append(f"{ANCHOR} Anchors of {task}: {told}.{missing}")
    return found


def _anchor(name: str, summary: str, rows: Sequence[Row]) -> str:
    """One anchor: its summary without the numbers of other data sets, and what it scored here."""
    told = _NUMBER.sub(lambda number: number[0] if _is_of(number["name"], rows[0].dataset) else "", summary)
    model = anchor_models([(name, summary)])
    scored = [row.value for row in rows if row.model in model and not math.isnan(row.value)]
    floors = [row.floor for row in rows if name == "floor" and not math.isnan(row.floor)]
    number = (floors or scored)[:1]
    metric = "" if rows[0].metric == rows[0].unit else f" ({rows[0].metric})"
    # Three decimals: a tenth of the finest resolution; adding 0.0 turns -0.0 into 0.0.
    here = "".join(f"; here {round(x, 3) + 0.0:.4g} {rows[0].unit}".rstrip() + metric for x in number)
    return f"{name}: {told.strip()}{here}"


def _is_of(name: str, dataset: str) -> bool:
    return name.lower() == dataset.lower()


def _flags(rows: Sequence[Row]) -> list[str]:
    """Flags, and why cells have no value or lack a seed."""
    texts = []
    for row in rows:
        told = row.status == "partial" or (row.status != "unsupported" and len(row.reason) > REASON)
        reason = [row.reason] if told else []
        texts += [(row, text) for text in (*(f"{FLAG} {flag}" for flag in row.flags), *reason)]
    return _shared(texts)


def _cell_notes(rows: Sequence[Row]) -> list[str]:
    """What the tasks noted, and why they do not apply."""
    texts = []
    for row in rows:
        reason = [row.reason] if row.status == "unsupported" and len(row.reason) > REASON else []
        texts += [(row, text) for text in (*reason, *row.notes)]
    return _shared(texts)


def _shared(texts: Iterable[tuple[Row, str]]) -> list[str]:
    """One line per text, with the tasks and models that it is of; whatever shares a text shares a line."""
    found: dict[tuple[str, str], list[str]] = {}
    for row, text in texts:
        found.setdefault((text, row.task), []).append(row.model)
    shared: dict[tuple[str, str], list[str]] = {}
    for (text, task), models in found.items():
        shared.setdefault((text, _names(models)), []).append(task)
    return [f"{text} ({', '.join(tasks)}: {models})" for (text, models), tasks in sorted(shared.items())]


def _names(models: Sequence[str]) -> str:
    unique = list(dict.fromkeys(models))
    more = f" and {len(unique) - LISTED} more" if len(unique) > LISTED else ""
    return ", ".join(unique[:LISTED]) + more
