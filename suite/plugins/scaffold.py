"""``suite new``: writes a baseline or a task to start from, which passes ``suite check`` as it is."""

from __future__ import annotations

import keyword
import re
from importlib import resources
from pathlib import Path
from string import Template

from suite.errors import UserError, unknown
from suite.plugins import registry

KINDS = ("baseline", "task")


def write(kind: str, name: str, folder: str | Path = ".") -> Path:
    """Writes ``<folder>/<name>.py`` and returns its path.

    Args:
        kind: ``"baseline"`` or ``"task"``.
        name: In snake case; the file, the class and the entry on the board are named after it.
        folder: Where the file goes; made if need be.

    Raises:
        UserError: For an unknown kind, a name that is none or is taken, a file that is there already, or a
            folder that can't be written.
    """
    if kind not in KINDS:
        raise unknown("kind", kind, KINDS)
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise UserError(f"'{name}' is not a name in snake case, such as 'my_model'")
    if name in registry.discover(kind):
        raise UserError(f"there is a {kind} '{name}' already")
    template = Template(resources.files("suite.plugins").joinpath("templates", f"{kind}.py.txt").read_text("utf-8"))
    class_name = "".join(word.capitalize() for word in name.split("_"))
    path = Path(folder).expanduser() / f"{name}.py"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(template.substitute(name=name, class_name=class_name))
    except OSError as error:
        if path.exists():
            raise UserError(f"{path} is there already; nothing was written") from error
        raise UserError(f"{path} can't be written: {error.strerror}") from error
    return path
