"""Selection files: YAML as its version 1.2 reads it, which is as a person does, with the line of everything it says.

PyYAML reads version 1.1, where 010 is eight, 1:30 is ninety, no is false, 1e-3 is a text, and of two equal keys the
last one wins.
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.errors import UserError

_NOTHING = re.compile(r"~|null|Null|NULL|")
_TRUTH = re.compile(r"true|True|TRUE|false|False|FALSE")
_WHOLE = re.compile(r"[-+]?[0-9][0-9_]*|0o[0-7]+|0x[0-9a-fA-F]+")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


@dataclass(frozen=True)
class Written:
    """What a file says, and where.

    Attributes:
        path: The file.
        value: Its content.
    """

    path: Path
    value: Any
    _root: Any

    def where(self, *keys: str) -> str:
        """Returns ``file:line`` of the value below some keys, as far down as they lead."""
        node, line = self._root, 1 if self._root is None else self._root.start_mark.line + 1
        for key in keys:
            pairs = node.value if node is not None and node.id == "mapping" else ()
            found = next(((k, value) for k, value in pairs if k.value == key), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        return f"{self.path}:{line}"


def read_yaml(path: Path) -> Written:
    """Reads a YAML file.

    Raises:
        UserError: If it cannot be read, is not YAML, gives a key twice or a number that is not finite; with the line.
    """
    import yaml

    try:
        loader = _loader()(path.read_text(encoding="utf-8"))
        loader.path = path
        root = loader.get_single_node()
        value = None if root is None else loader.construct_document(root)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{path}{line} is not YAML: {' '.join(str(error.problem or error.context).split())}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise UserError(f"{path} is nested too deeply to be read") from error
    return Written(path, value, root)


@functools.cache
def _loader() -> Any:
    """Returns PyYAML's safe loader with the scalars of YAML 1.2, unique keys and finite numbers."""
    import yaml

    class Loader(yaml.SafeLoader):
        path = Path()
        yaml_implicit_resolvers: dict[str | None, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  as PyYAML's

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen = set()
            for key, _ in node.value:
                name = key.value if isinstance(key, yaml.ScalarNode) else key
                if name in seen:
                    raise self.problem(f"the key '{name}' is given twice", key)
                seen.add(name)
            return super().construct_mapping(node, deep)

        def problem(self, text: str, node: Any) -> UserError:
            return UserError(f"{self.path}:{node.start_mark.line + 1}: {text}")

    def whole(loader: Any, node: Any) -> int:
        text = node.value.replace("_", "")
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))

    def number(loader: Any, node: Any) -> float:
        value = float(node.value.replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))
        if not math.isfinite(value):
            raise loader.problem(f"{node.value} is no finite number", node)
        return value

    for tag, pattern, read in (
        ("null", _NOTHING, None),
        ("bool", _TRUTH, None),
        ("int", _WHOLE, whole),
        ("float", _NUMBER, number),
    ):
        name = f"tag:yaml.org,2002:{tag}"
        Loader.add_implicit_resolver(name, re.compile(f"(?:{pattern.pattern})$"), None)
        if read:
            Loader.add_constructor(name, read)
    Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile("<<$"), None)
    return Loader
