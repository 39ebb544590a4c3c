from __future__ import annotations

import pytest

from suite.errors import UserError, nearest, unknown


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
