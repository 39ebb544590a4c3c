"""``suite site`` as a user meets it."""

from __future__ import annotations

from pathlib import Path

from tests.cli.calling import Run
from tests.factories import records, write_records


def test_a_folder_of_workspaces_makes_one_site_of_all_of_them(suite: Run, tmp_path: Path) -> None:
    write_records(tmp_path / "boards" / "one", records({"a": [1.0, 2.0, 3.0], "b": [2.0, 3.0, 4.0]}))
    write_records(tmp_path / "boards" / "two", records({"c": [1.0, 2.0, 3.0]}, dataset="mnist"))
    code, out, err = suite("site", tmp_path / "site", tmp_path / "boards")
    assert (code, err) == (0, "")
    assert out.endswith(f"open {tmp_path / 'site' / 'index.html'}\n")
    assert {path.stem for path in (tmp_path / "site" / "models").iterdir()} == {"a", "b", "c"}


def test_only_what_is_chosen_is_on_the_site(suite: Run, tmp_path: Path) -> None:
    write_records(tmp_path / "w", records({"a": [1.0, 2.0], "b": [2.0, 3.0]}))
    assert suite("site", tmp_path / "site", "-w", tmp_path / "w", "-b", "a")[0] == 0
    assert [path.stem for path in (tmp_path / "site" / "models").iterdir()] == ["a"]


def test_a_folder_with_other_files_is_left_alone(suite: Run, tmp_path: Path) -> None:
    workspace = write_records(tmp_path / "w", records({"a": [1.0, 2.0]}))
    code, _, err = suite("site", workspace, workspace)
    assert code == 2
    assert err == f"error: {workspace} holds other files: name a new folder, or one that `suite site` made\n"
    assert [path.name for path in workspace.iterdir()] == ["records"]
