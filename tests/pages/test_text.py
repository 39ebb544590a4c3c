"""How a board looks: digits, tables, pages, data."""

from __future__ import annotations

import csv
import io
import json
import re

import pandas as pd
import pytest

from suite.boards.board import board
from suite.pages.render import render
from tests.factories import records
from tests.pages.shown import ANCHORS


def test_the_terminal_table_of_four_tasks_and_twelve_models_fits_into_120_columns(table: pd.DataFrame) -> None:
    text = render(table, "table", anchors=ANCHORS, width=120)
    assert max(map(len, text.splitlines())) <= 120
    assert "conditional_vae_10" in text
    assert re.search(r"nats ↓", text)
    assert re.search(r"174\.4! ±0\.8 1\n", text)
    assert re.search(r"^broken .*failed: Diverged: s…", text, re.MULTILINE)
    assert re.search(r"^floor° .*205\.9", text, re.MULTILINE)
    assert "copy°" in text


def test_the_footnotes_explain_the_numbers(table: pd.DataFrame) -> None:
    text = " ".join(render(table, "table", anchors=ANCHORS).split())
    for part in (
        "95 % interval over seeds and test images; it is for the number itself, not for a comparison",
        "one level for all pairs of the column",
        "Ties, however certain: differences below 0.01 dB (gain_db); 0.01 nats (weakest_net, nats); 0.01 points",
        "Not paired, for want of per-image values, and so ranked by means and standard errors: input_optimization: ",
        "Of a family its best variant counts",
        "225 records: seeds 0-4; engine 1; versions: input_optimization 1, latent_ablation 1",
        "Anchors of reconstruction: floor: pixel_marginals: no latents; copy: the image itself.",
        "Not on this board: pixel_marginals.",
        "! suspect (reconstruction: conditional_vae_10)",
        "failed: Diverged: step 37: loss is nan_1 | kl=3 & 50 % of <b> (reconstruction: broken)",
        "trained with labels",
    ):
        assert part in text


def test_models_with_weights_of_their_own_have_a_table_that_says_so() -> None:
    rows = records({"a": [1.0, 1.1, 1.2]}) + records({"guest": [0.5] * 3}, flags=["given weights"])
    text = render(board(rows), "markdown", anchors={})
    assert "### Trained without labels, with weights or training of their own: not ranked" in text
    assert "the interval is over test images alone" in text
    assert "! given weights (reconstruction: guest)" in text


def test_a_preliminary_board_says_so_and_ranks_nothing() -> None:
    text = render(board(records({"a": [1.0, 1.1], "b": [9.0, 9.1]})), "table", anchors={})
    assert text.startswith("Preliminary board: digits")
    assert "under 3 seeds nothing is ranked (seeds 0, 1)" in text
    assert "Rank a-b" not in text
    one = render(board(records({"a": [1.0]})), "table", anchors={})
    assert "test images alone" in one


def test_missing_seeds_stand_where_the_rank_would_be() -> None:
    rows = records({"a": [1.0, 1.1, 1.2], "b": [9.0, 9.1, 9.2]})[:-1]
    text = render(board(rows), "table", anchors={})
    assert re.search(r"^b .* 2/3 seeds\b", text, re.MULTILINE)
    assert "not run (seed 2) (reconstruction: b)" in text


def test_a_table_that_is_too_wide_loses_its_costs_and_is_neither_cut_nor_folded(table: pd.DataFrame) -> None:
    tiny, narrow, wide = (render(table, "table", anchors={}, width=width).split("\n±")[0] for width in (40, 100, 200))
    assert tiny == narrow
    assert "images/s" not in narrow
    notes = [render(table, "table", anchors={}, width=width) for width in (100, 200)]
    assert ["Costs: of encoding" in text for text in notes] == [False, True]
    longer = zip(narrow.splitlines(), wide.splitlines(), strict=True)
    assert all(b.startswith(a) or set(b) <= set("─ ") for a, b in longer)


def test_costs_stand_beside_the_scores_and_are_blank_where_there_are_none() -> None:
    rows = records({"dear": [1.0] * 3, "free": [2.0] * 3})
    for row in rows:
        costs = {"parameters": 1_234_567, "flops_per_image": 43_210_000, "images_per_second": 56_789.0}
        row["cost"] = costs if row["baseline"] == "dear" else {"parameters": 0, "images_per_second": 0.0}
    text = render(board(rows), "markdown", anchors={})
    assert "| parameters (k) | MFLOP/image | training images/s |" in text
    assert re.search(r"^\| dear .* \| 1,230 \| 43.2 \| 56,800 \|$", text, re.MULTILINE)
    assert re.search(r"^\| free .* \|  \|  \|  \|$", text, re.MULTILINE)
    assert re.search(
        r"^dear .* 1,230 +43.2 +56,800$", render(board(rows), "table", anchors={}, width=200), re.MULTILINE
    )
    assert "1{,}230 & 43.2 & 56{,}800" in render(board(rows), "latex", anchors={})
    assert 'data-v="56789.0">56,800</td>' in render(board(rows), "html", anchors={})


def test_colour_is_only_for_terminals(table: pd.DataFrame) -> None:
    assert "\x1b[" not in render(table, "table", anchors={})
    assert "\x1b[" in render(table, "table", anchors={}, color=True)


def test_markdown_is_a_table_with_its_text_escaped(table: pd.DataFrame) -> None:
    lines = [line for line in render(table, "markdown", anchors=ANCHORS).splitlines() if line.startswith("|")]
    cells = [len(re.split(r"(?<!\\)\|", line)) for line in lines]
    assert len(set(cells)) == 1
    assert any(r"nan\_1 \| kl=3" in line for line in lines)
    assert any("174.4! ± 0.8 | 1 |" in line for line in lines)


def test_json_has_full_precision_intervals_seeds_and_reasons(table: pd.DataFrame) -> None:
    content = json.loads(render(table, "json", anchors=ANCHORS), parse_constant=pytest.fail)
    (section,) = content["sections"]
    assert (section["dataset"], section["engine"], section["preliminary"]) == ("digits", 1, False)
    models = {model["model"]: model for model in section["models"]}
    cells = {c["task"]: c for c in models["conditional_vae_10"]["cells"]}
    nats = cells["reconstruction"]
    row = table[(table["model"] == "conditional_vae_10") & (table["task"] == "reconstruction")].iloc[0]
    assert (nats["value"], nats["low"], nats["high"]) == (row["value"], row["low"], row["high"])
    assert nats["seeds"] == [0, 1, 2, 3, 4]
    assert nats["seed_values"] == list(row["seed_values"])
    assert (nats["rank_best"], nats["rank_worst"], nats["flags"]) == (1, 1, ["suspect"])
    broken = {c["task"]: c for c in models["broken"]["cells"]}["reconstruction"]
    assert broken["value"] is None
    assert broken["reason"].startswith("failed: Diverged")
    assert content["anchors"]["reconstruction"][1] == {"name": "copy", "summary": "the image itself"}


def test_csv_has_a_row_per_cell_with_full_precision(table: pd.DataFrame) -> None:
    rows = list(csv.DictReader(io.StringIO(render(table, "csv", anchors={}))))
    assert len(rows) == len(table)
    assert [float(row["value"]) for row in rows if row["value"]] == table["value"].dropna().tolist()
    assert rows[0]["seeds"] == "0 1 2 3 4"
    assert rows[0]["rank_best"] == "1"
