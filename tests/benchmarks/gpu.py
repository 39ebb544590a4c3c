"""Trials an hour at 1, 2, 4, 8 trials a GPU, and what a GPU's nats differ from a CPU's.

    python -m tests.benchmarks.gpu --out results/gpu.json                     trials an hour, by packing
    python -m tests.benchmarks.gpu --compare GPU_RUNS CPU_RUNS --out FILE     nats of the same cells, side by side

Every packing runs the same trials by ``suite run --gpus-per-trial 1/n`` into an empty workspace, Ray's start included.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BASELINES = ("vae", "conv_vae")


def trials_per_hour(packing: int, dataset: str, budget: str, seeds: int) -> dict[str, Any]:
    """Runs every baseline of the list with every seed, ``packing`` at a time on one GPU."""
    models = [word for name in BASELINES for word in ("-b", name)]
    with tempfile.TemporaryDirectory() as workspace:
        command = [
            sys.executable, "-m", "suite", "run", *models, "-t", "reconstruction", "-d", dataset, "--budget", budget,
            "--seeds", f"0-{seeds - 1}", "--workspace", workspace, "--tracking", "off", "--device", "cuda",
            "--gpus-per-trial", str(1 / packing), "--workers", str(packing),
        ]  # fmt: skip
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=sys.stderr)
        wall = time.perf_counter() - began
        records = list(read(Path(workspace)).values())
    done = [r for r in records if r["status"] == "ok"]
    return {
        "trials_per_gpu": packing,
        "trials": len(records),
        "ok": len(done),
        "wall_seconds": round(wall, 1),
        "trials_per_hour": round(3600 * len(done) / wall, 1),
        "seconds_in_trials": round(sum(r["cost"]["train_seconds"] + r["cost"]["score_seconds"] for r in done), 1),
        "gpu_gib_peak": round(max(r["cost"]["peak_memory_bytes"] for r in done) / 2**30, 3),
    }


def read(workspace: Path) -> dict[tuple[str, str, int, str], dict[str, Any]]:
    """The records of a workspace by (task, baseline, seed, budget)."""
    found = {}
    for path in sorted((workspace / "records").glob("*.json")):
        r = json.loads(path.read_text())
        found[r["task"], r["baseline"], r["seed"], r["budget"]] = r
    return found


def compare(gpu: Path, cpu: Path) -> list[dict[str, Any]]:
    """Each ranked number on both devices, and their difference in standard errors of a paired reading's upper bound."""
    ours, theirs = read(gpu), read(cpu)
    rows = []
    for cell in sorted(ours.keys() & theirs.keys()):
        a, b = ours[cell], theirs[cell]
        if not (a["status"] == b["status"] == "ok"):
            continue
        x, y = (r["metrics"][r["primary"]] for r in (a, b))
        error = math.hypot(x["se"] or 0.0, y["se"] or 0.0)
        rows.append(
            {
                "task": cell[0],
                "baseline": cell[1],
                "seed": cell[2],
                "budget": cell[3],
                "metric": a["primary"],
                "gpu": x["value"],
                "cpu": y["value"],
                "difference": x["value"] - y["value"],
                "se": error,
                "gpu_seconds": a["cost"]["train_seconds"],
                "cpu_seconds": b["cost"]["train_seconds"],
            }
        )
    return rows


def hardware() -> dict[str, Any]:
    import torch

    from suite.version import __version__

    gpu = torch.cuda.get_device_properties(0) if torch.cuda.is_available() else None
    return {
        "gpu": gpu and gpu.name,
        "gpu_gib": gpu and round(gpu.total_memory / 2**30, 1),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "suite": __version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packing", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--budget", default="quick")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("GPU_RUNS", "CPU_RUNS"))
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if args.compare:
        result: dict[str, Any] = {"cells": compare(*args.compare)}
    else:
        result = {"hardware": hardware(), "dataset": args.dataset, "budget": args.budget, "packings": []}
        for packing in args.packing:
            result["packings"].append(trials_per_hour(packing, args.dataset, args.budget, args.seeds))
            args.out.write_text(json.dumps(result, indent=2) + "\n")  # what is measured stays, whatever comes next
            print(result["packings"][-1], flush=True)
    args.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
