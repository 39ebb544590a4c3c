"""A command that takes a block has its fields as options, and gets the block that they add up to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from suite.cli.blocks import spread


@dataclass(frozen=True)
class Size:
    width: Annotated[int, typer.Option("--width", "-w", help="How wide.")] = 2
    names: Annotated[list[str] | None, typer.Option("--name", help="How it is called.")] = None


@dataclass(frozen=True)
class Place:
    room: Annotated[str, typer.Option(help="Where.")] = "attic"


@pytest.fixture
def got() -> list[Any]:
    return []


def invoke(command: Callable[..., None], *arguments: str) -> Any:
    app = typer.Typer(rich_markup_mode=None)
    app.command()(command)
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def command(got: list[Any]) -> Callable[..., None]:
    @spread()
    def move(
        thing: Annotated[str, typer.Argument(metavar="THING")], size: Size, place: Place, far: bool = False
    ) -> None:
        """Move it."""
        got.append((thing, size, place, far))

    return move


def test_options_that_are_not_given_leave_the_blocks_as_they_are(command: Callable[..., None], got: list[Any]) -> None:
    assert invoke(command, "piano").exit_code == 0
    assert got == [("piano", Size(), Place(), False)]


def test_each_option_reaches_its_block(command: Callable[..., None], got: list[Any]) -> None:
    assert invoke(command, "piano", "-w", "3", "--name", "a", "--name", "b", "--room", "hall", "--far").exit_code == 0
    assert got == [("piano", Size(3, ["a", "b"]), Place("hall"), True)]


def test_help_shows_the_fields_in_the_blocks_place(command: Callable[..., None]) -> None:
    text = invoke(command, "--help").output
    assert [text.index(word) for word in ("Move it.", "--width", "--name", "--room", "--far")] == sorted(
        text.index(word) for word in ("Move it.", "--width", "--name", "--room", "--far")
    )
    assert "How wide." in text


def test_a_field_that_a_command_goes_without_keeps_its_default(got: list[Any]) -> None:
    @spread(without=["names"])
    def measure(size: Size) -> None:
        got.append(size)

    assert invoke(measure, "--name", "a").exit_code == 2
    assert invoke(measure, "--width", "5").exit_code == 0
    assert got == [Size(5)]
