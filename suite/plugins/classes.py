"""The classes of a file and what they derive from, across the files that it imports: read as text, nothing is imported.

Every class of the text gets a stand-in, an empty Python class with the same bases. So which of two inherited
declarations counts is decided by Python's own rules, and not by rules written down here once more.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from suite.errors import UserError
from suite.files import PACKAGE
from suite.plugins.closure import ENGINE, Parts, Tree, read
from suite.plugins.syntax import parse

#: The contract's base class of each kind.
BASES = {"baseline": "Baseline", "task": "Task"}
#: Where these lie; read as text, for they import torch.
CONTRACTS = {"Baseline": "training/baseline.py", "Task": "measuring/task.py"}


@dataclass(frozen=True)
class Declared:
    """A class as it stands in a file.

    Attributes:
        node: Its syntax.
        file: The file's virtual path.
        path: Where the file lies.
        unread: Its bases that lie outside the files that are read, as the text names them.
    """

    node: ast.ClassDef
    file: str
    path: Path
    unread: tuple[str, ...] = ()

    def assignments(self) -> Iterator[tuple[str, ast.expr]]:
        """Yields (name, value) of everything that the class's body assigns to a plain name."""
        yield from assignments(self.node)


@dataclass(frozen=True)
class _Module:
    """A module that an import names; ``absolute`` as in ``Tree.find``."""

    parts: Parts
    absolute: bool


@dataclass(frozen=True)
class _Taken:
    """A name that an import takes from a module; looked up where a class derives from it."""

    module: _Module
    name: str


def assignments(node: ast.ClassDef | ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Yields (name, value) of everything that a body assigns to a plain name."""
    for statement in node.body:
        if isinstance(statement, ast.Assign):
            yield from ((t.id, statement.value) for t in statement.targets if isinstance(t, ast.Name))
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            yield statement.target.id, statement.value


def lineage(cls: type) -> list[Declared]:
    """Returns a class and its ancestors in the order in which Python asks them, as far as their files are read."""
    return [vars(each)["declared"] for each in cls.__mro__ if "declared" in vars(each)]


class Classes:
    """Reads the classes of one file.

    Attributes:
        entry: The file's virtual path.
    """

    def __init__(self, path: Path, data: bytes) -> None:
        """Takes a file's path (absolute) and its bytes; what it imports is read where a class derives from it."""
        self._tree = Tree.of(path)
        self.entry = self._tree.virtual(path)
        self._bytes = {self.entry: data}
        self._parsed: dict[str, ast.Module] = {}
        self._known: dict[str, dict[str, Any]] = {}

    def own(self) -> list[type]:
        """Returns the stand-ins of the classes that the file itself defines, in its order.

        Raises:
            UserError: If a file cannot be read or parsed, or a class's bases contradict each other.
        """
        found = (item for item in self._names(self.entry).values() if isinstance(item, type))
        return [item for item in found if vars(item)["declared"].file == self.entry]

    def others(self) -> dict[Path, bytes]:
        """Returns the other files that were read so far: path -> bytes."""
        return {self._tree.real(file): data for file, data in self._bytes.items() if file != self.entry}

    def module(self, file: str) -> ast.Module:
        """Returns the parsed syntax of a file by its virtual path."""
        if file not in self._parsed:
            path = self._tree.real(file)
            if file not in self._bytes:
                self._bytes[file] = read(path)
            self._parsed[file] = parse(self._bytes[file], path)
        return self._parsed[file]

    def _names(self, file: str) -> dict[str, Any]:
        """Returns name -> stand-in, module or taken name that a file's top level binds to it."""
        if file not in self._known:
            names = self._known[file] = {}  # before its statements are read: files may import each other
            for statement in _top_level(self.module(file).body):
                self._bind(statement, file, names)
        return self._known[file]

    def _bind(self, statement: ast.stmt, file: str, names: dict[str, Any]) -> None:
        if isinstance(statement, ast.ClassDef):
            names[statement.name] = self._stand_in(statement, file, names)
        elif isinstance(statement, ast.Import):
            for alias in statement.names:
                parts = tuple(alias.name.split("."))
                names[alias.asname or parts[0]] = _Module(parts if alias.asname else parts[:1], absolute=True)
        elif isinstance(statement, ast.ImportFrom):
            module = _module_of(statement, PurePosixPath(file).parent.parts)
            for alias in statement.names:
                if alias.name == "*":
                    names.update(self._public(module))
                else:
                    names[alias.asname or alias.name] = _Taken(module, alias.name)
        elif isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Name | ast.Attribute):
            found = self._resolve(statement.value, names)
            if isinstance(found, type):  # another name for a class
                names.update({t.id: found for t in statement.targets if isinstance(t, ast.Name)})

    def _stand_in(self, node: ast.ClassDef, file: str, names: dict[str, Any]) -> type:
        bases: list[type] = []
        unread: list[str] = []
        for base in node.bases:
            found = self._resolve(base, names)
            last = ast.unparse(base).rpartition(".")[2]
            if isinstance(found, type):
                bases.append(found)
            elif last in CONTRACTS:  # handed on by a library: whether it is the contract's is seen when it is loaded
                bases.append(contract(last))
            else:
                unread.append(ast.unparse(base))
        declared = Declared(node, file, self._tree.real(file), tuple(unread))
        try:
            return type(node.name, tuple(bases), {"declared": declared})
        except TypeError as error:
            raise UserError(f"{declared.path}:{node.lineno}: {' '.join(str(error).split())}") from error

    def _resolve(self, node: ast.expr, names: dict[str, Any]) -> Any:
        """Returns the stand-in or module that an expression names, None for anything else."""
        if isinstance(node, ast.Subscript):  # Generic[T]
            return self._resolve(node.value, names)
        if isinstance(node, ast.Name):
            return self._follow(names.get(node.id))
        if isinstance(node, ast.Attribute):
            holder = self._resolve(node.value, names)
            return self._follow(_Taken(holder, node.attr)) if isinstance(holder, _Module) else None
        return None

    def _follow(self, found: Any) -> Any:
        """Returns what a taken name stands for, through every file that hands it on."""
        seen = set()
        while isinstance(found, _Taken) and found not in seen:
            seen.add(found)
            found = self._member(found.module, found.name)
        return None if isinstance(found, _Taken) else found

    def _member(self, module: _Module, name: str) -> Any:
        """Returns what a module binds to a name, else the module of that name below it."""
        file = self._file(module)
        if file is not None and name in self._names(file):
            return self._names(file)[name]
        if file is None and module.parts[:1] == (ENGINE,) and name in CONTRACTS:
            return contract(name)
        return _Module((*module.parts, name), module.absolute)

    def _public(self, module: _Module) -> dict[str, Any]:
        """Returns what ``from module import *`` binds."""
        file = self._file(module)
        if file is not None:
            return {name: found for name, found in self._names(file).items() if not name.startswith("_")}
        return {name: contract(name) for name in CONTRACTS if module.parts[:1] == (ENGINE,)}

    def _file(self, module: _Module) -> str | None:
        """Returns the virtual path of a project's module, None for the engine, libraries and bare folders."""
        files = self._tree.find(module.parts, absolute=module.absolute) if module.parts else []
        stem = "/".join(module.parts)
        return files[-1] if files and files[-1] in (f"{stem}.py", f"{stem}/__init__.py") else None


@functools.cache
def contract(name: str) -> type:
    """Returns the stand-in of the contract's own class, which stands for its defaults."""
    path = PACKAGE / CONTRACTS[name]
    body = parse(path.read_bytes(), path).body
    node = next(item for item in body if isinstance(item, ast.ClassDef) and item.name == name)
    return type(name, (), {"declared": Declared(node, "", path)})


def _module_of(statement: ast.ImportFrom, package: Parts) -> _Module:
    base = tuple(statement.module.split(".")) if statement.module else ()
    if statement.level:
        return _Module(package[: len(package) - statement.level + 1] + base, absolute=False)
    return _Module(base, absolute=True)


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yields the statements that run when a module is imported, those under ``if`` and ``try`` too, in order."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try | ast.With):
            for name in ("body", "handlers", "orelse", "finalbody"):
                for item in getattr(statement, name, ()):
                    yield from _top_level(item.body if isinstance(item, ast.ExceptHandler) else [item])
