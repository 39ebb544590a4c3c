"""Pages -> one self-contained HTML file, by the template ``templates/board.html``."""

from __future__ import annotations

from collections.abc import Sequence

from suite.pages.layout import ARROWS, COSTS, Page, shortened
from suite.pages.notes import FLAG

#: How much of a reason a cell shows; its tooltip and the footnotes give all of it.
REASON = 40


def webpage(pages: Sequence[Page]) -> str:
    """Returns the pages as one HTML document; all that comes from a record is escaped."""
    return _render("board.html", pages, sortable=True)


def fragment(pages: Sequence[Page]) -> str:
    """Returns the tables and notes alone, without style or script: for a notebook, which has its own."""
    return _render("tables.html", pages, sortable=False)


def _render(template: str, pages: Sequence[Page], sortable: bool) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("suite.pages"), autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    templates.filters |= {"shortened": lambda text: shortened(text, REASON), "dashed": lambda t: t.replace("-", "–")}
    marks = {"flag": FLAG, "higher": ARROWS["higher"], "faster": COSTS["images_per_second"][0]}
    return templates.get_template(template).render(pages=pages, sortable=sortable, **marks)
