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


BASELINE = ROOT / "docs" / "baseline.md"


def test_the_page_on_baselines_lists_the_families_that_are_allowed() -> None:
    from suite.measuring.families import FAMILIES

    (paragraph,) = re.findall(r"Posteriors and priors are (.*?)\. Other families", BASELINE.read_text(), re.DOTALL)
    assert sorted(names(paragraph)) == sorted(
        {family.__name__ for family in FAMILIES} | {"MixtureSameFamily", "Independent"}
    )


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", BASELINE.read_text(), re.DOTALL))
def test_a_model_of_the_page_on_baselines_trains_and_answers_in_few_lines(tmp_path: Path, block: str) -> None:
    from suite import data, training
    from suite.measuring import Frozen
    from suite.plugins import registry
    from suite.training import Recipe

    body = block.split("class ")[1]
    assert len([line for line in body.splitlines() if line.strip()]) < 25
    file = tmp_path / "wrapped.py"
    file.write_text(block)
    (entry,) = registry.read_file("baseline", file)
    images = data.load("digits")
    model = Recipe(registry.load(registry.source(entry)), images.spec, entry.params).build()
    training.train(model, images, seed=0, budget="smoke")
    frozen = Frozen(model)
    values = frozen.means(images.val.binary[:5])
    assert frozen.decode(values).shape == (5, *images.spec.shape)
