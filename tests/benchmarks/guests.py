"""What it costs that a model plays as a guest: each model plain and guarded, in turn, with the ratios.

    python -m tests.benchmarks.guests                                      vae on digits, the official tasks
    python -m tests.benchmarks.guests vae conv_vae swwae --dataset mnist --budget smoke --repeats 1

Every run is a process of its own with a fresh workspace, on one thread. The modes take turns, so that other work on
the machine hits both alike; a ratio is the median of those of neighbouring runs. ``core`` is the processor's time of a
whole run with all its processes: where other work shares the machine, it says more than the clock. ``peak`` is the
largest sum, over all processes of a run, of what they have to themselves and their share of what they share.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import psutil

from suite.data import Dataset, Split

TASKS = ("reconstruction", "linear_probe", "input_optimization", "latent_ablation")
MODES = ("plain", "guarded")
#: Seconds between two looks at the memory.
LOOK = 0.2
Parts = dict[str, float]


def measure(model: str, guarded: bool, options: argparse.Namespace) -> Parts:
    """Runs a model's official cells once; returns seconds of each part, and of the whole run."""
    from suite.planning import Selection, longest_first, make_plan
    from suite.planning.cells import Trial
    from suite.running import hosting, preparation
    from suite.running.trial import run_trial

    class Guarded(Trial):
        guarded = True

    if options.images:
        preparation.load_data = partial(_few, preparation.load_data, options.images)
        hosting.load_data = preparation.load_data
    with tempfile.TemporaryDirectory() as folder:
        selection = Selection(
            tasks=tuple(options.tasks), baselines=(model,), datasets=(options.dataset,), seeds=(0,),
            budget=options.budget, workspace=folder,
        )  # fmt: skip
        (trial,) = longest_first(make_plan(selection))
        fields = {f.name: getattr(trial, f.name) for f in dataclasses.fields(trial)} | {"device": "cpu"}
        found: list[Any] = []
        began = time.perf_counter()
        run_trial((Guarded if guarded else Trial)(**fields), found.append)
        parts = {"whole": time.perf_counter() - began}
    for record in found:
        if record.status == "failed":
            sys.stderr.write(f"{model}, {record.task}: {record.reason}\n")
        if record.cost:
            parts |= {"training": record.cost["train_seconds"], "setup": record.cost["setup_seconds"]}
            parts[record.task] = record.cost["score_seconds"]
    return parts


def _few(load: Callable[..., Dataset], n: int, *args: Any) -> Dataset:
    """The first images of every split."""
    whole = load(*args)

    def few(split: Split) -> Split:
        return replace(split, grey=split.grey[:n], labels=split.labels[:n])

    test = few(whole.test)
    return replace(whole, train=few(whole.train), val=few(whole.val), read_test=lambda: test)


def run(model: str, mode: str, options: argparse.Namespace) -> Parts:
    """Measures in a process of its own, whose memory is watched; adds ``peak``, in MiB."""
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.guests",
        model,
        f"--measure={mode}",
        f"--budget={options.budget}",
        f"--images={options.images}",
    ]
    command += [f"--dataset={options.dataset}", f"--tasks={','.join(options.tasks)}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=said, env=environment)
        core, peak = _watched(process)
        if process.returncode:
            raise SystemExit(f"{model}, {mode}: ended with {process.returncode}")
        said.seek(0)
        parts: Parts = json.loads(said.read().strip().splitlines()[-1])
    return {**parts, "core": core, "peak": peak / 2**20}


def _watched(process: subprocess.Popen[bytes]) -> tuple[float, int]:
    """Waits for a process; returns the core-seconds of it and its descendants, and the most bytes they had together."""
    core, peak, root = 0.0, 0, psutil.Process(process.pid)
    while process.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):
            looks = [_look(each) for each in (root, *root.children(recursive=True))]
            core, peak = max(core, sum(c for c, _ in looks)), max(peak, sum(m for _, m in looks))
        time.sleep(LOOK)
    return core, peak


def _look(process: psutil.Process) -> tuple[float, int]:
    """Seconds of a process and of its children that have ended, and its bytes, of shared ones its part; 0 if gone."""
    with contextlib.suppress(psutil.Error):
        return sum(process.cpu_times()[:4]), int(process.memory_full_info().pss)
    return 0.0, 0


def table(found: dict[str, dict[str, list[Parts]]]) -> str:
    """A table in Markdown: plain to guarded, seconds and MiB, medians, with the median ratio of neighbouring runs."""
    parts = list(dict.fromkeys(part for modes in found.values() for runs in modes.values() for r in runs for part in r))
    parts = [part for part in ("training", "setup", *TASKS, "whole", "core", "peak") if part in parts]
    lines = [f"| model | {' | '.join(parts)} |", f"| --- |{' ---: |' * len(parts)}"]
    for model, modes in found.items():
        cells = []
        for part in parts:
            pairs = [(a.get(part), b.get(part)) for a, b in zip(*(modes[mode] for mode in MODES), strict=True)]
            pairs = [(a, b) for a, b in pairs if a and b]
            if not pairs:
                cells.append("")
                continue
            plain, guarded = (statistics.median(values) for values in zip(*pairs, strict=True))
            ratio = statistics.median(b / a for a, b in pairs)
            digits = 0 if part == "peak" else 1
            cells.append(f"{plain:.{digits}f} → {guarded:.{digits}f} ({ratio:.2f})")
        lines.append(f"| {model} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Measures the models plain and guarded in turn and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["vae"])
    parser.add_argument("--tasks", type=lambda text: [name for name in text.split(",") if name], default=list(TASKS))
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--budget", default="quick")
    parser.add_argument("--images", type=int, default=0, help="so many of each split, the first; 0: all")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure", choices=MODES, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        print(json.dumps(measure(options.models[0], options.measure == "guarded", options)))
        return
    found: dict[str, dict[str, list[Parts]]] = {}
    for model in options.models:
        found[model] = {mode: [] for mode in MODES}
        for _ in range(options.repeats):
            for mode in MODES:
                found[model][mode].append(run(model, mode, options))
                sys.stderr.write(f"{model}, {mode}: {found[model][mode][-1]['whole']:.1f} s\n")
        print(table({model: found[model]}), flush=True)
    if len(found) > 1:
        print(table(found))


if __name__ == "__main__":
    main(sys.argv[1:])
