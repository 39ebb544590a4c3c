"""The list of breaks holds: every line to break is there, and every test that must notice is run by default."""

from __future__ import annotations

import ast

import pytest

from tests.breaks import BREAKS, ROOT, Break


@pytest.mark.parametrize("broken", BREAKS, ids=lambda b: b.name)
def test_the_line_to_break_is_there_once(broken: Break) -> None:
    assert (ROOT / broken.file).read_text().count(broken.old) == 1
    assert broken.old != broken.new


@pytest.mark.parametrize("test", sorted({broken.test for broken in BREAKS}))
def test_a_test_that_must_notice_a_break_is_there_and_run_by_default(test: str) -> None:
    file, _, name = test.partition("::")
    text = (ROOT / "tests" / file).read_text()
    tests = {node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
    assert name in tests or not name
    assert "exhaustive" not in text
