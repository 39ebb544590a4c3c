from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from suite.cli import output
from suite.cli.output import print_facts, print_json, print_table


def test_a_table_in_a_pipe_is_plain_columns_with_numbers_at_the_right(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Models", ("model", "nats"), [("vae", 1.5), ("bernoulli", 120), ("none", None)], numbers=("nats",))
    assert capsys.readouterr().out.splitlines() == [
        "Models",
        "model      nats",
        "vae         1.5",
        "bernoulli   120",
        "none",
    ]


def test_a_table_without_rows_is_its_title_and_its_headings(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("Nothing", ("a", "b"), [])
    assert capsys.readouterr().out.splitlines() == ["Nothing", "a  b"]


def test_facts_that_are_empty_are_left_out_but_zero_and_false_are_facts(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts("Facts", [("seeds", 0), ("official", False), ("paper", ""), ("groups", {}), ("core", None)])
    assert capsys.readouterr().out.splitlines() == ["Facts", "seeds     0", "official  False"]


def test_json_is_readable_again_and_says_as_text_what_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"path": Path("a"), "é": [1, None]})
    out = capsys.readouterr().out
    assert json.loads(out) == {"path": "a", "é": [1, None]}
    assert "é" in out


def test_a_terminal_too_narrow_shows_a_table_in_parts_and_folds_no_name_or_number(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output.sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    columns = ("name", "interval", "family", "nothing", "summary")
    print_table("", columns, [("variational_skip", "-8.9 to 0.3", "autoencoder", "", "words " * 20)])
    out = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    assert max(map(len, out.splitlines())) <= 40
    assert out.count("variational_skip") == 3
    assert "-8.9 to 0.3" in out and "autoencoder" in out
    assert "nothing" not in out
    assert out.count("words") == 20
