"""What a baseline's or task's file says of itself, read from its syntax: listing and planning import nothing."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from suite.errors import UserError, nearest
from suite.plugins.classes import BASES, Classes, Declared, assignments, contract, lineage
from suite.plugins.closure import BUILT_IN, ENGINE, read
from suite.plugins.parameters import TUNED
from suite.plugins.space import check_space
from suite.plugins.syntax import SPACE, parse

#: The class attributes of each kind that must be literals.
LITERALS = {
    "baseline": (
        "summary",
        "family",
        "paper",
        "supervision",
        "core",
        "groups",
        "trains_on",
        "batch_size",
        "learning_rate",
        "files",
    ),
    "task": ("version", "summary", "primary", "official", "requires"),
}

#: Those of them that are one of a few words: a misspelt one must not pass for another.
CHOICES = {"supervision": ("none", "labels", "semi"), "trains_on": ("binary", "grey")}

#: All that the text of an anchor may be made of: nothing here can call, look up an attribute or take an item.
_TEXT = (ast.Constant, ast.JoinedStr, ast.FormattedValue, ast.Name, ast.Load)


@dataclass(frozen=True)
class Facts:
    """One public subclass of ``Baseline`` or ``Task``.

    Attributes:
        attribute: The class name.
        static: Its literal class attributes, with those it inherits from other classes and from the contract.
        variants: Name -> parameters; the class's own declaration, or its snake-case name with no parameters.
        defaults: Constructor parameter -> literal default.
        names: Every constructor parameter; those not in ``defaults`` are computed or must be given.
        required: Parameters without a default.
        open: Whether the constructor takes any keyword.
        family: The file's name; for what is built upon a built-in baseline, the name of that one's file.
        folder: Where the file that declares ``files`` lies, virtual and real: these lie beside it.
        anchors: (name, summary) of the anchors that a task declares; none where they need code to be known.
        metrics: (name, unit, direction) of the metrics that a task declares, as far as they are read.
        space: Parameter -> where ``suite tune`` searches it, as the class itself declares it.
    """

    attribute: str
    static: dict[str, Any]
    variants: dict[str, dict[str, Any]]
    defaults: dict[str, Any]
    names: tuple[str, ...]
    required: tuple[str, ...]
    open: bool
    family: str
    folder: tuple[str, Path]
    anchors: tuple[tuple[str, str], ...] = ()
    metrics: tuple[tuple[str, str, str], ...] = ()
    space: dict[str, Any] = field(default_factory=dict)


def read_facts(kind: str, data: bytes, path: Path) -> list[Facts]:
    """Returns the facts of every public class of a kind that a file defines.

    Raises:
        UserError: If the file, or one from which a class of it derives, has a syntax error or declares something
            that is not a literal.
    """
    facts, others = _read(kind, data, path)
    if any(read(other) != seen for other, seen in others.items()):  # a helper has changed, its importer has not
        _read.cache_clear()
        facts, _ = _read(kind, data, path)
    return facts


@functools.lru_cache(maxsize=512)
def _read(kind: str, data: bytes, path: Path) -> tuple[list[Facts], dict[Path, bytes]]:
    """Returns the facts, and the bytes of all other files that they were read from."""
    classes = Classes(path, data)
    facts = [_facts(kind, cls, classes) for cls in _public(classes) if issubclass(cls, contract(BASES[kind]))]
    return facts, classes.others()


def explain_none(kind: str, data: bytes, path: Path) -> str:
    """Returns why a file holds no baseline or no task, as the end of a sentence."""
    for cls in _public(Classes(path, data)):
        bases = [base for declared in lineage(cls) for base in declared.unread]
        if bases:
            return f"{cls.__name__} derives from {bases[0]}, which is not read: name {BASES[kind]} among its bases"
    return f"a public class that derives from {BASES[kind]}"


def read_card(data: bytes, path: Path, attribute: str) -> str:
    """Returns the docstring of a class: what a baseline is, after which paper, and what was changed; "" for none."""
    classes = (node for node in parse(data, path).body if isinstance(node, ast.ClassDef))
    found = next((node for node in classes if node.name == attribute), None)
    return (ast.get_docstring(found) or "") if found else ""


def snake_case(name: str) -> str:
    """Returns ``conv_vae`` for ``ConvVAE``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _public(classes: Classes) -> list[type]:
    return [cls for cls in classes.own() if not cls.__name__.startswith("_")]


def _facts(kind: str, cls: type, classes: Classes) -> Facts:
    ancestors = lineage(cls)
    own = ancestors[0]
    static: dict[str, Any] = {}
    holder = own
    for ancestor in reversed(ancestors):
        for name, value in ancestor.assignments():
            if name in LITERALS[kind]:
                where = f"{ancestor.path}:{value.lineno}: {ancestor.node.name}.{name}"
                static[name] = _literal(value, where)
                _check_choice(name, static[name], where)
                holder = ancestor if name == "files" and ancestor.file else holder
    defaults, names, required, free = _parameters(kind, ancestors)
    if kind == "baseline" and TUNED in names:
        raise UserError(
            f"{own.path}: {own.node.name}: the parameter '{TUNED}' is the mark of a search; name it otherwise"
        )
    return Facts(
        own.node.name,
        static,
        _variants(own),
        defaults,
        names,
        required,
        free,
        family=_family(ancestors),
        folder=(str(PurePosixPath(holder.file).parent), holder.path.parent),
        anchors=tuple(_calls("anchors", 2, ancestors, classes)) if kind == "task" else (),
        metrics=tuple(_calls("metrics", 3, ancestors, classes)) if kind == "task" else (),
        space=_space(own, defaults, None if free else names) if kind == "baseline" else {},
    )


def _space(own: Declared, defaults: dict[str, Any], names: tuple[str, ...] | None) -> dict[str, Any]:
    """Returns what the class itself declares: its parameters may be others than those of what it derives from."""
    declared = dict(own.assignments()).get(SPACE)
    if declared is None:
        return {}
    where = f"{own.path}:{declared.lineno}: {own.node.name}.{SPACE}"
    return check_space(_literal(declared, where), defaults, names, where)


def _variants(own: Declared) -> dict[str, dict[str, Any]]:
    """Returns what the class itself declares: what it inherits would name the variants of another class."""
    declared = dict(own.assignments()).get("variants")
    named: dict[str, dict[str, Any]] = {}
    if declared is not None:
        where = f"{own.path}:{declared.lineno}: {own.node.name}.variants"
        named = _check_variants(_literal(declared, where), where)
    return named or {snake_case(own.node.name): {}}


def _family(ancestors: list[Declared]) -> str:
    folder = f"{ENGINE}/{BUILT_IN['baseline']}"
    built_in = (PurePosixPath(a.file).stem for a in ancestors if str(PurePosixPath(a.file).parent) == folder)
    return next(built_in, ancestors[0].path.stem)


def _calls(attribute: str, length: int, ancestors: list[Declared], classes: Classes) -> Iterator[Any]:
    """Yields the first arguments of a task's anchors or metrics, as far as they are literals or f-strings over such.

    A board should not import torch, nor run a file that it was given, to print its footnotes.
    """
    declared = ((ancestor, dict(ancestor.assignments()).get(attribute)) for ancestor in ancestors if ancestor.file)
    ancestor, value = next(((a, v) for a, v in declared if v is not None), (ancestors[0], None))
    constants = _constants(classes.module(ancestor.file))
    for call in value.elts if isinstance(value, ast.Tuple | ast.List) else ():
        texts = [_text(argument, constants) for argument in getattr(call, "args", ())[:length]]
        if len(texts) == length and None not in texts:
            yield tuple(texts)


def _constants(module: ast.Module) -> dict[str, Any]:
    return {name: ast.literal_eval(value) for name, value in assignments(module) if _is_literal(value)}


def _text(node: ast.expr, constants: dict[str, Any]) -> str | None:
    """Returns the value of a literal text or of an f-string over constants, None for anything else."""
    if not all(isinstance(part, _TEXT) for part in ast.walk(node)):
        return None
    try:
        return str(eval(compile(ast.Expression(node), "anchor", "eval"), {"__builtins__": {}}, constants))
    except (NameError, ValueError, TypeError, MemoryError):  # no constant of this file, or one that is not formatted so
        return None


def _literal(value: ast.expr, where: str) -> Any:
    try:
        return ast.literal_eval(value)
    except (ValueError, TypeError, RecursionError, MemoryError) as error:
        raise UserError(f"{where} must be a literal: it is read without importing the file") from error


def _check_choice(name: str, value: Any, where: str) -> None:
    choices = CHOICES.get(name)
    if choices and value not in choices:
        raise UserError(f"{where} is {value!r}{nearest(str(value), choices)}")


def _check_variants(variants: Any, where: str) -> dict[str, dict[str, Any]]:
    fine = isinstance(variants, dict) and all(isinstance(p, dict) for p in variants.values())
    if not fine or not all(isinstance(name, str) and re.fullmatch(r"\w+", name) for name in variants):
        raise UserError(f"{where} must map plain names to dicts of parameters")
    return variants


def _parameters(kind: str, ancestors: list[Declared]) -> tuple[dict[str, Any], tuple[str, ...], tuple[str, ...], bool]:
    """Returns literal defaults, names, required names and openness of the nearest constructor."""
    functions = (item for ancestor in ancestors for item in ancestor.node.body if isinstance(item, ast.FunctionDef))
    init = next((function for function in functions if function.name == "__init__"), None)
    if init is None:
        return {}, (), (), False
    given = 2 if kind == "baseline" else 1  # self, and the spec of a baseline
    plain = [*init.args.posonlyargs, *init.args.args]
    defaults: dict[str, ast.expr | None] = dict.fromkeys((a.arg for a in plain), None)
    if init.args.defaults:
        defaults |= {a.arg: d for a, d in zip(plain[-len(init.args.defaults) :], init.args.defaults, strict=True)}
    pairs = [(a.arg, defaults[a.arg]) for a in plain[given:]]
    pairs += [(a.arg, d) for a, d in zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)]
    literals = {name: ast.literal_eval(d) for name, d in pairs if d is not None and _is_literal(d)}
    required = tuple(name for name, default in pairs if default is None)
    return literals, tuple(name for name, _ in pairs), required, init.args.kwarg is not None


def _is_literal(value: ast.expr) -> bool:
    try:
        ast.literal_eval(value)
    except (ValueError, TypeError, RecursionError, MemoryError):
        return False
    return True
