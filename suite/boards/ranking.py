"""Results -> ranks: intervals, rank intervals within a supervision class, the overall order, the order of the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from suite.boards import statistics
from suite.boards.rows import SECTION, TASK
from suite.boards.statistics import Moments
from suite.errors import unknown

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
    means = _mean_ranks(official) if official["task"].nunique() > 1 else pd.Series(dtype=float)
    families = part.drop_duplicates("model").set_index("model")["family"]
    chosen = means.groupby(families.reindex(means.index)).idxmin()
    if len(chosen) < len(means):
        means = _mean_ranks(_ranked(official[official["model"].isin(chosen)]))
    in_order = np.sort(means)
    best, worst = 1 + np.searchsorted(in_order, means - 1e-9, "left"), np.searchsorted(in_order, means + 1e-9, "right")
    return pd.DataFrame({"overall": means, "overall_best": best, "overall_worst": worst}).rename_axis("model")


def _mean_ranks(official: DataFrame) -> pd.Series[float]:
    """Returns, by model, the mean middle rank of those that are ranked in every official task."""
    middle = ((official["rank_best"] + official["rank_worst"]) / 2).groupby(official["model"], sort=False)
    return middle.mean()[middle.count() == official["task"].nunique()]


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
