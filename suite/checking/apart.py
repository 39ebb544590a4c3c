"""The checks of a file in a process of their own: ``python -m suite.checking.apart PATH FD``.

The file's code runs there and nowhere else. Each finding carries a nonce that was handed over before the file was
loaded, and so does the last word: a process that ends before it, with whatever exit code, has not passed.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from suite import records
from suite.checking.check import BUDGET, DATASET, Finding, check_file
from suite.errors import UserError
from suite.plugins import registry

#: Characters of a line that the process may say.
MOST = 10_000


def check_apart(
    path: str,
    *,
    dataset: str = DATASET,
    budget: str = BUDGET,
    workspace: str | Path | None = None,
    data_root: str | None = None,
) -> Iterator[Finding]:
    """Checks every baseline and task of a file in another process and yields the findings as they come.

    Args:
        path: The file.
        dataset: As for ``check_file``.
        budget: As for ``check_file``.
        workspace: Where it is kept which sources passed, with the version that tried them; None keeps nothing.
        data_root: Where datasets lie.

    Raises:
        UserError: As ``check_file``.
    """
    nonce, ended, subject = secrets.token_hex(16), False, path
    failed: set[str] = set()
    order = {"nonce": nonce, "dataset": dataset, "budget": budget, "data_root": data_root}
    end, start = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "suite.checking.apart", path, str(start)], stdin=subprocess.PIPE, pass_fds=[start]
    )
    os.close(start)
    try:
        assert process.stdin is not None
        process.stdin.write(json.dumps(order).encode())
        process.stdin.close()
        with os.fdopen(end, encoding="utf-8", errors="replace") as lines:
            while line := lines.readline(MOST):
                said = _heard(line, nonce)
                if "error" in said:
                    raise UserError(str(said["error"]))
                ended |= "end" in said
                if "finding" in said:
                    finding = Finding(*(str(said["finding"].get(k, "")) for k in Finding.__dataclass_fields__))
                    subject = finding.subject
                    failed |= {subject} if finding.status == "fail" else set()
                    yield finding
    finally:
        process.kill()
        process.wait()
    if not ended:
        yield Finding(subject, "its process", "fail", "it ended before the last check had its verdict")
    if workspace is not None:
        for entry in registry.read_file("baseline", Path(path).expanduser().resolve()):
            passed = ended and entry.name not in failed
            records.write_stamp(workspace, registry.source(entry).digest, passed, dataset=dataset, budget=budget)


def _heard(line: str, nonce: str) -> dict[str, dict[str, str]]:
    """Returns what a line says, nothing where it does not know the nonce."""
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return said if isinstance(said, dict) and said.get("nonce") == nonce else {}


def main(path: str, descriptor: int) -> None:
    """Checks a file and tells the process that asked."""
    order = json.loads(sys.stdin.read())
    nonce = order.pop("nonce")

    def say(**said: object) -> None:
        os.write(descriptor, (json.dumps({"nonce": nonce, **said}) + "\n").encode())

    try:
        for finding in check_file(path, **order):
            say(finding=asdict(finding))
        say(end=True)
    except UserError as error:
        say(error=str(error))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
