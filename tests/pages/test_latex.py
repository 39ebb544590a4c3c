from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from suite.pages.notes import COSTS_NOTE
from suite.pages.render import render
from tests.pages.shown import ANCHORS


def test_latex_is_balanced_and_escaped(table: pd.DataFrame) -> None:
    text = render(table, "latex", anchors=ANCHORS)
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 4
    assert text.count(r"\toprule") == text.count(r"\midrule") == text.count(r"\bottomrule") == 4
    assert r"conditional\_vae\_10 &" in text
    assert r"$174.4 \pm 0.8$! & 1 & " in text
    assert r"kl=3 \& 50 \% of $<$b$>$" in text
    bare = re.sub(r"\\.", "", text)
    assert bare.count("{") == bare.count("}")
    body = [line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert {len(re.split(r"(?<!\\)&", line)) for line in body} == {2 + 2 * 4, 4}  # scores with ranks; costs


def test_what_costs_are_stands_below_the_last_table_of_costs_alone(table: pd.DataFrame) -> None:
    tables = render(table, "latex", anchors=ANCHORS).split(r"\end{table}")
    assert [COSTS_NOTE in part for part in tables] == [False, False, False, True, False]


def test_as_many_columns_are_declared_as_a_line_has(table: pd.DataFrame) -> None:
    for declared, head in re.findall(
        r"begin\{tabular\}\{(\w+)\}\n +\\toprule\n(.*)", render(table, "latex", anchors={})
    ):
        assert len(declared) == head.count("&") + 1 + head.count("multicolumn{2}")


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
def test_pdflatex_takes_it_and_no_table_leaves_its_page(table: pd.DataFrame, tmp_path: Path) -> None:
    head, foot = r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}", r"\end{document}"
    (tmp_path / "board.tex").write_text("\n".join([head, render(table, "latex", anchors=ANCHORS), foot]))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "board.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert "too large" not in done.stdout
