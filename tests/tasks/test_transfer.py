"""Transfer: known models part the factors exactly, copiers and bypasses not at all."""

from __future__ import annotations

import functools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from suite import data, training
from suite.contract import Baseline, DataSpec, Discrete, Latents, Score, Unsupported, Values
from suite.measuring import judge
from suite.measuring.judge import Verdict
from suite.measuring.subject import make_subject
from suite.plugins import registry
from tasks.transfer import Transfer, compare, difference, separation

CLASSES, SIDE = 4, 8


def templates() -> Tensor:
    """One lit quarter per class, (classes, 1, 8, 8)."""
    images = torch.zeros(CLASSES, 1, SIDE, SIDE)
    for k in range(CLASSES):
        images[k, :, 4 * (k // 2) : 4 * (k // 2) + 4, 4 * (k % 2) : 4 * (k % 2) + 4] = 1
    return images


@functools.cache
def stamps(known: bool) -> data.Dataset:
    """Class templates in an ink of their own, of three channels; ``known``: whether the ink is a known factor."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(0, CLASSES, (120,), generator=rng)
    ink = 0.2 + 0.6 * torch.rand(120, 3, generator=rng)
    grey = templates()[labels] * ink.view(-1, 3, 1, 1)
    split = data.Split(grey, labels, {"colour": ink} if known else {})
    spec = DataSpec("stamps", (3, SIDE, SIDE), CLASSES, 120)
    return data.Dataset(data.info("digits"), spec, "", split, split, lambda: split)


class Oracle(nn.Module):
    """Reads the class, and the ink where that is a known factor, off a stamp without error."""

    def __init__(self, known: bool) -> None:
        super().__init__()
        self.known = known

    def look(self, x: Tensor) -> Verdict:
        logits = torch.einsum("nchw,kohw->nk", x, templates())
        return Verdict(logits, {"colour": x.amax((2, 3))} if self.known else {})


@pytest.fixture(autouse=True)
def _oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "of", lambda subject: Oracle(bool(subject.dataset.test.factors)))
    monkeypatch.setattr(judge, "facts", lambda judge, dataset: "an oracle")


class Parted(Baseline):
    """The class as its core, the ink beside it."""

    core = "kind"

    def encode(self, x: Tensor) -> Latents:
        kind = torch.einsum("nchw,kohw->nk", x, templates()).argmax(1)
        return {"kind": Discrete(kind, CLASSES), "ink": x.amax((2, 3))}

    def decode(self, values: Values) -> Tensor:
        image = templates()[values["kind"]] * values["ink"].view(-1, 3, 1, 1)
        return torch.logit(image.clamp(1e-7, 1 - 1e-7))


class PartedTheOtherWay(Parted):
    core = "ink"


class CopiedCore(Baseline):
    """The whole image in the core, and a second copy that nobody reads."""

    core, read = "a", "a"

    def encode(self, x: Tensor) -> Latents:
        return {"a": x, "b": x}

    def decode(self, values: Values) -> Tensor:
        return torch.logit(values[self.read].clamp(1e-7, 1 - 1e-7))


class BypassedCore(CopiedCore):
    read = "b"


class Halves(CopiedCore):
    """Half the intensity in each group: hybrids are double exposures."""

    def decode(self, values: Values) -> Tensor:
        return torch.logit(((values["a"] + values["b"]) / 2).clamp(1e-7, 1 - 1e-7))


class OneGroup(CopiedCore):
    def encode(self, x: Tensor) -> Latents:
        return {"a": x}


def score(cls: type[Baseline], known: bool = True) -> Score:
    dataset = stamps(known)
    recipe = training.Recipe(cls, dataset.spec)
    return Transfer().score(make_subject(recipe.build(), recipe, dataset, "smoke"))


def value(found: Score, name: str) -> float:
    return found.metrics[name].value


def test_the_task_is_found_under_its_name() -> None:
    assert registry.discover("task")["transfer"].static["primary"] == Transfer.primary


@pytest.mark.parametrize(("cls", "core"), [(Parted, "class"), (PartedTheOtherWay, "colour")])
def test_a_model_of_class_and_ink_parts_them_exactly_whichever_is_its_core(cls: type[Baseline], core: str) -> None:
    found = score(cls)
    assert value(found, "separation") == pytest.approx(1, abs=1e-5)
    for factor in ("class", "colour"):
        assert value(found, f"follows_core/{factor}") == pytest.approx(float(factor == core), abs=1e-5)
        assert value(found, f"error_intact/{factor}") == pytest.approx(0, abs=1e-5)
    assert value(found, "error_core/class") == (0 if core == "class" else 1)


def test_where_no_factor_is_known_style_is_what_differs_within_a_class() -> None:
    found = score(Parted, known=False)
    assert value(found, "separation") == pytest.approx(1, abs=1e-4)
    assert value(found, "follows_core/style") == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(("cls", "follows"), [(CopiedCore, 1), (BypassedCore, 0)])
def test_a_group_that_carries_everything_parts_nothing(cls: type[Baseline], follows: int, known: bool) -> None:
    found = score(cls, known)
    assert value(found, "separation") == 0
    factors = [name for name in found.metrics if name.startswith("follows_core/")]
    assert len(factors) == 2
    assert [value(found, name) for name in factors] == pytest.approx([follows] * 2, abs=1e-4)


@pytest.mark.parametrize("known", [True, False])
def test_groups_that_mix_every_factor_part_nothing(known: bool) -> None:
    found = score(Halves, known)
    assert value(found, "separation") == pytest.approx(0, abs=0.05)
    assert value(found, "follows_core/colour" if known else "follows_core/style") == pytest.approx(0.5, abs=0.01)


def test_one_group_or_none_is_unsupported() -> None:
    with pytest.raises(Unsupported, match="nothing to swap"):
        score(OneGroup)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=4))
def test_separation_is_a_share_and_does_not_ask_which_side_is_called_core(preferences: list[float]) -> None:
    named = {str(i): p for i, p in enumerate(preferences)}
    assert 0 <= separation(named) <= 1
    assert separation(named) == pytest.approx(separation({n: -p for n, p in named.items()}))
    if len({p > 0 for p in preferences}) == 1 and 0 not in preferences:
        assert separation(named) == 0  # everything follows one side


def test_a_factor_that_follows_nobody_halves_its_side() -> None:
    assert separation({"class": 1.0, "thickness": -1.0}) == 1
    assert separation({"class": 1.0, "thickness": -1.0, "colour": 0.0}) == 0.5
    assert separation({"class": 1.0, "thickness": 0.6}) == 0


def test_preferences_are_distances_over_distances() -> None:
    assert difference(torch.tensor([1, 2]), torch.tensor([1, 3])).tolist() == [0, 1]
    a, b = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]])
    assert difference(a, b).tolist() == [0.5]
    assert difference(a.view(1, 1, 1, 2), b.view(1, 1, 1, 2)).tolist() == pytest.approx([0.5**0.5])
    quarter = torch.tensor([[0.25], [0.75]])  # a quarter of the way from the core's value to the others', both ways
    errors = compare(quarter, torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [0.0]]))
    assert errors.preference().tolist() == pytest.approx([0.5])
