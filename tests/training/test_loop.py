"""The training loop: what it presents, what it never presents, and that it can be interrupted."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from suite import data, training
from suite.contract import Baseline, Batch, ContractError, DataSpec, Diverged, TrainSet, UserError
from suite.training import checkpoints
from suite.training.feed import Feed


class Small(Baseline):
    """Everything a resumed run could lose: batch norm, dropout, noise in the loss, a buffer set between epochs."""

    batch_size = 120

    def __init__(self, spec: DataSpec, width: int = 8) -> None:
        super().__init__(spec)
        self.encoder = nn.Sequential(
            nn.Flatten(), nn.Linear(spec.pixels, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.1)
        )
        self.decoder = nn.Linear(width, spec.pixels)
        self.register_buffer("weight", torch.ones(()))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        z = self.encoder(batch.x)
        logits = self.decoder(z + 0.1 * torch.randn_like(z)).view_as(batch.x)
        nats = F.binary_cross_entropy_with_logits(logits, batch.x, reduction="none").flatten(1).sum(1)
        return {"loss": nats * self.weight, "nats": nats}

    def after_epoch(self, epoch: int, train: TrainSet, val: TrainSet) -> bool:
        self.weight.fill_(1 + 0.1 * float(torch.rand(())))
        return False

    def encode(self, x: Tensor) -> dict[str, Any]:
        return {"z": self.encoder(x)}

    def decode(self, values: Any) -> Tensor:
        return self.decoder(values["z"]).view(-1, *self.spec.shape)


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setitem(training.BUDGETS, "five epochs", 5 * 1_200)


@pytest.fixture(scope="module")
def digits() -> data.Dataset:
    def unreadable() -> data.Split:
        raise AssertionError("training read the test split")

    return replace(data.load("digits"), read_test=unreadable)


def trained(dataset: data.Dataset, cls: type[Baseline] = Small, budget: str = "smoke", seed: int = 0, **options: Any):
    baseline = training.Recipe(cls, dataset.spec, {}, seed).build()
    return baseline, training.train(baseline, dataset, seed=seed, budget=budget, **options)


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def recorder(batches: list[Batch], **declared: Any) -> type[Baseline]:
    """A baseline that writes down what it is shown; of a step that was counted, what it is shown in the end."""

    def loss(self: Baseline, batch: Batch) -> dict[str, Tensor]:
        if batches and batches[-1].progress == batch.progress:
            assert torch.equal(batches.pop().x, batch.x)
        batches.append(batch)
        return {"loss": self.scale.expand(len(batch.x))}

    def init(self: Baseline, spec: DataSpec) -> None:
        Baseline.__init__(self, spec)
        self.scale = nn.Parameter(torch.ones(()))

    return type("Recorder", (Baseline,), {"__init__": init, "loss": loss, **declared})


# --- what a model is shown ------------------------------------------------------------------------------------


def test_a_pixel_is_one_with_the_probability_of_its_intensity(digits: data.Dataset) -> None:
    few = replace(digits, train=data.Split(digits.train.grey[:4], digits.train.labels[:4]))
    feed, draws, total = Feed(few, "binary", False, 4), 2_000, torch.zeros(4, 1, 28, 28)
    for epoch in range(draws):
        (batch,) = feed.epoch(0, epoch, range(1), 1)
        assert batch.x.dtype == torch.float32
        total.index_add_(0, batch.index, batch.x)
    p = few.train.grey
    assert torch.equal(total[p == 0], torch.zeros(int((p == 0).sum())))
    assert torch.equal(total[p == 1], torch.full((int((p == 1).sum()),), float(draws)))
    middle = (p > 0) & (p < 1)
    z = (total - draws * p)[middle] / (draws * p * (1 - p))[middle].sqrt()
    assert float(z.abs().max()) < 5
    assert abs(float(z.mean())) * len(z) ** 0.5 < 4
    assert float(z.var()) == pytest.approx(1, abs=0.15)


def test_every_step_draws_anew_and_an_epoch_shows_no_image_twice(digits: data.Dataset) -> None:
    batches: list[Batch] = []
    trained(digits, recorder(batches, batch_size=400), "five epochs")
    assert len(batches) == 15
    for epoch in range(5):
        index = torch.cat([batch.index for batch in batches[3 * epoch : 3 * epoch + 3]])
        assert len(index.unique()) == 1_200
    first, second = (torch.cat([b.x for b in bs])[torch.cat([b.index for b in bs]).argsort()]
                     for bs in (batches[:3], batches[3:6]))  # fmt: skip
    changed = (first != second).float().mean((0, 1))
    grey = digits.train.grey
    assert torch.allclose(changed, (2 * grey * (1 - grey)).mean((0, 1)), atol=0.1)
    assert float(changed.max()) > 0.2


def test_grey_batches_are_the_images_themselves(digits: data.Dataset) -> None:
    batches: list[Batch] = []
    trained(digits, recorder(batches, trains_on="grey"))
    assert all(torch.equal(batch.x, digits.train.grey[batch.index]) for batch in batches)


@pytest.mark.parametrize("size", [1, 64, 100, 4_000])
def test_the_budget_counts_images_whatever_the_batch_size(digits: data.Dataset, size: int) -> None:
    batches: list[Batch] = []
    _, report = trained(digits, recorder(batches, batch_size=size))
    batch = min(size, 1_200)
    assert report.images == sum(len(b.x) for b in batches) == report.steps * batch
    assert report.images <= max(1_024, batch) < report.images + batch
    assert [b.progress for b in batches] == [i / report.steps for i in range(report.steps)]


@pytest.mark.parametrize("declared", ["none", "labels", "semi"])
def test_labels_reach_only_a_model_that_declares_them(digits: data.Dataset, declared: str) -> None:
    batches: list[Batch] = []
    seen: list[Tensor | None] = []

    def fit(self: Baseline, train: TrainSet) -> None:
        seen.append(train.labels)

    def after_epoch(self: Baseline, epoch: int, train: TrainSet, val: TrainSet) -> bool:
        seen.extend([train.labels, val.labels])
        return False

    trained(digits, recorder(batches, supervision=declared, fit=fit, after_epoch=after_epoch))
    assert len(seen) == 3
    if declared == "none":
        assert all(labels is None for labels in [*seen, *(b.y for b in batches)])
    else:
        assert all(torch.equal(b.y, digits.train.labels[b.index]) for b in batches)
        assert seen[0] is digits.train.labels
        assert seen[2] is digits.val.labels


# --- what comes of it -----------------------------------------------------------------------------------------


def test_a_label_that_was_not_declared_is_said_to_be_missing(digits: data.Dataset) -> None:
    class Forgetful(Small):
        def loss(self, batch: Batch) -> dict[str, Tensor]:
            return {"loss": F.cross_entropy(self.encoder(batch.x), batch.y, reduction="none")}  # type: ignore[arg-type]

    with pytest.raises(ContractError, match=r"batch\.y is None: the model does not declare supervision"):
        training.train(Forgetful(digits.spec), digits, seed=0, budget="smoke")


def test_training_lowers_the_loss_and_keeps_a_curve_of_every_term(digits: data.Dataset) -> None:
    events: list[dict[str, Any]] = []
    _, report = trained(digits, budget="five epochs", report=events.append)
    assert set(report.curves) == {"loss", "nats"}
    assert [step for step, _ in report.curves["loss"]] == [10, 20, 30, 40, 50]
    nats = [value for _, value in report.curves["nats"]]
    assert nats == sorted(nats, reverse=True)
    assert nats[-1] < nats[0] - 20
    assert [event["epoch"] for event in events] == [1, 2, 3, 4, 5]
    assert [event["nats"] for event in events] == nats
    assert events[-1]["images"] == report.images == 6_000
    assert report.images_per_second == report.images / report.seconds > 0


def test_a_curve_is_the_mean_over_all_steps_of_the_epoch(digits: data.Dataset) -> None:
    def loss(self: Baseline, batch: Batch) -> dict[str, Tensor]:
        self.scale.data += 1
        return {"loss": self.scale.expand(len(batch.x)), "bright": batch.x.flatten(1).mean(1)}

    shown: list[Batch] = []
    cls = recorder(shown, batch_size=10, learning_rate=0.0)
    _, report = trained(digits, type("Counting", (cls,), {"loss": loss}), "five epochs")
    assert [value for _, value in report.curves["loss"]] == [1 + 120 * e + 121 / 2 for e in range(5)]


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(digits: data.Dataset) -> None:
    first, _ = trained(digits)
    torch.rand(100)  # whatever happened before
    trained(digits, seed=1)
    second, _ = trained(digits)
    other, _ = trained(digits, seed=1)
    assert same(first, second)
    assert not same(first, other)


def test_a_model_is_initialized_by_its_seed_alone(digits: data.Dataset) -> None:
    torch.manual_seed(1)
    first = training.Recipe(Small, digits.spec, {"width": 3}).build()
    torch.manual_seed(2)
    second = training.Recipe(Small, digits.spec, {"width": 3}).build()
    assert same(first, second)
    assert first.decoder.in_features == 3


class ChannelsLast(Small):
    """Weights that do not lie in memory in the order of their dimensions."""

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(spec)
        self.first = nn.Conv2d(spec.shape[0], 4, 3, padding=1)
        self.second = nn.Conv2d(4, 1, 3, padding=1)
        self.to(memory_format=torch.channels_last)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return super().loss(replace(batch, x=self.second(self.first(batch.x)).sigmoid()))


@pytest.mark.parametrize(("cls", "epochs"), [(Small, 1), (Small, 3), (ChannelsLast, 2)])
def test_an_interrupted_run_resumes_to_the_bits_of_an_undisturbed_one(
    digits: data.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cls: type[Baseline], epochs: int
) -> None:
    whole, undisturbed = trained(digits, cls, budget="five epochs")
    monkeypatch.setattr("suite.training.loop.SAVE_SECONDS", 0)

    def interrupt(event: dict[str, Any]) -> None:
        if event["epoch"] == epochs + 1:
            raise KeyboardInterrupt

    folder = tmp_path / "resume"
    with pytest.raises(KeyboardInterrupt):
        trained(digits, cls, budget="five epochs", resume=folder, report=interrupt)
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".safetensors"]
    events: list[dict[str, Any]] = []
    resumed, report = trained(digits, cls, budget="five epochs", resume=folder, report=events.append)
    assert events[0]["epoch"] == epochs + 1
    assert same(whole, resumed)
    assert (report.curves, report.steps, report.images) == (undisturbed.curves, undisturbed.steps, undisturbed.images)
    assert not folder.exists()


def test_begin_hands_over_the_training_images_before_the_first_step_of_every_start(
    digits: data.Dataset, tmp_path: Path
) -> None:
    calls: list[str] = []

    class Begins(Small):
        def fit(self, train: TrainSet) -> None:
            calls.append("fit")

        def begin(self, train: TrainSet) -> None:
            assert torch.equal(train.grey, digits.train.grey)
            calls.append("begin")

    folder = tmp_path / "resume"
    trained(digits, Begins)
    assert calls == ["fit", "begin"]
    checkpoints.save(folder, Begins(digits.spec), {"epoch": 0, "steps": 0, "curves": {}, "images": 0, "seconds": 0})
    tensors, meta = checkpoints.read(folder)
    checkpoints.write(folder, {f"model/{name}": tensor for name, tensor in tensors.items()}, meta)
    trained(digits, Begins, resume=folder)
    assert calls == ["fit", "begin", "begin"]


def test_a_corrupt_epoch_checkpoint_is_set_aside_and_training_starts_over(digits: data.Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "resume"
    checkpoints.save(folder, nn.Linear(2, 2), {})
    (folder / "model.safetensors").write_bytes(b"rubbish")
    resumed, _ = trained(digits, resume=folder)
    assert same(resumed, trained(digits)[0])
    assert (tmp_path / "resume.corrupt").is_dir()


def test_a_run_of_seconds_writes_no_epoch_checkpoint(
    digits: data.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "write", lambda *_: pytest.fail("an epoch checkpoint was written"))
    trained(digits, budget="five epochs", resume=tmp_path / "resume")


def test_a_baseline_may_stop_early(digits: data.Dataset) -> None:
    stopping = type("Stopping", (Small,), {"after_epoch": lambda self, epoch, train, val: epoch == 1})
    _, report = trained(digits, stopping, "five epochs")
    assert report.images == 2 * 1_200


def test_a_closed_form_model_is_fitted_and_takes_no_steps(digits: data.Dataset) -> None:
    class Mean(Baseline):
        def __init__(self, spec: DataSpec) -> None:
            super().__init__(spec)
            self.register_buffer("mean", torch.zeros(spec.shape))
            self.unused = nn.Linear(2, 2)

        def fit(self, train: TrainSet) -> None:
            self.mean = train.binary.mean(0)

    baseline, report = trained(digits, Mean)
    assert torch.equal(baseline.mean, digits.train.binary.mean(0))
    assert (report.steps, report.images, report.images_per_second, report.curves) == (0, 0, 0.0, {})


def test_bfloat16_learns_the_same_and_keeps_float32_weights(digits: data.Dataset) -> None:
    _, exact = trained(digits, budget="five epochs")
    baseline, report = trained(digits, budget="five epochs", precision="bf16")
    assert all(parameter.dtype == torch.float32 for parameter in baseline.parameters())
    last, expected = report.curves["nats"][-1][1], exact.curves["nats"][-1][1]
    assert last != expected
    assert last == pytest.approx(expected, rel=0.02)


# --- what goes wrong ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 37, 50])
def test_a_loss_that_is_not_finite_ends_training_with_its_step_and_terms(digits: data.Dataset, step: int) -> None:
    class Breaking(Small):
        def __init__(self, spec: DataSpec) -> None:
            super().__init__(spec)
            self.calls = 0

        def loss(self, batch: Batch) -> dict[str, Tensor]:
            self.calls += 1
            terms = super().loss(batch)
            kl = torch.full((len(batch.x),), 3.5 if self.calls == step else 0.0)
            return {"loss": terms["loss"] / (0.0 if self.calls == step else 1.0), "kl": kl}

    with pytest.raises(Diverged, match=rf"^step {step}: loss is inf \(kl=3.5\)$"):
        trained(digits, Breaking, "five epochs")


def test_a_term_that_is_not_finite_is_named_before_the_total(digits: data.Dataset) -> None:
    class Breaking(Small):
        def loss(self, batch: Batch) -> dict[str, Tensor]:
            loss = super().loss(batch)["loss"]
            return {"loss": loss, "kl": loss * math.nan, "fit": torch.full_like(loss, 2.0)}

    with pytest.raises(Diverged, match=r"^step 1: kl is nan \(loss=[\d.]+, fit=2\)$"):
        trained(digits, Breaking)


def test_the_learning_rate_falls_to_zero_over_the_last_tenth(digits: data.Dataset) -> None:
    moves: dict[float, float] = {}

    class Walking(Baseline):
        batch_size = 10
        learning_rate = 0.5

        def __init__(self, spec: DataSpec) -> None:
            super().__init__(spec)
            self.position = nn.Parameter(torch.zeros(()))

        def loss(self, batch: Batch) -> dict[str, Tensor]:
            moves[batch.progress] = float(self.position.detach())
            return {"loss": self.position.expand(len(batch.x))}

    model, _ = trained(digits, Walking)  # under a constant gradient each of Adam's steps is the learning rate
    path = [*moves.values(), float(model.position.detach())]
    steps = [a - b for a, b in itertools.pairwise(path)]
    flat = math.ceil(0.9 * len(steps))
    assert steps[:flat] == pytest.approx([0.5] * flat, rel=1e-3)
    progress = [i / len(steps) for i in range(flat, len(steps))]
    assert steps[flat:] == pytest.approx([0.5 * (1 - p) / 0.1 for p in progress], rel=1e-3)


def test_an_epochs_monitor_is_logged_and_a_start_hands_over_the_training_split(digits: data.Dataset) -> None:
    class Watched(Small):
        def begin(self, train: TrainSet) -> None:
            self.seen = len(train.grey), train.labels

        def monitor(self, batch: Batch) -> dict[str, Tensor | float]:
            return {"images": float(len(batch.x)), "norm": self.decoder.weight.norm()}

    model, report = trained(digits, Watched, "five epochs")
    assert model.seen == (1_200, None)
    assert [value for _, value in report.curves["images"]] == [120.0] * 5
    assert report.curves["norm"][-1][1] == pytest.approx(float(model.decoder.weight.detach().norm()))


def test_weights_broken_by_the_last_step_end_training_too(digits: data.Dataset) -> None:
    class Exploding(Baseline):
        batch_size = 2_000

        def __init__(self, spec: DataSpec) -> None:
            super().__init__(spec)
            self.scale = nn.Parameter(torch.zeros(()))

        def loss(self, batch: Batch) -> dict[str, Tensor]:
            return {"loss": self.scale.sqrt().expand(len(batch.x)) * 0}

    with pytest.raises(Diverged, match="step 1: the weights 'scale' are not finite"):
        trained(digits, Exploding)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        (lambda loss: loss.mean(), r"expected a dict .* with 'loss'"),
        (lambda loss: {"nats": loss}, r"expected a dict .* with 'loss'"),
        (lambda loss: {"loss": loss.mean()}, r"loss\['loss'\]: expected shape \(120,\), .* found \(\)"),
        (lambda loss: {"loss": loss, "kl": 3.0}, r"loss\['kl'\]: .* found float"),
        (lambda loss: OrderedDict(loss=loss), r"expected a dict .* with 'loss'"),
        (lambda loss: {"loss": loss, "kl": nn.Parameter(loss.detach())}, r"loss\['kl'\]: .* found Parameter"),
    ],
)
def test_a_loss_that_breaks_the_contract_says_what_was_found(digits: data.Dataset, terms: Any, message: str) -> None:
    odd = type("Odd", (Small,), {"loss": lambda self, batch: terms(Small.loss(self, batch)["loss"])})
    with pytest.raises(ContractError, match=message):
        trained(digits, odd)


@pytest.mark.parametrize("name", ["learning_rate", "batch_size"])
def test_a_number_that_a_model_says_of_itself_is_a_plain_one(digits: data.Dataset, name: str) -> None:
    """What a class of its own does when it is multiplied would be done between two steps, where nobody looks."""
    kind = type("Rate", (float if name == "learning_rate" else int,), {})
    with pytest.raises(ContractError, match=f"{name} is a plain number, not a Rate"):
        trained(digits, type("Odd", (Small,), {name: kind(1)}))


def test_the_learning_rate_is_asked_for_once(digits: data.Dataset) -> None:
    class Changing(Small):
        def begin(self, train: Any) -> None:
            self.learning_rate = 0.0

    first, _ = trained(digits, Small)
    second, _ = trained(digits, Changing)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": "qick"}, "unknown budget 'qick'; did you mean 'quick'"),
        ({"precision": "fp16"}, "unknown precision 'fp16'; did you mean 'bf16'"),
    ],
)
def test_an_unknown_budget_or_precision_is_told_the_nearest(
    digits: data.Dataset, options: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        trained(digits, **options)


def test_a_training_that_pauses_at_rungs_ends_with_the_bits_of_an_undisturbed_one(
    digits: data.Dataset, tmp_path: Path
) -> None:
    whole, undisturbed = trained(digits, budget="five epochs")
    folder = tmp_path / "resume"
    for images, presented in ((1_200, 1_200), (1_201, 2_400), (2_400, 2_400)):
        _, report = trained(digits, budget="five epochs", resume=folder, until=images)
        assert report.images == presented
        assert folder.is_dir()
    resumed, report = trained(digits, budget="five epochs", resume=folder, until=6_000)
    assert same(whole, resumed)
    assert (report.curves, report.steps, report.images) == (undisturbed.curves, undisturbed.steps, undisturbed.images)
    assert not folder.exists()


def test_a_training_that_pauses_has_the_weights_of_a_longer_run_on_its_way(
    digits: data.Dataset, tmp_path: Path
) -> None:
    """Not those of a run of that length: the learning rate falls at the end of the budget, not at a pause."""
    paused, _ = trained(digits, budget="five epochs", resume=tmp_path / "resume", until=4_800)
    short, _ = trained(digits, budget="five epochs")
    assert not same(paused, short)
    _, meta = checkpoints.read(tmp_path / "resume")
    assert (meta["images"], meta["epoch"]) == (4_800, 4)
