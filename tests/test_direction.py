"""Imports go one way: every statement of every file, lazy ones and those under TYPE_CHECKING too, against one table."""

from __future__ import annotations

import ast
import functools
import graphlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: Room of ``suite/`` -> the rooms it may import. What these may import, it may as well.
TABLE = {
    "errors": "",
    "seeds": "",
    "version": "",
    "files": "errors",
    "data": "files seeds",
    "training": "data",
    "measuring": "training",
    "contract": "measuring",
    "records": "files version",
    "plugins": "contract",
    "planning": "plugins records",
    "guests": "plugins",
    "running": "guests planning",
    "tuning": "running",
    "boards": "records plugins",
    "pages": "boards plugins",
    "tracking": "records",
    "checking": "running",
    "submitting": "checking",
    "api": "running pages tracking",
    "cli": "api submitting tuning",
    "__init__": "api",
    "__main__": "cli",
}

#: What may be imported of the engine by those who stand outside it.
OUTSIDE = {"baselines": {"suite.contract"}, "tasks": {"suite.contract", "suite.measuring"}}

#: Imports that these files alone may hold.
ALONE = {
    "ray": ("suite/running/ray_environment.py",),
    "mlflow": ("suite/tracking/store.py",),
}


class House:
    """The files below a root and what each of them imports."""

    def __init__(self, root: Path) -> None:
        self.root = root
        engine = [path for path in (root / "suite").rglob("*.py") if not {"tasks", "baselines"} & set(path.parts)]
        self.modules = {self.name(path): path for path in sorted(engine)}
        self.outsiders = {kind: sorted((root / kind).glob("*.py")) for kind in OUTSIDE}
        self.faces = {name: dict(self.offers(path)) for name, path in self.modules.items() if self.is_package(path)}

    def name(self, path: Path) -> str:
        return ".".join(path.relative_to(self.root).with_suffix("").parts).removesuffix(".__init__")

    def is_package(self, path: Path) -> bool:
        return path.name == "__init__.py"

    def offers(self, path: Path) -> Iterator[tuple[str, str]]:
        """Yields what a package's face offers: name -> the module that holds it."""
        stub, package = path.with_suffix(".pyi"), self.name(path)
        for node in parsed(stub.read_text()).body if stub.exists() else ():
            assert isinstance(node, ast.ImportFrom), stub
            for alias in node.names:
                yield alias.name, f"{package}.{node.module}" if node.module else f"{package}.{alias.name}"

    def statements(self, path: Path) -> Iterator[tuple[int, str, str]]:
        """Yields (line, module, name) of all that a file imports; the name is empty where a module is imported."""
        package = self.name(path).split(".") if self.is_package(path) else self.name(path).split(".")[:-1]
        for node in imports(path.read_text()):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name, "") for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = package[: len(package) - node.level + 1] if node.level else []
                module = ".".join([*base, *filter(None, [node.module])])
                yield from ((node.lineno, module, alias.name) for alias in node.names)

    def holder(self, module: str, name: str) -> str | None:
        """Returns the module that an import reaches, None where there is no such module or name."""
        if f"{module}.{name}" in self.faces.get(module, {}).values():
            return f"{module}.{name}"
        if name in self.faces.get(module, {}):
            return self.faces[module][name]
        if f"{module}.{name}" in self.modules:
            return f"{module}.{name}"
        if module not in self.modules or (self.is_package(self.modules[module]) and module != "suite" and name):
            return None
        return module if not name or name in defined(self.modules[module]) else None


@functools.cache
def parsed(text: str) -> ast.Module:
    return ast.parse(text)


@functools.cache
def imports(text: str) -> list[ast.AST]:
    return [node for node in ast.walk(parsed(text)) if isinstance(node, ast.Import | ast.ImportFrom)]


def defined(path: Path) -> set[str]:
    """Every name that a file binds, at whatever depth."""
    handed_on = {"board", "compare", "load_records", "run"} if path.parts[-2:] == ("suite", "__init__.py") else set()
    return bound(path.read_text()) | handed_on


@functools.cache
def bound(text: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(parsed(text)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


def room(module: str) -> str:
    return [*module.split("."), "__init__"][1]


def reachable(start: str) -> set[str]:
    found = {start}
    waiting = [start]
    while waiting:
        for other in set(TABLE[waiting.pop()].split()) - found:
            found.add(other)
            waiting.append(other)
    return found


def faults(root: Path) -> list[str]:
    """Returns everything that goes the wrong way below a root, one line each."""
    house = House(root)
    found = [f"the table names '{name}', which is not there" for name in TABLE if not exists(root, name)]
    found += [f"no row in the table: {m}" for m in house.modules if room(m) not in TABLE]
    graph: dict[str, set[str]] = {}
    for module, path in house.modules.items():
        for line, target, name in house.statements(path):
            where = f"{path.relative_to(root)}:{line}"
            holders = ALONE.get(target.split(".")[0])
            if holders and path.relative_to(root).as_posix() not in holders:
                found.append(f"{where} imports {target}, which is for {' and '.join(holders)} alone")
            if target.split(".")[0] in {"tasks", "baselines"} or target.startswith(("suite.tasks", "suite.baselines")):
                found.append(f"{where} names a single task or model: {target}")
            if target.split(".")[0] != "suite" or room(module) not in TABLE:
                continue
            holder = house.holder(target, name)
            if holder is None:
                found.append(f"{where} imports {target} {name}, which is not there")
                continue
            graph.setdefault(module, set()).add(holder)
            if room(holder) not in reachable(room(module)):
                found.append(f"{where} goes upwards: {room(module)} imports {holder}")
            if room(holder) != room(module) and target.count(".") > 1 and target.split(".")[1] != "cli":
                found.append(f"{where} goes past the face of {room(holder)}: {target}")
    graph.pop("suite", None)
    try:
        graphlib.TopologicalSorter({m: others - {m, "suite"} for m, others in graph.items()}).prepare()
    except graphlib.CycleError as circle:
        found.append(f"a circle: {' -> '.join(circle.args[1])}")
    for kind, allowed in OUTSIDE.items():
        for path in house.outsiders[kind]:
            for line, target, name in house.statements(path):
                if target.split(".")[0] in {"tasks", "baselines"}:
                    found.append(f"{path.relative_to(root)}:{line} imports {target}")
                if target.split(".")[0] == "suite" and (target not in allowed or house.holder(target, name) is None):
                    found.append(f"{path.relative_to(root)}:{line} imports {target} {name}")
    return found


def exists(root: Path, name: str) -> bool:
    return (root / "suite" / f"{name}.py").is_file() or (root / "suite" / name / "__init__.py").is_file()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for folder in ("suite", *OUTSIDE):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    return tmp_path


def plant(copy: Path, file: str, line: str) -> list[str]:
    path = copy / file
    path.write_text(path.read_text() + f"\n{line}\n")
    return faults(copy)


def test_every_import_of_the_house_goes_down() -> None:
    assert faults(ROOT) == []


@pytest.mark.parametrize(
    ("file", "line", "fault"),
    [
        (
            "suite/data/raw.py",
            "from suite.measuring import Subject",
            "upwards: data imports suite.measuring.subject",
        ),
        ("suite/boards/rows.py", "def late():\n    from suite.pages import render", "goes upwards"),
        ("suite/records/store.py", "import suite.running.trial", "goes upwards"),
        ("suite/seeds.py", "from suite import planning", "goes upwards"),
        ("suite/measuring/priors.py", "from suite.nowhere import thing", "suite.nowhere thing, which is not there"),
        ("suite/measuring/priors.py", "from suite.training import Nobody", "Nobody, which is not there"),
        ("suite/measuring/priors.py", "from suite.measuring.coding import nothing", "nothing, which is not there"),
        ("suite/measuring/priors.py", "from suite.training.loop import train", "past the face of training"),
        ("suite/boards/rows.py", "import mlflow", "for suite/tracking/store.py alone"),
        ("suite/boards/rows.py", "import ray.tune", "for suite/running/ray_environment.py alone"),
        ("suite/boards/rows.py", "from suite.tasks import reconstruction", "names a single task"),
        ("tasks/spectrum.py", "from suite.measuring.coding import draw", "tasks/spectrum.py"),
        ("tasks/spectrum.py", "from tasks import transfer", "tasks/spectrum.py"),
        ("baselines/vae.py", "from suite.measuring import draw", "baselines/vae.py"),
    ],
)
def test_an_import_that_goes_wrong_is_found_with_its_line(copy: Path, file: str, line: str, fault: str) -> None:
    found = plant(copy, file, line)
    assert any(fault in f and f.startswith(file) for f in found), found


def test_a_circle_within_a_room_is_found_where_only_type_checkers_go_round_it(copy: Path) -> None:
    line = "if TYPE_CHECKING:\n    from suite.measuring.channel import fit_channel"
    found = plant(copy, "suite/measuring/subject.py", line)
    assert any(f.startswith("a circle") and "suite.measuring.subject" in f for f in found), found


def test_a_row_of_the_table_without_a_room_is_found(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TABLE, "attic", "errors")
    assert "the table names 'attic', which is not there" in faults(copy)


def test_a_room_without_a_row_is_found(copy: Path) -> None:
    (copy / "suite" / "cellar.py").write_text("")
    assert "no row in the table: suite.cellar" in faults(copy)
