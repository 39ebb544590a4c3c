"""What a model costs, part by part: core-seconds of training and of each official task, and the memory they need.

    python -m tests.benchmarks.costs                           one model of each family, this tree
    python -m tests.benchmarks.costs vae acn --tree ../before --tree .    two trees, in turn, with their ratios

Every model is measured in a process of its own, on one thread, by the processor's time and not the clock's, so that
other work on the machine shows little. The trees take turns model by model, so that what does show hits them alike.
Training is timed on fewer images than a budget has (``--images``) and reckoned up to one ``standard`` training: steps
by images, and what a baseline does once an epoch by epochs. The tasks score the model that this short training leaves,
on the whole data set. The channel is fitted by the first task that asks for it, as in a trial.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

#: One or two of each family: the plain and the dear ones.
MODELS = (
    "bernoulli_mixture", "autoencoder", "conv_vae", "unet_autoencoder", "swwae", "vunet", "inverted_autoencoder", "vhe",
    "acn",
)  # fmt: skip
TASKS = ("reconstruction", "linear_probe", "input_optimization", "latent_ablation")
IMAGES, STANDARD = 12_800, 1_100_000
Costs = dict[str, dict[str, float]]


def measure(model: str, tasks: list[str], dataset: str, images: int, seed: int) -> Iterator[tuple[str, float, float]]:
    """Yields each part's name, its core-seconds and its peak memory in GiB; the suite is that of ``PYTHONPATH``."""
    from suite import data, seeds, training
    from suite.measuring.subject import make_subject
    from suite.plugins import registry
    from suite.running import isolation, limits
    from suite.training import loop

    (source, params), *_ = registry.resolve_all("baseline", model)
    scorers = {task: registry.load(registry.resolve("task", task)[0]) for task in tasks}
    loop.BUDGETS["timed"] = images
    with limits.kept_heap(), isolation.isolated(seed), tempfile.TemporaryDirectory() as folder:
        loaded = data.load(dataset, Path(os.environ.get("SUITE_DATA", "data")))
        cls = registry.load(source)
        recipe = training.Recipe(cls, loaded.spec, params, seed)
        baseline = recipe.build()
        limits.reset_peak_memory()
        yield "training", _training(training.train, baseline, loaded, images, seed), limits.peak_memory() / 2**30
        subject = make_subject(baseline, recipe, loaded, "standard", store=Path(folder))
        for task, scorer in scorers.items():
            limits.reset_peak_memory()
            began = time.process_time()
            try:
                with seeds.global_seed(seed, "task", task):
                    scorer().score(subject)
            except Exception as error:  # a model without latents has no probe, and what it lacks costs nothing
                sys.stderr.write(f"{model}, {task}: {error}\n")
                continue
            yield task, time.process_time() - began, limits.peak_memory() / 2**30


def _training(train: Callable[..., Any], baseline: Any, dataset: Any, images: int, seed: int) -> float:
    """Core-seconds of one ``standard`` training, from a short one."""
    spent = {"fit": 0.0, "begin": 0.0, "after_epoch": 0.0}
    calls = dict.fromkeys(spent, 0)
    for name in spent:
        setattr(baseline, name, _timed(getattr(baseline, name), name, spent, calls))
    began = time.process_time()
    report = train(baseline, dataset, seed=seed, budget="timed")
    steps = time.process_time() - began - sum(spent.values())
    for name in spent:
        delattr(baseline, name)
    epochs = STANDARD / len(dataset.train)
    per_epoch = spent["after_epoch"] / max(1, calls["after_epoch"])
    return spent["fit"] + spent["begin"] + (steps * STANDARD / images + per_epoch * epochs) * bool(report.steps)


def _timed(method: Callable[..., Any], name: str, spent: dict[str, float], calls: dict[str, int]) -> Callable[..., Any]:
    def run(*args: Any) -> Any:
        began = time.process_time()
        try:
            return method(*args)
        finally:
            spent[name] += time.process_time() - began
            calls[name] += 1

    return run


def _in_process(tree: Path, model: str, options: argparse.Namespace) -> Costs:
    """Measures a model with the suite of a tree."""
    environment = os.environ | {"PYTHONPATH": str(tree.resolve()), "OMP_NUM_THREADS": "1"}
    arguments = [f"--tasks={','.join(options.tasks)}", f"--images={options.images}", f"--dataset={options.dataset}"]
    command = [sys.executable, str(Path(__file__).resolve()), model, "--measure", f"--seed={options.seed}", *arguments]
    done = subprocess.run(command, cwd=tree, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    parts = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    return {part: {"seconds": seconds, "gibibytes": gibibytes} for part, seconds, gibibytes in parts}


def table(found: dict[str, list[Costs]], what: str, total: Callable[[list[float]], float]) -> str:
    """A table in Markdown, model x part; of several trees the first value, the last and their ratio.

    Args:
        found: Model -> the costs in each tree.
        what: ``"seconds"`` or ``"gibibytes"``.
        total: What the last column makes of a row, sum or max.
    """
    parts = ["training", *TASKS]
    parts = [part for part in parts if any(part in costs for trees in found.values() for costs in trees)]
    head = {"seconds": "core-seconds", "gibibytes": "peak GiB"}[what]
    lines = [f"| {head} | {' | '.join(parts)} | {total.__name__} |", f"| --- |{' ---: |' * (len(parts) + 1)}"]
    sums: list[list[list[float]]] = []
    for model, trees in found.items():
        rows = [[costs.get(part, {}).get(what, 0.0) for part in parts] for costs in trees]
        rows = [[*row, total(row)] for row in rows]
        sums.append(rows)
        lines.append(f"| {model} | {' | '.join(_cell(list(values)) for values in zip(*rows, strict=True))} |")
    every = [[total([rows[i][j] for rows in sums]) for j in range(len(parts) + 1)] for i in range(len(sums[0]))]
    lines.append(f"| all | {' | '.join(_cell(list(values)) for values in zip(*every, strict=True))} |")
    return "\n".join(lines)


def _cell(values: list[float]) -> str:
    if not values[0]:
        return ""
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{values[0]:.1f} → {values[-1]:.1f} ({values[-1] / values[0]:.2f})"


def main(arguments: list[str]) -> None:
    """Measures the models in each tree in turn and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--tree", action="append", type=Path, help="a checkout to measure; repeat to compare")
    parser.add_argument("--tasks", type=lambda text: [name for name in text.split(",") if name], default=list(TASKS))
    parser.add_argument("--images", type=int, default=IMAGES, help="training images that are timed")
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="JSON file that takes the figures; what stands there is not repeated")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        for part in measure(options.models[0], options.tasks, options.dataset, options.images, options.seed):
            print(json.dumps(part), flush=True)
        return
    known: dict[str, list[Costs]] = json.loads(options.out.read_text()) if options.out and options.out.exists() else {}
    trees = options.tree or [Path(__file__).parents[2]]
    for model in options.models:
        if model not in known:
            known[model] = [_in_process(tree, model, options) for tree in trees]
        if options.out:
            options.out.write_text(json.dumps(known, indent=1) + "\n")
    shown = {model: known[model] for model in options.models}
    print(table(shown, "seconds", sum), table(shown, "gibibytes", max), sep="\n\n")


if __name__ == "__main__":
    main(sys.argv[1:])
