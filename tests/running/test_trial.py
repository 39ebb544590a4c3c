"""One trial from start to records, in this process: what a cell leaves behind, whatever happens in it."""

from __future__ import annotations

import dataclasses
import errno
import functools
import json
import platform
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import suite
import suite.errors
from suite import data, records
from suite.planning.selection import Selection
from suite.running.executor import Execution
from suite.running.run import Interrupted, execute
from suite.tracking import open_tracker
from suite.training import checkpoints
from tests.toys import write_baseline, write_task

Raw = dict[str, Any]


#: An error that, asked what it says, raises what would end the run.
MUTE = "type('Mute', (Exception,), {'__str__': lambda self: exec('raise KeyboardInterrupt')})()"


class Bench:
    """A folder of toys and a workspace."""

    def __init__(self, folder: Path) -> None:
        self.toys, self.workspace = folder / "toys", folder / "runs"
        write_task(self.toys)

    def run(self, *baselines: str, tasks: tuple[str, ...] = ("error",), seeds: int = 1, **options: Any) -> list[Raw]:
        """Runs a selection and returns its records in the order of the plan."""
        selection = Selection(
            tasks=tasks,
            baselines=baselines,
            seeds=tuple(range(seeds)),
            budget="smoke",
            paths=(str(self.toys),),
            retry=options.pop("retry", ()),
            workspace=str(self.workspace),
        )
        mirror = functools.partial(open_tracker, options.pop("tracking", "off"))
        self.outcome = execute(selection, Execution("local", **{"trust": True, **options}), mirror=mirror, quiet=True)
        return self.outcome.records

    def reason(self, *baselines: str, **options: Any) -> tuple[str, str]:
        """Returns status and reason of a run of one cell."""
        (raw,) = self.run(*baselines, **options)
        return raw["status"], raw["reason"]

    def checkpoint(self, raw: Raw) -> Path:
        return self.workspace / "checkpoints" / raw["checkpoint_key"][:32]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_cell_leaves_its_numbers_costs_values_curves_and_pictures(bench: Bench) -> None:
    write_baseline(bench.toys, "Toy")
    clock = time.perf_counter()
    (raw,) = bench.run("toy")
    elapsed = time.perf_counter() - clock
    assert raw["status"] == "ok"
    error = raw["metrics"]["error"]
    assert (error["unit"], error["direction"], error["n"]) == ("nats", "lower", 50)
    assert raw["metrics"]["size/z"]["unit"] == ""
    assert raw["cost"]["parameters"] == 784 * 4 + 4 + 4 * 784 + 784
    parts = [raw["cost"][f"{part}_seconds"] for part in ("setup", "train", "score")]
    assert min(parts) > 0
    assert sum(parts) < elapsed
    assert raw["cost"]["peak_memory_bytes"] > 2**26
    assert (raw["env"]["device"], raw["env"]["threads"]) == ("cpu", 1)
    values = records.load_values(bench.workspace, raw["key"])
    assert np.mean(values["error"]) == pytest.approx(error["value"])
    assert values["curve/line"].tolist() == [[0, 1], [1, 2]]
    assert values["curve/train/loss"].shape[1] == 2
    assert [name for name in raw["pictures"] if (records.pictures_path(bench.workspace, raw["key"]) / name).exists()]


def test_the_test_split_is_read_only_after_the_checkpoint_is_sealed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_baseline(bench.toys, "Toy")
    order: list[str] = []
    test, save = data.Dataset.test.func, checkpoints.write  # type: ignore[attr-defined]
    monkeypatch.setattr(data.Dataset, "test", property(lambda self: (order.append("test"), test(self))[1]))
    monkeypatch.setattr("suite.training.checkpoints.write", lambda *a: (save(*a), order.append("sealed")))
    assert bench.reason("toy")[0] == "ok"
    assert order[0] == "sealed"
    assert "test" in order


def test_a_failure_in_training_fails_all_cells_of_its_trial_and_no_other(bench: Bench) -> None:
    write_task(bench.toys, "Second")
    write_baseline(bench.toys, "Raiser", loss="raise ValueError('no such thing')")
    write_baseline(bench.toys, "Toy")
    found = bench.run("raiser", "toy", tasks=("error", "second"))
    assert [raw["status"] for raw in found] == ["failed", "failed", "ok", "ok"]
    assert found[0]["reason"] == found[1]["reason"] == "ValueError: no such thing"
    assert "raiser.py" in found[0]["traceback"]
    assert bench.outcome.failed == 2


def test_a_failure_in_scoring_fails_its_own_cell_alone(bench: Bench) -> None:
    write_task(bench.toys, "Brittle", score="raise RuntimeError('brittle')")
    write_task(bench.toys, "Second")
    write_baseline(bench.toys, "Toy")
    found = bench.run("toy", tasks=("error", "brittle", "second"))
    assert [raw["status"] for raw in found] == ["ok", "failed", "ok"]


def test_a_loss_that_is_not_finite_names_the_step(bench: Bench) -> None:
    write_baseline(bench.toys, "Diverging", loss="return {'loss': self.encoder(batch.x.flatten(1)).sum(1) * torch.nan}")
    status, reason = bench.reason("diverging")
    assert status == "failed"
    assert reason.startswith("Diverged: step")


def test_what_was_odd_about_a_model_when_it_was_priced_stands_in_the_record_of_that_task_alone(bench: Bench) -> None:
    write_task(bench.toys, "Pricing", score="subject.flags.append('odd'); subject.notes.append('look again')")
    write_baseline(bench.toys, "Toy")
    priced, other = bench.run("toy", tasks=("pricing", "error"))
    assert (priced["task"], priced["flags"], priced["notes"][-1:]) == ("pricing", ["odd"], ["look again"])
    assert other["flags"] == [] and "look again" not in other["notes"]


@pytest.mark.parametrize(
    ("score", "status", "reason"),
    [
        ("return Score({'error': Measure(float('nan'))})", "failed", "the metric 'error' is nan"),
        (
            "return Score({'error': Measure(1.0), 'other': Measure(1.0)})",
            "failed",
            "'other', which it does not declare",
        ),
        ("return Score({'size/z': Measure(1.0)})", "failed", "did not report its primary metric 'error'"),
        ("subject.model.unwrap().encoder.weight.zero_()", "failed", "changed the model"),
        ("import sys; sys.exit(3)", "killed", "sys.exit(3)"),
        (f"raise SystemExit({MUTE})", "killed", "sys.exit()"),
        (f"raise {MUTE}", "failed", "Mute"),
        ("raise type('A' * 30_000, (Exception,), {})('long')", "failed", "A" * 100 + ": long"),
        ("from suite.contract import Unsupported; raise Unsupported('no such group')", "unsupported", "no such group"),
    ],
)
def test_a_score_that_cannot_stand_says_why(bench: Bench, score: str, status: str, reason: str) -> None:
    write_task(bench.toys, "Odd", score=score)
    write_baseline(bench.toys, "Toy")
    found = bench.reason("toy", tasks=("odd",))
    assert found[0] == status
    assert reason in found[1]


def test_a_trial_that_never_ends_is_out_of_time_and_the_rest_goes_on(bench: Bench) -> None:
    write_baseline(bench.toys, "Sleeper", loss="time.sleep(60)")
    write_baseline(bench.toys, "Toy")
    found = bench.run("sleeper", "toy", timeout=4.0)
    assert [raw["status"] for raw in found] == ["timeout", "ok"]
    assert found[0]["reason"] == "not done after 4 s"


def test_seconds_in_which_a_model_waits_are_no_core_seconds(bench: Bench) -> None:
    write_baseline(bench.toys, "Sleeper", loss="time.sleep(0.2)")
    (raw,) = bench.run("sleeper")
    assert 0.0 < raw["cost"]["train_core_seconds"] <= raw["cost"]["train_seconds"] - 0.2
    assert raw["cost"]["score_core_seconds"] > 0.0


def test_a_second_task_trains_nothing_and_an_answered_cell_is_not_asked_again(bench: Bench) -> None:
    write_task(bench.toys, "Second")
    write_baseline(bench.toys, "Toy")
    (first,) = bench.run("toy")
    sealed = (bench.checkpoint(first) / "checkpoint.json").stat().st_mtime_ns
    again, second = bench.run("toy", tasks=("error", "second"))
    assert bench.outcome.ran == 1
    assert again == first
    assert second["cost"]["train_seconds"] == first["cost"]["train_seconds"]
    assert (bench.checkpoint(first) / "checkpoint.json").stat().st_mtime_ns == sealed


def test_a_corrupt_checkpoint_is_named_set_aside_and_trained_again(bench: Bench) -> None:
    write_task(bench.toys, "Second")
    write_baseline(bench.toys, "Toy")
    (first,) = bench.run("toy")
    (bench.checkpoint(first) / "model.safetensors").write_bytes(b"rubbish")
    _, second = bench.run("toy", tasks=("error", "second"))
    assert second["metrics"] == first["metrics"]
    assert any("corrupt checkpoint" in line and ".corrupt" in line for line in bench.outcome.warnings)
    assert bench.checkpoint(first).with_name(bench.checkpoint(first).name + ".corrupt").is_dir()


def test_nothing_is_trained_for_a_cell_that_has_a_record_of_a_newer_suite(bench: Bench) -> None:
    write_baseline(bench.toys, "Toy")
    (raw,) = bench.run("toy")
    path = records.record_path(bench.workspace, raw["key"])
    path.write_text(json.dumps({"schema": records.SCHEMA + 1}))
    shutil.rmtree(bench.checkpoint(raw))
    with pytest.raises(suite.errors.UserError, match="newer than this suite"):
        bench.run("toy")
    assert not bench.checkpoint(raw).exists()


def test_a_checkpoint_that_was_copied_over_another_is_not_taken_for_it(bench: Bench) -> None:
    write_task(bench.toys, "Second")
    write_baseline(bench.toys, "Toy")
    first, other = bench.run("toy", seeds=2)
    shutil.rmtree(bench.checkpoint(first))
    shutil.copytree(bench.checkpoint(other), bench.checkpoint(first))
    found = bench.run("toy", tasks=("second",), seeds=2)
    assert [raw["metrics"] for raw in found] == [first["metrics"], other["metrics"]]
    assert any("the checkpoint of another trial" in line for line in bench.outcome.warnings)


#: A VQ-VAE whose codebook is moved by averages and kept as a plain attribute, as many implementations keep it.
CODEBOOK_ATTRIBUTE = """
import torch
from torch import nn
from torch.nn import functional as F
from suite.contract import Baseline, Discrete

class CodebookAttribute(Baseline):
    groups = {"z": "16 symbols of 32"}

    def __init__(self, spec, symbols=16, words=32, width=4):
        super().__init__(spec)
        self.n, self.k, self.d = symbols, words, width
        self.enc = nn.Linear(spec.pixels, symbols * width)
        self.dec = nn.Linear(symbols * width, spec.pixels)
        self.book = torch.randn(words, width)  # neither a parameter nor a buffer

    def words(self, x):
        e = self.enc(x.flatten(1)).view(len(x), self.n, self.d)
        return e, torch.cdist(e, self.book.expand(len(x), -1, -1)).argmin(-1)

    def loss(self, batch):
        e, k = self.words(batch.x)
        q = self.book[k]
        with torch.no_grad():
            for word in k.unique():
                self.book[word] += 0.05 * (e[k == word].mean(0) - self.book[word])
        logits = self.dec((e + (q - e).detach()).flatten(1)).view_as(batch.x)
        rec = F.binary_cross_entropy_with_logits(logits, batch.x, reduction="none").flatten(1).sum(1)
        return {"loss": rec + 5 * (e - q.detach()).square().flatten(1).sum(1)}

    def encode(self, x):
        return {"z": Discrete(self.words(x)[1], self.k)}

    def decode(self, values):
        return self.dec(self.book[values["z"]].flatten(1)).view(-1, *self.spec.shape)

    def features(self, values):
        return self.book[values["z"]].flatten(1)
"""


def test_a_codebook_outside_the_checkpoint_fails_in_every_sitting_and_names_its_group(bench: Bench) -> None:
    write_task(bench.toys, "Second")
    path = bench.toys / "codebook.py"
    path.write_text(CODEBOOK_ATTRIBUTE)
    told = "ContractError: CodebookAttribute says something else after save and load: group 'z' changed by"
    for tasks in (("error",), ("error", "second"), ("second",)):
        found = bench.run("codebook_attribute", tasks=tasks, retry=("failed",))
        assert [(raw["status"], raw["reason"][: len(told)]) for raw in found] == [("failed", told)] * len(tasks)
    path.write_text(
        CODEBOOK_ATTRIBUTE.replace("self.book = torch", 'self.register_buffer("book", torch').replace(
            "width)  # neither a parameter nor a buffer", "width))"
        )
    )
    first, second = bench.run("codebook_attribute", tasks=("error", "second"))
    assert (first["status"], second["status"]) == ("ok", "ok")


def test_what_is_scored_is_a_model_that_never_trained(bench: Bench) -> None:
    write_baseline(bench.toys, "Toy", loss="self.trained = True", encode="assert not hasattr(self, 'trained')")
    assert bench.reason("toy") == ("ok", "")


MORE = "type('More', (nn.Module,), {'get_extra_state': lambda self: {}, 'set_extra_state': lambda self, state: None})"


@pytest.mark.parametrize(
    ("init", "told"),
    [
        ("self.part = nn.Sequential(nn.LazyLinear(3))", "Odd: 'part.0' (LazyLinear) is lazy"),
        ("self.part = torch.jit.script(nn.Linear(2, 2))", "Odd: 'part' (RecursiveScriptModule) is TorchScript"),
        (f"self.part = {MORE}()", "Odd: 'part' (More) has extra state"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning")
def test_what_a_checkpoint_cannot_hold_is_told_before_training(bench: Bench, init: str, told: str) -> None:
    write_baseline(bench.toys, "Odd", init=init, loss="raise RuntimeError('it trains')")
    status, reason = bench.reason("odd")
    assert status == "failed"
    assert told in reason


def test_an_error_text_with_half_a_surrogate_pair_is_recorded_and_read_again(bench: Bench) -> None:
    write_task(bench.toys, "Odd", score=r"raise ValueError('half \ud800 a pair')")
    write_task(bench.toys, "Noted", score=r"return Score({'error': Measure(1.0)}, notes=['half \ud800 a pair'])")
    write_baseline(bench.toys, "Toy")
    for ran in (3, 0):
        odd, noted, whole = bench.run("toy", tasks=("odd", "noted", "error"))
        assert bench.outcome.ran == ran
        assert bench.outcome.warnings == []
        assert (odd["status"], odd["reason"]) == ("failed", "ValueError: half ? a pair")
        assert (noted["status"], noted["notes"], whole["status"]) == ("ok", ["half ? a pair"], "ok")


#: All at once: what is put back between two trials of one process.
DIRT = (
    "torch.set_default_dtype(torch.float64); torch.manual_seed(1); torch.set_num_threads(2); "
    "torch.set_grad_enabled(False); torch.sigmoid = torch.tanh; nn.Linear.reset_parameters = lambda self: None; "
    "os.environ['DIRT'] = '1'; torch.use_deterministic_algorithms(True); sys.path.insert(0, '/dirt')"
)


def test_a_dirty_trial_before_leaves_no_trace_in_the_scores(bench: Bench, tmp_path: Path) -> None:
    write_baseline(bench.toys, "Dirty", encode=DIRT)
    write_baseline(bench.toys, "Toy")
    after = bench.run("dirty", "toy")[1]
    alone = Bench(tmp_path / "alone")
    write_baseline(alone.toys, "Toy")
    assert alone.run("toy")[0]["metrics"] == after["metrics"]
    assert any("replaced" in line and "torch.sigmoid" in line for line in bench.outcome.warnings)


def test_what_a_file_keeps_in_its_module_does_not_reach_the_next_trial(bench: Bench) -> None:
    path = write_baseline(bench.toys, "Toy", init="SEEN.append(1); assert len(SEEN) < 5")
    path.write_text("SEEN = []\n" + path.read_text())
    assert {raw["status"] for raw in bench.run("toy", seeds=5)} == {"ok"}


def test_an_interrupt_keeps_what_is_done_and_the_same_run_finishes_the_rest(bench: Bench, tmp_path: Path) -> None:
    write_baseline(bench.toys, "Toy")
    path = write_baseline(
        bench.toys,
        "Zapped",
        loss=f"if not os.path.exists({str(tmp_path / 'go')!r}): import signal; signal.raise_signal(signal.SIGINT)",
    )
    assert path.exists()
    with pytest.raises(Interrupted) as stopped:
        bench.run("toy", "zapped")
    assert [raw["baseline"] for raw in stopped.value.outcome.records] == ["toy"]
    (tmp_path / "go").touch()
    assert [raw["status"] for raw in bench.run("toy", "zapped")] == ["ok", "ok"]
    assert bench.outcome.ran == 1


def test_a_full_disk_ends_the_run_as_the_users_matter_and_loses_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_baseline(bench.toys, "Toy")
    write = records.write

    def full(workspace: str, record: records.Record) -> Path:
        if record.seed == 1:
            raise suite.errors.UserError("cannot write to records: No space left on device")
        return write(workspace, record)

    with monkeypatch.context() as patch:
        patch.setattr(records, "write", full)
        with pytest.raises(suite.errors.UserError, match="No space left"):
            bench.run("toy", seeds=3)
    assert len(bench.run("toy", seeds=3)) == 3
    assert bench.outcome.ran == 2


@pytest.mark.parametrize("error", ["GeneratorExit", "KeyboardInterrupt", "type('Own', (BaseException,), {})"])
def test_whatever_a_model_or_a_task_raises_is_its_own_failure_and_ends_no_run(bench: Bench, error: str) -> None:
    write_task(bench.toys, "Odd", score=f"raise {error}")
    write_baseline(bench.toys, "Toy")
    write_baseline(bench.toys, "Raiser", loss=f"raise {error}")
    found = bench.run("raiser", "toy", tasks=("error", "odd"))
    assert [raw["status"] for raw in found] == ["failed", "failed", "ok", "failed"]
    assert found[0]["reason"] in error.replace("type('Own'", "Own ")


def test_an_error_that_cannot_say_itself_is_named(bench: Bench) -> None:
    write_baseline(bench.toys, "Mute", loss="raise type('Mute', (Exception,), {'__str__': lambda self: 1 / 0})")
    assert bench.reason("mute") == ("failed", "Mute")


#: What a machine can lack -> what stands in the place of a part of the suite, and what is told.
FAULTS = {
    "disk": ("suite.training.checkpoints.write", OSError(errno.ENOSPC, "No space left on device"), "No space left"),
    "folder": ("suite.training.checkpoints.write", suite.errors.Unwritable("cannot write to /there"), "cannot write"),
    "data": ("suite.data.load", suite.errors.UserError("mnist is not in /there"), "dataset 'digits': mnist is not"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_a_machine_lacks_is_no_failure_of_the_model_and_runs_again_by_itself(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    where, error, told = FAULTS[fault]
    write_baseline(bench.toys, "Toy")

    def refuse(*arguments: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(where, refuse)
        status, reason = bench.reason("toy")
    assert status == "killed"
    assert reason.startswith(f"machine {platform.node()}: ") and told in reason
    assert bench.reason("toy") == ("ok", "")


def test_other_data_under_the_planned_name_are_the_machines_fault(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_baseline(bench.toys, "Toy")
    load = data.load
    monkeypatch.setattr("suite.data.load", lambda *arguments: dataclasses.replace(load(*arguments), hash="0" * 64))
    status, reason = bench.reason("toy")
    assert status == "killed"
    assert "dataset 'digits' is not the planned one here" in reason


def test_a_gpu_that_cannot_be_used_is_the_machines_fault(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    write_baseline(bench.toys, "Toy")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.zeros", lambda *arguments, **options: (_ for _ in ()).throw(RuntimeError("no driver")))
    status, reason = bench.reason("toy")
    assert status == "killed"
    assert "its GPU cannot be used: no driver" in reason


def test_a_file_that_a_model_misses_is_its_own_failure(bench: Bench) -> None:
    path = write_baseline(bench.toys, "Toy")
    path.write_text(path.read_text() + "\nopen('/no/such/file')\n")
    status, reason = bench.reason("toy")
    assert (status, "FileNotFoundError" in reason) == ("failed", True)


def test_failed_cells_run_again_only_on_request_and_killed_ones_by_themselves(bench: Bench) -> None:
    write_baseline(bench.toys, "Raiser", loss="raise ValueError")
    write_baseline(bench.toys, "Quitter", loss="sys.exit(1)")
    assert [raw["status"] for raw in bench.run("raiser", "quitter")] == ["failed", "killed"]
    bench.run("raiser", "quitter")
    assert bench.outcome.ran == 1
    bench.run("raiser", "quitter", retry=("failed",))
    assert bench.outcome.ran == 2


def test_a_cell_whose_values_were_found_corrupt_is_measured_again_and_gets_them_back(bench: Bench) -> None:
    write_baseline(bench.toys, "Toy")
    (raw,) = bench.run("toy")
    path = records.values_path(bench.workspace, raw["key"])
    kept = path.read_bytes()
    path.write_bytes(kept[: len(kept) // 2])
    bench.run("toy")
    assert bench.outcome.ran == 0  # nobody has read them yet
    assert records.load_values(bench.workspace, raw["key"]) == {}
    (again,) = bench.run("toy")
    assert (bench.outcome.ran, bench.outcome.plan.cells[0].reason) == (1, "its values of single images were corrupt")
    assert again["metrics"] == raw["metrics"]
    assert records.load_values(bench.workspace, raw["key"])["error"].tolist()
    bench.run("toy")
    assert bench.outcome.ran == 0


def test_without_mlflow_the_run_goes_on_with_a_warning(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    write_baseline(bench.toys, "Toy")
    monkeypatch.setitem(__import__("sys").modules, "mlflow", None)
    assert bench.reason("toy", tracking=None)[0] == "ok"
    assert any("MLflow is not installed" in line for line in bench.outcome.warnings)


def test_a_resumed_run_mends_and_tells_what_mlflow_lacks_of_the_run_before(bench: Bench) -> None:
    write_baseline(bench.toys, "Toy")
    bench.run("toy", seeds=2)
    bench.run("toy", seeds=3, tracking=None)
    assert "2 records of before were not in MLflow: mirrored now" in bench.outcome.warnings
    bench.run("toy", seeds=4, tracking=None)
    assert bench.outcome.warnings == []


@pytest.mark.journey
def test_the_library_returns_the_records_of_the_selection_alone(bench: Bench) -> None:
    write_baseline(bench.toys, "Toy")
    options: dict[str, Any] = {"budget": "smoke", "paths": [bench.toys], "tracking": "off", "executor": "local"}
    suite.run("error", "toy", seeds="0-1", workspace=bench.workspace, progress=False, **options)
    frame = suite.run("error", "toy", seeds=[1], workspace=bench.workspace, progress=False, **options)
    assert frame["seed"].tolist() == [1]
    assert len(suite.load_records(bench.workspace)) == 2
    assert suite.board(frame)["model"].tolist() == ["toy"]
