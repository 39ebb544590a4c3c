"""What the page on schedulers says is done: its scripts run on stand-ins for SLURM, its manifest keeps to KubeRay's
fields."""

from __future__ import annotations

import copy
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.cluster.composition import ROOT, read
from tests.test_packaging import constraints

PAGE = (ROOT / "docs" / "schedulers.md").read_text()
SHARES, ALLOCATION = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)

MANIFEST = ROOT / "docker" / "rayjob.yaml"
SCHEMA = json.loads((ROOT / "tests" / "files" / "rayjob-schema.json").read_text())

#: Writes down what it was called with, at once, for others do so at the same time; srun then runs what it was given,
#: as SLURM would.
STAND_IN = """#!/bin/bash
printf -v call '%q ' "${0##*/}" "$@"; echo "$call" >> "$CALLS"
if [[ "${0##*/}" == srun ]]; then while [[ $1 == -* ]]; do shift; done; "$@"; fi
"""


def calls(folder: Path, script: str, **slurm: str) -> list[list[str]]:
    """Runs a script with stand-ins for every program that it calls; returns the calls in the order they came."""
    programs, log = folder / "bin", folder / "calls"
    programs.mkdir(exist_ok=True)
    for name in ("srun", "ray", "suite"):
        (programs / name).write_text(STAND_IN)
        (programs / name).chmod(0o755)
    path = os.pathsep.join([str(programs), os.environ["PATH"], str(Path(sys.executable).parent)])  # for its `python`
    # Its output ends with the last of what it left in the background.
    env = os.environ | slurm | {"PATH": path, "CALLS": str(log)}
    subprocess.run(["bash", "-c", script], env=env, check=True, capture_output=True)
    return [shlex.split(line) for line in log.read_text().splitlines()]


def parses(arguments: list[str]) -> dict[str, Any]:
    """Returns the parameters of a ``suite`` command as it reads them."""
    import typer.main

    from suite.cli.app import app

    command = typer.main.get_command(app).commands[arguments[1]]  # type: ignore[attr-defined]
    return command.make_context(arguments[1], arguments[2:]).params


def test_the_tasks_of_an_array_run_every_share_once_each_in_a_workspace_of_its_own(tmp_path: Path) -> None:
    (array,) = re.findall(r"#SBATCH --array=1-(\d+)", SHARES)
    shares = []
    for task in range(1, int(array) + 1):
        folder = tmp_path / str(task)
        folder.mkdir()
        env = {"SLURM_ARRAY_TASK_ID": str(task), "SLURM_ARRAY_TASK_COUNT": array, "SLURM_CPUS_PER_TASK": "8"}
        (call,) = calls(folder, SHARES, **env)
        shares.append(parses(call))
    assert [share["shard"] for share in shares] == [f"{task}/{array}" for task in range(1, int(array) + 1)]
    assert len({share["workspace"] for share in shares}) == int(array)
    assert {share["workers"] for share in shares} == {8}


def test_an_allocation_has_one_head_its_other_nodes_as_workers_and_a_driver_beside_the_head(tmp_path: Path) -> None:
    env = {"SLURM_JOB_ID": "31234", "SLURM_JOB_NUM_NODES": "4", "SLURM_CPUS_PER_TASK": "16"}
    made = calls(tmp_path, ALLOCATION, **env)
    host = subprocess.run(["hostname"], capture_output=True, text=True, check=True).stdout.strip()
    address = f"{host}:21234"
    head, workers = sorted((call for call in made if call[0] == "srun"), key=lambda call: "--head" not in call)
    assert {f"--nodelist={host}", "--nodes=1", "--port=21234", "--block"} <= set(head)
    assert {f"--exclude={host}", "--nodes=3", "--ntasks=3", f"--address={address}", "--block"} <= set(workers)
    assert ["ray", "health-check", "--address", address] in made
    (driver,) = [call for call in made if call[0] == "suite"]
    assert parses(driver)["address"] == address


def test_a_script_s_token_is_in_no_command_line(tmp_path: Path) -> None:
    env = {"SLURM_JOB_ID": "1", "SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "1"}
    words = [word for call in calls(tmp_path, ALLOCATION, **env) for word in call]
    assert not [word for word in words if re.search(r"[0-9a-f]{32}", word)]
    assert "export RAY_AUTH_TOKEN RAY_AUTH_MODE=token" in ALLOCATION


def manifest() -> dict[str, Any]:
    return yaml.safe_load(MANIFEST.read_text())


def pods(job: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the groups of pods: the head's first."""
    cluster = job["spec"]["rayClusterSpec"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def faults(job: dict[str, Any]) -> list[str]:
    """Returns what is wrong with a manifest, a line each."""
    found = [f"schema: {error.message}" for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(job)]
    if job["spec"]["rayClusterSpec"].get("authOptions", {}).get("mode") != "token":
        found.append("anybody who reaches the cluster can run code")
    for group in pods(job):
        pod = group["template"]["spec"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        if not pod["securityContext"].get("runAsNonRoot"):
            found.append("runs as root")
        for container in pod["containers"]:
            if container["image"].partition(":")[2] in ("", "latest"):
                found.append(f"image {container['image']} is not pinned")
            if missing := {mount["name"] for mount in container["volumeMounts"]} - volumes:
                found.append(f"mounts what is not there: {missing}")
            if any(re.search("TOKEN|PASS|SECRET", one["name"]) and "value" in one for one in container["env"]):
                found.append("holds a secret")
    for group in pods(job)[1:]:
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        if group["rayStartParams"]["num-cpus"] != limits["cpu"]:
            found.append("Ray counts other CPUs than the pod has")
    return found


def test_the_manifest_keeps_to_kuberay_s_fields_and_to_our_rules() -> None:
    assert faults(manifest()) == []


def place(job: dict[str, Any], group: int) -> dict[str, Any]:
    return pods(job)[group]["template"]["spec"]


VIOLATIONS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a misspelt field": (lambda job: job["spec"].update(shutdownAfterJobFinish=True), "schema"),
    "a number for a text": (lambda job: pods(job)[0].update(rayStartParams={"num-cpus": 0}), "schema"),
    "no token": (lambda job: job["spec"]["rayClusterSpec"].pop("authOptions"), "anybody"),
    "root": (lambda job: place(job, 1)["securityContext"].pop("runAsNonRoot"), "root"),
    "an image that moves": (lambda job: place(job, 1)["containers"][0].update(image="suite:latest"), "pinned"),
    "a volume that is not there": (lambda job: place(job, 1).update(volumes=[]), "mounts"),
    "a secret": (
        lambda job: place(job, 0)["containers"][0]["env"].append({"name": "RAY_AUTH_TOKEN", "value": "t"}),
        "secret",
    ),
    "more CPUs than there are": (lambda job: pods(job)[1]["rayStartParams"].update({"num-cpus": "64"}), "CPUs"),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_violation_of_the_manifest_is_told_and_nothing_else(name: str) -> None:
    violate, told = VIOLATIONS[name]
    job = json.loads(json.dumps(copy.deepcopy(manifest())))  # YAML's anchors are one object in several places
    violate(job)
    found = faults(job)
    assert found
    assert all(told in fault for fault in found)


def test_the_manifest_starts_ray_as_the_compose_file_does() -> None:
    job = manifest()
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == constraints()["ray"]
    composed = read({"POSTGRES_PASSWORD": "p", "RAY_AUTH_TOKEN": "t"})["ray-worker"]["environment"]
    for group in pods(job):
        given = {one["name"]: one["value"] for one in group["template"]["spec"]["containers"][0]["env"]}
        assert {name: value for name, value in composed.items() if "AUTH" not in name}.items() <= given.items()


def test_the_manifest_s_job_runs_a_board_on_the_cluster_that_it_is_on() -> None:
    given = parses(shlex.split(manifest()["spec"]["entrypoint"]))
    assert given["address"] == "auto"
    assert str(given["file"]) == "/board/board.yaml"
