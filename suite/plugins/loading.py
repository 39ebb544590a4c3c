"""Imports a baseline or task from the bytes that were hashed, never from a file that may have changed since.

The closure is written to a folder of this process and imported as one package whose name holds the hash of its
bytes, so a warm worker can never serve an older version; absolute imports of project files are led into that
package.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.machinery
import inspect
import sys
import tempfile
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from suite.errors import UserError
from suite.plugins.closure import BUILT_IN, ENGINE
from suite.plugins.source import Source

PREFIX = "suite_source_"

#: The folder of this process, removed when it ends.
_folders: list[tempfile.TemporaryDirectory[str]] = []


def load(source: Source) -> Any:
    """Returns the class of a source.

    Raises:
        UserError: If the import fails or the class breaks the contract; names the file, the line and the reason.
    """
    package = _package(source)
    name = f"{package}.{source.entry.removesuffix('.py').replace('/', '.')}"
    try:
        module = importlib.import_module(name)
    except UserError:
        raise
    except (KeyboardInterrupt, SystemExit) as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise UserError(f"{_where(source, error)}: the file calls exit") from error
    except Exception as error:
        first = (str(error).splitlines() or [""])[0].replace(f"{package}.", "")
        raise UserError(f"{_where(source, error)}: {type(error).__name__}: {first}") from error
    return _check(source, getattr(module, source.attribute, None))


def _package(source: Source) -> str:
    """Returns the name of the package that holds the closure; makes it on first use."""
    digest = hashlib.sha256()
    for path in sorted(source.files):
        digest.update(f"{path}\0{len(source.files[path])}\0".encode() + source.files[path])
    name = f"{PREFIX}{source.digest[:12]}_{digest.hexdigest()[:12]}"
    if name not in sys.modules:
        if not _folders:
            _folders.append(tempfile.TemporaryDirectory(prefix="latent-suite-", ignore_cleanup_errors=True))
        folder = Path(_folders[0].name) / name
        for path, data in source.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
            sys.meta_path.insert(0, _Finder())
        module = ModuleType(name)
        module.__path__ = [str(folder)]
        sys.modules[name] = module
        importlib.invalidate_caches()
    return name


class _Finder(importlib.machinery.PathFinder):
    """Finds the modules below the packages of sources, and has their absolute imports led into the package."""

    def find_spec(  # type: ignore[override]
        self, fullname: str, path: Any = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if path is None or not fullname.startswith(PREFIX):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(fullname, spec.loader.path)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> Any:  # type: ignore[override]
        package = self.name.partition(".")[0]
        tree = _Redirect(package, Path(sys.modules[package].__path__[0])).visit(ast.parse(data))
        return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Writes no bytecode."""


class _Redirect(ast.NodeTransformer):
    """Turns absolute imports of project files into imports from the package that holds them."""

    def __init__(self, package: str, folder: Path) -> None:
        self.package, self.folder = package, folder

    def _inside(self, module: str) -> bool:
        parts = module.split(".")
        if parts[0] == ENGINE and parts[1:2] not in [[name] for name in BUILT_IN.values()]:
            return False
        path = self.folder.joinpath(*parts[: 2 if parts[0] == ENGINE else 1])
        return path.is_dir() or path.with_suffix(".py").is_file()

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom:
        if node.level == 0 and node.module and self._inside(node.module):
            node.module = f"{self.package}.{node.module}"
        return node

    def visit_Import(self, node: ast.Import) -> list[ast.stmt]:
        statements: list[ast.stmt] = []
        for alias in node.names:
            if not self._inside(alias.name):
                statements.append(ast.Import(names=[alias]))
            elif alias.asname:
                parent, _, last = f"{self.package}.{alias.name}".rpartition(".")
                statements.append(ast.ImportFrom(parent, [ast.alias(last, alias.asname)], 0))
            else:  # ``import a.b`` binds a, with b imported
                top = alias.name.partition(".")[0]
                statements.append(ast.Import(names=[ast.alias(f"{self.package}.{alias.name}", "_imported")]))
                statements.append(ast.ImportFrom(self.package, [ast.alias(top)], 0))
        return [ast.copy_location(statement, node) for statement in statements]


def _check(source: Source, cls: Any) -> Any:
    from suite import contract

    base: type = contract.Baseline if source.kind == "baseline" else contract.Task
    where = f"{source.origin}: {source.attribute}"
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise UserError(f"{where} is not a class that derives from suite.contract.{base.__name__}")
    for method in ("encode", "decode") if source.kind == "baseline" else ("score",):
        if getattr(cls, method) is getattr(base, method):
            raise UserError(f"{where} does not implement {method}")
    if inspect.isabstract(cls):
        raise UserError(f"{where} is abstract")
    return cls


def _where(source: Source, error: BaseException) -> str:
    """Returns ``file:line`` of the last frame inside the closure, as the user knows the file."""
    folder = _folders[0].name if _folders else "/"
    frames = [(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        frames.append((error.filename, error.lineno))
    inside = [(name, line) for name, line in frames if name.startswith(folder)]
    if not inside:
        return source.origin
    name, line = inside[-1]
    virtual = Path(name).relative_to(folder).as_posix().partition("/")[2]
    return f"{source.origin if virtual == source.entry else virtual}:{line}"


def forget() -> None:
    """Forgets every loaded source: the next ``load`` runs its module anew, whatever an earlier user left in it."""
    for name in list(sys.modules):  # a snapshot: another thread may be importing
        if name.startswith(PREFIX):
            sys.modules.pop(name, None)
