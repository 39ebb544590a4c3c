"""Results -> ranks: intervals, rank intervals within a supervision class, the overall order, the order of the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from suite import statistics
from suite.errors import unknown
from suite.results import SECTION, TASK
from suite.statistics import Moments

if TYPE_CHECKING:
    from pandas import DataFrame

#: Values of ``sort`` beside the names of tasks and metrics.
ORDERS = ("name", "overall")


def with_ranks(part: DataFrame) -> DataFrame:
    """Adds intervals, rank intervals and the overall order to one supervision class of one section."""
    m = _moments(part)
    half = np.asarray(statistics.half_width(m), dtype=float)
    part = part.assign(half=np.where(part["value"].notna(), half, np.nan))
    part = part.assign(low=part["value"] - part["half"], high=part["value"] + part["half"])
    part = _ranked(part)
    return part.join(_overall(part), on="model")


def _ranked(part: DataFrame) -> DataFrame:
    """Returns the rows with the rank intervals of those that can be ranked, among themselves."""
    ranked = (part["status"] == "ok") & ~part["preliminary"] & part["half"].notna() & (part["direction"] != "")
    part = part.assign(rank_best=np.nan, rank_worst=np.nan, ranked_among=0)
    for _, column in part[ranked].groupby([*TASK, "metric"]):
        best, worst = statistics.rank_intervals(_moments(column), column["direction"].iloc[0])
        part.loc[column.index, ["rank_best", "rank_worst"]] = np.stack([best, worst], axis=1).astype(float)
        part.loc[column.index, "ranked_among"] = len(column)
    return part


def _moments(part: DataFrame) -> Moments:
    return Moments(
        part["value"].to_numpy(),
        part["seed_variance"].to_numpy(),
        np.array([len(seeds) for seeds in part["seeds"]]),
        part["image_quantile"].to_numpy(),
    )


def _overall(part: DataFrame) -> DataFrame:
    """Returns, by model: the mean middle rank over the official tasks and the place that it gives.

    Of each family the variant with the best mean counts, and places are counted among these alone: entering
    more variants moves nobody else.
    """
    official = part[part["official"]]
    official = official[official["task_version"] == official.groupby("task")["task_version"].transform("max")]
    tasks = official["task"].nunique()
    empty = pd.DataFrame({"overall": [], "overall_best": [], "overall_worst": []}, index=pd.Index([], name="model"))
    means = _mean_ranks(official) if tasks > 1 else {}
    families = dict(zip(part["model"], part["family"], strict=True))
    chosen: dict[str, str] = {}
    for model, mean in means.items():
        if families[model] not in chosen or mean < means[chosen[families[model]]]:
            chosen[families[model]] = model
    if not chosen:
        return empty
    counting = official[official["model"].isin(list(chosen.values()))]
    final = pd.Series(means if len(chosen) == len(means) else _mean_ranks(_ranked(counting)), name="overall")
    best = [1 + int((final < mean - 1e-9).sum()) for mean in final]
    worst = [len(final) - int((final > mean + 1e-9).sum()) for mean in final]
    return pd.DataFrame({"overall": final, "overall_best": best, "overall_worst": worst}).rename_axis("model")


def _mean_ranks(official: DataFrame) -> dict[str, float]:
    """Returns the mean middle rank of each model that is ranked in every official task."""
    tasks = official["task"].nunique()
    middle = ((official["rank_best"] + official["rank_worst"]) / 2).groupby(official["model"], sort=False)
    means = middle.mean()[middle.count() == tasks]
    return {str(model): float(mean) for model, mean in means.items()}


def ordered(cells: DataFrame, sort: str | None = None) -> DataFrame:
    """Returns the rows as a page shows them: sections, supervision classes, models by ``sort``, official tasks first.

    Raises:
        UserError: If there is no column named ``sort``.
    """
    names = {*ORDERS, *cells["task"], *cells["metric"], *(cells["task"] + "/" + cells["metric"])}
    if sort is not None and sort not in names:
        raise unknown("column", sort, names)
    cells = cells.sort_values([*SECTION, "supervised", "official"], ascending=[True] * 5 + [False], kind="stable")
    places = pd.Series(0, index=cells.index)
    for _, part in cells.groupby([*SECTION, "supervised"], sort=False):
        place = {model: i for i, model in enumerate(_models(part, sort))}
        places[part.index] = part["model"].map(place)
    cells = cells.assign(place=places).sort_values([*SECTION, "supervised", "place"], kind="stable")
    return cells.drop(columns="place").reset_index(drop=True)


def _models(part: DataFrame, sort: str | None) -> list[str]:
    """Returns the models of one table in order; those without the number to sort by come last."""
    middle = part.assign(middle=part["rank_best"] + part["rank_worst"]).groupby("model", sort=False)["middle"].mean()
    if sort == "name":
        return sorted(middle.index)
    by_overall = sort == "overall" or (sort is None and part["overall"].notna().any())
    if by_overall:
        key = part.groupby("model", sort=False)["overall"].first()
    else:
        wanted = (part["task"] == sort) | (part["metric"] == sort) | (part["task"] + "/" + part["metric"] == sort)
        column = part[wanted] if wanted.any() else part
        first = column.drop_duplicates(["model"])
        key = first.set_index("model")["value"] * np.where(first["direction"] == "higher", -1.0, 1.0)
    table = pd.DataFrame({"key": key, "middle": middle, "name": middle.index}, index=middle.index)
    return list(table.sort_values(["key", "middle", "name"], na_position="last").index)
