"""The one training loop: resident tensors, fresh binarization, fused Adam, nothing per step that waits or copies."""

from __future__ import annotations

import random
import shutil
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch

from suite.data import Batch, Dataset
from suite.errors import ContractError, Diverged, Unsupported, unknown
from suite.seeds import derive, global_seed
from suite.training import checkpoints
from suite.training.adam import Adam
from suite.training.baseline import Baseline
from suite.training.budgets import BUDGETS, PRECISIONS
from suite.training.counting import Effort, lingered, sample
from suite.training.dry_run import copied, dry_run
from suite.training.feed import Feed
from suite.training.report import TrainingReport
from suite.training.terms import Terms

#: Share of the budget, at its end, over which the learning rate falls linearly to zero. At a constant rate the last
#: weights are one sample of Adam's walk around the optimum, and a score would measure which one it happened to be.
ANNEAL = 0.1
#: Seconds between two epoch checkpoints: for a shorter run one costs more than it can save.
SAVE_SECONDS = 30.0


def train(
    baseline: Baseline,
    dataset: Dataset,
    *,
    seed: int,
    budget: str,
    precision: str = "float32",
    resume: Path | None = None,
    report: Callable[[dict[str, Any]], None] | None = None,
    until: int | None = None,
) -> TrainingReport:
    """Trains a baseline in place: ``fit``, then gradient steps until the budget of images is presented.

    A run that was interrupted goes on from its last epoch checkpoint and ends with the same bits as an
    undisturbed one. What a baseline carries from epoch to epoch must therefore be a parameter or a buffer.

    Args:
        baseline: The model, on the device of the dataset.
        dataset: The data; its test split is not touched.
        seed: The trial's seed; every random stream is derived from it by name.
        budget: One of ``BUDGETS``.
        precision: ``"float32"``, or ``"bf16"``: products in bfloat16, weights and optimizer in float32.
        resume: Folder of the epoch checkpoints, removed at the end; None to write none.
        report: Takes ``{"step", "steps", "epoch", "images", "seconds", term: mean, ...}`` after every epoch.
        until: Stop after the first epoch that ends with so many images presented or more; ``resume`` keeps where it
            stands, and another call goes on from there. The weights are those of a longer run on its way.

    Raises:
        Diverged: With the step and its terms, if a loss or a weight is not finite.
        ContractError: If ``loss`` does not return what it should, or the model is none that a checkpoint can hold.
        UserError: If the budget or the precision does not exist.
    """
    if budget not in BUDGETS:
        raise unknown("budget", budget, BUDGETS)
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    if type(baseline).supervision != "none" and not dataset.info.labels:
        raise Unsupported(f"trains on labels, and {dataset.info.name} has none")
    checkpoints.check_storable(baseline)
    run = _Run(baseline, dataset, seed, BUDGETS[budget], precision)
    if not (resume and run.restore(resume)):
        run.fit()
    run.begin()
    run.epochs(resume, report, BUDGETS[budget] if until is None else until)
    if resume and not run.paused:
        shutil.rmtree(resume, ignore_errors=True)
    return run.done


class _Run:
    """One training run: where it stands, and how to take it on."""

    def __init__(self, baseline: Baseline, dataset: Dataset, seed: int, budget: int, precision: str) -> None:
        self.baseline, self.dataset, self.seed, self.precision = baseline, dataset, seed, precision
        self.labels = type(baseline).supervision != "none"  # the class's word, which its text was held against
        self.images = len(dataset.train)
        self.batch = min(_plain(baseline, "batch_size", int), self.images)
        self.rate = _plain(baseline, "learning_rate", int, float)
        self.per_epoch = self.images // self.batch  # what is left over waits for the next permutation
        self.device = dataset.train.grey.device
        self.adam: Adam | None = None
        self.epoch = 0
        self.paused = False
        self.done = TrainingReport()
        self.effort = Effort()
        self.began = perf_counter(), process_time(), 0.0
        parameters = [p for p in baseline.parameters() if p.requires_grad]
        trains = bool(parameters) and type(baseline).loss is not Baseline.loss
        self.steps = max(1, budget // self.batch) if trains else 0
        if trains:
            fused = self.device.type in {"cpu", "cuda"} and all(p.is_floating_point() for p in parameters)
            self.adam = Adam(parameters, self.rate, fused)
            self.feed = Feed(dataset, baseline.trains_on, self.labels, self.batch)

    def fit(self) -> None:
        """Closed-form training, where the baseline has any."""
        if type(self.baseline).fit is not Baseline.fit:
            with global_seed(self.seed, "fit"), self.effort.apart():
                self.baseline.fit(self.dataset.train_set(self.labels))
        self._tick()

    def begin(self) -> None:
        """Hands over the training split, at a first start and whenever the run goes on."""
        if type(self.baseline).begin is not Baseline.begin:
            with global_seed(self.seed, "begin"), self.effort.apart():
                self.baseline.begin(self.dataset.train_set(self.labels))
        self._tick()

    def epochs(self, resume: Path | None, report: Callable[[dict[str, Any]], None] | None, until: int) -> None:
        """Takes all epochs that are still to come, or those up to so many images."""
        saved, stop, adam = perf_counter(), False, self.adam
        while adam is not None and self.done.steps < self.steps and not stop and self.done.images < until:
            self._seed_epoch()
            means = self._steps(adam)
            stop = self._after_epoch()
            self.epoch += 1
            self._tick()
            if report:
                report(self._progress() | means)
            if resume and not stop and self.done.steps < self.steps and perf_counter() - saved > SAVE_SECONDS:
                self.save(resume, adam)
                saved = perf_counter()
        self.paused = adam is not None and self.done.steps < self.steps and not stop
        if resume and self.paused and adam is not None:
            self.save(resume, adam)
        self._check_weights()

    def _steps(self, adam: Adam) -> dict[str, float]:
        """Takes the steps of one epoch and returns the mean of every term of the loss."""
        terms_of_epoch = Terms(self.done.steps)
        with self.effort.apart(), self._watching(adam, True):
            self.baseline.train()
        first = self.done.steps
        steps = range(first, min(first + self.per_epoch, self.steps))
        feed = self.feed.epoch(self.seed, self.epoch, steps, self.steps)
        watched, took, began = sample(len(steps)), list[float](), process_time()
        before = began
        for i, (batch, counted) in enumerate(zip(feed, self.effort.steps(len(steps)), strict=True)):
            if counted:
                beside = process_time()
                with dry_run(self.baseline), self.effort.sampling():
                    dry = self._gradients(adam, copied(batch), Terms(first + i))
                before += process_time() - beside
            seconds = self._gradients(adam, copied(batch), terms_of_epoch, i in watched)
            if counted and dry:
                self.done.shares.append(seconds / dry)
            adam.lr = self.rate * min(1.0, (1.0 - batch.progress) / ANNEAL)
            adam.step()
            now = process_time()
            took.append(now - before)
            before = now
        self.effort.seconds += process_time() - began
        means_of_epoch = terms_of_epoch.close()
        if type(self.baseline).monitor is not Baseline.monitor:
            with self.effort.apart(), self._watching(adam, True):
                means_of_epoch |= self._monitor(batch)
        self.done.lingered += lingered(took)
        self.done.steps += len(steps)
        self.done.images += len(steps) * self.batch
        for name, value in means_of_epoch.items():
            self.done.curves.setdefault(name, []).append((self.done.steps, value))
        return means_of_epoch

    def _gradients(self, adam: Adam, batch: Batch, kept: Terms, watched: bool = False) -> float:
        """Asks for a batch's loss, keeps its terms and leaves its gradients; returns the core-seconds that it took."""
        began = process_time()
        with self._autocast(), self._labels_explained(), self._watching(adam, watched):
            terms = self.baseline.loss(batch)
        kept.add(terms, self.batch)
        loss = terms["loss"]
        adam.zero_grad()
        loss.mean(dtype=torch.promote_types(loss.dtype, torch.float32)).backward()
        return process_time() - began

    @contextmanager
    def _watching(self, adam: Adam, watched: bool) -> Iterator[None]:
        """Notices weights that change in here; which losses are watched is in no stream and in no mode of torch."""
        before = [p.detach().clone() for p in adam.parameters] if watched else []
        yield
        changed = any(not torch.equal(a, p.detach()) for a, p in zip(before, adam.parameters, strict=False))
        self.done.own_steps += changed

    @contextmanager
    def _labels_explained(self) -> Iterator[None]:
        """Says of an error over a label that is not there that the model did not declare that it needs labels."""
        try:
            yield
        except (TypeError, AttributeError) as error:
            codes = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)]
            asked = any("y" in code.co_names for code in codes if "site-packages" not in code.co_filename)
            if asked and "None" in str(error) and self.baseline.supervision == "none":
                told = "batch.y is None: the model does not declare supervision = 'labels' (or 'semi')"
                raise ContractError(f"{told}; {error}") from error
            raise

    def _monitor(self, batch: Batch) -> dict[str, float]:
        return {name: torch.as_tensor(value).item() for name, value in self.baseline.monitor(batch).items()}

    def _autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, torch.bfloat16) if self.precision == "bf16" else nullcontext()

    def _after_epoch(self) -> bool:
        if type(self.baseline).after_epoch is Baseline.after_epoch:
            return False
        sets = self.dataset.train_set(self.labels), self.dataset.val_set(self.labels)
        with self.effort.apart():
            return bool(self.baseline.after_epoch(self.epoch, *sets))

    def _seed_epoch(self) -> None:
        """Each epoch has streams of its own, so that an epoch checkpoint needs to keep no generator's state."""
        state = derive(self.seed, "noise", self.epoch)
        torch.manual_seed(state)
        random.seed(state)
        np.random.seed(state % 2**32)

    def _tick(self) -> None:
        now = perf_counter(), process_time(), self.effort.seconds
        seconds, core_seconds, known = (a - b for a, b in zip(now, self.began, strict=True))
        self.done.seconds += seconds
        self.done.core_seconds += core_seconds
        self.done.elsewhere += core_seconds - known
        self.began = now
        self.done.flops, self.done.backward = round(self.effort.flops), round(self.effort.backward)
        self.done.outside = round(self.effort.outside)

    def _progress(self) -> dict[str, Any]:
        done = self.done
        where = {"step": done.steps, "steps": self.steps, "epoch": self.epoch}
        return where | {"images": done.images, "seconds": done.seconds}

    def _check_weights(self) -> None:
        checkpoints.check_storable(self.baseline)
        for name, parameter in self.baseline.named_parameters():
            if not bool(torch.isfinite(parameter).all()):
                raise Diverged(f"step {self.done.steps}: the weights '{name}' are not finite")

    def save(self, folder: Path, adam: Adam) -> None:
        """Writes an epoch checkpoint: model, optimizer, where we stand."""
        tensors = {f"model/{name}": tensor for name, tensor in checkpoints.state_of(self.baseline).items()}
        for i, state in adam.state.items():
            tensors |= {f"optimizer/{i}/{key}": value.detach().cpu().contiguous() for key, value in state.items()}
        checkpoints.write(folder, tensors, {"epoch": self.epoch, **asdict(self.done)})

    def restore(self, folder: Path) -> bool:
        """Takes up an epoch checkpoint and returns whether there was one; a corrupt one is set aside."""
        if self.adam is None:
            return False
        try:
            tensors, meta = checkpoints.read(folder)
            model = {name.removeprefix("model/"): t for name, t in tensors.items() if name.startswith("model/")}
            checkpoints.restore(self.baseline, model, folder)
        except FileNotFoundError:
            return False
        except checkpoints.CorruptCheckpoint:
            checkpoints.set_aside(folder)
            return False
        for name, tensor in tensors.items():
            if name.startswith("optimizer/"):
                _, i, key = name.split("/")
                self.adam.state_of(int(i))[key].copy_(tensor)
        self.epoch = meta["epoch"]
        curves = {name: [(int(s), float(v)) for s, v in points] for name, points in meta["curves"].items()}
        counted = {name: meta.get(name, 0) for name in ("flops", "backward", "outside")}
        also = {name: meta.get(name, 0) for name in ("core_seconds", "own_steps", "lingered", "elsewhere")}
        also["shares"] = meta.get("shares", [])
        self.done = TrainingReport(meta["steps"], meta["images"], meta["seconds"], curves, **counted, **also)
        self.effort = Effort(**counted)
        return True


def _plain(baseline: Baseline, name: str, *types: type) -> Any:
    """Returns a number that a model says of itself, once and for all: it is asked while nobody looks.

    Raises:
        ContractError: If it is of a class of its own.
    """
    value = getattr(baseline, name)
    if type(value) not in types:
        raise ContractError(f"{name} is a plain number, not a {type(value).__name__}")
    return value
