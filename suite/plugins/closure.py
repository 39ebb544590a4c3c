"""The closure of a source file: itself and every project file it imports, hashed as parsed syntax.

The closure stops at the engine (the package ``suite``, except ``suite.tasks`` and ``suite.baselines``), at the
standard library and at installed packages. Files carry *virtual* paths, relative to the root from which the
entry file imports its neighbours: its own folder or, inside a package, the folder that holds the package.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from suite.errors import UserError
from suite.files import PACKAGE
from suite.plugins.syntax import FACES, counting, is_of_face, is_text, parse, taken

#: The engine's package, and the packages below it that are not the engine.
ENGINE = "suite"
BUILT_IN = {"baseline": "baselines", "task": "tasks"}

Parts = tuple[str, ...]


def built_in_folder(kind: str) -> Path:
    """Returns the folder of the built-in baselines or tasks: inside the wheel, or beside ``suite`` in the checkout."""
    inside = PACKAGE / BUILT_IN[kind]
    return inside if inside.is_dir() else PACKAGE.parent / BUILT_IN[kind]


@dataclass(frozen=True)
class Tree:
    """Where the imports of an entry file lead.

    Attributes:
        root: The folder of the virtual path ``""``.
        package: Where the entry lies in a package: the only name that absolute imports find in ``root``.
        mounts: Virtual folder -> real folder, for project files elsewhere.
    """

    root: Path
    package: str | None = None
    mounts: dict[str, Path] = field(default_factory=dict)

    @staticmethod
    def of(entry: Path) -> Tree:
        """Returns the tree of an entry file (absolute path)."""
        mounts = {f"{ENGINE}/{folder}": built_in_folder(kind) for kind, folder in BUILT_IN.items()}
        root, package = entry.parent, None
        while root not in mounts.values() and (root / "__init__.py").is_file():
            root, package = root.parent, root.name
        return Tree(root, package, mounts)

    def virtual(self, real: Path) -> str:
        """Returns the virtual path of a file below the root."""
        return real.relative_to(self.root).as_posix()

    def real(self, virtual: str) -> Path:
        """Returns where a virtual path lies."""
        for mount, folder in self.mounts.items():
            if virtual == mount or virtual.startswith(f"{mount}/"):
                return folder / virtual[len(mount) + 1 :]
        return self.root / virtual

    def find(self, parts: Parts, *, absolute: bool) -> list[str]:
        """Returns the virtual paths that importing a module runs: its parents' ``__init__.py`` and its own file."""
        if absolute and not self._is_project(parts):
            return []
        found = []
        for depth in range(1, len(parts) + 1):
            path = "/".join(parts[:depth])
            for candidate in (f"{path}/__init__.py", f"{path}.py"):
                if self.real(candidate).is_file():
                    found.append(candidate)
                    break
            else:
                if not self.real(path).is_dir() and not any(mount.startswith(f"{path}/") for mount in self.mounts):
                    return []
        return found

    def _is_project(self, parts: Parts) -> bool:
        top = parts[0]
        if top == ENGINE:
            return "/".join(parts[:2]) in self.mounts
        beside = any((self.root / name).exists() for name in (f"{top}.py", top)) and self.package in (None, top)
        if beside or top in self.mounts:
            return True
        elsewhere = _project_folder(top)
        if elsewhere is not None:
            name = f"{top}.py" if (elsewhere / f"{top}.py").is_file() else top
            self.mounts[name] = elsewhere / name
        return elsewhere is not None


def collect(entry: Path) -> tuple[str, dict[str, bytes]]:
    """Returns the entry's virtual path and the closure: virtual path -> bytes.

    Raises:
        UserError: If a file cannot be read or parsed; names the file and the line.
    """
    tree = Tree.of(entry)
    first = tree.virtual(entry)
    files: dict[str, bytes] = {}
    pending = [*tree.find(_package(first), absolute=False), first]
    while pending:
        virtual = pending.pop()
        if virtual not in files:
            files[virtual] = read(tree.real(virtual))
            parsed = parse(files[virtual], tree.real(virtual))
            for parts, absolute in imports(parsed, _package(virtual)):
                pending.extend(tree.find(parts, absolute=absolute))
    return first, files


def own_file(virtual: str, data: bytes) -> bool:
    """Whether a virtual path is that of a built-in baseline or task, and the bytes are the suite's own."""
    for kind, folder in BUILT_IN.items():
        mount = f"{ENGINE}/{folder}/"
        if virtual.startswith(mount):
            own = built_in_folder(kind) / virtual.removeprefix(mount)
            return own.is_file() and own.read_bytes() == data
    return False


def read(path: Path) -> bytes:
    """Returns a file's bytes.

    Raises:
        UserError: If it cannot be read.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise UserError(f"cannot read {path}: it is no regular file")
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def imports(tree: ast.AST, package: Parts) -> Iterator[tuple[Parts, bool]]:
    """Yields (module, whether the import is absolute) of everything that a file of ``package`` imports.

    ``from a import b`` yields ``a`` and ``a.b``, for b may be a module.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((tuple(alias.name.split(".")), True) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = tuple(node.module.split(".")) if node.module else ()
            if node.level:
                base = package[: len(package) - node.level + 1] + base
            if base:
                yield base, node.level == 0
            yield from (((*base, alias.name), node.level == 0) for alias in node.names)


def identity(attribute: str, files: Mapping[str, bytes]) -> dict[str, str]:
    """Returns what stands in a key for a source: its class, and virtual path -> hash of each file."""
    return {"class": attribute, **{path: fingerprint(path, files[path]) for path in sorted(files)}}


@functools.lru_cache(maxsize=1024)
def fingerprint(path: str, data: bytes, faces: frozenset[str] = FACES) -> str:
    """Returns 32 hex digits of the SHA-256 of a file: of its parsed syntax, or of its bytes where it is not Python.

    Comments, docstrings, formatting and search spaces do not count, nor does where in the engine a name comes from: an
    import from one of ``faces`` stands for the names that it takes, all of them sorted before the other statements of
    their block. So the engine's files can move, and imports be ordered anew, without one cell becoming stale.

    Args:
        path: The file's name, for its ending.
        data: Its bytes.
        faces: The engine's modules that hand names to tasks and baselines.

    Raises:
        UserError: If it is Python's and cannot be parsed.
    """
    shown = _shown(path, data, faces) if path.endswith(".py") else data
    return hashlib.sha256(shown).hexdigest()[:32]


def digest(ingredients: Any) -> str:
    """Returns the SHA-256 of a value as canonical JSON: what every key is."""
    text = json.dumps(ingredients, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _shown(path: str, data: bytes, faces: frozenset[str]) -> bytes:
    try:
        return _dump(parse(data, path), faces).encode()
    except RecursionError as error:
        raise UserError(f"{path}: an expression is nested too deeply to be read") from error


def _dump(node: Any, faces: frozenset[str]) -> str:
    # Not ast.dump: its output changes with Python's version, and a key must not.
    if isinstance(node, ast.JoinedStr):  # some versions add empty pieces to f-strings
        pieces = (p for p in node.values if not (isinstance(p, ast.Constant) and p.value == ""))
        return f"JoinedStr([{','.join(_dump(piece, faces) for piece in pieces)}])"
    if isinstance(node, ast.AST):
        fields = ((name, value) for name, value in ast.iter_fields(node) if name not in ("ctx", "kind", "type_comment"))
        if isinstance(node, ast.ClassDef):
            fields = ((name, counting(node, value) if name == "body" else value) for name, value in fields)
        inner = ",".join(f"{name}={_dump(value, faces)}" for name, value in fields if value is not None and value != [])
        return f"{type(node).__name__}({inner})"
    if isinstance(node, list):
        names = sorted(name for item in node if is_of_face(item, faces) for name, _ in taken(item))
        rest = [_dump(item, faces) for item in node if not is_text(item) and not is_of_face(item, faces)]
        return f"[{','.join([*([f'Engine({names})'] if names else []), *rest])}]"
    return ascii(node)


def _package(virtual: str) -> Parts:
    return PurePosixPath(virtual).parent.parts


def _project_folder(top: str) -> Path | None:
    """Returns the folder that holds a top-level module of a project, None for libraries (and what is not there).

    A project is what Python finds outside the standard library and the installed packages: on PYTHONPATH, in the
    working folder, installed in editable mode.
    """
    if top in sys.stdlib_module_names:
        return None
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    places: Sequence[str] = list(spec.submodule_search_locations or ()) or [spec.origin or ""]
    place = Path(places[0])
    library = {"site-packages", "dist-packages"} & set(place.parts) or any(place.parent.glob("*.dist-info"))
    if library or not place.is_absolute():
        return None
    return place.parent
