"""Reads a submission's source for what no model needs: each finding with its file and line, nothing is run.

A lint is read by a person. What it finds is not always wrong, and what it does not find is not always right: what
holds a model to the rules is that its cells are run again from this source.
"""

from __future__ import annotations

import ast
import re
import sys
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from suite.checking.reach import ATTRIBUTES, CALLS, GETTERS, HARMLESS, MODULES, NEVER, OFFERED, OPENERS, OWN, REACHED
from suite.plugins import is_text, own_file, parse
from suite.records import clean

#: Bytes of the literals of one statement, and of all files together, from which on they may hold weights or labels.
LARGE, LARGE_TOGETHER = 1_000, 8_000

#: Bytes of the expressions of one statement, compressed, from which on they may hold weights, whatever these are
#: written in: numbers, names said again and again, chains of operators. The largest of the suite's own models has 177.
#: And of all files, from which on a person should look, and from which on they may hold weights in whatever form: the
#: largest of the suite's own models has 8,800.
LARGE_STATEMENT, LARGE_SOURCE, LARGEST_SOURCE = 1_000, 16_000, 64_000

#: Bytes of all different names of the files, and the fields of a syntax tree in which names stand.
LARGE_NAMES = 16_000
IDENTIFIERS = {"id", "attr", "arg", "name", "asname", "names", "module", "rest", "kwd_attrs"}

#: What a finding comes to: the source is refused, its weights were given, or a person should look.
REFUSED, GIVEN, LOOK = "refused", "given weights", "look"


@dataclass(frozen=True)
class Finding:
    """One thing that the source holds.

    Attributes:
        kind: ``REFUSED``, ``GIVEN`` or ``LOOK``.
        file: Of the source.
        line: In the file; 0 for all of it.
        reason: Half a sentence.
    """

    kind: str
    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return clean(f"{place}: {self.reason}")


def lint(files: Mapping[str, bytes]) -> list[Finding]:
    """Returns what a closure's files hold, by file and line.

    Raises:
        UserError: If a Python file cannot be parsed.
    """
    found, trees = [], {}
    for name, data in sorted(files.items()):
        if own_file(name, data):  # of a built-in model that it derives from
            continue
        if name.endswith(".py"):
            trees[name] = parse(data, name)
            found += [Finding(kind, name, line, reason) for kind, line, reason in _python(trees[name])]
        else:
            found.append(Finding(GIVEN, name, 0, f"a file of {len(data):,} bytes that no training made"))
    if trees:
        largest = max(trees, key=lambda name: len(files[name]))
        found += [Finding(kind, largest, 0, reason) for kind, reason in _together(list(trees.values()))]
    return sorted(set(found), key=lambda f: (f.file, f.line, f.reason))


Seen = tuple[str, int, str]


def _python(tree: ast.Module) -> Iterator[Seen]:
    yield from _module_state(tree)
    yield from _literals(tree)
    known = {
        alias.asname: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.asname
    }
    own, called = _bound(tree), {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from _import(node)
        elif isinstance(node, ast.Name) and node.id in CALLS and isinstance(node.ctx, ast.Load):
            if node.id in NEVER or node.id not in own or node in called:
                yield REFUSED, node.lineno, f"{node.id}() {CALLS[node.id]}"
        elif isinstance(node, ast.Call) and _name_of(node.func) in GETTERS:
            yield from _got(node, known)
        elif isinstance(node, ast.Name | ast.Attribute) and _name_of(node) in GETTERS:
            if node not in called and isinstance(node.ctx, ast.Load):
                yield REFUSED, node.lineno, f"{_name_of(node)} is handed on: it reaches attributes that nobody reads"
        elif isinstance(node, ast.FunctionDef) and node.name in ATTRIBUTES:
            yield REFUSED, node.lineno, f"{node.name} {ATTRIBUTES[node.name]}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from _path(node.value, node.lineno)
        elif isinstance(node, ast.Attribute):
            yield from _attribute(node, known)
        elif isinstance(node, ast.MatchClass) and (node.patterns or node.kwd_attrs):
            yield REFUSED, node.cls.lineno, "a class pattern reaches attributes of what it matches: write them out"
        elif isinstance(node, ast.Global):
            yield LOOK, node.lineno, f"the state of the module is changed: global {', '.join(node.names)}"


def _import(node: ast.Import | ast.ImportFrom) -> Iterator[Seen]:
    if isinstance(node, ast.ImportFrom):
        names = [] if node.level else [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
    else:
        names = [alias.name for alias in node.names]
    for name in names:
        module = next((m for m in MODULES if name == m or name.startswith(f"{m}.")), None)
        top = name.partition(".")[0]
        if module:
            yield REFUSED, node.lineno, f"{module} {MODULES[module]}"
        elif top == "suite" and name != "suite" and not name.startswith(OFFERED):
            yield REFUSED, node.lineno, f"{name} {OWN}"
        elif top in sys.stdlib_module_names and top not in HARMLESS:
            yield REFUSED, node.lineno, f"{top} is no module that a model needs"
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:  # from another that has imported it
        for name in (alias.name for alias in node.names):
            if name in REACHED:
                yield REFUSED, node.lineno, f"{name}, taken from {node.module}, {MODULES[name]}"
            elif name in GETTERS and any(alias.asname for alias in node.names):
                yield REFUSED, node.lineno, f"{name} under another name reaches attributes that nobody reads"
            elif name in OPENERS or name in ATTRIBUTES:
                yield REFUSED, node.lineno, f"{name}, taken from {node.module}, {ATTRIBUTES.get(name, 'opens files')}"
            elif name in MODULES and f"{node.module}.{name}" not in MODULES:
                yield LOOK, node.lineno, f"{name} is taken from {node.module}: is it the module that {MODULES[name]}?"


def _bound(tree: ast.Module) -> set[str]:
    """Names that a file gives to things of its own."""
    nodes = list(ast.walk(tree))
    stored = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    return stored | {node.arg for node in nodes if isinstance(node, ast.arg)}


def _name_of(function: ast.expr) -> str:
    return getattr(function, "id", getattr(function, "attr", ""))


def _got(node: ast.Call, known: Mapping[str, str]) -> Iterator[Seen]:
    """What an attribute reaches that is asked for by its name, which must be written out."""
    name = _name_of(node.func)
    builtin = name in ("getattr", "setattr", "delattr") and len(node.args) > 1
    owner, texts = (node.args[0], node.args[1:2]) if builtin else (node.func, node.args)
    for text in texts:
        if not (isinstance(text, ast.Constant) and isinstance(text.value, str)):
            yield REFUSED, node.lineno, f"{name}() of a name that is not written out: keep layers in a ModuleDict"
            continue
        for part in text.value.split("."):
            yield from _attribute(ast.Attribute(owner, part, ast.Load(), lineno=node.lineno), known)


def _path(text: str, line: int) -> Iterator[Seen]:
    """A name in a text, by which ``attrgetter`` and its like reach what an attribute would; a word may be a group's."""
    dotted = "." in text and len(text.split()) == 1
    for part in re.findall(r"\w+", text):
        if part in ATTRIBUTES or (part in REACHED and dotted):
            yield REFUSED, line, f"'{part}' {ATTRIBUTES.get(part) or MODULES[part]}"


def _attribute(node: ast.Attribute, known: Mapping[str, str]) -> Iterator[Seen]:
    """What an attribute reaches; ``known`` tells modules by the names that the file gives them."""
    if node.attr in ATTRIBUTES:
        yield REFUSED, node.lineno, f".{node.attr} {ATTRIBUTES[node.attr]}"
    owner = node.value.id if isinstance(node.value, ast.Name) else ""
    owner = known.get(owner, owner)
    if (chain := f"{owner}.{node.attr}") in MODULES:  # a package that is imported holds its modules
        yield REFUSED, node.lineno, f"{chain} {MODULES[chain]}"
    elif owner == "suite" and chain not in OFFERED:
        yield REFUSED, node.lineno, f"{chain} {OWN}"
    mine = LOOK if owner == "self" else REFUSED  # a model's own layer may be called so
    if (module := node.attr.lstrip("_")) in REACHED:
        yield mine, node.lineno, f".{node.attr} {MODULES[module]}"
    if node.attr in OPENERS:
        yield mine, node.lineno, f".{node.attr} opens files: declare them as `files`"
    if (owner, node.attr) == ("torch", "_C"):
        yield REFUSED, node.lineno, f"torch._C {MODULES['torch._C']}"


def _literals(tree: ast.Module) -> Iterator[Seen]:
    """Yields statements whose own literals are large, wherever in them."""
    for statement in _statements(tree):
        if (size := _told(statement)) > LARGE:
            yield GIVEN, statement.lineno, f"literals of {size:,} bytes, which may hold weights or labels"
        elif (told := len(zlib.compress(_text(statement).encode(errors="replace")))) > LARGE_STATEMENT:
            yield GIVEN, statement.lineno, f"{told:,} bytes in one statement, compressed, may hold weights or labels"


def _together(trees: list[ast.Module]) -> Iterator[tuple[str, str]]:
    """Yields what all files hold together, however it is cut: literals, names, and whatever else may be written."""
    where = f"in {len(trees)} files" if len(trees) > 1 else "in all"
    if (size := sum(_told(statement) for tree in trees for statement in _statements(tree))) > LARGE_TOGETHER:
        yield GIVEN, f"literals of {size:,} bytes {where}, which may hold weights or labels"
    if (size := sum(map(len, set().union(*map(_names, trees))))) > LARGE_NAMES:
        yield GIVEN, f"names of {size:,} bytes {where}, which may hold weights or labels"
    source = "\n".join(map(ast.unparse, trees)).encode(errors="replace")
    if (size := len(zlib.compress(source))) > LARGEST_SOURCE:
        yield GIVEN, f"{size:,} bytes of source {where}, compressed, may hold weights or labels"
    elif size > LARGE_SOURCE:
        yield LOOK, f"{size:,} bytes of source {where}, compressed: more than a model needs"


def _statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """All statements that are not text alone."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.stmt) and not is_text(node))


def _told(statement: ast.stmt) -> int:
    """Bytes of a statement's own literals."""
    return sum(_size(node.value) for node in _own(statement) if isinstance(node, ast.Constant))


def _own(statement: ast.stmt) -> Iterator[ast.AST]:
    """All that a statement holds but the statements within it: defaults, decorators, patterns and ``with`` too."""
    for child in ast.iter_child_nodes(statement):
        if not isinstance(child, ast.stmt):
            yield from _below(child)


def _below(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.stmt):  # in a handler or a case
            yield from _below(child)


def _text(node: ast.AST) -> str:
    """The expressions of a statement, without those of the statements within it."""
    children = [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.stmt)]
    return " ".join(ast.unparse(child) if isinstance(child, ast.expr) else _text(child) for child in children)


def _names(tree: ast.Module) -> set[str]:
    """Every identifier of a file, wherever it stands."""
    found = (value for node in ast.walk(tree) for field, value in ast.iter_fields(node) if field in IDENTIFIERS)
    listed = (name for value in found for name in (value if isinstance(value, list) else [value]))
    return {name for name in listed if isinstance(name, str)}


def _size(value: object) -> int:
    return len(value) if isinstance(value, str | bytes) else len(repr(value))


def _module_state(tree: ast.Module) -> Iterator[Seen]:
    for node in tree.body:
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        mutable = isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp)
        called = isinstance(value, ast.Call)
        if mutable or called:
            yield LOOK, node.lineno, "a module's own object can keep what one call saw for the next"
