"""The files that ``suite new`` writes pass ``suite check``, and overwrite nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from suite.checking.check import check_file
from suite.errors import UserError
from suite.measuring import noise
from suite.plugins import registry, scaffold


@pytest.mark.journey
@pytest.mark.parametrize("kind", scaffold.KINDS)
def test_a_new_file_passes_every_check_as_it_is(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(noise, "STARTS", (1.0,))  # a channel that is fitted roughly will do
    monkeypatch.setattr(noise, "MAX_BLOCKS", 2)
    path = scaffold.write(kind, "my_own_2", tmp_path)
    findings = list(check_file(str(path)))
    assert len(findings) > 3
    assert [f for f in findings if f.status == "fail"] == []
    assert {f.subject for f in findings} == {"my_own_2"}


@pytest.mark.parametrize("kind", scaffold.KINDS)
def test_a_new_file_is_found_under_its_name_and_is_short(kind: str, tmp_path: Path) -> None:
    path = scaffold.write(kind, "my_own_2", tmp_path / "folder")
    assert "my_own_2" in registry.discover(kind, [str(path.parent)])
    assert len(path.read_text().splitlines()) <= 50


def test_an_existing_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("precious")
    with pytest.raises(UserError, match="there already"):
        scaffold.write("task", "mine", tmp_path)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("name", ["My", "2d", "a-b", "", "../up", "class", "vae"])
def test_a_bad_or_taken_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not a name in snake case|already"):
        scaffold.write("baseline", name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_kind_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'baseline'"):
        scaffold.write("baselin", "mine", tmp_path)


def test_an_unwritable_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't be written"):
        scaffold.write("task", "mine", tmp_path / "file")
