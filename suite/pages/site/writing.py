"""Board -> the files of a static site."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.boards import Exhibits, Row, parts, rows_of
from suite.pages.layout import COSTS, shortened
from suite.pages.notes import ANCHOR, FLAG, RUN_AGAIN, TICK, Anchors
from suite.pages.site.cards import ModelCard, TaskCard, model_cards, task_cards
from suite.pages.site.contents import Column, Names, Section, best_first, sections
from suite.pages.site.figures import Drawing
from suite.pages.site.folder import Folder
from suite.pages.site.models import model_part
from suite.pages.site.scripts import embedded, images_script, pairs_script
from suite.pages.site.sprites import Sprite, sprite

if TYPE_CHECKING:
    from pandas import DataFrame

#: Files of the package that every site has a copy of.
STATIC = ("site.css", "board.js", "images.js")

#: How many characters of a reason a cell shows; its model's page has all of it.
REASON = 90


def write_site(
    out: Path,
    board: DataFrame,
    metrics: Sequence[Row],
    folders: Sequence[str | Path],
    *,
    anchors: Anchors | None = None,
    paths: Sequence[str] = (),
    data_root: str | Path | None = None,
) -> int:
    """Writes the site of a board.

    Args:
        out: The folder; a site that lies there is replaced.
        board: From ``board``.
        metrics: Every metric of the same records, from ``measured``.
        folders: Workspaces that may hold pictures and per-image values.
        anchors: Task -> (name, summary) of its anchors.
        paths: Further files and folders of tasks and baselines, for their cards.
        data_root: Where datasets lie, whose test images the image browser shows.

    Returns:
        How many files were written.

    Raises:
        UserError: If ``out`` holds something else, or cannot be written.
    """
    return _Site(Folder(out), board, metrics, folders, anchors or {}, paths, data_root).write()


class _Site:
    """What all pages are made from, and the making of each."""

    def __init__(
        self,
        folder: Folder,
        board: DataFrame,
        metrics: Sequence[Row],
        folders: Sequence[str | Path],
        anchors: Anchors,
        paths: Sequence[str],
        data_root: str | Path | None,
    ) -> None:
        rows = rows_of(board)
        self._folder, self._data_root = folder, data_root
        self._exhibits = Exhibits(folders)
        self._models, self._tasks = Names(row.model for row in rows), Names(row.task for row in rows)
        self._sections = sections(rows, anchors, self._models, self._tasks)
        self._model_cards = model_cards({row.model for row in rows}, paths)
        self._task_cards = task_cards(sorted({row.task for row in rows}), paths)
        wanted = {(s.dataset, s.budget, s.precision): s for s in self._sections}
        self._metrics: dict[int, list[Row]] = {section.number: [] for section in self._sections}
        for row in metrics:
            if row.section[:3] in wanted:
                self._metrics[wanted[row.section[:3]].number].append(row)

    def write(self) -> int:
        for name in STATIC:
            self._folder.write(name, (resources.files("suite.pages.site") / "static" / name).read_bytes())
        self._front()
        self._board()
        self._charts()
        self._images()
        for section in self._sections:
            for column in section.columns:
                script = pairs_script(section, column, self._exhibits)
                self._folder.write(f"data/pairs-{section.number}-{column.id}.js", script)
        self._all_models()
        self._all_tasks()
        return self._folder.finish()

    def _front(self) -> None:
        first = self._sections[0]
        figure = Drawing(first, self._metrics[first.number], self._models).rate_distortion()
        self._page("index.html", "index.html", "", section=first, figure=figure)

    def _board(self) -> None:
        about = [_described(section) for section in self._sections]
        choices = {
            "dataset": sorted({section.dataset for section in self._sections}),
            "budget": sorted({section.budget for section in self._sections}),
            "family": sorted({line.family for s in self._sections for t in s.tables for line in t.lines}),
            "supervision": sorted({line.supervision for s in self._sections for t in s.tables for line in t.lines}),
        }
        self._page("board.html", "board.html", "", about=embedded(about), choices=choices)

    def _charts(self) -> None:
        drawn = [(s, Drawing(s, self._metrics[s.number], self._models).figures()) for s in self._sections]
        self._page("charts.html", "charts.html", "", drawn=[(s, figures) for s, figures in drawn if figures])

    def _images(self) -> None:
        """Writes the image browser, and the test images where they lie here."""
        sprites: dict[tuple[str, int], Sprite | None] = {}
        about = []
        for section in self._sections:
            for column in section.columns:
                found = images_script(section, column, self._exhibits)
                if found is not None:
                    script, images = found
                    self._folder.write(f"data/images-{section.number}-{column.id}.js", script)
                    place = section.dataset, images
                    if place not in sprites:
                        sprites[place] = sprite(*place, self._data_root)
                    about.append(self._described_images(section, column, images, sprites[place]))
        self._page("images.html", "images.html", "", about=embedded(about), columns=about)

    def _described_images(self, section: Section, column: Column, images: int, shown: Sprite | None) -> dict[str, Any]:
        told: dict[str, Any] = {
            "id": f"{section.number}-{column.id}",
            "title": f"{section.title}: {column.task} {column.metric}",
            "unit": column.unit,
            "direction": column.direction,
            "sprite": None,
        }
        if shown is not None:
            file = f"pictures/test-{Names([section.dataset])[section.dataset]}-{images}.png"
            self._folder.write(file, shown.png)
            size = {name: getattr(shown, name) for name in ("height", "width", "across", "down")}
            told["sprite"] = {"file": file, **size}
        return told

    def _all_models(self) -> None:
        by_model = parts(
            (row for rows in self._metrics.values() for row in rows), lambda row: (row.model, row.section[:3])
        )
        place = {(s.dataset, s.budget, s.precision): s for s in self._sections}
        found: dict[str, list[Any]] = {}
        for (model, key), rows in sorted(by_model.items(), key=lambda item: place[item[0][1]].number):
            part = model_part(place[key], model, rows, self._exhibits, self._models[model])
            found.setdefault(model, []).append(part)
            for picture in part.pictures:
                self._folder.write(picture.href, picture.source.read_bytes())
        for model, items in found.items():
            card, file = self._model_cards.get(model), f"models/{self._models[model]}.html"
            self._page(file, "model.html", "../", model=model, card=card, items=items, line=_line(items[0], model))
        self._sources(self._model_cards)

    def _all_tasks(self) -> None:
        by_task: dict[str, list[tuple[Section, Column]]] = {}
        for section in self._sections:
            for column in section.columns:
                by_task.setdefault(column.task, []).append((section, column))
        for task, places in by_task.items():
            rankings = [(section, column, _ranking(section, column)) for section, column in places]
            card, file = self._task_cards.get(task), f"tasks/{self._tasks[task]}.html"
            self._page(file, "task.html", "../", task=task, card=card, rankings=rankings)
        self._sources(self._task_cards)

    def _sources(self, cards: dict[str, ModelCard] | dict[str, TaskCard]) -> None:
        for card in {card.file: card for card in cards.values()}.values():
            self._folder.write(f"sources/{card.file}.txt", card.source)

    def _page(self, file: str, template: str, root: str, **values: Any) -> None:
        common = {
            "root": root,
            "here": file,
            "sections": self._sections,
            "models": self._models,
            "tasks": {column.task: column.href for s in self._sections for column in s.columns},
            "faster": COSTS["images_per_second"][0],
            "marks": {"anchor": ANCHOR, "flag": FLAG, "tick": TICK, "verified": RUN_AGAIN},
        }
        self._folder.write(file, _templates().get_template(template).render(**common, **values))


def _described(section: Section) -> dict[str, Any]:
    """What the board's script needs of a section."""
    names = ("id", "heading", "task", "metric", "unit", "direction")
    columns = [{name: getattr(column, name) for name in names} for column in section.columns]
    return {"number": section.number, "title": section.title, "columns": columns}


def _line(part: Any, model: str) -> Any:
    return next(line for table in part.section.tables for line in table.lines if line.model == model)


def _ranking(section: Section, column: Column) -> list[tuple[Any, list[Any]]]:
    """Returns the section's tables as (table, (line, cell) from the best to the worst) of one column."""
    at = section.columns.index(column)
    return [
        (table, sorted(((line, line.cells[at]) for line in table.lines), key=lambda item: best_first(item[1].row)))
        for table in section.tables
    ]


@functools.cache
def _templates() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    found = Environment(
        loader=PackageLoader("suite.pages.site"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.filters |= {
        "dashed": lambda text: text.replace("-", "–"),
        "shortened": lambda text: shortened(text, REASON),
        "sentence": lambda text: text[:1].upper() + text[1:],
    }
    return found
