"""The Compose file keeps to the specification and to our own rules; a file that breaks one is told."""

from __future__ import annotations

import copy
import fnmatch
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import pytest
import yaml

from tests.cluster.composition import COMPOSE, ROOT, VARIABLE, interpolated, read, words

#: The Compose specification's schema (compose-spec, Apache License 2.0, copyright 2013-2018 Docker, Inc.).
SCHEMA = json.loads((ROOT / "tests" / "files" / "compose-spec.json").read_text())

#: Names of what nobody else may know.
SECRET = re.compile(r"PASS|TOKEN|SECRET|ACCESS_KEY", re.IGNORECASE)

Compose = dict[str, Any]


def parsed() -> Compose:
    return yaml.safe_load(COMPOSE.read_text())


def lives_long(service: Compose) -> bool:
    return service.get("restart") != "no"


def texts(value: Any) -> Iterator[str]:
    """Yields every text in a value, of whatever depth."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    else:
        yield str(value)


def faults(compose: Compose) -> list[str]:
    """Returns what is wrong with a Compose file, a line each."""
    found = [f"schema: {error.message}" for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(compose)]
    services = compose["services"]
    for name, service in services.items():
        for rule in (ports, images, healths, secrets, privileges):
            found += [f"{name}: {fault}" for fault in rule(service)]
        found += [f"{name}: {fault}" for fault in dependencies(service, services)]
    return found


def ports(service: Compose) -> Iterator[str]:
    for port in service.get("ports", []):
        host = port.get("host_ip", "") if isinstance(port, dict) else str(port)
        if not host.startswith("127.0.0.1"):
            yield f"port {port} is bound beyond loopback"
    if service.get("network_mode") == "host":
        yield "the host's network is beyond loopback"


def images(service: Compose) -> Iterator[str]:
    _, _, tag = service.get("image", "").partition(":")
    if not tag or tag == "latest":
        yield f"image {service.get('image')!r} is not pinned"
    elif "build" not in service and not re.search(r"\d+\.\d+", tag):
        yield f"image {service['image']!r} is not pinned to a version"


def healths(service: Compose) -> Iterator[str]:
    check = service.get("healthcheck", {"disable": True})
    if lives_long(service) and (check.get("disable") or check.get("test", ["NONE"])[0] == "NONE"):
        yield "lives long and has no health check"


def secrets(service: Compose) -> Iterator[str]:
    for name, value in service.get("environment", {}).items():
        if SECRET.search(name) and not re.fullmatch(r"\$\{\w+(:\?[^}]+|:-)\}", str(value)):
            yield f"{name} is not taken from the environment alone"
    for name, value in service.get("environment", {}).items():
        if re.search(r"://[^/\s]*:[^/\s]*@", str(value)):
            yield f"{name} holds a login"
    shown = [service.get(part) for part in ("command", "entrypoint", "healthcheck", "labels", "build")]
    for text in texts(shown):
        if any(SECRET.search(use["name"] or "") for use in VARIABLE.finditer(text)):
            yield f"everybody on the machine can read {text!r}"


def privileges(service: Compose) -> Iterator[str]:
    if service.get("privileged") or any("docker.sock" in text for text in texts(service.get("volumes", []))):
        yield "rules the machine"
    if "build" in service and "ALL" not in service.get("cap_drop", []):
        yield "keeps capabilities"


def dependencies(service: Compose, services: dict[str, Compose]) -> Iterator[str]:
    needs = service.get("depends_on", {})
    if isinstance(needs, list):
        yield "waits for nothing: depends_on has no conditions"
        return
    for name, need in needs.items():
        other = services.get(name, {})
        condition = need.get("condition")
        if condition != ("service_healthy" if lives_long(other) else "service_completed_successfully"):
            yield f"waits for {name} to be {condition}"
        if set(other.get("profiles", [])) - set(service.get("profiles", [])) and need.get("required", True):
            yield f"needs {name}, which its own profiles do not start"


def test_the_compose_file_keeps_to_the_specification_and_to_our_rules() -> None:
    assert faults(parsed()) == []


def change(*path: str, to: Any) -> Callable[[Compose], None]:
    def changed(compose: Compose) -> None:
        place = compose["services"]
        for name in path[:-1]:
            place = place.setdefault(name, {})
        place[path[-1]] = to

    return changed


def drop(*path: str) -> Callable[[Compose], None]:
    def dropped(compose: Compose) -> None:
        place = compose["services"]
        for name in path[:-1]:
            place = place[name]
        del place[path[-1]]

    return dropped


VIOLATIONS = {
    "an unknown key": (change("mlflow", "helthcheck", to={}), "schema"),
    "a wrong type": (change("mlflow", "command", to=5), "schema"),
    "an open port": (change("mlflow", "ports", to=["5000:5000"]), "beyond loopback"),
    "an open port, written long": (change("mlflow", "ports", to=[{"target": 5000, "published": "5000"}]), "beyond"),
    "every interface": (change("ray-head", "ports", to=["0.0.0.0:8265:8265"]), "beyond loopback"),
    "the host's network": (change("ray-head", "network_mode", to="host"), "beyond loopback"),
    "no health check": (drop("ray-worker", "healthcheck"), "no health check"),
    "a health check switched off": (change("postgres", "healthcheck", to={"disable": True}), "no health check"),
    "the latest image": (change("postgres", "image", to="postgres:latest"), "not pinned"),
    "an image without a tag": (change("postgres", "image", to="postgres"), "not pinned"),
    "an image that moves": (change("storage", "image", to="chrislusf/seaweedfs:dev"), "not pinned"),
    "a password": (change("postgres", "environment", "POSTGRES_PASSWORD", to="mlflow"), "environment alone"),
    "a default password": (
        change("postgres", "environment", "POSTGRES_PASSWORD", to="${POSTGRES_PASSWORD:-mlflow}"),
        "environment alone",
    ),
    "a password that may be missing unseen": (
        change("mlflow", "environment", "PGPASSWORD", to="${POSTGRES_PASSWORD}"),
        "environment alone",
    ),
    "a login in a URI": (
        change("mlflow", "environment", "MLFLOW_BACKEND_STORE_URI", to="postgresql://mlflow:${PW}@postgres/mlflow"),
        "holds a login",
    ),
    "a password among the arguments": (
        change(
            "mlflow", "command", to="mlflow server --backend-store-uri postgresql://m:${POSTGRES_PASSWORD}@postgres"
        ),
        "can read",
    ),
    "a token built into an image": (
        change("ray-head", "build", to={"context": ".", "args": {"T": "${RAY_AUTH_TOKEN}"}}),
        "can read",
    ),
    "no conditions": (change("mlflow", "depends_on", to=["postgres"]), "no conditions"),
    "a start that does not wait": (
        change("suite", "depends_on", "mlflow", to={"condition": "service_started"}),
        "service_started",
    ),
    "a job that never ends": (
        change("mlflow", "depends_on", "bucket", "condition", to="service_healthy"),
        "service_healthy",
    ),
    "a need of another profile": (drop("mlflow", "depends_on", "bucket", "required"), "own profiles"),
    "the engine's socket": (change("suite", "volumes", to=["/var/run/docker.sock:/var/run/docker.sock"]), "rules"),
    "privileges": (change("ray-worker-gpu", "privileged", to=True), "rules"),
    "capabilities": (drop("suite", "cap_drop"), "capabilities"),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_violation_is_told_and_nothing_else(name: str) -> None:
    violate, told = VIOLATIONS[name]
    compose = copy.deepcopy(parsed())
    violate(compose)
    found = faults(compose)
    assert found
    assert all(told in fault for fault in found)


def test_every_ray_node_and_the_driver_ask_for_the_same_token() -> None:
    with_token = {name for name, service in parsed()["services"].items() if "ray start" in str(service.get("command"))}
    assert with_token == {"ray-head", "ray-worker", "ray-worker-gpu", "suite"}
    for name in with_token:
        env = parsed()["services"][name]["environment"]
        assert env["RAY_AUTH_MODE"] == "token"
        assert env["RAY_AUTH_TOKEN"].startswith("${RAY_AUTH_TOKEN:?")


def test_nothing_starts_without_its_secrets() -> None:
    given = {"POSTGRES_PASSWORD": "p@ss:w/rd", "RAY_AUTH_TOKEN": "t" * 32}
    services = read(given)
    assert services["mlflow"]["environment"]["PGPASSWORD"] == "p@ss:w/rd"
    for name in given:
        with pytest.raises(KeyError, match=f"set {name}"):
            read({**given, name: ""})


def test_clients_may_call_the_tracking_server_by_its_service_name() -> None:
    command = words(read({"POSTGRES_PASSWORD": "p", "RAY_AUTH_TOKEN": "t"})["mlflow"]["command"])
    assert "mlflow:5000" in command[command.index("--allowed-hosts") + 1].split(",")


def test_variables_are_replaced_as_compose_does() -> None:
    env = {"A": "a", "EMPTY": ""}
    assert interpolated("${A} ${A:-b} ${EMPTY:-b} ${B:-} ${B:-c d} $${A}", env) == "a a b  c d ${A}"


def test_the_example_of_an_environment_names_every_variable_and_no_secret() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    named = dict(found.groups() for line in lines if (found := re.fullmatch(r"#?([A-Z]\w+)=(.*)", line)))
    used = {use["name"] for text in texts(parsed()) for use in VARIABLE.finditer(text)} - {None}
    assert used <= set(named)
    assert set(named) - used == {"COMPOSE_PROFILES"}
    assert [name for name, value in named.items() if SECRET.search(name) and value] == []
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


DOCKERFILE = (ROOT / "Dockerfile").read_text()


def copied() -> list[str]:
    """Returns what the image takes from the repository."""
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    return sorted({path for line in lines for path in line.split()})


def test_the_image_takes_what_is_there_and_what_is_not_kept_out() -> None:
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for path in copied():
        assert (ROOT / path).exists()
        assert any(fnmatch.fnmatch(path, one) or path.startswith(f"{one}/") for one in let_in), path


def test_the_image_runs_as_somebody_without_rights_on_a_pinned_python() -> None:
    assert re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE)[-1] == "suite"
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", bases[0])


def test_the_image_installs_the_dependencies_and_the_cluster_s() -> None:
    command = [sys.executable, "docker/requirements.py", "cluster"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert any(line.startswith("torch>") for line in printed)
    assert any(line.startswith("psycopg2-binary>") for line in printed)
    assert not any(line.startswith("pytest") for line in printed)
