"""A task of a file, scored in a process of its own: ``python -m suite.checking.apart PATH NAME FD``.

What the process hands over is evidence, as JSON, and no verdict: that is given where no line of the file runs. One that
ends before it has handed it over, with whatever exit code, has left none.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from suite.checking.rehearsal import Declared, Twice, score_twice
from suite.checking.small_models import SPECIMENS
from suite.errors import ContractError, Unsupported, UserError
from suite.measuring import Task
from suite.plugins import load, registry

#: Characters that a process may say.
MOST = 1_000_000


class Evidence:
    """What a task left: what it declares, and two scores of each small model, or the errors instead.

    Args:
        said: As the process said it; nothing of it is trusted.
    """

    def __init__(self, said: Any) -> None:
        self._said = said if isinstance(said, dict) else {}
        if isinstance(said, dict) and "refused" in said:
            raise UserError(str(said["refused"]))

    @staticmethod
    def of(task: Task) -> Evidence:
        """Tries a task in this process."""
        from suite import data

        dataset = data.load("digits")
        said = {"declared": _tried(partial(Declared.of, task))}
        for model in SPECIMENS:
            said[model.__name__] = _tried(partial(score_twice, task, model, dataset))
        return Evidence(json.loads(json.dumps(said)))

    @staticmethod
    def gather(path: Path, name: str) -> Evidence:
        """Tries a task of a file in another process.

        Raises:
            UserError: If the file does not import.
        """
        end, start = os.pipe()
        command = [sys.executable, "-m", "suite.checking.apart", str(path), name, str(start)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[start])
        os.close(start)
        try:
            with os.fdopen(end, encoding="utf-8", errors="replace") as lines:
                said = lines.read(MOST)
        finally:
            process.kill()
            process.wait()
        try:
            return Evidence(json.loads(said))
        except ValueError:
            return Evidence({})

    @property
    def primary(self) -> str:
        """The metric that is ranked."""
        return self.declared().primary

    def declared(self) -> Declared:
        """What the task declares.

        Raises:
            ContractError: If there is none.
        """
        raw = self._found("declared")
        try:
            metrics = tuple((str(name), str(direction)) for name, direction in raw["metrics"])
            return Declared(str(raw["summary"]), str(raw["primary"]), metrics, int(raw["anchors"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ContractError("the process of the task handed over no declarations") from error

    def scored(self, model: str) -> Twice:
        """Two scorings of a small model.

        Raises:
            ContractError: If there are none.
        """
        raw = self._found(model)
        try:
            first, second = ({str(n): float(v) for n, v in raw[name].items()} for name in ("first", "second"))
            dims = {str(name): int(n) for name, n in raw["dims"].items()}
            return Twice(first, second, bool(raw["changed"]), dims)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ContractError("the process of the task handed over no scores") from error

    def _found(self, name: str) -> Any:
        found = self._said.get(name)
        if not isinstance(found, dict):
            raise ContractError("the process of the task ended before it handed over what it found")
        if "unsupported" in found:
            raise Unsupported(str(found["unsupported"]))
        if "raised" in found:
            raise ContractError(str(found["raised"]))
        return found


def _tried(act: Callable[[], Declared | Twice]) -> dict[str, Any]:
    try:
        return asdict(act())
    except Unsupported as error:
        return {"unsupported": str(error)}
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        return {"raised": f"{type(error).__name__}: {first}"}


def main(path: str, name: str, descriptor: int) -> None:
    """Tries a task and tells the process that asked."""
    try:
        entry = next(entry for entry in registry.read_file("task", Path(path)) if entry.name == name)
        said = Evidence.of(load(registry.source(entry))())._said
    except UserError as error:
        said = {"refused": str(error)}
    with os.fdopen(descriptor, "w", encoding="utf-8") as answer:
        json.dump(said, answer)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
