"""``docker-compose.yml`` as Compose reads it: with the environment's values in it, commands as lists of words."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
COMPOSE = ROOT / "docker-compose.yml"

#: A variable with what follows it: a default, or what to say where it is not set; or an escaped dollar.
VARIABLE = re.compile(r"\$\$|\$\{(?P<name>\w+)(?:(?P<how>:-|:\?)(?P<rest>[^}]*))?\}")


def interpolated(text: str, env: Mapping[str, str]) -> str:
    """Returns a value with its variables replaced, as the Compose specification has it (``12-interpolation.md``).

    Raises:
        KeyError: With its message, if a variable that must be set is not.
    """

    def value(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        given = env.get(found["name"], "")
        if not given and found["how"] == ":?":
            raise KeyError(found["rest"])
        return given or (found["rest"] or "" if found["how"] == ":-" else "")

    return VARIABLE.sub(value, text)


def read(env: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Returns the services by name, with all variables replaced."""

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: walk(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [walk(inner) for inner in value]
        return interpolated(value, env) if isinstance(value, str) else value

    return walk(yaml.safe_load(COMPOSE.read_text()))["services"]


def words(command: str | list[str]) -> list[str]:
    """Returns the words of a command, which Compose takes as a list or as one text."""
    return shlex.split(command) if isinstance(command, str) else list(command)


def health(service: Mapping[str, Any]) -> list[str]:
    """Returns the words of a service's health check."""
    kind, *rest = service["healthcheck"]["test"]
    return rest if kind == "CMD" else ["sh", "-c", *rest]


def environment(service: Mapping[str, Any]) -> dict[str, str]:
    """Returns the environment of a service beside what its image sets."""
    return {name: str(value) for name, value in service.get("environment", {}).items()}


def child_environment() -> dict[str, str]:
    """Returns this process's environment without what would reach into a service from outside."""
    outside = ("RAY_", "MLFLOW_", "SUITE_", "PG", "AWS_", "POSTGRES_", "S3_")
    return {name: value for name, value in os.environ.items() if not name.startswith(outside)}
