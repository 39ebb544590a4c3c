"""The pages say what the code says: their tables are held against it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.test_direction import ROOT, TABLE, House

ENGINE = ROOT / "docs" / "engine.md"


def table(page: Path, heading: str) -> list[list[str]]:
    """Returns the cells of the first table below a heading, without its head."""
    section = page.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def names(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


def test_the_engine_s_page_has_the_rooms_of_the_tree_and_what_each_may_import() -> None:
    rooms = {names(room)[0]: names(imports) for room, _, imports in table(ENGINE, "The rooms")}
    assert rooms == {room: imports.split() for room, imports in TABLE.items()}


def test_the_engine_s_page_has_every_instrument_once_with_its_line() -> None:
    rows = table(ENGINE, "Instruments")
    listed = [names(name)[0] for name, _ in rows]
    assert sorted(listed) == sorted(House(ROOT).faces["suite.measuring"])
    assert all(line for _, line in rows)


def paths() -> list[str]:
    """Returns every file that the page names by its path."""
    return sorted(set(re.findall(r"`((?:\w+/)+\w+\.\w+)`", ENGINE.read_text())))


@pytest.mark.parametrize("path", paths())
def test_a_file_that_the_engine_s_page_names_is_there(path: str) -> None:
    assert (ROOT / path).is_file() or (ROOT / "suite" / path).is_file()


def test_the_readme_leads_to_every_page() -> None:
    linked = re.findall(r"\]\((docs/\w+\.md)", (ROOT / "README.md").read_text())
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")} <= set(linked)
