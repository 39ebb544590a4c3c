"""The repository installs as what it says: one top-level name, pinned versions, imports that go one way."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ENGINE = sorted((ROOT / "suite").rglob("*.py"))
TASKS = sorted((ROOT / "tasks").rglob("*.py"))
BASELINES = sorted((ROOT / "baselines").rglob("*.py"))


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def requirements() -> list[Requirement]:
    project = PROJECT["project"]
    extras = [text for extra in project["optional-dependencies"].values() for text in extra]
    return [Requirement(text) for text in [*project["dependencies"], *extras]]


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, at whatever depth, as an absolute dotted name."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def test_constraints_are_plain_versions_that_satisfy_every_dependency():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line)] == []
    pinned = constraints()
    for requirement in requirements():
        version = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version, prereleases=True), f"{requirement} but pinned {version}"


def test_constraints_pin_everything_that_an_install_pulls_in():
    pinned = constraints()
    missing, seen = set(), set()
    waiting = requirements()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        marks = {"extra": ""} | {key: str(value) for key, value in default_environment().items()}
        if (name, frozenset(requirement.extras)) in seen:
            continue
        seen.add((name, frozenset(requirement.extras)))
        if name not in pinned:
            missing.add(name)
        try:
            needs = [Requirement(text) for text in metadata.requires(name) or []]
        except metadata.PackageNotFoundError:
            continue
        extras = ["", *requirement.extras]
        waiting += [
            n for n in needs if n.marker is None or any(n.marker.evaluate(marks | {"extra": e}) for e in extras)
        ]
    assert missing == set()


def undeclared(files: list[Path], declared: set[str]) -> dict[str, set[str]]:
    """Imported top-level name -> importing files, where no declared distribution provides it."""
    providers = metadata.packages_distributions()
    found: dict[str, set[str]] = {}
    for path in files:
        for top in {name.split(".")[0] for name in imports(path)} - sys.stdlib_module_names - {"suite", "tests"}:
            if not declared & {canonicalize_name(name) for name in providers.get(top, [])}:
                found.setdefault(top, set()).add(path.relative_to(ROOT).as_posix())
    return found


def test_every_import_is_of_a_declared_dependency():
    runtime = {canonicalize_name(Requirement(text).name) for text in PROJECT["project"]["dependencies"]}
    assert undeclared([*ENGINE, *TASKS, *BASELINES], runtime) == {}


def test_no_install_picks_the_torch_build_that_torchvision_does_not_fit():
    torch = next(r for r in requirements() if r.name == "torch")
    assert not torch.specifier.contains("2.13.0")
    assert not torch.specifier.contains("2.13.0+cpu")
    assert torch.specifier.contains("2.11.0")


def test_every_dependency_has_an_upper_bound():
    unbounded = [str(r) for r in requirements() if not any(s.operator in {"<", "=="} for s in r.specifier)]
    assert unbounded == ["setuptools>=77"]


def test_a_wheel_claims_one_top_level_name_and_brings_tasks_and_baselines(tmp_path):
    source = tmp_path / "source"
    for name in ("suite", "tasks", "baselines"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(tmp_path), str(source)], check=True, timeout=120)
    (wheel,) = tmp_path.glob("latent_suite-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"suite"}
    source_files = {path.relative_to(ROOT).as_posix() for path in [*ENGINE, *TASKS, *BASELINES]}
    expected = {name if name.startswith("suite/") else f"suite/{name}" for name in source_files}
    assert expected <= set(names), expected - set(names)
    templates = {
        p.relative_to(ROOT).as_posix() for p in (ROOT / "suite" / "plugins" / "templates").glob("*") if p.is_file()
    }
    assert templates <= set(names)


def test_a_second_make_calls_no_pip_until_the_dependencies_change(tmp_path):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    for path in (binaries / "python", tmp_path / ".venv" / ".installed"):
        path.touch()

    def steps() -> str:
        command = ["make", "--dry-run", "--no-print-directory", "demo"]
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    assert "pip" not in steps()
    assert "suite run" in steps()
    later = (tmp_path / ".venv" / ".installed").stat().st_mtime + 10
    os.utime(tmp_path / "constraints.txt", (later, later))
    assert "pip" in steps()


def test_ci_runs_the_very_command_that_the_readme_gives():
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-2:] == ["make test", "make journeys"]
    readme = (ROOT / "README.md").read_text()
    assert "make demo" in readme
    assert "make test" in readme


def documented_commands() -> list[str]:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "results" / "README.md"]
    blocks = [block for page in pages for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)]
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    inline = [text for page in pages for text in re.findall(r"`(suite [^`]+)`", page.read_text().replace("\n", " "))]
    return sorted({line for line in [*lines, *inline] if line.startswith("suite ")})


@pytest.mark.parametrize("line", documented_commands())
def test_every_command_in_the_documentation_parses(line):
    import typer.main

    from suite.cli.app import app

    name, *arguments = shlex.split(line, comments=True)[1:]
    main = typer.main.get_command(app)
    if name.startswith("--"):
        assert name in {option for parameter in main.params for option in parameter.opts}
        return
    command = main.commands[name]  # type: ignore[attr-defined]
    if arguments:
        command.make_context(name, arguments)


def test_no_file_names_a_folder_of_somebodys_machine():
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    private = re.compile(rb"(?<![\w.])/(home|root|Users|w[o]rk)/")
    files = [ROOT / name for name in listed.stdout.splitlines()]
    named = [path.relative_to(ROOT) for path in files if path.is_file() and private.search(path.read_bytes())]
    assert named == []
