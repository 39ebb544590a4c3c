"""Trials an hour at 1, 2, 4, 8 trials a GPU, and what a GPU's numbers differ from a CPU's.

    python -m tests.benchmarks.gpu                                  trials an hour, by packing
    python -m tests.benchmarks.gpu --compare NAME GPU_RUNS CPU_RUNS    the same cells on both, under NAME

Every packing runs the same trials by ``suite run --gpus-per-trial 1/n`` into an empty workspace, Ray's start included.
Both write what they measured into results/gpu.json and make results/gpu.md from it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

OUT = Path(__file__).parents[2] / "results" / "gpu.json"
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


def read(folder: Path) -> dict[tuple[str, str, int, str], dict[str, Any]]:
    """The records of a workspace, or of a folder of workspaces, by (baseline, task, seed, budget)."""
    records = (json.loads(path.read_text()) for path in sorted(folder.rglob("records/*.json")))
    return {(r["baseline"], r["task"], r["seed"], r["budget"]): r for r in records}


def compare(gpu: Path, cpu: Path) -> list[dict[str, Any]]:
    """Each ranked number on both devices, and the standard error that test images alone give to either."""
    ours, theirs = read(gpu), read(cpu)
    rows = []
    for cell in sorted(ours.keys() & theirs.keys()):
        a, b = ours[cell], theirs[cell]
        if not (a["status"] == b["status"] == "ok"):
            continue
        x, y = (r["metrics"][r["primary"]] for r in (a, b))
        names = dict(zip(("baseline", "task", "seed", "budget"), cell, strict=True))
        numbers = {"gpu": x["value"], "cpu": y["value"], "difference": x["value"] - y["value"], "se": y["se"]}
        rows.append({**names, "metric": a["primary"], "unit": y["unit"], **numbers})
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


def page(result: dict[str, Any]) -> str:
    """What was measured as Markdown."""
    h, what = result["hardware"], f"{result['dataset']} at `{result['budget']}`"
    machine = f"one {h['gpu']} ({h['gpu_gib']} GiB), {h['cores']} cores, torch {h['torch']}"
    lines = [
        "# On a GPU",
        "",
        f"`python -m tests.benchmarks.gpu` on {machine}.",
        "",
        f"Trials an hour, {what}: trained, scored by `reconstruction`, Ray's start included.",
        "",
        "| trials a GPU | trials | wall, s | trials an hour | GPU memory a trial, GiB |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    for p in result["packings"]:
        numbers = (p["trials_per_gpu"], p["ok"], p["wall_seconds"], round(p["trials_per_hour"]), p["gpu_gib_peak"])
        lines.append("| " + " | ".join(map(str, numbers)) + " |")
    for name, cells in result.get("compared", {}).items():
        lines += ["", f"## {name}", "", "| model | task | seed | GPU | CPU | difference | standard error |"]
        lines.append("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
        for c in cells:
            numbers = (f"{c['gpu']:.3f}", f"{c['cpu']:.3f}", f"{c['difference']:+.4f}", f"{c['se'] or 0:.3f}")
            where = (f"`{c['baseline']}`", f"{c['task']}, {c['metric']}", str(c["seed"]))
            lines.append("| " + " | ".join((*where, *numbers)) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packing", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--budget", default="quick")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--compare", nargs=3, metavar=("NAME", "GPU_RUNS", "CPU_RUNS"))
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    result: dict[str, Any] = json.loads(args.out.read_text()) if args.out.exists() else {}
    if args.compare:
        name, gpu, cpu = args.compare
        result.setdefault("compared", {})[name] = compare(Path(gpu), Path(cpu))
    else:
        result |= {"hardware": hardware(), "dataset": args.dataset, "budget": args.budget, "packings": []}
        for packing in args.packing:
            result["packings"].append(trials_per_hour(packing, args.dataset, args.budget, args.seeds))
            print(result["packings"][-1], flush=True)
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    args.out.with_suffix(".md").write_text(page(result))


if __name__ == "__main__":
    main()
