"""``suite list``: the tasks, baselines and datasets there are, read without importing any of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from suite.cli.options import DataRoot, Format, Paths, check_format
from suite.cli.output import print_json, print_table
from suite.errors import unknown
from suite.plugins import registry

KINDS = ("tasks", "baselines", "datasets")

#: What a table shows of each kind, and which columns are numbers.
COLUMNS = {
    "tasks": ("name", "primary", "official", "version", "summary"),
    "baselines": ("name", "family", "supervision", "summary"),
    "datasets": ("name", "train", "val", "test", "classes", "on disk", "summary"),
}
NUMBERS = ("version", "train", "val", "test", "classes")


def list(
    kind: Annotated[str | None, typer.Argument(metavar="[tasks|baselines|datasets]")] = None,
    path: Paths = None,
    data_root: DataRoot = None,
    format: Format = "table",
) -> None:
    """List tasks, baselines and datasets."""
    if kind is not None and kind not in KINDS:
        raise unknown("kind", kind, KINDS)
    check_format(format)
    kinds = KINDS if kind is None else (kind,)
    found = {name: _datasets(data_root) if name == "datasets" else _entries(name[:-1], path or ()) for name in kinds}
    if format == "json":
        print_json(found)
        return
    for number, (name, items) in enumerate(found.items()):
        typer.echo(nl=number > 0)
        rows = [[_text(_told(item, column)) for column in COLUMNS[name]] for item in items]
        print_table(name, COLUMNS[name], rows, NUMBERS)


def _entries(kind: str, extra: Any) -> Any:
    return [
        {
            "name": name,
            **entry.static,
            "params": entry.params,
            "space": entry.facts.space,
            "variant": entry.facts.variants.get(name, {}),
            "file": str(entry.path),
        }
        for name, entry in registry.discover(kind, extra).items()
    ]


def _datasets(data_root: str | None) -> Any:
    from suite import data

    root = data.data_root(data_root)
    return [_dataset(data.info(name), root) for name in data.names()]


def _dataset(info: Any, root: Path) -> dict[str, Any]:
    from suite import data

    train, val, test = info.sizes or (None, None, None)
    return {
        "name": info.name,
        "summary": info.summary,
        "shape": info.shape,
        "classes": info.classes,
        "train": train,
        "val": val,
        "test": test,
        "labels": info.labels,
        "on disk": data.on_disk(info.name, root),
    }


def _told(item: Any, column: str) -> object:
    """A column's value; a summary also tells the parameters that make this variant of its class."""
    chosen = ", ".join(f"{name}={value}" for name, value in item.get("variant", {}).items())
    return f"{item['summary']}; {chosen}" if column == "summary" and chosen else item.get(column)


def _text(value: object) -> object:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value
