"""What a training costs: exact where arithmetic gives it, and without a trace in the numbers."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack
from torchvision.ops import FrozenBatchNorm2d

from suite import data, training
from suite.contract import Baseline, Batch, DataSpec, TrainSet
from suite.errors import ContractError
from suite.measuring.flops import coding
from suite.measuring.trust import Frozen
from suite.running.effort import HEAVIER, PAUSES
from suite.training import checkpoints, counting
from suite.training.counting import Counter, Effort
from suite.training.terms import Terms

#: Of a linear layer of 784 x 4 on one image.
LAYER = 2 * 784 * 4


class Linear(Baseline):
    """Two linear layers, whose training costs 5 times one of them: the first one's input needs no gradient."""

    batch_size = 100

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(spec)
        self.encoder, self.decoder = nn.Linear(spec.pixels, 4), nn.Linear(4, spec.pixels)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.decoder(self.encoder(batch.x.flatten(1))).view_as(batch.x)
        return {"loss": F.binary_cross_entropy_with_logits(logits, batch.x, reduction="none").sum((1, 2, 3))}

    def encode(self, x: Tensor) -> dict[str, Any]:
        return {"z": self.encoder(x.flatten(1))}

    def decode(self, values: Any) -> Tensor:
        return self.decoder(values["z"]).view(-1, *self.spec.shape)


class Beside(Linear):
    """The same with a pass over the images in each of the other methods, with gradients in one of them."""

    def fit(self, train: TrainSet) -> None:
        self.encoder(train.grey.flatten(1)).sum().backward()

    def begin(self, train: TrainSet) -> None:
        with torch.inference_mode():
            self.encoder(train.grey.flatten(1))

    def after_epoch(self, epoch: int, train: TrainSet, val: TrainSet) -> bool:
        with torch.no_grad():
            self.encoder(train.grey.flatten(1))
        return False


@pytest.fixture(scope="module")
def digits() -> data.Dataset:
    return data.load("digits")


@pytest.fixture(autouse=True)
def _two_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setitem(training.BUDGETS, "two epochs", 2_400)


def trained(cls: type[Baseline], dataset: data.Dataset, **options: Any) -> tuple[Baseline, training.TrainingReport]:
    model = training.Recipe(cls, dataset.spec).build()
    return model, training.train(model, dataset, seed=0, budget="two epochs", **options)


def test_steps_are_counted_from_a_sample_and_scaled_up(digits: data.Dataset) -> None:
    _, report = trained(Linear, digits)
    assert (report.flops, report.backward) == (2_400 * 5 * LAYER, 2_400 * 3 * LAYER)


def test_what_happens_beside_the_steps_is_counted_whole(digits: data.Dataset) -> None:
    _, steps = trained(Linear, digits)
    _, report = trained(Beside, digits)
    assert report.flops - steps.flops == (2 + 1 + 2) * 1_200 * LAYER  # fit with its gradient, begin, two epochs
    assert report.backward - steps.backward == 1_200 * LAYER


class Greedy(Linear):
    """Steps of its own within its loss, past autograd's own counters, and only where nobody seems to count."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        if not _get_current_dispatch_mode_stack():
            for parameter in self.parameters():
                parameter.data.mul_(0.999)
        return super().loss(batch)


class Hooked(Linear):
    """Steps of its own where an epoch's numbers are asked for, and where the model is told that it trains."""

    def monitor(self, batch: Batch) -> dict[str, float]:
        self.own_step(batch)
        return {"seen": 1.0}

    def train(self, mode: bool = True) -> Any:
        if mode and hasattr(self, "last"):
            self.own_step(self.last)
        return super().train(mode)

    def own_step(self, batch: Batch) -> None:
        self.last = batch
        self.loss(batch)["loss"].sum().backward()
        for parameter in self.parameters():
            parameter.data.sub_(1e-3 * parameter.grad)


def test_steps_within_a_hook_are_counted_and_noticed(digits: data.Dataset) -> None:
    _, steps = trained(Linear, digits)
    _, report = trained(Hooked, digits)
    assert report.own_steps == 3  # two epochs' numbers, and the second epoch's start
    assert report.backward - steps.backward == report.outside > 0
    assert report.curves["seen"] == [(n, 1.0) for n, _ in steps.curves["loss"]]


def test_steps_within_a_loss_are_noticed_and_gradients_outside_the_loop_told_apart(digits: data.Dataset) -> None:
    reports = [trained(cls, digits)[1] for cls in (Linear, Beside, Greedy)]
    assert [report.outside for report in reports] == [0, 1_200 * LAYER, 0]
    assert [report.own_steps > 0 for report in reports] == [False, False, True]


class AtOnce(Linear):
    """A training of its own within the loss of a single step, without a gradient that autograd knows of."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        if batch.progress == 0.25:
            began = time.process_time()
            while time.process_time() - began < 0.5:
                torch.ones(50, 50) @ torch.ones(50, 50)
        return super().loss(batch)


def test_a_training_that_fits_into_one_step_is_noticed_by_the_time_it_takes(digits: data.Dataset) -> None:
    assert trained(Linear, digits)[1].lingered < 0.3
    assert trained(AtOnce, digits)[1].lingered > 0.4


def test_what_single_steps_took_longer_is_what_exceeds_five_usual_ones() -> None:
    assert counting.lingered([]) == counting.lingered([1.0, 4.0, 1.0, 1.0]) == 0
    assert counting.lingered([1.0, 1.0, 9.0, 1.0, 7.5]) == pytest.approx(6.5)


def test_counting_every_step_and_hardly_any_give_the_same_bits(
    digits: data.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    sparse, first = trained(Linear, digits)
    monkeypatch.setattr(counting, "SHARE", 1)
    dense, second = trained(Linear, digits)
    assert all(torch.equal(a, b) for a, b in zip(sparse.parameters(), dense.parameters(), strict=True))
    assert (first.curves, first.flops) == (second.curves, second.flops)


@pytest.mark.parametrize(
    "layer",
    [nn.SiLU(), nn.Mish(), nn.GELU(), nn.Softplus(), nn.LayerNorm(64), nn.RMSNorm(64), nn.ChannelShuffle(4),
     nn.GroupNorm(4, 64), nn.LSTM(64, 8), nn.TransformerEncoderLayer(64, 4, 32, dropout=0.0, batch_first=True)],
    ids=lambda layer: type(layer).__name__,
)  # fmt: skip
def test_counting_changes_no_bit_of_an_answer_or_a_gradient(layer: nn.Module) -> None:
    """Torch takes the gradients of SiLU and Mish apart where operations are watched, and gets other roundings."""
    x = torch.randn(50, 64, 1 + isinstance(layer, nn.ChannelShuffle), generator=torch.Generator().manual_seed(0))
    x = x.squeeze(2) if x.shape[2] == 1 else x
    x = x[None] if isinstance(layer, nn.TransformerEncoderLayer) else x

    def of() -> list[Tensor]:
        inputs = x.clone().requires_grad_(True)
        answer = layer(inputs)
        answer = answer[0] if isinstance(answer, tuple) else answer
        return [answer.detach(), *torch.autograd.grad(answer.square().sum(), [inputs, *layer.parameters()])]

    plain = of()
    with Counter():
        counted = of()
    assert all(map(torch.equal, plain, counted))


def test_which_steps_are_counted_is_not_the_seeds_to_say() -> None:
    def drawn() -> list[int]:
        torch.manual_seed(0)
        before = torch.get_rng_state()
        chosen = [i for i, counted in enumerate(Effort().steps(640)) if counted]
        assert torch.equal(torch.get_rng_state(), before)
        return chosen

    first, *others = (drawn() for _ in range(5))
    assert first[0] == 0  # where a model may load what it needs
    assert len(first) in (10, 11)
    assert any(other != first for other in others)


def test_a_run_that_goes_on_has_counted_what_came_before(
    digits: data.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stop(Exception):
        pass

    def stop(state: dict[str, Any]) -> None:
        if stopping and state["epoch"] == 2:
            raise Stop

    stopping = True
    monkeypatch.setattr("suite.training.loop.SAVE_SECONDS", 0.0)
    with pytest.raises(Stop):
        trained(Beside, digits, resume=tmp_path / "resume", report=stop)
    stopping = False
    _, whole = trained(Beside, digits)
    _, resumed = trained(Beside, digits, resume=tmp_path / "resume")
    assert replace(resumed, seconds=0).backward == whole.backward
    assert resumed.flops == whole.flops + 1_200 * LAYER  # ``begin`` once more


def test_an_operator_that_its_formula_does_not_know_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any, **kwargs: Any) -> int:
        raise ValueError("an odd shape")

    monkeypatch.setitem(counting.flop_registry, torch.ops.aten.mm, fails)
    with Counter() as counter:
        assert torch.equal(torch.eye(3) @ torch.ones(3, 2), torch.ones(3, 2))
    assert counter.flops == 0


@pytest.mark.parametrize(
    ("product", "forward"),
    [
        (lambda x, w: torch.addbmm(torch.zeros(5), x[None], w.T[None]), 2 * 4 * 3 * 5),
        (lambda x, w: torch.mv(w, x[0]), 2 * 3 * 5),
        (lambda x, w: torch.addmv(torch.zeros(5), w, x[0]), 2 * 3 * 5),
        (lambda x, w: torch.dot(w[0], x[0]), 2 * 3),
        (lambda x, w: torch.sparse.mm(x.to_sparse(), w.T), 2 * 4 * 3 * 5),
        (lambda x, w: F.bilinear(x, x, torch.ones(2, 3, 3)), 3 * 4 * 3 * 3 * 2),
        (lambda x, w: torch.cdist(x, w), 3 * 4 * 3 * 5),
        (lambda x, w: torch.zeros(4, 5).addmm_(x, w.T), 2 * 4 * 3 * 5),
        (lambda x, w: torch.zeros(1, 4, 5).baddbmm_(x[None], w.T[None]), 2 * 4 * 3 * 5),
        (lambda x, w: torch.addr(torch.zeros(3, 5), x[0], w[:, 0]), 2 * 3 * 5),
        (lambda x, w: torch._foreach_mm([x], [w.T]), 2 * 4 * 3 * 5),
        (lambda x, w: torch._int_mm(torch.ones(32, 8).char(), torch.ones(8, 16).char()), 2 * 32 * 8 * 16),
        (lambda x, w: torch.linalg.solve_triangular(torch.eye(3), x.T, upper=True), 3 * 3 * 4),
        (lambda x, w: torch.cholesky_solve(x.T, torch.eye(3)), 2 * 3 * 3 * 4),
        (lambda x, w: torch.linalg.inv(torch.eye(3)), 2 * 3 * 3 * 3),
        (lambda x, w: torch.linalg.lstsq(torch.eye(3), x.T), 2 * 3 * 3 * 4),
        (lambda x, w: torch.linalg.eigh(torch.eye(3)), 2 * 3 * 3 * 3),
        (lambda x, w: torch.fft.fft(torch.ones(7, 16)), 5 * 7 * 16 * 4),
        (lambda x, w: torch.conv_tbc(torch.ones(9, 1, 3), torch.ones(1, 3, 5), torch.zeros(5)), 2 * 9 * 3 * 5),
        (lambda x, w: F.interpolate(x[None, None], scale_factor=2, mode="bilinear"), 0),
        (lambda x, w: F.prelu(F.gelu(x), torch.ones(1)).cumsum(0).softmax(1), 0),
        (lambda x, w: nn.LSTM(3, 5, batch_first=True, bias=False)(x[None])[0], 2 * 4 * (3 + 5) * 20),
        (lambda x, w: nn.GRU(3, 5, batch_first=True, bias=False)(x[None])[0], 2 * 4 * (3 + 5) * 15),
    ],
)
def test_a_product_counts_however_it_is_written(product: Any, forward: int) -> None:
    with Counter() as counter, torch.no_grad():
        product(torch.ones(4, 3), torch.ones(5, 3))
    assert counter.flops == forward


def test_a_transformer_codes_as_dearly_as_it_trains() -> None:
    class Attending(Linear):
        def __init__(self, spec: DataSpec) -> None:
            super().__init__(spec)
            self.body = nn.TransformerEncoderLayer(28, 4, 56, dropout=0.0, batch_first=True)

        def encode(self, x: Tensor) -> dict[str, Any]:
            return super().encode(self.body(x.squeeze(1)))

    model = Attending(data.load("digits").spec).eval()
    coded = coding(Frozen(model), data.load("digits"))
    assert coded is not None
    assert coded.per_image > 2 * 28 * (4 * 28 * 28 + 2 * 28 * 56)  # projections and feed-forward of each of 28 rows


class Busy(Linear):
    """Works more where no mode of torch's is on."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        if not _get_current_dispatch_mode_stack():
            for _ in range(40):
                torch.ones(200, 200) @ torch.ones(200, 200)
        return super().loss(batch)


def test_work_where_nobody_counts_shows_beside_the_same_step_where_somebody_does(
    digits: data.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "SHARE", 3)
    honest, busy = (median(trained(cls, digits)[1].shares) for cls in (Linear, Busy))
    assert honest < HEAVIER < busy


def test_a_model_keeps_torchs_bookkeeping(digits: data.Dataset) -> None:
    class Listing(Linear):
        def named_parameters(self, *args: Any, **kwargs: Any) -> Any:
            return super().named_parameters(*args, **kwargs)

    class Late(Linear):
        def loss(self, batch: Batch) -> dict[str, Tensor]:
            vars(self)["named_parameters"] = lambda: []
            return super().loss(batch)

    class Freezing(Linear):
        def requires_grad_(self, requires_grad: bool = True) -> Any:
            return super().requires_grad_(requires_grad)

    for cls, name in ((Listing, "named_parameters"), (Late, "named_parameters"), (Freezing, "requires_grad_")):
        with pytest.raises(ContractError, match=f"{cls.__name__} has a '{name}' of its own"):
            trained(cls, digits)


def test_layers_of_installed_packages_keep_their_ways_and_what_is_called_as_they_are_does_not(
    digits: data.Dataset,
) -> None:
    linear = Linear(digits.spec)
    linear.rows = nn.LSTM(4, 4)  # has an '_apply' of its own
    linear.frozen = FrozenBatchNorm2d(3)  # of torchvision, with a '_load_from_state_dict' of its own
    linear.norm = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4))
    checkpoints.check_storable(linear)
    linear.rows = type("LSTM", (nn.Module,), {"_apply": nn.LSTM._apply, "__module__": "torch.nn.modules.rnn"})()
    with pytest.raises(ContractError, match=r"'rows' .* has a '_apply' of its own"):
        checkpoints.check_storable(linear)


def test_a_tensor_of_a_models_own_kind_runs_nothing_where_the_suite_reads_it(digits: data.Dataset) -> None:
    class Watching(Tensor):
        pass

    class Holding(Linear):
        def __init__(self, spec: DataSpec) -> None:
            super().__init__(spec)
            self.register_buffer("seen", torch.ones(3).as_subclass(Watching))

    with pytest.raises(ContractError, match="'seen' is a Watching; a checkpoint holds plain tensors"):
        trained(Holding, digits)


def test_time_between_steps_and_what_is_counted_is_told(digits: data.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = trained(Linear, digits)[1]
    assert honest.elsewhere < max(0.2 * honest.core_seconds, PAUSES)
    close = Terms.close

    def long(terms: Terms) -> dict[str, float]:
        until = time.process_time() + 0.5
        while time.process_time() < until:
            pass
        return close(terms)

    monkeypatch.setattr(Terms, "close", long)
    assert trained(Linear, digits)[1].elsewhere > honest.elsewhere + 0.9  # of two epochs


def test_an_operator_that_runs_python_is_refused_before_it_runs() -> None:
    """What it does is seen by no mode: it could train, and count nothing."""
    ran = []

    @torch.library.custom_op("latent_suite_test::polish", mutates_args=("w",))
    def polish(w: Tensor) -> None:
        ran.append(w)

    with Counter(), pytest.raises(ContractError, match="latent_suite_test::polish has a kernel in Python"):
        polish(torch.ones(2))
    assert not ran


def test_a_kernel_that_replaces_one_of_torchs_own_is_refused() -> None:
    library = torch.library.Library("aten", "IMPL")
    with Counter():
        torch.ones(2).erfinv()
    library.impl("erfinv", lambda x: x + 1, "CPU")
    try:
        with Counter(), pytest.raises(ContractError, match="aten::erfinv has a kernel in Python"):
            torch.ones(2).erfinv()
    finally:
        library._destroy()
    with Counter():
        torch.ones(2).erfinv()


def test_a_kernel_that_hid_while_it_ran_is_found_at_the_end() -> None:
    library = torch.library.Library("aten", "IMPL")
    counter = Counter()
    try:
        with pytest.raises(ContractError, match="aten::erfinv has a kernel in Python"), counter:
            torch.ones(2).erfinv()
            library.impl("erfinv", lambda x: x + 1, "CPU")
    finally:
        library._destroy()


class Answering(torch.Tensor):
    """Answers operators by itself, where no mode is on."""

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError("it runs")


def test_a_tensor_that_answers_operators_by_itself_is_refused() -> None:
    tensor = torch.Tensor._make_subclass(Answering, torch.ones(2))
    with Counter(), pytest.raises(ContractError, match="asked of Answering, a tensor that answers"):
        tensor + 1
