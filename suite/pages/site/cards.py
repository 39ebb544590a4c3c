"""What the files of models and tasks say of themselves, for the pages that show them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.errors import UserError
from suite.plugins import read_card, registry


@dataclass(frozen=True)
class ModelCard:
    """A model as its file declares it.

    Attributes:
        summary, paper, core, trains_on: As declared.
        groups: Name -> what the group is.
        about: The class's docstring.
        file: ``baselines/<name>.py``.
        source: The text of that file.
    """

    summary: str
    paper: str
    core: str
    trains_on: str
    groups: dict[str, str]
    about: str
    file: str
    source: str


@dataclass(frozen=True)
class TaskCard:
    """A task as its file declares it.

    Attributes:
        summary, version, official, requires: As declared.
        about: The file's docstring: what is measured, after which papers.
        rules: Name -> value of the protocol's rules, from the values that the code uses.
        metrics: (name, unit, direction, meaning) of all that it reports.
        anchors: (name, meaning).
        file: ``tasks/<name>.py``.
        source: The text of that file.
    """

    summary: str
    version: int
    official: bool
    requires: tuple[str, ...]
    about: str
    rules: dict[str, str]
    metrics: list[tuple[str, str, str, str]]
    anchors: list[tuple[str, str]]
    file: str
    source: str


def model_cards(names: Iterable[str], paths: Sequence[str]) -> dict[str, ModelCard]:
    """Returns the cards of the models that are found here; a name with parameters has its model's."""
    entries = registry.discover("baseline", paths)
    return {name: _model(entries[plain(name)]) for name in names if plain(name) in entries}


def task_cards(names: Iterable[str], paths: Sequence[str]) -> dict[str, TaskCard]:
    """Returns the cards of the tasks that are found here; their files are loaded, since rules are made by code."""
    found = {}
    entries = registry.discover("task", paths)
    for name in names:
        if plain(name) in entries:
            try:
                source, params = registry.resolve("task", name, paths)
            except UserError:  # a record of a parameter that the task no longer has
                source, params = registry.resolve("task", plain(name), paths)
            found[name] = _task(registry.load(source)(**params), entries[plain(name)])
    return found


def plain(name: str) -> str:
    """Returns a model's or a task's name without its parameters."""
    return name.partition(":")[0]


def _model(entry: Any) -> ModelCard:
    static, data = entry.static, Path(entry.path).read_bytes()
    return ModelCard(
        summary=static.get("summary", ""),
        paper=static.get("paper", ""),
        core=static.get("core", ""),
        trains_on=static.get("trains_on", ""),
        groups=dict(static.get("groups") or {}),
        about=_prose(read_card(data, entry.path, entry.facts.attribute)),
        file=f"baselines/{entry.path.name}",
        source=data.decode(errors="replace"),
    )


def _task(task: Any, entry: Any) -> TaskCard:
    text = Path(entry.path).read_text(errors="replace")
    return TaskCard(
        summary=task.summary,
        version=task.version,
        official=task.official,
        requires=tuple(task.requires),
        about=_prose(ast.get_docstring(ast.parse(text)) or ""),
        rules={name: _text(value) for name, value in task.card().items()},
        metrics=[(m.name, m.unit, m.direction, m.summary) for m in task.metrics],
        anchors=[(a.name, a.summary) for a in task.anchors],
        file=f"tasks/{entry.path.name}",
        source=text,
    )


def _prose(text: str) -> str:
    return text.replace("``", "")


def _text(value: object) -> str:
    """Returns a rule's value as a reader writes it: lists with commas, pairs as key=value."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_text(inner)}" for key, inner in value.items())
    return ", ".join(map(_text, value)) if isinstance(value, list | tuple) else str(value)
