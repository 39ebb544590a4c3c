"""Every fault leaves what was finished, gives no wrong number and leaves nothing behind, and the page says so."""

from __future__ import annotations

import json

import pytest

from tests.faults import rows
from tests.faults.findings import BEGIN, END, PAGE, RESULTS, Finding, Row, table
from tests.faults.storage import cut, flipped


def mark(row: Row) -> object:
    return pytest.param(row, id=row.name, marks=() if row.quick else (pytest.mark.exhaustive, pytest.mark.slow))


@pytest.mark.journey
@pytest.mark.parametrize("row", [mark(row) for row in rows.ROWS.values() if row.tested])
def test_a_fault_costs_no_finished_cell_gives_no_wrong_number_and_leaves_nothing(row: Row) -> None:
    found = row.play()
    if found.skipped:
        pytest.skip(found.skipped)
    assert (found.lost, found.wrong, found.left) == (0, 0, [])
    assert found.says


def test_the_page_shows_what_was_found_of_every_fault_and_nothing_was_lost() -> None:
    kept = {name: Finding(**raw) for name, raw in json.loads(RESULTS.read_text()).items()}
    assert kept.keys() == rows.ROWS.keys()
    assert [name for name, finding in kept.items() if not (finding.fine or finding.skipped)] == []
    assert PAGE.read_text().split(BEGIN)[1].split(END)[0].strip() == table(kept)


def test_a_finding_is_fine_only_where_nothing_was_lost_wrong_or_left_and_the_user_was_told() -> None:
    assert Finding(says="told", redone=3).fine
    for bad in (Finding(), Finding(lost=1, says="a"), Finding(wrong=1, says="a"), Finding(left=["a"], says="a")):
        assert not bad.fine


def test_damage_changes_half_of_a_file_or_one_bit() -> None:
    data = bytes(range(200))
    assert cut(data) == data[:100]
    assert sum(a != b for a, b in zip(flipped(data), data, strict=True)) == 1
