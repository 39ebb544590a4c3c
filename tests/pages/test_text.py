"""How a board looks: digits, tables, pages, data."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pandas as pd
import pytest

from suite import records as store
from suite.boards.board import board
from suite.boards.frame import load_records
from suite.pages.render import render
from tests.factories import records, write_records
from tests.pages.shown import ANCHORS


def test_the_terminal_table_of_four_tasks_and_twelve_models_fits_into_120_columns(table: pd.DataFrame) -> None:
    text = render(table, "table", anchors=ANCHORS, width=120)
    assert max(map(len, text.splitlines())) <= 120
    assert "conditional_vae_10" in text
    assert re.search(r"nats ↓", text)
    assert re.search(r"174\.4! ±0\.8 1 ", text)
    assert re.search(r"^broken .*failed: Diverged: s…", text, re.MULTILINE)
    assert re.search(r"^floor° .*205\.9", text, re.MULTILINE)
    assert "copy°" in text


def test_columns_go_from_what_an_image_costs_to_what_is_gained(table: pd.DataFrame) -> None:
    heads = next(line for line in render(table, "markdown", anchors={}).splitlines() if line.startswith("| model"))
    names = re.sub(r"\\|<br>", "", heads)
    places = [names.index(t) for t in ("reconstruction", "linear_probe", "input_optimization", "latent_ablation")]
    assert places == sorted(places)


def test_in_80_columns_a_board_stands_in_parts_and_every_number_stands_whole(table: pd.DataFrame) -> None:
    narrow, wide = (render(table, "table", anchors=ANCHORS, width=width) for width in (80, 200))
    assert max(map(len, narrow.splitlines())) <= 80
    numbers = [sorted(re.findall(r"-?[\d.]+!? +±[\d.]+", text)) for text in (narrow, wide)]
    assert numbers[0] == numbers[1]


def test_the_terminal_shows_first_what_a_reader_needs_and_all_on_request(table: pd.DataFrame) -> None:
    few, all_ = (render(table, "table", anchors=ANCHORS, notes=notes) for notes in (False, True))
    assert "--notes" in few
    assert "Anchors of reconstruction" not in few
    assert "Rank 2-4" in few
    assert "! suspect (reconstruction: conditional_vae_10)" in few
    assert "Anchors of reconstruction" in all_
    assert "--notes" not in all_


@pytest.mark.parametrize(("dataset", "kept"), [("mnist", True), ("digits", False)])
def test_an_anchor_has_the_numbers_of_the_board_s_own_data(dataset: str, kept: bool) -> None:
    anchors = {
        "reconstruction": [("floor", "copy: the marginals; about 205.9 nats per image on MNIST"), ("copy", "it")]
    }
    text = render(board(records({"copy": [31.5] * 3}, dataset=dataset)), "table", anchors=anchors, notes=True)
    assert ("205.9" in text) == kept
    assert "copy: it; here 31.5 nats" in " ".join(text.split())


def test_the_footnotes_explain_the_numbers(table: pd.DataFrame) -> None:
    text = " ".join(render(table, "table", anchors=ANCHORS, notes=True).split())
    for part in (
        "95 % interval over seeds and test images; it is for the number itself, not for a comparison",
        "Rank 2-4: the place is somewhere from 2 to 4. One model is certainly better, all but four are certainly worse",
        "one level holds for all pairs of a column",
        "Always a tie: differences below 0.01 nats (nats, weakest_net); 0.01 points (accuracy_64); 0.01 dB (gain_db)",
        "Not paired, for want of per-image values, and so ranked by means and errors: reconstruction: ",
        "Of a family its best variant counts",
        "225 records: seeds 0-4; engine 1; versions: reconstruction 1, linear_probe 1",
        "Anchors of reconstruction: floor: pixel_marginals: no latents; here 205.9 nats; copy: the image itself; here ",
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


def test_a_submission_says_how_it_stands(tmp_path: Path) -> None:
    names = {"mine": [1.0, 1.1, 1.2], "checked": [1.3, 1.4, 1.5], "told": [0.5, 0.6, 0.7], "given": [0.1, 0.2, 0.3]}
    rows = [raw for name, values in names.items() for raw in records({name: values})]
    write_records(tmp_path, rows)
    for name, standing in (("checked", store.VERIFIED), ("told", store.CLAIMED), ("given", store.GIVEN)):
        keys = [raw["key"] for raw in rows if raw["baseline"] == name]
        store.write_standing(tmp_path, name, standing, keys, again=keys)
    text = render(board(load_records(tmp_path)), "markdown", anchors={})
    ranked, _, rest = text.partition("### Trained without labels, with weights or training of their own: not ranked")
    given, _, claimed = rest.partition("### Trained without labels, claimed and run by nobody else: not ranked")
    assert "| checked✓ |" in ranked
    assert "| mine |" in ranked
    assert "| given |" in given
    assert "told" not in ranked + given
    assert "| told |" in claimed
    assert "✓ Verified: somebody else's model that a maintainer has run again" in text
    assert "Claimed: records of a submission that nobody else has run" in text


def test_tuned_models_have_a_table_that_says_so_and_tells_what_their_searches_took() -> None:
    cost = {"search_trials": 8, "search_seconds": 61.2, "search_flops": 1.5e12, "search_images": 228_096}
    tuned = records({"a:tuned=8": [0.5, 0.6, 0.7]}, baseline_params={"tuned": 8}, cost=cost)
    lost = records({"b:tuned=8": [0.1, 0.2, 0.3]}, baseline_params={"tuned": 8})
    text = render(board(records({"a": [1.0, 1.1, 1.2]}) + tuned + lost), "markdown", anchors={})
    assert text.index("### Trained without labels\n") < text.index(
        "### Trained without labels, tuned (8 trials each)\n"
    )
    assert "b:tuned=8: not known; a:tuned=8: 8 trials, 228,096 training images, 61 s, 1.5 TFLOP." in text
    assert "ranked apart from models as they are declared" in text
    assert "! tuned (8 trials) (reconstruction: b:tuned=8, a:tuned=8)" in text
    assert "tuned" not in render(board(records({"a": [1.0, 1.1, 1.2]})), "markdown", anchors={}, notes=True)


def test_a_preliminary_board_says_so_and_ranks_nothing() -> None:
    text = render(board(records({"a": [1.0, 1.1], "b": [9.0, 9.1]})), "table", anchors={})
    assert text.startswith("Preliminary board: digits")
    assert "under 3 seeds nothing is ranked (seeds 0, 1)" in text
    assert "Rank 2-4" not in text
    one = render(board(records({"a": [1.0]})), "table", anchors={})
    assert "test images alone" in one


def test_missing_seeds_stand_where_the_rank_would_be() -> None:
    rows = records({"a": [1.0, 1.1, 1.2], "b": [9.0, 9.1, 9.2]})[:-1]
    text = render(board(rows), "table", anchors={})
    assert re.search(r"^b .* 2/3 seeds\b", text, re.MULTILINE)
    assert "not run (seed 2) (reconstruction: b)" in text


def test_a_table_that_is_too_wide_loses_its_costs_and_is_neither_cut_nor_folded(table: pd.DataFrame) -> None:
    narrow, wide = (render(table, "table", anchors={}, width=width).split("\n±")[0] for width in (105, 200))
    assert "images/s" not in narrow
    notes = [render(table, "table", anchors={}, width=width) for width in (105, 200)]
    assert ["Costs: of encoding" in text for text in notes] == [False, True]
    longer = zip(narrow.splitlines(), wide.splitlines(), strict=True)
    assert all(b.startswith(a) or set(b) <= set("─ ") for a, b in longer)


def test_costs_stand_beside_the_scores_and_are_blank_where_there_are_none() -> None:
    rows = records({"dear": [1.0] * 3, "free": [2.0] * 3})
    for row in rows:
        costs = {"parameters": 1_234_567, "flops_per_image": 43_210_000, "images_per_second": 56_789.0}
        row["cost"] = costs if row["baseline"] == "dear" else {"parameters": 0, "images_per_second": 0.0}
    text = render(board(rows), "markdown", anchors={})
    assert "| model | parameters (k) | MFLOP/image | training images/s |" in text
    assert re.search(r"^\| dear \| 1,230 \| 43.2 \| 56,800 \|$", text, re.MULTILINE)
    assert len(re.findall(r"^\| free \|", text, re.MULTILINE)) == 1  # among the scores alone
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
    assert set(cells) == {2 + 6, 2 + 4}  # scores, costs
    assert any(re.search(r"broken.*\| failed \|", line) for line in lines)
    assert any("174.4! ± 0.8 (1) |" in line for line in lines)
    assert r"nan\_1 \| kl=3" in render(table, "markdown", anchors=ANCHORS)


def test_a_markdown_board_of_four_tasks_fits_the_900_pixels_of_a_code_host_s_page(table: pd.DataFrame) -> None:
    scores = render(table, "markdown", anchors=ANCHORS).split("<details>")[0]
    lines = [line.replace("\\", "").strip("| ").split(" | ") for line in scores.splitlines() if line.startswith("| ")]
    widths = [max(len(part) for cell in column for part in cell.split("<br>")) for column in zip(*lines, strict=True)]
    assert sum(8 * width + 26 for width in widths) <= 900  # 14 px type, 13 px of padding at each side


def test_more_than_four_tasks_stand_in_folded_tables_below_the_first() -> None:
    tasks = ["reconstruction", "linear_probe", "input_optimization", "latent_ablation", "one_more", "yet_another"]
    rows = [
        row for i, task in enumerate(tasks) for row in records({"vae": [10.0 * i + 1] * 3, "pca": [5.0] * 3}, task=task)
    ]
    shown, more, *_ = render(board(rows), "markdown", anchors={}).split("<details>")
    assert [task in shown.replace("\\", "").replace("<br>", "") for task in tasks] == [True] * 4 + [False] * 2
    assert "Further tasks" in more
    assert re.search(r"^\| vae \| 41\S* .*\| 51", more, re.MULTILINE)
    assert "overall" not in more


def test_notes_and_costs_are_folded_in_markdown(table: pd.DataFrame) -> None:
    shown, *folded = render(table, "markdown", anchors=ANCHORS).split("<details>")
    assert "parameters (k)" not in shown
    assert ["parameters (k)" in part for part in folded] == [True, False]
    assert "Anchors of reconstruction" in folded[1]


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
    assert [row["rank_best"] for row in rows[:4]] == [f"{place:.0f}" for place in table["rank_best"][:4]]
