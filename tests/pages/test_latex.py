from __future__ import annotations

import re

import pandas as pd

from suite.pages.render import render
from tests.pages.shown import ANCHORS


def test_latex_is_balanced_and_escaped(table: pd.DataFrame) -> None:
    text = render(table, "latex", anchors=ANCHORS)
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 2
    assert text.count(r"\toprule") == text.count(r"\midrule") == text.count(r"\bottomrule") == 2
    assert r"conditional\_vae\_10 &" in text
    assert r"$174.4 \pm 0.8$! & 1 & " in text
    assert r"kl=3 \& 50 \% of $<$b$>$" in text
    bare = re.sub(r"\\.", "", text)
    assert bare.count("{") == bare.count("}")
    body = [line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert {len(re.split(r"(?<!\\)&", line)) for line in body} == {13}
