"""Finds baselines and tasks: built-in folders, installed packages (entry points), files and folders from the user."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from importlib.metadata import entry_points
from pathlib import Path, PurePosixPath
from typing import Any

from suite.errors import UserError, nearest, no_file, unknown
from suite.plugins.closure import built_in_folder, collect, digest, identity, read
from suite.plugins.declarations import Facts, explain_none, read_facts
from suite.plugins.loading import load
from suite.plugins.parameters import TUNED, alike_all, check_value, read_params, tuned_trials, write_params
from suite.plugins.source import Source

__all__ = ["Entry", "discover", "label", "load", "resolve", "resolve_all", "source"]

ENTRY_POINTS = {"baseline": "latent_suite.baselines", "task": "latent_suite.tasks"}


@dataclass(frozen=True)
class Entry:
    """A baseline or task that was found, and nothing imported.

    Attributes:
        kind: ``"baseline"`` or ``"task"``.
        name: On the board.
        path: Its file, absolute.
        facts: What the file says of it.
        params: The constructor's literal defaults under the variant's parameters.
    """

    kind: str
    name: str
    path: Path
    facts: Facts = field(repr=False)
    params: dict[str, Any]

    @property
    def static(self) -> dict[str, Any]:
        """The class's literal attributes, with ``family`` (a name from its files where the class names none)."""
        return {**self.facts.static, "family": self.facts.static.get("family") or self.facts.family}


def discover(kind: str, extra: Sequence[str] = ()) -> dict[str, Entry]:
    """Returns every baseline or task by name: built in, installed, and of the files and folders in ``extra``.

    Raises:
        UserError: If a path does not exist, a file cannot be read, or two files provide one name.
    """
    found: dict[str, Entry] = {}
    for path in dict.fromkeys(_paths(kind, extra)):
        for entry in read_file(kind, path):
            other = found.setdefault(entry.name, entry)
            if other is not entry:
                raise UserError(f"two files provide the {kind} '{entry.name}': {other.path} and {path}")
    return dict(sorted(found.items()))


def resolve_all(kind: str, selector: str, extra: Sequence[str] = ()) -> list[tuple[Source, dict[str, Any]]]:
    """Returns the sources and parameters that a selector names: one, or all of a file.

    Args:
        kind: ``"baseline"`` or ``"task"``.
        selector: ``name``, ``name:key=value,key=value`` or ``path/to/file.py`` with or without ``:key=value``.
        extra: Further files and folders to look in.

    Raises:
        UserError: For an unknown name or parameter (with the nearest), or a parameter that is missing.
    """
    name, _, text = selector.partition(":")
    if name.endswith(".py"):
        path = Path(name).expanduser().resolve()
        found = discover(kind, [*extra, str(path)])
        entries = [entry for entry in found.values() if entry.path == path]
        if not entries:
            raise UserError(f"{name} holds no {kind} ({explain_none(kind, read(path), path)})")
    else:
        found = discover(kind, extra)
        if name not in found:
            raise unknown(kind, name, found)
        entries = [found[name]]
    return [(source(entry), _parameters(entry, text)) for entry in entries]


def of_class(kind: str, cls: type) -> tuple[list[str], str]:
    """Returns the names that a class has on the board (one per variant), and its file.

    Raises:
        UserError: If no file holds it, as that of a notebook's cell, or it is no baseline or task there.
    """
    try:
        file = inspect.getsourcefile(cls)
    except (TypeError, OSError):  # defined at a prompt or in a notebook's cell
        file = None
    if file is None or not Path(file).is_file():
        raise UserError(
            f"the {kind} {cls.__name__} stands in no file: what runs is read from one; save it and try again"
        )
    path = Path(file).resolve()
    names = [entry.name for entry in read_file(kind, path) if entry.facts.attribute == cls.__name__]
    if not names:
        raise UserError(f"{path} holds no {kind} {cls.__name__}")
    return names, str(path)


def resolve(kind: str, selector: str, extra: Sequence[str] = ()) -> tuple[Source, dict[str, Any]]:
    """Returns the one source that a selector names, with its parameters; see ``resolve_all``."""
    found = resolve_all(kind, selector, extra)
    if len(found) > 1:
        names = ", ".join(item.name for item, _ in found)
        raise UserError(f"{selector} holds several {kind}s ({names}): give the file as --path and choose one by name")
    return found[0]


def source(entry: Entry) -> Source:
    """Returns an entry with its closure, read now: what is hashed here is what will run."""
    first, files = collect(entry.path)
    virtual, real = entry.facts.folder
    for name in entry.static.get("files", ()):
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise UserError(f"{entry.path}: files must lie beside it, '{name}' does not")
        files[(PurePosixPath(virtual) / name).as_posix()] = read(real / name)
    return Source(
        kind=entry.kind,
        name=entry.name,
        attribute=entry.facts.attribute,
        entry=first,
        files=files,
        digest=digest(identity(entry.facts.attribute, files)),
        origin=str(entry.path),
        static={**entry.static, "params": entry.params, "space": entry.facts.space},
        declared=entry.facts.static,
        built_in=entry.path.parent == built_in_folder(entry.kind),
    )


def label(source: Source, params: Mapping[str, Any]) -> str:
    """Returns the name on the board: the source's, with the parameters that differ from its own."""
    own = source.static.get("params", {})
    changed = {key: value for key, value in sorted(params.items()) if key not in own or own[key] != value}
    return f"{source.name}:{write_params(changed)}" if changed else source.name


def read_file(kind: str, path: Path) -> list[Entry]:
    """Returns the entries of one file, without importing it."""
    facts = read_facts(kind, read(path), path)
    if kind == "task":
        if len(facts) > 1:
            raise UserError(f"{path} holds several tasks ({', '.join(f.attribute for f in facts)}): one file, one task")
        return [Entry(kind, path.stem, path, fact, fact.defaults) for fact in facts]
    entries = [
        Entry(kind, name, path, fact, {**fact.defaults, **alike_all(params, fact.defaults)})
        for fact in facts
        for name, params in fact.variants.items()
    ]
    for entry in entries:
        _check_names(entry, entry.facts.variants[entry.name])
        twins = [e.name for e in entries if e.facts is entry.facts and e.params == entry.params]
        if len(twins) > 1:
            raise UserError(f"{path}: the variants {' and '.join(twins)} have the same parameters")
    return entries


def _paths(kind: str, extra: Sequence[str]) -> Iterator[Path]:
    yield from _python_files(built_in_folder(kind))
    for point in entry_points(group=ENTRY_POINTS[kind]):
        yield _module_file(point.value.partition(":")[0], point.name)
    for text in extra:
        path = Path(text).expanduser().resolve()
        if path.is_dir():
            yield from _python_files(path)
        elif path.is_file():
            yield path
        else:
            raise no_file(text, "file or folder")


def _python_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("*.py") if p.name != "__init__.py")


def _module_file(module: str, name: str) -> Path:
    """Returns the file of an installed module, without importing it or its parents."""
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)
    for depth, _ in enumerate(rest, start=2):
        places = list(spec.submodule_search_locations or ()) if spec else []
        spec = PathFinder.find_spec(".".join([top, *rest][:depth]), places)
    if spec is None or not spec.origin:
        raise UserError(f"the entry point '{name}' names the module {module}, which is not there")
    return Path(spec.origin).resolve()


def _parameters(entry: Entry, text: str) -> dict[str, Any]:
    """Returns the variant's parameters under those of ``key=value,key=value``."""
    explicit = read_params(text, entry.name)
    mark = {TUNED: explicit.pop(TUNED)} if entry.kind == "baseline" and TUNED in explicit else {}
    if mark and not tuned_trials(mark):
        raise UserError(f"{entry.name}: {TUNED} is a number of trials, not {mark[TUNED]!r}")
    _check_names(entry, explicit)
    for name, value in explicit.items():
        if isinstance(entry.params.get(name), float) and type(value) is int:
            explicit[name] = float(value)
    params = {**entry.params, **explicit}
    missing = [name for name in entry.facts.required if name not in params]
    if missing:
        raise UserError(f"the {entry.kind} '{entry.name}' needs the parameter '{missing[0]}'")
    for name, value in params.items():
        check_value(f"the parameter '{name}' of the {entry.kind} '{entry.name}'", value)
    for name, value in explicit.items():
        _check_kind(entry, name, value)
    return alike_all(params, entry.facts.defaults) | mark


def _check_kind(entry: Entry, name: str, value: Any) -> None:
    """A text where the constructor's default is a number or a yes or no is a slip: the model would fail, or worse."""
    default = entry.facts.defaults.get(name)
    kinds = {bool: "true or false", int: "a number", float: "a number"}
    if isinstance(value, str) and type(default) in kinds:
        where = f"the parameter '{name}' of the {entry.kind} '{entry.name}'"
        raise UserError(f"{where} must be {kinds[type(default)]}, as its default {default} is, not {value!r}")


def _check_names(entry: Entry, params: Mapping[str, Any]) -> None:
    for name in params if not entry.facts.open else ():
        if name not in entry.facts.names:
            known = nearest(name, entry.facts.names) or "; it takes none"
            raise UserError(f"the {entry.kind} '{entry.name}' has no parameter '{name}'{known}")
