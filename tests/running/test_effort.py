"""Rows of models that train beyond their budget or bring their weights are marked; the repository's own are not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from suite import training
from suite.measuring.flops import Coding, coding
from suite.planning.selection import Selection
from suite.running import effort, preparation
from suite.running.executor import Execution
from suite.running.run import execute
from tests.models import builtin, digits, subject_of
from tests.toys import write_task

Raw = dict[str, Any]

MODEL = """
import torch
from pathlib import Path
from torch import nn
from torch.distributions import Normal
from torch.nn.functional import binary_cross_entropy_with_logits
from suite.contract import Baseline

class {name}(Baseline):
    summary = "A toy."
    groups = {{"z": "eight units"}}
    {declared}

    def __init__(self, spec):
        super().__init__(spec)
        self.encoder, self.decoder = nn.Linear(spec.pixels, 16), nn.Linear(8, spec.pixels)
        {init}

    def nats(self, x):
        mu, log_sigma = self.encoder(x.flatten(1)).chunk(2, 1)
        z = mu + log_sigma.exp() * torch.randn_like(mu)
        rate = 0.5 * (mu**2 + (2 * log_sigma).exp() - 2 * log_sigma - 1).sum(1)
        return rate + binary_cross_entropy_with_logits(self.decoder(z), x.flatten(1), reduction="none").sum(1)

    def epochs(self, images, n):
        for _ in range(n * (len(images) // 100)):
            x = torch.bernoulli(images[torch.randint(len(images), (100,))])
            found = torch.autograd.grad(self.nats(x).mean(), list(self.parameters()))
            with torch.no_grad():
                for p, gradient in zip(self.parameters(), found):
                    p -= 1e-3 * gradient

    {methods}

    def encode(self, x):
        mu, log_sigma = self.encoder(x.flatten(1)).chunk(2, 1)
        return {{"z": Normal(mu, log_sigma.exp())}}

    def decode(self, values):
        return self.decoder(values["z"]).unflatten(1, self.spec.shape)
"""

LOSS = 'def loss(self, batch): return {"loss": self.nats(batch.x)}'
SILENT = 'def loss(self, batch): return {"loss": 0 * self.nats(batch.x)}'
OWN_LOOP = "def fit(self, train): self.epochs(train.grey, 10)"
WEIGHTS = 'self.load_state_dict(torch.load(Path(__file__).parent / "weights.pt", weights_only=True))'
FORMULA = """torch.manual_seed(5)
        for p in self.parameters(): nn.init.normal_(p, std=0.05)"""


class Bench:
    """A folder of models and a workspace."""

    def __init__(self, folder: Path) -> None:
        self.models, self.workspace = folder / "models", folder / "runs"
        write_task(self.models)

    def write(self, name: str, methods: str = LOSS, init: str = "pass", declared: str = "pass") -> None:
        text = MODEL.format(name=name, methods=methods, init=init, declared=declared)
        (self.models / f"{name.lower()}.py").write_text(text)

    def run(self, name: str, seeds: int = 1, **options: Any) -> list[Raw]:
        selection = Selection(
            tasks=("error",),
            baselines=(name,),
            seeds=tuple(range(seeds)),
            budget="smoke",
            paths=(str(self.models),),
            workspace=str(self.workspace),
        )
        records = execute(selection, Execution("local", **{"trust": True, **options}), quiet=True).records
        assert [raw["status"] for raw in records] == ["ok"] * seeds, [raw["reason"] for raw in records]
        return records


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_an_honest_model_is_not_marked_and_its_record_says_what_its_training_cost(bench: Bench) -> None:
    bench.write("Honest")
    found = bench.run("honest", 3)
    assert [raw["flags"] for raw in found] == [[]] * 3
    layers = 2 * 784 * 16, 2 * 8 * 784
    assert found[0]["cost"]["training_flops"] == 1_024 * (2 * layers[0] + 3 * layers[1])
    assert found[0]["cost"]["flops_per_image"] == sum(layers)


@pytest.mark.parametrize("trust", [True, False])
def test_a_loop_of_ones_own_in_fit_is_marked(bench: Bench, trust: bool) -> None:
    bench.write("Looping", OWN_LOOP)
    (raw,) = bench.run("looping", trust=trust)
    assert raw["flags"] == ["own training"]
    assert any(note.startswith("own training: ") for note in raw["notes"])
    assert raw["env"]["guest"].get("operations") == (None if trust else "self-reported")


@pytest.mark.parametrize(
    "methods",
    [
        f"{LOSS}\n    def begin(self, train): self.epochs(train.grey, 2)",
        f"{LOSS}\n    def after_epoch(self, epoch, train, val): self.epochs(train.grey, 2)",
        f"{LOSS}\n    def begin(self, train): self.train_images = train.grey".replace(
            "self.nats(batch.x)", "self.nats(self.train_images)[:len(batch.x)]"
        ),
    ],
)
def test_training_elsewhere_or_on_more_images_than_are_presented_is_marked(bench: Bench, methods: str) -> None:
    bench.write("Elsewhere", methods)
    (raw,) = bench.run("elsewhere")
    assert raw["flags"] == ["own training"]


@pytest.mark.parametrize("trust", [True, False])
def test_a_weights_file_is_marked(bench: Bench, trust: bool) -> None:
    spec = digits().spec
    state = {
        f"{name}.{part}": torch.randn(shape)
        for name, wide, narrow in (("encoder", 16, spec.pixels), ("decoder", spec.pixels, 8))
        for part, shape in (("weight", (wide, narrow)), ("bias", (wide,)))
    }
    torch.save(state, bench.models / "weights.pt")
    bench.write("Filed", "pass", WEIGHTS, 'files = ("weights.pt",)')
    (raw,) = bench.run("filed", trust=trust)
    assert raw["flags"] == ["given weights"]
    assert "given weights: its files weights.pt" in raw["notes"]


def test_equal_parameters_of_several_seeds_are_marked_where_there_is_a_loss(bench: Bench) -> None:
    bench.write("Told", SILENT, FORMULA)
    found = bench.run("told", 3)
    assert [raw["flags"] for raw in found] == [[], ["given weights"], ["given weights"]]
    assert "given weights: trained with other seeds (0, 1), its parameters are the same" in found[2]["notes"]
    bench.write("Closed", "pass", FORMULA)
    assert [raw["flags"] for raw in bench.run("closed", 2)] == [[], []]


def test_equal_parameters_of_what_learns_in_fit_are_marked_too(bench: Bench) -> None:
    bench.write("Chosen", "def fit(self, train): self.nats(train.grey[:8]).mean().backward()", FORMULA)
    found = bench.run("chosen", 2)
    assert [raw["flags"] for raw in found] == [[], ["given weights"]], [raw["reason"] for raw in found]


CLOSED_FORMS_AND_EXTREMES = [
    *("pixel_marginals", "copy", "pca", "random_encoder", "bernoulli_mixture"),
    *("vae", "unet_autoencoder", "acn", "vhe_gradient_balanced", "vunet_bag"),
]


@pytest.mark.parametrize("name", CLOSED_FORMS_AND_EXTREMES)
def test_no_model_of_the_repository_exceeds_its_budget(name: str) -> None:
    cls = builtin(name)
    recipe = training.Recipe(cls, digits().spec, cls.variants.get(name, {}))
    report = training.train(recipe.build(), digits(), seed=0, budget="smoke")
    note = {"images": report.images, "training_flops": report.flops, "backward_flops": report.backward}
    note |= {"steps": report.steps, "outside_flops": report.outside, "own_steps": report.own_steps}
    note |= {"train_seconds": report.seconds, "lingered_seconds": report.lingered}
    note |= {"elsewhere_seconds": report.elsewhere}
    assert effort.steps_of_its_own(note) == ""
    coded = coding(subject_of(cls, **recipe.params).model, digits())
    assert coded is not None
    assert effort.overspent(note, coded, "smoke", digits()) == 0
    if coded.unit:
        assert effort.overspent(note, replace(coded, fixed=10**13), "smoke", digits()) > effort.MARGIN
        note["training_flops"] += 10**13
        assert effort.overspent(note, coded, "smoke", digits()) > effort.MARGIN


@pytest.mark.parametrize(
    ("outside", "own_steps", "told"),
    [
        (0, 0, ""),
        (500, 0, ""),
        (750, 0, "gradients outside the loop's steps cost 3 times those within"),
        (0, 3, "weights changed 3 times where it was watched, and where no step of the loop was taken"),
    ],
)
def test_training_beside_the_loop_is_marked_whatever_coding_costs(outside: int, own_steps: int, told: str) -> None:
    note = {"steps": 10, "backward_flops": 1_000, "own_steps": own_steps}
    assert effort.steps_of_its_own(note | {"outside_flops": outside}) == told


@pytest.mark.parametrize(
    ("whole", "longer", "marked"), [(3.0, 2.1, False), (3.0, 2.3, True), (100.0, 16.0, False), (500.0, 400.0, True)]
)
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("lingered_seconds", "single steps took {:.3g} s longer than most, in a training of {:.3g} s"),
        ("elsewhere_seconds", "{:.3g} s passed between what is counted, in a training of {:.3g} s"),
    ],
)
def test_a_training_within_single_steps_or_between_them_is_marked(
    name: str, told: str, whole: float, longer: float, marked: bool
) -> None:
    note = {"train_seconds": 2 * whole, "train_core_seconds": whole, name: longer}
    told = told.format(longer, whole) if marked else ""
    assert effort.steps_of_its_own(note) == told
    assert effort.steps_of_its_own(note | {"train_seconds": whole, "train_core_seconds": None}) == told


def test_a_step_that_takes_longer_where_nobody_counts_is_marked() -> None:
    told = "steps took 1.5 times as long where nobody counted their operations"
    assert effort.steps_of_its_own({"uncounted_share": 1.5}) == told
    assert effort.steps_of_its_own({"uncounted_share": 1.1}) == ""


def test_closed_forms_are_granted_to_models_without_a_loss_alone() -> None:
    coded = Coding(1_000_000, 0, 1_000_000)
    note = {"training_flops": 80 * coded.unit * len(digits().train), "backward_flops": 0}
    assert effort.overspent(note | {"steps": 0}, coded, "smoke", digits()) == 0
    assert effort.overspent(note | {"steps": 8}, coded, "smoke", digits()) > 5


def test_a_coding_in_which_nothing_counts_is_measured_by_what_the_model_holds() -> None:
    note = {"images": 1_024, "steps": 8, "training_flops": 10**12, "backward_flops": 10**11, "numbers": 400_000}
    for coded in (Coding(0), None):
        assert effort.overspent(note, coded, "smoke", digits()) > 10
        little = note | {"training_flops": 10**9, "backward_flops": 10**8}
        assert effort.overspent(little, coded, "smoke", digits()) == 0


@pytest.mark.parametrize(("epochs", "marked"), [(0.1, False), (0.5, True), (20.0, True)])
def test_learning_before_an_answer_is_training(epochs: float, marked: bool) -> None:
    """Each process that answers may learn anew from images that the weights hold, and all come to the same."""
    unit, images = 10_000, training.BUDGETS["standard"]
    note = {"steps": 8_600, "backward_flops": 2 * unit * images, "training_flops": 3 * unit * images}
    coded = Coding(unit, round(epochs * 3 * unit * 55_000), unit)
    assert bool(effort.overspent(note, coded, "standard", digits())) is (epochs > 5)
    small = note | {"backward_flops": 2 * unit * 1_024, "training_flops": 3 * unit * 1_024}
    coded = Coding(unit, round(epochs * 3 * unit * 1_024), unit)
    assert bool(effort.overspent(small, coded, "smoke", digits())) is marked


@pytest.mark.parametrize(("share", "marked"), [(1.19, False), (1.21, True)])
def test_a_fifth_more_than_the_budget_is_the_limit(share: float, marked: bool) -> None:
    gradients = 2 * 1_000 * 1_024 * share
    note = {"images": 1_024, "training_flops": 1.5 * gradients, "backward_flops": gradients}
    assert bool(effort.overspent(note, Coding(1_000, 0, 1_000), "smoke", digits())) is marked
    # Images that a training says it had are its own word: the budget is not.
    assert bool(effort.overspent(note | {"images": 10**6}, Coding(1_000, 0, 1_000), "smoke", digits())) is marked


def test_the_clock_of_a_process_that_a_model_forked_is_no_time() -> None:
    notes = [preparation.note_of(training.TrainingReport(core_seconds=s), {}, [], []) for s in (-3.0, 0.0, 2.5)]
    assert [note["train_core_seconds"] for note in notes] == [None, None, 2.5]


def test_a_checkpoint_of_before_the_counting_is_not_judged() -> None:
    assert effort.overspent({"images": 1_024}, Coding(1_000, 0, 1_000), "smoke", digits()) == 0


def test_equal_tensors_have_one_fingerprint_and_other_shapes_another() -> None:
    ones = torch.ones(2, 3)
    assert effort.fingerprint([ones]) == effort.fingerprint([ones.clone()])
    assert len({effort.fingerprint(t) for t in ([ones], [ones.T], [ones, ones], [ones.double()], [])}) == 5
