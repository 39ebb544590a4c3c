from __future__ import annotations

from pathlib import Path

import pytest

from suite.errors import UserError
from suite.planning.selection import Selection, check_seeds, parse_seeds


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0-4", (0, 1, 2, 3, 4)), ("0,2,5", (0, 2, 5)), ("3", (3,)), ("7, 0-1", (7, 0, 1)), ("1,1", (1,)), ("2-2", (2,))],
)
def test_seeds_are_ranges_lists_or_one(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["4-0", "x", "", "1,,2", "-1", "1.5", "0-", "4294967296", "0-99999999", "9" * 5000])
def test_what_is_no_seed_range_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UserError) as error:
        parse_seeds(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("seeds", [(-1,), ("a",), (True,), (2**32,), (), range(10_001)])
def test_seeds_from_python_are_checked_as_those_of_the_command_line(seeds: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="seed"):
        check_seeds(seeds)


def test_a_backward_range_says_how_to_write_it() -> None:
    with pytest.raises(UserError, match="runs backwards: write 0-4"):
        parse_seeds("4-0")


def test_a_file_holds_a_whole_selection(tmp_path: Path) -> None:
    file = tmp_path / "board.yaml"
    file.write_text(
        "tasks: [reconstruction, linear_probe]\nbaselines: [vae, 'vae:latent=5', pca]\ndataset: mnist\nseeds: 0-4\n"
        "budget: standard\nprecision: bf16\nparams:\n  pca: {components: 1e-3, words: [a, b]}\n"
    )
    selection = Selection.from_file(file)
    assert selection.tasks == ("reconstruction", "linear_probe")
    assert selection.baselines == ("vae", "vae:latent=5", "pca:components=0.001,words=['a', 'b']")
    assert (selection.datasets, selection.seeds) == (("mnist",), (0, 1, 2, 3, 4))
    assert (selection.budget, selection.precision) == ("standard", "bf16")


@pytest.mark.parametrize(("text", "seeds"), [("3", (3,)), ("[0, 2]", (0, 2)), ("0-1", (0, 1))])
def test_seeds_in_a_file_are_a_number_a_list_or_a_range(tmp_path: Path, text: str, seeds: tuple[int, ...]) -> None:
    (tmp_path / "b.yaml").write_text(f"seeds: {text}\n")
    assert Selection.from_file(tmp_path / "b.yaml").seeds == seeds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("basline: [vae]\n", "did you mean 'baseline"),
        ("- vae\n", "expected keys"),
        ("baselines: {vae: 1}\n", "must be a name or a list"),
        ("baselines: [vae\n", "not YAML"),
        ("budget: [quick, long]\n", "must be one name"),
        ("baselines: [vae]\nparams: {vea: {latent: 2}}\n", "did you mean 'vae'"),
        ("baselines: [vae]\nparams: [latent]\n", "must map names"),
        ("seeds: 4-0\n", "backwards"),
    ],
)
def test_a_mistake_in_a_file_is_named_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "b.yaml").write_text(text)
    with pytest.raises(UserError, match=message) as error:
        Selection.from_file(tmp_path / "b.yaml")
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*b\.yaml"):
        Selection.from_file(tmp_path / "b.yaml")
