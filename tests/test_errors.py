from __future__ import annotations

from pathlib import Path

import pytest

from suite.errors import UserError, nearest, no_file, unknown


@pytest.mark.parametrize(
    ("name", "choices", "told"),
    [
        ("vaee", ["pca", "vae"], "; did you mean 'vae'?"),
        ("linear_prob", ["linear_probe", "spectrum"], "; did you mean 'linear_probe'?"),
        ("xyz", ["pca", "copy"], "; choose from copy, pca"),
        ("xyz", [], ""),
        ("", ["pca"], "; choose from pca"),
    ],
)
def test_a_wrong_name_is_told_the_nearest_or_all(name: str, choices: list[str], told: str) -> None:
    assert nearest(name, choices) == told
    assert nearest(name, iter(choices)) == told


def test_an_unknown_name_is_one_line_of_the_users_to_mend() -> None:
    error = unknown("budget", "qick", ["quick", "long"])
    assert isinstance(error, UserError)
    assert str(error) == "unknown budget 'qick'; did you mean 'quick'?"


def test_a_file_that_is_not_there_is_told_the_nearest_beside_it(tmp_path: Path) -> None:
    (tmp_path / "my_model.py").touch()
    near, far = (str(no_file(tmp_path / name)) for name in ("my_modl.py", "x"))
    assert near == f"no such file: {tmp_path / 'my_modl.py'}; did you mean '{tmp_path / 'my_model.py'}'?"
    assert far == f"no such file: {tmp_path / 'x'}"
    assert str(no_file(tmp_path / "a" / "b", "folder")) == f"no such folder: {tmp_path / 'a' / 'b'}"
