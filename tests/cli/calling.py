"""Commands called in this process."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from suite.cli.app import main

#: A command with its arguments -> exit code, what it printed, what it told on stderr.
Run = Callable[..., tuple[int, str, str]]


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return code, printed.out, printed.err
