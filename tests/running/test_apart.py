"""Nodes that see neither the workspace nor the checkout: real ones, with mounts and a name of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import suite
from suite.planning.selection import Selection
from suite.running.executor import Execution
from suite.running.run import execute
from tests.data.layouts import idx
from tests.running.clusters import Cluster, cluster, walls
from tests.toys import write_baseline, write_task

ROOT = Path(suite.__file__).parent.parent
ENGINE = (ROOT / "suite", ROOT / "tasks", ROOT / "baselines")

#: How long a run may take on a machine that has other things to do.
PATIENCE = 600

pytestmark = [
    pytest.mark.skipif(not walls(), reason="no process here may have mounts of its own"),
    pytest.mark.timeout(2 * PATIENCE),
]

#: A submission: a model with a helper and a file of data.
SUBMITTED = """
import numpy as np
import torch
from pathlib import Path
from torch import nn
from torch.distributions import Normal
from helper import WIDTH
from suite.contract import Baseline

class Submitted(Baseline):
    summary = "A model of a user."
    groups = {"z": "eight units"}
    files = ("scales.npz",)

    def __init__(self, spec):
        super().__init__(spec)
        scales = np.load(Path(__file__).parent / "scales.npz")["scales"]
        self.register_buffer("scales", torch.from_numpy(scales))
        self.encoder, self.decoder = nn.Linear(spec.pixels, 2 * WIDTH), nn.Linear(WIDTH, spec.pixels)

    def loss(self, batch):
        q = self.encode(batch.x)["z"]
        logits = self.decode({"z": q.rsample()})
        error = nn.functional.binary_cross_entropy_with_logits(logits, batch.x, reduction="none").sum((1, 2, 3))
        rate = torch.distributions.kl_divergence(q, Normal(torch.zeros(()), torch.ones(()))).sum(1)
        return {"loss": error + rate}

    def encode(self, x):
        mu, log_sigma = self.encoder(x.flatten(1)).chunk(2, 1)
        return {"z": Normal(mu * self.scales, log_sigma.exp())}

    def decode(self, values):
        return self.decoder(values["z"]).unflatten(1, self.spec.shape)
"""


@pytest.fixture
def head() -> Iterator[Cluster]:
    with cluster() as found:
        yield found


@pytest.fixture
def toys(tmp_path: Path) -> Path:
    write_task(tmp_path / "toys")
    write_baseline(tmp_path / "toys", "Toy")
    return tmp_path / "toys"


def write_submission(toys: Path) -> None:
    (toys / "submitted.py").write_text(SUBMITTED)
    (toys / "helper.py").write_text("WIDTH = 8\n")
    np.savez(toys / "scales.npz", scales=np.linspace(0.5, 1.5, 8, dtype=np.float32))


def start(toys: Path, workspace: str, *options: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "suite", "run", "--path", str(toys), "--budget", "smoke", "--tracking", "off"]
    command += ["--workspace", str(toys.parent / workspace), *options]
    found = env or dict(os.environ)
    paths = [str(ROOT), *filter(None, [found.get("PYTHONPATH")])]
    return subprocess.Popen(
        command,
        env=found | {"PYTHONPATH": os.pathsep.join(paths)},
        cwd=toys.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(toys: Path, workspace: str, *options: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    with start(toys, workspace, *options, env=env) as process:
        try:
            out, _ = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    return process.returncode, out


def run_apart(head: Cluster, toys: Path, *options: str) -> tuple[int, str]:
    return run(toys, "apart", "--address", head.address, "--no-shared", *options, env=head.env)


def records(workspace: Path) -> dict[str, dict[str, Any]]:
    return {path.name: json.loads(path.read_bytes()) for path in (workspace / "records").glob("*.json")}


def content(workspace: Path) -> dict[str, Any]:
    """All that a run leaves but times, what it ran on, and what can be computed again."""
    found: dict[str, Any] = {}
    for path in sorted(workspace.rglob("*")):
        name = path.relative_to(workspace).as_posix()
        if name.startswith("records/"):
            raw = json.loads(path.read_bytes())
            times = ("sha256", "started", "finished", "cost", "env")
            found[name] = {key: value for key, value in raw.items() if key not in times}
            found[name]["parameters"] = raw["cost"].get("parameters")
        elif path.name == "checkpoint.json" and "kept" not in path.parts:
            note = json.loads(path.read_bytes())
            found[name] = {k: v for k, v in note["meta"].items() if "second" not in k} | {"sha256": note["sha256"]}
        elif path.is_file() and name.startswith(("values/", "pictures/", "checkpoints/")) and "kept" not in path.parts:
            found[name] = path.read_bytes()
    return found


@pytest.mark.journey
def test_a_node_that_sees_nothing_leaves_what_a_local_run_leaves(head: Cluster, toys: Path) -> None:
    head.add("blind", hidden=(toys.parent, *ENGINE))
    options = ("-t", "error", "-b", "toy", "--seeds", "0", "--trust")
    code, told = run_apart(head, toys, *options)
    assert code == 0, told
    (record,) = records(toys.parent / "apart").values()
    assert record["env"]["host"] == "blind"
    assert not head.lodgings("blind")
    here = Selection(
        ("error",), ("toy",), ("digits",), (0,), "smoke", paths=(str(toys),), workspace=str(toys.parent / "local")
    )
    execute(here, Execution("local", trust=True), quiet=True)
    assert content(toys.parent / "apart") == content(toys.parent / "local")


@pytest.mark.exhaustive
def test_a_submission_and_the_suites_own_models_score_on_foreign_nodes_as_they_do_here(
    head: Cluster, toys: Path
) -> None:
    write_submission(toys)
    write_task(toys, "Second")
    other = toys.parent / "other"
    shutil.copytree(ROOT / "suite", other, ignore=shutil.ignore_patterns("__pycache__"))
    (other / "version.py").write_text((other / "version.py").read_text() + "# another engine\n")
    shown = toys.parent / "hidden"
    shown.mkdir()
    for name in ("left", "right"):
        head.add(name, instead={ROOT / "suite": other, toys.parent: shown}, hidden=ENGINE[1:])
    tasks = ("-t", "error", "-t", "reconstruction")
    options = (*tasks, "-b", "submitted", "-b", "vae", "--seeds", "0-1", "--noise", "secret")

    code, told = run(toys, "shared", "--address", head.address, *options, env=head.env)
    assert code == 2 and "node left" in told and "has engine" in told and "--no-shared" in told
    code, told = run_apart(head, toys, *options)
    assert code == 0, told
    found = records(toys.parent / "apart")
    assert len(found) == 8
    assert {raw["env"]["host"] for raw in found.values()} == {"left", "right"}
    assert not head.lodgings("left") and not head.lodgings("right")

    assert run(toys, "local", "--executor", "local", *options)[0] == 0
    assert content(toys.parent / "apart") == content(toys.parent / "local")

    code, told = run_apart(head, toys, *options, "-t", "second")  # another task of models that are there
    assert code == 0, told
    later = {name: raw for name, raw in records(toys.parent / "apart").items() if name not in found}
    old = {raw["cost"]["train_seconds"] for raw in found.values()}
    assert len(later) == 4 and {raw["cost"]["train_seconds"] for raw in later.values()} <= old


@pytest.mark.exhaustive
def test_a_trial_whose_node_dies_runs_on_another_and_is_killed_after_the_third(head: Cluster, toys: Path) -> None:
    write_baseline(toys, "Slow", loss="time.sleep(1)")
    for name in ("first", "second"):
        head.add(name, hidden=(toys.parent, *ENGINE))
    options = ("--address", head.address, "--no-shared", "-t", "error", "-b", "slow", "--trust")

    process = start(toys, "apart", *options, "--seeds", "0", env=head.env)
    killed = kill_the_busy(head)
    out, _ = process.communicate(timeout=PATIENCE)
    (record,) = records(toys.parent / "apart").values()
    assert process.returncode == 0 and record["status"] == "ok", out
    assert {killed, record["env"]["host"]} == {"first", "second"}
    assert f"the node {killed} died; slow/digits/seed 0 runs again on another" in out

    head.add(killed, hidden=(toys.parent, *ENGINE))
    process = start(toys, "apart", *options, "--seeds", "1", env=head.env)
    deaths = []
    for _ in range(3):
        deaths.append(kill_the_busy(head))
        head.add(deaths[-1], hidden=(toys.parent, *ENGINE))
    out, _ = process.communicate(timeout=PATIENCE)
    record = next(raw for raw in records(toys.parent / "apart").values() if raw["seed"] == 1)
    assert process.returncode == 1 and record["status"] == "killed", out
    assert record["reason"] == f"the nodes {deaths[0]}, {deaths[1]} and {deaths[2]} died; it was run 3 times"


def kill_the_busy(head: Cluster) -> str:
    """Ends the node that trains, and returns its name."""
    until = time.monotonic() + PATIENCE / 2
    while time.monotonic() < until:
        for name in list(head.nodes):
            if any(list(folder.glob("note.txt")) for folder in head.lodgings(name)):
                time.sleep(1)
                head.kill(name)
                return name
        time.sleep(0.2)
    raise AssertionError("no trial began")


@pytest.mark.exhaustive
def test_workers_that_die_leave_their_last_words_on_a_node_of_their_own(head: Cluster, toys: Path) -> None:
    write_baseline(toys, "Crasher", loss="import ctypes; ctypes.string_at(0)")
    write_baseline(toys, "Sleeper", loss="time.sleep(100)")
    write_baseline(toys, "Dead", loss="os.kill(os.getpid(), 9)")
    head.add("blind", hidden=(toys.parent, *ENGINE))
    baselines = ("-b", "crasher", "-b", "sleeper", "-b", "dead", "-b", "toy")
    code, told = run_apart(head, toys, "-t", "error", *baselines, "--seeds", "0", "--trust", "--timeout", "20")
    found = {raw["baseline"]: raw for raw in records(toys.parent / "apart").values()}
    assert (code, found["toy"]["status"]) == (1, "ok"), told
    assert found["crasher"]["reason"] == "the worker on blind crashed: Segmentation fault"
    assert found["sleeper"]["status"] == "timeout" and "sleeper.py" in found["sleeper"]["traceback"]
    assert found["dead"]["reason"].startswith("the worker on blind died: SIGKILL")
    assert not head.lodgings("blind")


@pytest.mark.exhaustive
def test_a_node_without_the_data_or_with_other_packages_is_refused_by_name_before_anything_runs(
    head: Cluster, toys: Path
) -> None:
    data = write_kmnist_of_noise(toys.parent / "data")
    away = toys.parent.parent / f"{toys.parent.name}-away"  # what the nodes see
    shutil.copytree(data, away / "data", copy_function=os.link)
    hidden = (toys.parent, *ENGINE)
    options = ("-t", "error", "-b", "toy", "-d", "kmnist", "--seeds", "0", "--trust", "--data-root", str(data))
    head.add("empty", hidden=hidden)
    code, told = run_apart(head, toys, *options)
    assert code == 2 and f"does not have the dataset 'kmnist' in {data}" in told and "node empty" in told
    assert not records(toys.parent / "apart")
    head.kill("empty")

    head.add("stocked", hidden=hidden, env={"SUITE_DATA": str(away / "data")})
    code, told = run_apart(head, toys, *options)
    assert code == 0, told
    head.kill("stocked")

    fake = away / "packages" / "numpy-1.0.dist-info"
    fake.mkdir(parents=True)
    (fake / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 1.0\n")
    head.add("older", hidden=hidden, env={"PYTHONPATH": str(fake.parent), "SUITE_DATA": str(away / "data")})
    code, told = run_apart(head, toys, *options, "--seeds", "1")
    assert code == 2 and f"has NumPy 1.0 instead of {np.__version__}" in told and "node older" in told


@pytest.mark.exhaustive
def test_four_trials_share_a_gpu_and_a_plan_says_what_can_never_run(head: Cluster, toys: Path) -> None:
    marks = toys.parent.parent / f"{toys.parent.name}-marks"
    marks.mkdir()
    wait = (
        f"from pathlib import Path; m = Path({str(marks)!r}); (m / str(os.getpid())).touch(); "
        "exec('while len(list(m.iterdir())) < 4: time.sleep(0.1)')"
    )
    write_baseline(toys, "Waiter", loss=wait)
    head.add("gpu", hidden=(toys.parent, *ENGINE), resources=("--num-cpus=8", "--num-gpus=1"))
    options = ("-t", "error", "-b", "waiter", "--seeds", "0-3")
    plan = [sys.executable, "-m", "suite", "plan", "--path", str(toys), *options, "--address", head.address]
    env = head.env | {"PYTHONPATH": str(ROOT)}

    def planned(*further: str) -> str:
        done = subprocess.run(
            [*plan, *further], env=env, cwd=toys.parent, capture_output=True, text=True, check=True, timeout=PATIENCE
        )
        return done.stdout

    assert "1 of 2 nodes can hold a trial: 4 at once" in planned("--gpus-per-trial", "0.25")
    assert "none of the 4 trials can ever run: a trial asks for 9 CPU" in planned("--threads", "9")
    code, told = run_apart(
        head, toys, *options, "--trust", "--gpus-per-trial", "0.25", "--device", "cpu", "--timeout", "200"
    )
    assert code == 0, told
    assert len(list(marks.iterdir())) == 4  # each waited for the others, in a process of its own


def write_kmnist_of_noise(root: Path) -> Path:
    """Writes a dataset of the size of the genuine one, whose name nobody has a digest of."""
    draw = np.random.default_rng(0)
    folder = root / "KMNIST" / "raw"
    folder.mkdir(parents=True)
    for prefix, n in (("train", 60_000), ("t10k", 10_000)):
        images = draw.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(idx(images))
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(np.arange(n) % 10))
    return root
