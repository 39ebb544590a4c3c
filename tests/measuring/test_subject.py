"""What a task is given: features computed once, random streams of its own, an honest untrained twin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Independent
from torch.nn import functional as F

from suite import data, training
from suite.contract import Baseline, DataSpec, Discrete, Unsupported
from suite.measuring.features import compute_features, default_features, indicators, project
from suite.measuring.subject import Subject, make_subject


class Two(Baseline):
    """A real core behind batch norm and a discrete side group."""

    core = "content"

    def __init__(self, spec: DataSpec, width: int = 6) -> None:
        super().__init__(spec)
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(spec.pixels, width), nn.BatchNorm1d(width))
        self.decoder = nn.Sequential(nn.Linear(width, spec.pixels), nn.BatchNorm1d(spec.pixels))

    def encode(self, x: Tensor) -> dict[str, Any]:
        return {"side": Discrete((x[:, 0, ::14, ::14] > 0.5).long(), 2), "content": self.encoder(x)}

    def decode(self, values: Any) -> Tensor:
        return self.decoder(values["content"]).view(-1, *self.spec.shape)


@pytest.fixture(scope="module")
def digits() -> data.Dataset:
    torch.set_num_threads(1)
    return data.load("digits")


def subject(dataset: data.Dataset, store: Path | None = None, noise: str = "", cls: type[Baseline] = Two) -> Subject:
    recipe = training.Recipe(cls, dataset.spec)
    return make_subject(recipe.build(), recipe, dataset, "smoke", store=store, noise=noise)


def test_a_secret_binarizes_the_test_images_and_nothing_else(digits: data.Dataset) -> None:
    """Whoever knows the numbers that binarized an image is told by 9 nats, their row, what costs some 50 to tell."""
    published, first, again, other = (subject(digits, noise=noise).dataset for noise in ("", "a", "a", "b"))
    assert published is digits
    assert torch.equal(first.test.binary, again.test.binary)
    assert first.test.grey is digits.test.grey
    assert torch.equal(first.val.binary, digits.val.binary)
    grey = digits.test.grey.double()
    expected = float((grey * (1 - grey)).sum())  # the variance of the number of pixels that are on
    for one in (first, other):
        agree = (one.test.binary == digits.test.binary).double()
        assert float(agree.sum()) == pytest.approx(float((1 - 2 * grey * (1 - grey)).sum()), abs=6 * expected**0.5)
        assert float((one.test.binary - grey).sum()) == pytest.approx(0, abs=6 * expected**0.5)
        assert torch.equal(one.test.binary[grey == 0], torch.zeros(int((grey == 0).sum())))
    assert not torch.equal(first.test.binary, other.test.binary)


def test_features_are_the_cores_and_every_groups(digits: data.Dataset) -> None:
    found = subject(digits).features("val")
    assert found["core"].shape == (197, 6)
    assert found["group/content"] is found["core"]
    assert found["group/side"].shape == (197, 4)
    assert set(found["group/side"].unique().tolist()) == {0.0, 1.0}
    assert not any(found[f"projected/{name}"] for name in ("core", "group/content", "group/side"))


def test_features_of_its_own_do_not_hide_the_core_group(digits: data.Dataset) -> None:
    cls = type("Squared", (Two,), {"features": lambda self, values: values["content"] ** 2})
    found = subject(digits, cls=cls).features("val")
    assert torch.equal(found["core"], found["group/content"] ** 2)


class Names(Two):
    """A core of four positions with seven names each, as codes or as a posterior."""

    core = "name"

    def encode(self, x: Tensor) -> dict[str, Any]:
        names = (6 * x[:, 0, ::14, ::14]).round().long()
        if not self.drawn:
            return {"name": Discrete(names, 7)}
        return {"name": Independent(Independent(Categorical(logits=9.0 * F.one_hot(names, 7)), 1), 1)}

    drawn = False


@pytest.mark.parametrize("drawn", [False, True])
def test_features_of_a_discrete_core_are_indicators_by_default(digits: data.Dataset, drawn: bool) -> None:
    found = subject(digits, cls=type("Drawn", (Names,), {"drawn": drawn})).features("val")
    names = (6 * digits.val.grey[:, 0, ::14, ::14]).round().long().flatten(1)
    assert torch.equal(found["core"], F.one_hot(names, 7).flatten(1).float())
    assert found["group/name"] is found["core"]
    own = type("Own", (Names,), {"features": lambda self, values: values["name"].flatten(1).float()})
    assert torch.equal(subject(digits, cls=own).features("val")["core"], names.float())


def test_a_bit_is_its_own_indicator() -> None:
    bits = torch.tensor([[[0, 1], [1, 1]]])
    assert default_features(bits, classes=2).tolist() == [[0, 1, 1, 1]]


def test_indicators_that_are_too_wide_are_projected_as_if_they_had_been_made() -> None:
    codes = torch.randint(0, 50, (6, 100), generator=torch.Generator().manual_seed(0))
    assert torch.equal(indicators(codes, 50), project(F.one_hot(codes, 50).flatten(1).float()))


def test_the_features_of_the_core_alone_are_the_same(digits: data.Dataset) -> None:
    frozen = subject(digits).model
    assert torch.equal(
        compute_features(frozen, digits.val.grey, groups=False)["core"],
        compute_features(frozen, digits.val.grey)["core"],
    )


def test_features_of_a_model_without_latents_are_unsupported(digits: data.Dataset) -> None:
    cls = type("Nothing", (Two,), {"encode": lambda self, x: {}})
    with pytest.raises(Unsupported):
        subject(digits, cls=cls).features("val")


def test_what_is_kept_is_computed_once_and_found_by_the_next_process(digits: data.Dataset, tmp_path: Path) -> None:
    calls: list[int] = []

    def compute() -> dict[str, Tensor]:
        calls.append(1)
        return {"a": torch.arange(3.0), "b": torch.tensor(7)}

    first, second = subject(digits, tmp_path), subject(digits, tmp_path)
    for taken in (first, first, second):
        found = taken.kept("sums", compute)
        assert found["a"].tolist() == [0, 1, 2]
        assert int(found["b"]) == 7
    assert len(calls) == 1


def test_a_corrupt_file_is_set_aside_and_computed_again(digits: data.Dataset, tmp_path: Path) -> None:
    subject(digits, tmp_path).kept("sums", lambda: {"a": torch.ones(3)})
    path = tmp_path / "sums" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    again = subject(digits, tmp_path).kept("sums", lambda: {"a": torch.zeros(3)})
    assert again["a"].tolist() == [0, 0, 0]
    assert (tmp_path / "sums.corrupt").is_dir()


def test_scores_with_secret_noise_leave_nothing_and_take_nothing(digits: data.Dataset, tmp_path: Path) -> None:
    subject(digits, tmp_path).kept("sums", lambda: {"a": torch.ones(1)})
    secret = subject(digits, tmp_path, noise="secret")
    assert secret.kept("sums", lambda: {"a": torch.zeros(1)})["a"].item() == 0
    assert subject(digits, tmp_path).kept("sums", lambda: {})["a"].item() == 1


def test_streams_are_named_and_the_secret_changes_them_all(digits: data.Dataset) -> None:
    def draw(s: Subject, *names: object) -> list[float]:
        return torch.rand(2, generator=s.rng(*names)).tolist() + s.numpy_rng(*names).random(2).tolist()

    public, secret = subject(digits), subject(digits, noise="secret")
    assert draw(public, "z", 1) == draw(subject(digits), "z", 1)
    assert len({str(draw(s, "z", i)) for s in (public, secret) for i in (1, 2)}) == 4


def test_the_untrained_twin_starts_where_training_started(digits: data.Dataset) -> None:
    twin = subject(digits).untrained().unwrap()
    fresh = training.Recipe(Two, digits.spec).build()
    assert all(torch.equal(a, b) for a, b in zip(twin.parameters(), fresh.parameters(), strict=True))


def test_the_untrained_twin_has_batch_norm_statistics_of_training_images(digits: data.Dataset) -> None:
    frozen = subject(digits).untrained()
    model = frozen.unwrap()
    assert not any(module.training for module in model.modules())
    assert all(norm.momentum == 0.1 for norm in (model.encoder[2], model.decoder[1]))
    before = nn.functional.linear(digits.train.grey.flatten(1), model.encoder[1].weight, model.encoder[1].bias)
    assert torch.allclose(model.encoder[2].running_mean, before.mean(0), atol=0.02)
    assert torch.allclose(model.encoder[2].running_var, before.var(0), rtol=0.1)
    code = compute_features(frozen, digits.train.grey)["core"]
    assert torch.allclose(code.std(0), torch.ones(6), atol=0.1)
    assert int(model.decoder[1].num_batches_tracked) == 10


def test_wide_features_are_projected_so_that_inner_products_stay(digits: data.Dataset) -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(40, 10_000, generator=rng)
    narrow = project(x)
    assert narrow.shape == (40, 4_096)
    assert torch.equal(narrow, project(x))
    error = (narrow @ narrow.T - x @ x.T) / 10_000
    assert float(error.abs().max()) < 5 * (1 / 4_096) ** 0.5
    assert abs(float(error.diag().mean())) < 0.02
    assert torch.equal(project(x[:, :4_096]), x[:, :4_096])


def test_projected_features_are_marked(digits: data.Dataset) -> None:
    wide = type("Wide", (Two,), {"features": lambda self, values: values["content"].repeat(1, 1_000)})
    found = subject(digits, cls=wide).features("val")
    assert found["core"].shape == (197, 4_096)
    assert int(found["projected/core"]) == 1
    assert int(found["projected/group/content"]) == 0
