"""A site of a board that has everything a page must show, and a reader of its pages."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from suite.boards.board import board, measured
from suite.boards.frame import load_records
from suite.pages.render import find_anchors
from suite.pages.site.writing import write_site
from suite.records.store import pictures_path
from suite.records.values import write_values
from tests.factories import METRICS, record, write_records
from tests.pages.shown import everything

#: A name that would break a page that did not escape it.
NASTY = 'vae:title=\'q" onload="x(1)'

VOID = {"meta", "link", "br", "img", "input", "hr", "path", "circle", "rect"}


def workspace(folder: Path) -> Path:
    """Writes the records of twelve models and more: groups, values of images, a picture, another dataset."""
    rows = everything()
    draw = np.random.default_rng(0)
    for seed in range(5):
        others = {"floor": 205.87, "rate": 30.0 + seed, "distortion": 70.0, "rate/z": 20.0, "rate/skip": 10.0}
        rows.append(record("reconstruction", "vae", seed, 100.0 + seed, others=others, n=50))
        rows.append(record("reconstruction", NASTY, seed, 110.0 + seed, others=others, n=50, family="vae"))
        rows += [record("latent_ablation", "vae", seed, 7.0, others={"rise/z": 9.0, "net/z": 7.0, "core_share": 0.7})]
        rows += [record("spectrum", "vae", seed, 0.5, official=False)]
        rows += [record("reconstruction", "vae", seed, 300.0, dataset="colored:digits")]
        rows += [record(task, "tied", seed, 205.87 - 3.1 - 0.1 * seed, se=0.4) for task in METRICS]
    for row in rows:
        if row["task"] == "reconstruction" and row["baseline"] in ("vae", NASTY) and row["dataset"] == "digits":
            values = draw.normal(0, 20, 50)
            values += row["metrics"]["nats"]["value"] - values.mean()
            write_values(folder, row["key"], {"nats": values, "curve/loss": np.array([[0.0, 9.0], [10.0, 8.0]])})
            pictures_path(folder, row["key"]).mkdir(parents=True)
            (pictures_path(folder, row["key"]) / "samples.png").write_bytes(b"a picture")
    return write_records(folder, rows)


def write(folder: Path, out: Path) -> int:
    data = load_records(folder)
    found = board(data)
    anchors = find_anchors(set(found["task"]))
    return write_site(out, found, measured(data), [folder], anchors=anchors, data_root=folder)


class Page(HTMLParser):
    """One page: whether its tags are closed, its ids, its links, its cells."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = file.read_text()
        self.feed(self.text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag, tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def ids(self) -> list[str]:
        return [attributes["id"] or "" for _, attributes in self.seen if "id" in attributes]

    def links(self) -> list[str]:
        found = [attributes.get(name) for _, attributes in self.seen for name in ("href", "src")]
        return [link for link in found if link is not None]
