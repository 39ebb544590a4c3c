"""How many trials a driver can feed: trials that do nothing, and what the driver and the mirror spend on each.

    python -m tests.benchmarks.scale                        200 and 1,000 trials, results/scale.json
    python -m tests.benchmarks.scale 10000 --tracking off   this many

A toy that is not trained and a task that returns a constant leave what the machinery costs: the plan, Ray, the
records. Seconds of the driver's processor stand beside the wall's, so that other work on the machine shows little:
a driver cannot end more trials a second than one over its seconds for each. Whether these grow with the number of
trials shows in the first fifth of a run against its last.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results" / "scale.json"

MODEL = """
import torch
from suite.contract import Baseline

class Nothing(Baseline):
    summary = "Not trained; its code is a pixel."

    def encode(self, x):
        return {"z": x[:, 0, 14, 14:15]}

    def decode(self, values):
        return torch.zeros(len(values["z"]), *self.spec.shape)
"""
TASK = """
from suite.contract import Measure, Metric, Score, Task

class Constant(Task):
    summary = "Says one."
    primary = "one"
    metrics = (Metric("one", "nats", "lower", "always 1"),)

    def score(self, subject):
        return Score({"one": Measure(1.0)})
"""

#: Records that are mirrored to each store, and the share of a run's records by whose pace its beginning and end go.
MIRRORED, SHARE = 200, 0.2


def run(trials: int, folder: Path, workers: int, profile: Path | None) -> dict[str, float]:
    """Runs so many trials in a folder and returns what they cost."""
    (folder / "toys").mkdir()
    (folder / "toys" / "nothing.py").write_text(MODEL)
    (folder / "toys" / "constant.py").write_text(TASK)
    options = f"--path toys -t constant -b nothing --seeds 0-{trials - 1} --budget smoke --tracking off --trust"
    timed = ["-m", "cProfile", "-o", str(profile)] if profile else []
    command = [sys.executable, *timed, "-m", "suite", "run", *options.split(), "--workers", str(workers)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    began = time.time()
    with (folder / "log").open("w") as log:
        driver = psutil.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    peak, spent = _watched(driver)
    at, seconds = zip(*spent, strict=True)
    wall = time.time() - began
    ended = sorted(path.stat().st_mtime for path in (folder / "runs" / "records").glob("*.json"))
    if driver.returncode or len(ended) != trials:
        raise RuntimeError((folder / "log").read_text()[-2000:])
    part = max(2, int(SHARE * trials))
    cpu = np.interp([ended[0], ended[part - 1], ended[-part], ended[-1]], at, seconds)
    return {
        "trials": trials,
        "workers": workers,
        "wall_seconds": round(wall, 1),
        "seconds_to_first_record": round(ended[0] - began, 1),
        "trials_per_second": round((trials - 1) / (ended[-1] - ended[0]), 2),
        "trials_per_second_first_fifth": round((part - 1) / (ended[part - 1] - ended[0]), 2),
        "trials_per_second_last_fifth": round((part - 1) / (ended[-1] - ended[-part]), 2),
        "driver_cpu_seconds_per_trial": round((cpu[3] - cpu[0]) / (trials - 1), 4),
        "driver_cpu_seconds_per_trial_first_fifth": round((cpu[1] - cpu[0]) / (part - 1), 4),
        "driver_cpu_seconds_per_trial_last_fifth": round((cpu[3] - cpu[2]) / (part - 1), 4),
        "driver_cpu_seconds_around_trials": round(seconds[-1] - cpu[3] + cpu[0], 1),
        "driver_peak_mib": round(peak / 2**20),
    }


def _watched(driver: psutil.Popen) -> tuple[int, list[tuple[float, float]]]:
    """Waits for a process; returns the most memory that it held, in bytes, and (time, its processor's seconds)."""
    peak, spent = 0, [(time.time(), 0.0)]
    while driver.poll() is None:
        try:
            times = driver.cpu_times()
            peak = max(peak, driver.memory_info().rss)
            spent.append((time.time(), times.user + times.system))
        except psutil.Error:
            break
        time.sleep(0.1)
    driver.wait()
    return peak, spent


def mirror(uri: str, workspace: Path) -> dict[str, float]:
    """Mirrors records of a workspace into a store, one trial after the other, and returns what one costs."""
    from suite.records import read_all
    from suite.tracking.store import Store

    records = read_all(workspace)[:MIRRORED]
    store = Store(uri, workspace)
    store.mirror(records[:1])  # makes the experiment
    began, spent = time.perf_counter(), time.process_time()
    for record in records[1:]:
        store.mirror([record])
    wall, own = time.perf_counter() - began, time.process_time() - spent
    many = len(records) - 1
    return {"rows": many, "rows_per_second": round(many / wall, 2), "cpu_seconds_per_row": round(own / many, 4)}


def _mirrors(workspace: Path, postgres: str | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, Any] = {"sqlite": mirror(f"sqlite:///{folder}/mlflow.db", workspace)}
    if postgres:
        found["postgresql"] = mirror(postgres, workspace)
    return found


def machine() -> dict[str, Any]:
    """Returns what the figures were measured on, and how busy it was with other things."""
    from suite.records import environment

    here = environment()
    return {
        "cpu": here["cpu"],
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        "ray": here["versions"].get("ray"),
        "mlflow": here["versions"].get("mlflow"),
        "load": [round(load, 1) for load in os.getloadavg()],
        "date": datetime.now(UTC).date().isoformat(),
    }


def main(arguments: list[str]) -> None:
    """Measures and writes ``results/scale.json``; what stands there of other sizes stays."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trials", nargs="*", type=int, default=[200, 1000])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--postgres", metavar="URI", help="an empty database to mirror to as well")
    parser.add_argument("--tracking", choices=("on", "off"), default="on", help="off leaves the stores out")
    parser.add_argument("--profile", type=Path, help="takes a profile of the driver; write nothing else")
    options = parser.parse_args(arguments)
    known: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"runs": {}, "mirrors": {}}
    for trials in options.trials:
        with tempfile.TemporaryDirectory(prefix="scale-") as name:
            folder = Path(name)
            known["runs"][str(trials)] = run(trials, folder, options.workers, options.profile) | {"on": machine()}
            print(json.dumps(known["runs"][str(trials)]), flush=True)
            if options.tracking == "on" and trials == options.trials[0] and not options.profile:
                known["mirrors"] = _mirrors(folder / "runs", options.postgres) | {"on": machine()}
                print(json.dumps(known["mirrors"]), flush=True)
        if not options.profile:
            RESULTS.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
