"""Searches: what decides, that an interruption changes nothing, and what is left of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite import data, records
from suite.boards import board, load_records
from suite.errors import UserError
from suite.planning.selection import Selection
from suite.plugins.parameters import TUNED
from suite.running.executor import Execution
from suite.running.run import execute
from suite.tuning.run import tune, tuned
from suite.tuning.search import Search
from tests.toys import write_task

ROOT = Path(__file__).parents[2]

#: A model of ``rate`` that learns, in epochs enough for three rungs; ``{loss}`` is where misbehaviour goes.
LEARNER = """
import os, time
import torch
from torch import nn
from suite.contract import Baseline

class Learner(Baseline):
    summary = "A toy that learns."
    space = {{"gain": (0.01, 1.0, "log"), "width": [2, 4, 8]}}
    batch_size = 120

    def __init__(self, spec, gain: float = 0.05, width: int = 4):
        super().__init__(spec)
        self.gain = gain
        self.encoder, self.decoder = nn.Linear(spec.pixels, width), nn.Linear(width, spec.pixels)

    def loss(self, batch):
        {loss}
        logits = self.decode({{"z": self.encoder(batch.x.flatten(1))}})
        error = nn.functional.binary_cross_entropy_with_logits(logits, batch.x, reduction="none").sum((1, 2, 3))
        return {{"loss": self.gain * error}}

    def encode(self, x):
        return {{"z": self.encoder(x.flatten(1))}}

    def decode(self, values):
        return (self.gain * self.decoder(values["z"])).unflatten(1, self.spec.shape)
"""

#: The number of the nearest image of one split, which it knows by heart: {folder} holds those of both.
MEMORY = """
import numpy as np
import torch
from torch.distributions import Categorical
from suite.contract import Baseline, Discrete

class Memory(Baseline):
    summary = "knows a split by heart"
    space = {{"of": ["none", "val", "test"]}}

    def __init__(self, spec, of: str = "none"):
        super().__init__(spec)
        if of == "none":
            known = torch.full((2, spec.pixels), 0.5)
        else:
            known = torch.from_numpy(np.load(f"{folder}/{{of}}.npy"))
        self.register_buffer("known", known)

    def encode(self, x):
        return {{"z": Discrete(torch.cdist(x.flatten(1), self.known).argmin(1), len(self.known))}}

    def prior(self, name, earlier):
        return Categorical(logits=self.known.new_zeros(len(self.known)))

    def decode(self, values):
        p = self.known[values["z"]].clamp(0.05, 0.95)
        return (p / (1 - p)).log().unflatten(1, self.spec.shape)
"""


class Bench:
    """A folder of toys and a workspace; six epochs make rungs of one, two and six."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from suite import training

        self.folder, self.toys = folder, folder / "toys"
        monkeypatch.setitem(training.BUDGETS, "smoke", 6 * 1_200)
        write_task(self.toys)
        self.learner()

    def learner(self, loss: str = "pass") -> None:
        (self.toys / "learner.py").write_text(LEARNER.format(loss=loss))

    def selection(self, name: str = "learner", workspace: str = "runs", **changes: Any) -> Selection:
        chosen = Selection(
            tasks=("error",),
            baselines=(name,),
            seeds=(0,),
            budget="smoke",
            paths=(str(self.toys),),
            workspace=str(self.folder / workspace),
        )
        return replace(chosen, **changes)

    def tune(self, trials: int = 6, workspace: str = "runs", task: str = "error", **options: Any) -> Search:
        chosen = self.selection(workspace=workspace, **options.pop("selection", {}))
        execution = Execution(**{"executor": "local", "trust": True, **options.pop("execution", {})})
        (search,) = tune(chosen, execution, trials=trials, task=task, quiet=True, **options)
        return search


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def told(search: Search) -> list[tuple[Any, ...]]:
    return [
        (c.cell.baseline, c.end, {t: (p["value"], p["images"]) for t, p in c.prices.items()}) for c in search.candidates
    ]


def files(workspace: Path) -> list[str]:
    return sorted(p.name for p in (workspace / "tuning" / "prices").glob("*.json"))


def test_what_validation_images_cost_decides_though_test_images_say_otherwise(tmp_path: Path) -> None:
    digits = data.load("digits")
    for split in ("val", "test"):
        np.save(tmp_path / f"{split}.npy", getattr(digits, split).binary.flatten(1).numpy())
    (tmp_path / "memory.py").write_text(MEMORY.format(folder=tmp_path))
    chosen = Selection(
        ("reconstruction",), ("memory",), seeds=(0,), budget="smoke", paths=(str(tmp_path / "memory.py"),),
        workspace=str(tmp_path / "runs"),
    )  # fmt: skip
    execution = Execution("local", trust=True)
    (search,) = tune(chosen, execution, trials=3, quiet=True)
    assert search.winner is not None
    assert search.winner.params == {"of": "val"}
    write_task(tmp_path / "toys")
    both = replace(
        chosen,
        tasks=("error",),
        baselines=("memory:of=val", "memory:of=test"),
        paths=(*chosen.paths, str(tmp_path / "toys")),
    )
    errors = {raw["baseline"]: raw["metrics"]["error"]["value"] for raw in execute(both, execution, quiet=True).records}
    assert errors["memory:of=test"] < errors["memory:of=val"] / 2  # what a search on test images would have taken


def test_no_trial_of_a_search_can_read_the_test_split(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    split = data.load("digits").test.grey
    asked: list[int] = []
    write_task(
        bench.toys,
        score="import seen; seen.sizes.append(len(subject.dataset.test)); seen.rows.append(subject.dataset.test.grey)",
    )
    monkeypatch.setitem(sys.modules, "seen", type("Seen", (), {"sizes": asked, "rows": (rows := [])}))
    bench.tune(trials=2)
    assert set(asked) == {197}
    assert not any((split == row).flatten(1).all(1).any() for grey in rows for row in grey[:20, None])


def test_trials_climb_from_rung_to_rung_and_cost_what_they_were_trained(bench: Bench) -> None:
    search = bench.tune()
    assert [rung.images for rung in search.rungs] == [1_200, 2_400, 7_200]
    assert len(search.candidates) == 6
    ends = [candidate.end for candidate in search.candidates]
    assert ends[0] == ""  # the declared model is the first that is asked, and so trained to the end
    assert "stopped at 1/9" in ends
    images = sum(max(p["images"] for p in c.prices.values()) for c in search.candidates)
    assert search.cost()["images"] == images < 6 * 7_200
    assert search.cost()["trials"] == 6
    assert min(search.cost().values()) > 0
    for candidate in search.candidates:
        values = candidate.prices
        assert list(values) == sorted(values)
        assert [p["images"] for p in values.values()] == [r.images for r in search.rungs][: len(values)]
    assert not list((bench.folder / "runs" / "tuning" / "checkpoints").glob("*"))


def test_a_rung_s_price_is_that_of_a_training_on_its_way_and_the_last_one_s_of_an_ordinary_run(bench: Bench) -> None:
    search = bench.tune(trials=1)
    (price,) = [p for t, p in search.candidates[0].prices.items() if t == 9]
    ordinary = bench.selection(workspace="other")
    execute(ordinary, Execution("local", trust=True), quiet=True)
    from safetensors.torch import load_file

    from suite.measuring.stream import SecretGenerator

    secret = SecretGenerator("binarization", records.tuning_secret(bench.folder / "runs"))
    images = data.load("digits").val.redrawn(secret.uniform)

    (file,) = (bench.folder / "other" / "checkpoints").glob("*/model.safetensors")
    weights = load_file(file)
    x = images.binary[:50].flatten(1)
    import torch

    z = torch.nn.functional.linear(x, weights["encoder.weight"], weights["encoder.bias"])
    logits = 0.05 * torch.nn.functional.linear(z, weights["decoder.weight"], weights["decoder.bias"])
    errors = torch.nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1)
    assert price["value"] == pytest.approx(float(errors.mean()), rel=1e-5)


def test_a_second_call_runs_nothing_and_more_trials_go_on_from_the_first(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = bench.tune(trials=4)
    before = files(bench.folder / "runs")
    with monkeypatch.context() as idle:
        idle.setattr("suite.running.wave.run_trials", lambda *arguments: pytest.fail("nothing is left to run"))
        assert told(bench.tune(trials=4)) == told(first)
    more = bench.tune(trials=6)
    assert told(more)[:4] == told(first)
    assert set(before) < set(files(bench.folder / "runs"))


def share_secret(bench: Bench, one: str, other: str) -> None:
    """Gives the searches of a workspace the secret of another's, so that they meet the same noise."""
    known = bench.folder / other / "tuning" / "secret"
    known.parent.mkdir(parents=True, exist_ok=True)
    known.write_text(records.tuning_secret(bench.folder / one))


@pytest.mark.journey
def test_a_search_that_is_killed_ends_as_one_that_was_not(bench: Bench) -> None:
    """SIGKILL in the middle of the fourth training; the same command then goes on."""
    count = bench.folder / "count"
    bench.learner(f"open({str(count)!r}, 'a').write('.')")
    whole = bench.tune(workspace="undisturbed")
    share_secret(bench, "undisturbed", "runs")
    count.unlink()
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "import pytest\n"
        "from tests.tuning.test_tune import Bench\n"
        "bench = Bench.__new__(Bench)\n"
        "bench.folder, bench.toys = Path(sys.argv[2]), Path(sys.argv[2]) / 'toys'\n"
        "from suite import training; training.BUDGETS['smoke'] = 6 * 1_200\n"
        "bench.tune()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(ROOT), str(bench.folder)])
    while not count.exists() or count.stat().st_size < 35:  # steps; ten make an epoch
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    known = files(bench.folder / "runs")
    assert 0 < len(known) < sum(len(c.prices) for c in whole.candidates)
    resumed = bench.tune()
    assert told(resumed) == told(whole)
    assert resumed.selector(resumed.winner) == whole.selector(whole.winner)  # type: ignore[arg-type]


def test_a_damaged_price_is_computed_again(bench: Bench) -> None:
    first = bench.tune(trials=2)
    for path in (bench.folder / "runs" / "tuning" / "prices").glob("*.json"):
        path.write_text(path.read_text()[:-5])
    assert told(bench.tune(trials=2)) == told(first)


def test_a_trial_that_fails_is_out_and_the_others_are_decided(bench: Bench) -> None:
    bench.learner("if self.gain < 0.1: raise ValueError('too small')")
    search = bench.tune()
    ends = [candidate.end for candidate in search.candidates]
    assert ends[0] == "failed: ValueError: too small"
    assert search.winner is not None
    assert search.winner.params["gain"] >= 0.1
    bench.learner("raise ValueError('no')")
    assert bench.tune(workspace="other").winner is None


def test_a_trial_that_is_killed_leaves_its_search_open_and_the_same_command_goes_on(bench: Bench) -> None:
    flag = bench.folder / "flag"
    bench.learner(f"import sys; os.path.exists({str(flag)!r}) or sys.exit(3)")
    assert "was killed" in bench.tune(trials=2).stuck
    assert not (bench.folder / "runs" / "tuning" / "searches").exists()
    flag.touch()
    search = bench.tune(trials=2)
    assert not search.stuck
    assert search.winner is not None


def test_what_is_chosen_has_a_row_of_its_own_with_its_mark_and_its_costs(bench: Bench) -> None:
    search = bench.tune()
    chosen = tuned(bench.selection(), [search])
    (selector,) = chosen.baselines
    assert f"{TUNED}=6" in selector
    outcome = execute(chosen, Execution("local", trust=True), quiet=True)
    (raw,) = outcome.records
    assert raw["status"] == "ok"
    assert raw["baseline_params"][TUNED] == 6
    cost = search.cost()
    assert {name: raw["cost"][f"search_{name}"] for name in cost} == cost
    untuned = selector.replace(f",{TUNED}=6", "").replace(f"{TUNED}=6", "").removesuffix(":")
    plain = bench.selection(baselines=tuple(dict.fromkeys([untuned, "learner"])))
    execute(plain, Execution("local", trust=True), quiet=True)
    rows = board(load_records(bench.folder / "runs"))
    assert len(rows) == 1 + len(plain.baselines)
    mark = rows.set_index("model")
    assert mark.loc[raw["baseline"], "tuned"] == 6
    assert "tuned (6 trials)" in mark.loc[raw["baseline"], "flags"]
    assert mark.loc["learner", "tuned"] == 0
    assert "tuned" not in " ".join(mark.loc["learner", "flags"])
    same = mark.loc[[raw["baseline"], untuned], "value"]
    assert same.iloc[0] == same.iloc[1]  # the mark is no parameter of the model, and moves no number


def test_a_declared_model_that_wins_still_has_two_rows(bench: Bench) -> None:
    search = bench.tune(trials=1)
    chosen = tuned(bench.selection(), [search])
    assert chosen.baselines == (f"learner:{TUNED}=1",)
    keys = {
        raw["checkpoint_key"]
        for selection in (chosen, bench.selection())
        for raw in execute(selection, Execution("local", trust=True), quiet=True).records
    }
    assert len(keys) == 2


def test_the_ledger_of_a_search_tells_every_trial(bench: Bench) -> None:
    search = bench.tune()
    (path,) = (bench.folder / "runs" / "tuning" / "searches").glob("*.json")
    ledger = json.loads(path.read_text())
    assert ledger["chosen"] == search.selector(search.winner)  # type: ignore[arg-type]
    assert [trial["params"] for trial in ledger["trials"]] == [candidate.params for candidate in search.candidates]
    assert ledger["cost"] == search.cost()
    assert ledger["seed"] == 0


def test_parameters_that_are_given_are_held(bench: Bench) -> None:
    search = bench.tune(selection={"baselines": ("learner:width=2",)})
    assert all(candidate.cell.baseline_params["width"] == 2 for candidate in search.candidates)
    assert all("width" not in candidate.params for candidate in search.candidates)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"baselines": ("pca",)}, "pca declares no space; models that declare one: .*vae"),
        ({"baselines": ("learner:width=2,gain=0.1",)}, "leaves nothing of its space to search"),
        ({"baselines": (f"learner:{TUNED}=3",)}, "marks what a search has chosen, and is not searched"),
        ({"datasets": ("digits", "mnist")}, "a search is on one dataset"),
        ({"baselines": ("lerner",)}, "unknown baseline 'lerner'; did you mean 'learner'"),
    ],
)
def test_what_cannot_be_searched_is_told_in_one_line(bench: Bench, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        bench.tune(selection=changes)


def test_of_a_file_of_several_models_those_are_searched_that_declare_a_space(bench: Bench) -> None:
    file = bench.toys / "learner.py"
    file.write_text(file.read_text() + "\n\nclass Other(Learner):\n    summary = 'Declares none.'\n")
    found = tune(
        bench.selection(str(file), paths=(str(bench.toys / "error.py"),)),
        Execution("local", trust=True), trials=2, task="error", quiet=True,
    )  # fmt: skip
    assert [search.model for search in found] == ["learner"]


def test_a_model_without_gradient_steps_is_priced_once(bench: Bench) -> None:
    (bench.toys / "fixed.py").write_text(
        LEARNER.format(loss="pass").replace("Learner", "Fixed").replace("def loss", "def unused")
    )
    search = bench.tune(trials=3, selection={"baselines": ("fixed",)})
    assert len(files(bench.folder / "runs")) == 3
    assert search.cost()["images"] == 0
    assert search.winner is not None


def test_the_official_task_in_nats_decides_where_none_is_named() -> None:
    from suite.tuning.search import objective

    assert objective() == "reconstruction"


def test_every_model_that_declares_a_space_is_searched_where_none_is_named(bench: Bench) -> None:
    from suite.tuning.search import searches

    found = searches(bench.selection(baselines=()), 2, 0, "reconstruction")
    assert {"vae", "autoencoder", "acn", "learner"} <= {search.model for search in found}
    assert {len(search.candidates) for search in found} == {2}


@pytest.mark.journey
def test_a_model_from_outside_is_searched_in_processes_of_its_own(bench: Bench) -> None:
    search = bench.tune(trials=2, execution={"trust": False})
    assert [rung.images for rung in search.rungs] == [7_200]  # it is trained at a stretch
    assert search.winner is not None
    assert len(records.tuning_secret(bench.folder / "runs")) == 32
    again = bench.tune(trials=2, execution={"trust": False})
    assert told(again) == told(search)


@pytest.mark.journey
def test_two_workers_of_ray_choose_what_one_process_chooses(bench: Bench) -> None:
    quick = {"budget": "quick"}
    alone = bench.tune(trials=2, selection=quick)
    share_secret(bench, "runs", "other")
    several = bench.tune(trials=2, workspace="other", selection=quick, execution={"executor": "ray", "workers": 2})
    assert told(several) == told(alone)
    assert not list((bench.folder / "other").glob(".run-*"))
