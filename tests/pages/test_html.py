from __future__ import annotations

import re
from html.parser import HTMLParser

import pandas as pd

from suite.pages.render import render
from tests.pages.shown import ANCHORS


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_is_one_well_formed_accessible_page_that_loads_nothing(table: pd.DataFrame) -> None:
    text = render(table, "html", anchors=ANCHORS)
    page = _Page()
    page.feed(text)
    assert page.open == []
    assert not [a for _, a in page.seen if "src" in a or "href" in a]
    assert "http" not in text and "url(" not in text
    assert ("html", {"lang": "en"}) in page.seen
    heads = [attributes["scope"] for tag, attributes in page.seen if tag == "th"]
    assert heads.count("col") == 2 * 9
    assert heads.count("row") == 12 + 2
    assert text.count("<caption>") == 2
    assert "&lt;b&gt;" in text and "<b>" not in text
    assert len(text[text.index("<script>") : text.index("</script>")].splitlines()) <= 20


def test_headings_know_where_better_lies_for_the_first_click_sorts_the_best_first(table: pd.DataFrame) -> None:
    heads = re.findall(r"<th scope=\"col\"( data-d=\"higher\")?>(.*?)</th>", render(table, "html", anchors={}))
    told = {re.sub(r"<br>.*|<[^>]*>", "", text) for higher, text in heads if higher}
    assert {"linear_probe", "input_optimization", "training images/s"} <= told
    assert not told & {"model", "overall", "reconstruction", "parameters (k)"}
