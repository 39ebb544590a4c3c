"""``suite show``: a task's protocol card, a baseline, a dataset, or a record."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from suite.cli.options import DataRoot, Format, Paths, Workspace, check_format
from suite.cli.output import print_facts, print_json, print_table
from suite.errors import UserError, unknown
from suite.plugins import Entry, built_in_folder, read_card, registry

METRIC_FIELDS = ("name", "unit", "direction", "summary")
METRIC_COLUMNS = ("metric", "unit", "better", "meaning")
RECORD_COLUMNS = ("metric", "value", "se", "n", "unit", "direction")


def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Task, baseline, FILE.py, dataset, or start of a key.")],
    path: Paths = None,
    workspace: Workspace = Path("runs"),
    data_root: DataRoot = None,
    format: Format = "table",
) -> None:
    """Show a task's protocol card, a baseline's groups and parameters, a dataset, or a record."""
    check_format(format)
    for item in _find(name, path or (), workspace, data_root):
        if format == "json":
            print_json(item)
        else:
            _print(item)


def _find(name: str, extra: Any, workspace: Path, data_root: str | None) -> Any:
    """Returns what goes by a name, one dict each (several for a file)."""
    from suite import data

    if name in data.names():
        return [_dataset(name, data_root)]
    plain = name.partition(":")[0]
    names: dict[str, Any] = {kind: registry.discover(kind, extra) for kind in ("task", "baseline")}
    if plain.endswith(".py"):
        file = Path(plain).expanduser().resolve()
        entries = [entry for kind in names for entry in registry.read_file(kind, file)]
        if not entries:
            raise UserError(f"{plain} holds neither a baseline nor a task")
        return [_describe(entry, registry.source(entry), entry.params) for entry in entries]
    for kind, found in names.items():
        if plain in found:
            return [_describe(found[plain], *registry.resolve(kind, name, extra))]
    if re.fullmatch(r"[0-9a-f]{4,64}", name):
        return [_record(name, workspace)]
    raise unknown("name", name, [*names["task"], *names["baseline"], *data.names()])


def _describe(entry: Entry, source: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    common = {"kind": source.kind, "name": source.name, "file": source.origin, "class": source.attribute}
    closure = {"digest": source.digest, "closure": sorted(source.files)}
    if source.kind == "baseline":
        static = {key: value for key, value in source.static.items() if key != "params"}
        about = read_card(source.files[source.entry], Path(source.origin), source.attribute)
        return {**common, **static, "params": dict(params), **closure, "about": about}
    static = {name: source.static[name] for name in ("version", "summary", "primary", "official")}
    static["requires"] = list(source.static["requires"])
    return {**common, **static, "params": dict(params), **_rules(entry, source, params), **closure}


def _rules(entry: Entry, source: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a task's card, metrics and anchors; of a file that was given, as far as its text tells: it is not run."""
    if entry.path.parent == built_in_folder("task"):
        task = registry.load(source)(**params)
        metrics, anchors = [vars(metric) for metric in task.metrics], [vars(anchor) for anchor in task.anchors]
        return {"card": task.card(), "metrics": metrics, "anchors": anchors}
    return {
        "card": {},
        "metrics": [dict(zip(METRIC_FIELDS, (*about, ""), strict=True)) for about in entry.facts.metrics],
        "anchors": [{"name": name, "summary": summary} for name, summary in entry.facts.anchors],
    }


def _dataset(name: str, data_root: str | None) -> dict[str, Any]:
    from suite import data

    root = data.data_root(data_root)
    present = data.on_disk(name, root)
    return {
        "kind": "dataset",
        **vars(data.info(name)),
        "folder": str(root),
        "on disk": present,
        "content hash": data.content_hash(name, root) if present else None,
    }


def _record(prefix: str, workspace: Path) -> dict[str, Any]:
    from suite import records

    files = sorted((workspace / "records").glob(f"{prefix[:32]}*.json"))
    keys = sorted({file.name[:32] for file in files})
    missing = UserError(f"no record in {workspace} has a key that starts with {prefix}")
    if not keys:
        raise missing
    if len(keys) > 1:
        raise UserError(f"{len(keys)} records have a key that starts with {prefix}: give more of it")
    raw = records.read_keys(workspace, keys)
    if not raw:
        raise UserError(f"the record {files[0]} is corrupt and was set aside")
    found = next(iter(raw.values()))
    if not found["key"].startswith(prefix):  # a file's name is but the start of its key
        raise missing
    return {"kind": "record", **found}


def _print(item: Mapping[str, Any]) -> None:
    tables = ("about", "metrics", "anchors", "card", "groups", "space", "traceback", "env", "cost", "ingredients")
    print_facts(
        f"{item['kind']} {item.get('name', '')}".strip(),
        [(key, _text(value)) for key, value in item.items() if key not in (*tables, "kind", "name")],
    )
    for key in ("groups", "space", "card", "cost", "env", "ingredients"):
        if item.get(key):
            typer.echo()  # a list of choices and a range of two ends are told apart by their brackets
            print_facts(key, [(name, value if key == "space" else _text(value)) for name, value in item[key].items()])
    if item.get("about"):
        typer.echo(f"\n{item['about']}")
    typer.echo()
    if item["kind"] == "task":
        print_table("metrics", METRIC_COLUMNS, [tuple(metric.values()) for metric in item["metrics"]])
        typer.echo()
        print_table("anchors", ("anchor", "meaning"), [(a["name"], a["summary"]) for a in item["anchors"]])
    elif item["kind"] == "record":
        metrics = [(name, *(m[column] for column in RECORD_COLUMNS[1:])) for name, m in item["metrics"].items()]
        print_table("metrics", RECORD_COLUMNS, metrics, ("value", "se", "n"))
        typer.echo(item["traceback"] or "", nl=bool(item["traceback"]))


def _text(value: object) -> object:
    """Returns a value as a reader writes it: lists with commas, pairs as key=value."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_text(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(str(_text(inner)) for inner in value)
    return value
