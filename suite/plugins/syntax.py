"""What of a Python file counts: its parsed syntax, without comments, docstrings, formatting and search spaces.

That is what is hashed (``closure.fingerprint``), and that is what runs (``bare_text``): nothing that the hash leaves
out is there when the file runs, so nothing in it can move a number under an unchanged key.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from suite.errors import UserError

#: What tasks and baselines import of the engine. No two of these offer one name for two things.
FACES = frozenset({"suite", "suite.contract", "suite.measuring"})

#: The class attribute that says where a model's parameters are searched. No number depends on it, so it is read as
#: text, left out of the hash, and not there when the file runs.
SPACE = "space"

#: Python refuses to write out an integer of a little more.
_MOST_BITS = 10_000

#: All that a search space is made of.
_LITERAL = (ast.Constant, ast.Dict, ast.List, ast.Tuple, ast.UnaryOp, ast.USub, ast.Load)

#: (An import from a face, a name that it takes) -> the face to take it from.
FaceOf = Callable[[ast.ImportFrom, str], str]


def parse(data: bytes, path: Path | str) -> ast.Module:
    """Parses a Python file.

    Raises:
        UserError: With the file, the line and the reason.
    """
    try:
        parsed = ast.parse(data)
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise UserError(f"{path}{line}: {getattr(error, 'msg', None) or error}") from error
    except (RecursionError, MemoryError) as error:
        raise UserError(f"{path}: an expression is nested too deeply to be read") from error
    for node in ast.walk(parsed):
        if isinstance(node, ast.Constant) and isinstance(node.value, int) and node.value.bit_length() > _MOST_BITS:
            raise UserError(f"{path}:{node.lineno}: an integer of more than {_MOST_BITS:,} bits")
    return parsed


def is_text(node: Any) -> bool:
    """Whether a statement is a bare string: a docstring of a module, class, function or attribute."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def counting(owner: Any, statements: list[Any]) -> list[Any]:
    """Returns the statements of a block that count: of a class that derives from another all but its search space."""
    derived = isinstance(owner, ast.ClassDef) and owner.bases
    return [item for item in statements if not (derived and _is_space(item))]


def _is_space(node: Any) -> bool:
    """Whether a statement declares a search space: a plain assignment of a dict that is a literal throughout."""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
    named = len(targets) == 1 and isinstance(targets[0], ast.Name) and targets[0].id == SPACE
    return named and isinstance(value, ast.Dict) and all(isinstance(part, _LITERAL) for part in ast.walk(value))


def is_of_face(node: Any, faces: frozenset[str] = FACES) -> bool:
    """Whether a statement takes names from a face of the engine, one by one."""
    plain = isinstance(node, ast.ImportFrom) and node.level == 0 and node.module in faces
    return plain and all(alias.name != "*" for alias in node.names)


def taken(node: ast.ImportFrom) -> list[tuple[str, ast.alias]]:
    """Returns what an import takes: ``name as name here``, and the alias itself."""
    return [(f"{alias.name} as {alias.asname or alias.name}", alias) for alias in node.names]


def bare_text(data: bytes, path: Path | str, face_of: FaceOf) -> tuple[bytes, dict[int, int]]:
    """Returns a file as it is hashed, written out anew, and where its lines come from.

    Args:
        data: The file's bytes.
        path: Its name, for messages.
        face_of: Names the face of the engine that an imported name is taken from.

    Returns:
        The text, and line of the text -> line of the file, for the lines on which a statement starts.

    Raises:
        UserError: If the file cannot be parsed or written out.
    """
    try:
        tree = _bare(ast.parse(data), face_of)
        text = ast.unparse(tree)
        again = ast.parse(text)
        if ast.dump(tree) != ast.dump(again):
            raise ValueError("it would read otherwise")
        written = text.encode()
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"{path}: cannot be written out without its comments: {error}") from error
    return written, dict(reversed([*zip(_lines(again), _lines(tree), strict=True)]))


def _bare(tree: ast.Module, face_of: FaceOf) -> ast.Module:
    for node in ast.walk(tree):
        for name, value in ast.iter_fields(node):
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                setattr(node, name, _bare_block(counting(node, value), face_of) or [_nothing(value)])
        if isinstance(node, ast.Constant):
            node.kind = None  # u"..." is "..."
        if isinstance(node, ast.JoinedStr):
            node.values = [piece for piece in node.values if not (isinstance(piece, ast.Constant) and not piece.value)]
    return tree


def _bare_block(statements: Sequence[ast.stmt], face_of: FaceOf) -> list[ast.stmt]:
    """A block without bare strings, the engine's names taken first and in order, as the hash has it."""
    names = [
        (key, ast.copy_location(ast.ImportFrom(face_of(item, alias.name), [alias], 0), item))
        for item in statements
        if isinstance(item, ast.ImportFrom) and is_of_face(item)
        for key, alias in taken(item)
    ]
    others = [item for item in statements if not is_text(item) and not is_of_face(item)]
    future = [item for item in others if isinstance(item, ast.ImportFrom) and item.module == "__future__"]
    rest = [item for item in others if item not in future]
    engine = [statement for _, statement in sorted(names, key=lambda pair: pair[0])]
    return [*future, *engine, *rest]


def _nothing(statements: Sequence[ast.stmt]) -> ast.stmt:
    return ast.copy_location(ast.Pass(), statements[0])


def _lines(tree: ast.Module) -> list[int]:
    """The lines on which something starts that a traceback can name, in an order that formatting does not change."""
    found = [item for item in ast.walk(tree) if isinstance(item, ast.stmt | ast.excepthandler | ast.match_case)]
    decorators = [d for item in found for d in getattr(item, "decorator_list", ())]
    return [getattr(item, "pattern", item).lineno for item in (*found, *decorators)]
