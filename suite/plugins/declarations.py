"""What a baseline's or task's file says of itself, read from its syntax: listing and planning import nothing."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.errors import UserError, nearest
from suite.files import PACKAGE
from suite.plugins.closure import parse

#: The contract's base class of each kind, and the class attributes that must be literals.
BASES = {"baseline": "Baseline", "task": "Task"}
#: Where these lie; read as text, for they import torch.
CONTRACTS = {"baseline": "training/baseline.py", "task": "measuring/task.py"}
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


@dataclass(frozen=True)
class Facts:
    """One public subclass of ``Baseline`` or ``Task``.

    Attributes:
        attribute: The class name.
        static: Its literal class attributes, with those it inherits within the file or from the contract.
        variants: Name -> parameters; the class's own declaration, or its snake-case name with no parameters.
        defaults: Constructor parameter -> literal default.
        names: Every constructor parameter; those not in ``defaults`` are computed or must be given.
        required: Parameters without a default.
        open: Whether the constructor takes any keyword.
    """

    attribute: str
    static: dict[str, Any]
    variants: dict[str, dict[str, Any]]
    defaults: dict[str, Any]
    names: tuple[str, ...]
    required: tuple[str, ...]
    open: bool


@functools.lru_cache(maxsize=512)
def read_facts(kind: str, data: bytes, path: Path) -> list[Facts]:
    """Returns the facts of every public class of a kind in a file.

    Raises:
        UserError: If the file has a syntax error or declares something that is not a literal.
    """
    classes = {node.name: node for node in parse(data, path).body if isinstance(node, ast.ClassDef)}
    lineages = {name: list(_lineage(name, classes)) for name in classes}
    return [
        _facts(kind, [classes[ancestor] for ancestor in lineage if ancestor in classes], path)
        for name, lineage in lineages.items()
        if BASES[kind] in lineage and not name.startswith("_")
    ]


def read_card(data: bytes, path: Path, attribute: str) -> str:
    """Returns the docstring of a class: what a baseline is, after which paper, and what was changed; "" for none."""
    classes = (node for node in parse(data, path).body if isinstance(node, ast.ClassDef))
    found = next((node for node in classes if node.name == attribute), None)
    return (ast.get_docstring(found) or "") if found else ""


def read_anchors(data: bytes, path: Path, attribute: str) -> list[tuple[str, str]] | None:
    """Returns (name, summary) of the anchors that a task's class declares, or None where they can't be read as text.

    Their texts may format the file's own constants: a board should not import torch to print its footnotes.
    """
    body = parse(data, path).body
    constants = {
        target.id: ast.literal_eval(node.value)
        for node in body
        if isinstance(node, ast.Assign) and _is_literal(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    task = next(node for node in body if isinstance(node, ast.ClassDef) and node.name == attribute)
    declared = dict(_assignments(task)).get("anchors")
    if declared is None and [base.id for base in task.bases if isinstance(base, ast.Name)] == [BASES["task"]]:
        return []
    try:
        assert isinstance(declared, ast.Tuple)
        calls = [call for call in declared.elts if isinstance(call, ast.Call)]
        texts = [[_text(argument, constants) for argument in call.args] for call in calls]
        return [(name, summary) for name, summary in texts]
    except (AssertionError, ValueError, KeyError):
        return None


def _text(node: ast.expr, constants: dict[str, Any]) -> str:
    """The value of a string or of an f-string over ``constants``.

    Raises:
        ValueError: If it is anything else.
        KeyError: If it names something that is not a constant.
    """
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part, constants) for part in node.values)
    if isinstance(node, ast.FormattedValue) and isinstance(node.value, ast.Name):
        return format(constants[node.value.id], _text(node.format_spec, constants) if node.format_spec else "")
    return str(ast.literal_eval(node))


def snake_case(name: str) -> str:
    """Returns ``conv_vae`` for ``ConvVAE``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _lineage(name: str, classes: dict[str, ast.ClassDef], seen: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yields a class and its bases by name, depth first, as far as the file tells."""
    yield name
    if name not in classes or name in seen:
        return
    for base in classes[name].bases:
        target = base.value if isinstance(base, ast.Subscript) else base
        label = target.id if isinstance(target, ast.Name) else target.attr if isinstance(target, ast.Attribute) else ""
        yield from _lineage(label, classes, seen | {name})


def _facts(kind: str, lineage: list[ast.ClassDef], path: Path) -> Facts:
    node = lineage[0]
    static = dict(_contract(kind))
    for ancestor in reversed(lineage):
        for name, value in _assignments(ancestor):
            if name in LITERALS[kind]:
                where = f"{path}:{value.lineno}: {ancestor.name}.{name}"
                static[name] = _literal(value, where)
                _check_choice(name, static[name], where)
    own = {name: value for name, value in _assignments(node) if name == "variants"}
    variants: dict[str, dict[str, Any]] = {snake_case(node.name): {}}
    if "variants" in own:
        where = f"{path}:{own['variants'].lineno}: {node.name}.variants"
        variants = _check_variants(_literal(own["variants"], where), where) or variants
    return Facts(node.name, static, variants, *_parameters(kind, lineage))


@functools.cache
def _contract(kind: str) -> dict[str, Any]:
    """Returns the defaults that the contract's own class declares, read as text too: it imports torch."""
    body = ast.parse((PACKAGE / CONTRACTS[kind]).read_bytes()).body
    base = next(node for node in body if isinstance(node, ast.ClassDef) and node.name == BASES[kind])
    return {name: ast.literal_eval(value) for name, value in _assignments(base) if name in LITERALS[kind]}


def _assignments(node: ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    for statement in node.body:
        if isinstance(statement, ast.Assign):
            yield from ((t.id, statement.value) for t in statement.targets if isinstance(t, ast.Name))
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            yield statement.target.id, statement.value


def _literal(value: ast.expr, where: str) -> Any:
    try:
        return ast.literal_eval(value)
    except (ValueError, TypeError) as error:
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


def _parameters(
    kind: str, lineage: list[ast.ClassDef]
) -> tuple[dict[str, Any], tuple[str, ...], tuple[str, ...], bool]:
    """Returns literal defaults, names, required names and openness of the nearest constructor in the file."""
    functions = (item for node in lineage for item in node.body if isinstance(item, ast.FunctionDef))
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
    except (ValueError, TypeError):
        return False
    return True
