"""Imports a baseline or task from what was hashed, never from a file that may have changed since.

The closure is written to a folder of this process, without the comments and docstrings that the hash leaves out, and
imported as one package whose name holds the hash of what was written. So a warm worker can never serve an older
version, and a file that reads itself finds what its key knows. Absolute imports of project files are led into that
package.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
import importlib.machinery
import importlib.util
import inspect
import sys
import traceback
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from suite.errors import UserError, nearest
from suite.files import TemporaryFolder
from suite.plugins.closure import BUILT_IN, ENGINE
from suite.plugins.source import Source
from suite.plugins.syntax import FACES, bare_text

PREFIX = "suite_source_"

#: File that was written -> its code, where it was compiled beforehand.
_codes: dict[str, CodeType] = {}

#: The folder of this process, removed when it ends.
_folders: list[TemporaryFolder] = []

#: File that was written -> as the user knows it, and line there -> line in the user's file.
_written: dict[str, tuple[str, dict[int, int]]] = {}


def load(source: Source) -> Any:
    """Returns the class of a source.

    Raises:
        UserError: If the import fails or the class breaks the contract; names the file, the line and the reason.
    """
    package = prepare(source)
    name = f"{package}.{source.entry.removesuffix('.py').replace('/', '.')}"
    try:
        module = importlib.import_module(name)
    except UserError:
        raise
    except (KeyboardInterrupt, SystemExit) as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise UserError(f"{where(source, error)}: the file calls exit") from error
    except Exception as error:
        text = error.msg if isinstance(error, SyntaxError) else str(error)
        first = (text.splitlines() or [""])[0].replace(f"{package}.", "")
        raise UserError(f"{where(source, error)}: {type(error).__name__}: {first}") from error
    return _check(source, getattr(module, source.attribute, None))


def prepare(source: Source) -> str:
    """Returns the name of the package that holds the closure; writes its files on first use, and runs nothing."""
    written = {path: _as_hashed(path, data, _known_as(source, path)) for path, data in sorted(source.files.items())}
    digest = hashlib.sha256()
    for path, (data, _) in written.items():
        digest.update(f"{path}\0{len(data)}\0".encode() + data)
    name = f"{PREFIX}{source.digest[:12]}_{digest.hexdigest()[:12]}"
    if name not in sys.modules:
        if not _folders:
            _folders.append(TemporaryFolder())
        folder = _folders[0].path / name
        for path, (data, lines) in written.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
            _written[str(folder / path)] = (_known_as(source, path), lines)
        _announce(name, folder)
        sys.modules[name] = ModuleType(name)
        adopt(name, str(folder))
    return name


def compiled(source: Source) -> str:
    """As ``prepare``; also compiles the files that it wrote, for this process and those that it forks. Runs nothing."""
    name = prepare(source)
    folder = Path(sys.modules[name].__path__[0])
    for path in source.files:
        if path.endswith(".py") and str(folder / path) not in _codes:
            module = f"{name}.{path.removesuffix('.py').replace('/', '.')}"
            loader = _Loader(module, str(folder / path))
            _codes[str(folder / path)] = loader.source_to_code((folder / path).read_bytes(), str(folder / path))
    return name


def adopt(name: str, folder: str) -> None:
    """Makes a module the package of what lies in a folder, in this process or in one that a model spawned."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    sys.modules[name].__path__ = [folder]
    importlib.invalidate_caches()


def _announce(name: str, folder: Path) -> None:
    """Lets spawned processes, which take over ``sys.path``, find a package as an ordinary module that adopts it.

    One that does not find it ends before it has read what it is sent, and its parent waits for ever.
    """
    announced = folder.parent / "announced"
    announced.mkdir(exist_ok=True)
    text = f"from suite.plugins import loading\n\nloading.adopt(__name__, {str(folder)!r})\n"
    (announced / f"{name}.py").write_text(text)
    if str(announced) not in sys.path:
        sys.path.append(str(announced))


@functools.lru_cache(maxsize=256)
def _as_hashed(path: str, data: bytes, known_as: str) -> tuple[bytes, dict[int, int]]:
    """Returns what is written of a file, and line there -> line in the file."""
    if not path.endswith(".py"):
        return data, {}

    def face_of(statement: ast.ImportFrom, name: str) -> str:
        """A key knows a name of the engine and not the face it is taken from: it is one and the same."""
        face = next((face for face in sorted(FACES) if _offers(face, name)), None)
        if face is None:
            near = nearest(name, dir(importlib.import_module(str(statement.module))))
            raise UserError(f"{known_as}:{statement.lineno}: {statement.module} has no '{name}'{near}")
        return face

    return bare_text(data, known_as, face_of)


def _offers(face: str, name: str) -> bool:
    if hasattr(importlib.import_module(face), name):
        return True
    return face == ENGINE and importlib.util.find_spec(f"{face}.{name}") is not None


def _known_as(source: Source, path: str) -> str:
    """Returns a file of the closure as the user knows it."""
    return source.origin if path == source.entry else path


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
    def get_code(self, fullname: str) -> CodeType | None:
        return _codes.get(self.path) or super().get_code(fullname)

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
    confirm(source, cls)
    for method in ("encode", "decode") if source.kind == "baseline" else ("score",):
        if getattr(cls, method) is getattr(base, method):
            raise UserError(f"{where} does not implement {method}")
    if inspect.isabstract(cls):
        raise UserError(f"{where} is abstract")
    return cls


def confirm(source: Source, subject: Any) -> None:
    """Holds what a class, or a model made of it, says of itself against the text that was read.

    Plans, records and boards go by the text: what it says of labels must be what the training loop is told.

    Raises:
        UserError: Names the attribute and both values.
    """
    cls = subject if isinstance(subject, type) else type(subject)
    for meta in inspect.getmro(type(cls)):
        answers = {"__getattribute__", *source.declared} & vars(meta).keys() if meta not in (type, object) else ()
        if answers:
            raise UserError(f"{source.origin}: the metaclass of {source.attribute} answers for its {min(answers)}")
    for name, read in source.declared.items():
        for found in (inspect.getattr_static(subject, name, None), getattr(subject, name, None)):
            if not _same(found, read):
                where = f"{source.origin}: {source.attribute}.{name}"
                raise UserError(f"{where} is {read!r} in the text and {_shown(found)} when it runs: they must be equal")


def _same(found: Any, read: Any) -> bool:
    """Whether a value is a literal's, to the letter: 1 is not True, and a subclass of str may say anything."""
    if type(found) is not type(read):
        return False
    if isinstance(read, dict):
        return _same(list(found.items()), list(read.items()))
    if isinstance(read, list | tuple):
        return len(found) == len(read) and all(map(_same, found, read))
    return bool(found == read)


def _shown(value: Any) -> str:
    return (
        repr(value)[:80] if type(value) in (str, int, float, bool, dict, list, tuple) else f"a {type(value).__name__}"
    )


def traceback_of(error: BaseException, frames: int = 8) -> str:
    """Returns the traceback of an error, its last frames alone, with files and lines as the user knows them."""
    shown = traceback.TracebackException.from_exception(error, limit=-frames)
    pending: list[traceback.TracebackException | None] = [shown]
    while pending:
        item = pending.pop()
        if item is not None:
            item.stack = traceback.StackSummary.from_list([_as_known(frame) for frame in item.stack])
            pending += [item.__cause__, item.__context__, *(getattr(item, "exceptions", None) or ())]
    return "".join(shown.format())


def _as_known(frame: traceback.FrameSummary) -> traceback.FrameSummary:
    known = _written.get(frame.filename)
    if known is None or frame.lineno is None:
        return frame
    return traceback.FrameSummary(known[0], known[1].get(frame.lineno, frame.lineno), frame.name, line=frame.line)


def where(source: Source, error: BaseException) -> str:
    """Returns ``file:line`` of the last frame inside the closure, as the user knows the file; else of its cause."""
    frames = [(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        frames.append((error.filename, error.lineno))
    inside = [(_written[name], line) for name, line in frames if name in _written]
    if not inside:
        return source.origin if error.__cause__ is None else where(source, error.__cause__)
    (name, lines), line = inside[-1]
    return f"{name}:{lines.get(line or 0, line)}"


def forget() -> None:
    """Forgets every loaded source: the next ``load`` runs its module anew, whatever an earlier user left in it."""
    for name in list(sys.modules):  # a snapshot: another thread may be importing
        if name.startswith(PREFIX):
            sys.modules.pop(name, None)
