"""What-where autoencoders keep what and where apart, and each term of their loss trains what it should."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from baselines.swwae import (
    SWWAE,
    Coordinates,
    SemiSWWAE,
    SupervisedSWWAE,
    Switches,
    Upsampling,
    balanced,
    parse,
)
from suite import data
from suite.contract import Batch, DataSpec, Discrete, TrainSet, Unsupported, UserError

SPEC = DataSpec("toy", (1, 28, 28), 10, 200)
SIZES = st.sampled_from([2, 4, 7])


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def maps(seed: int, size: int) -> Tensor:
    """Two images of three maps of 2 x 3 windows, all values positive and different."""
    rng = torch.Generator().manual_seed(seed)
    n = 2 * 3 * 6 * size**2
    return (torch.randperm(n, generator=rng).double() + 1).view(2, 3, 2 * size, 3 * size)


def batch(n: int = 6, seed: int = 0) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    x = torch.rand(n, 1, 28, 28, generator=rng).round()
    return Batch(x, torch.randint(10, (n,), generator=rng), torch.arange(n), 0.0)


def trainable_set() -> TrainSet:
    return TrainSet(torch.rand(200, 1, 28, 28), torch.rand(200, 1, 28, 28).round(), torch.arange(200) % 10)


# --- pooling and unpooling ------------------------------------------------------------------------------------


@given(seed=st.integers(0, 1000), size=SIZES)
@settings(max_examples=30, deadline=None)
def test_unpooling_puts_every_maximum_back_where_it_was_and_zeros_elsewhere(seed: int, size: int) -> None:
    h, pooling = maps(seed, size), Switches(size, 0.0)
    what, where = pooling.pool(h)
    unpooled = pooling.unpool(what, where)
    is_maximum = h == F.interpolate(F.max_pool2d(h, size), scale_factor=size)
    assert torch.equal(unpooled, torch.where(is_maximum, h, 0.0))
    again, places = pooling.pool(unpooled)
    assert torch.equal(again, what) and torch.equal(places, where)


@given(seed=st.integers(0, 1000), size=SIZES)
@settings(max_examples=30, deadline=None)
def test_other_switches_put_the_values_elsewhere(seed: int, size: int) -> None:
    h, pooling = maps(seed, size), Switches(size, 0.0)
    what, where = pooling.pool(h)
    elsewhere = (where + 1) % size**2
    unpooled = pooling.unpool(what, elsewhere)
    assert not (unpooled[unpooled != 0] == h[unpooled != 0]).any()
    assert torch.equal(unpooled.flatten(2).sort().values, pooling.unpool(what, where).flatten(2).sort().values)


@given(row=st.integers(0, 7), column=st.integers(0, 7), size=st.sampled_from([2, 4, 8]))
def test_where_is_the_place_within_the_window_row_by_row(row: int, column: int, size: int) -> None:
    h = torch.zeros(1, 1, 8, 8)
    h[0, 0, row, column] = 3.0
    what, where = Switches(size, 0.0).pool(h)
    window = (0, 0, row // size, column // size)
    assert what[window] == 3 and what.sum() == 3
    assert where[window] == row % size * size + column % size
    assert where.sum() == where[window]  # empty windows: the first place


def test_the_switch_of_a_moved_image_moves_along() -> None:
    model = SWWAE(SPEC, "(3)5c-(4)3c-7p").double()
    patch = torch.rand(1, 1, 6, 6, dtype=torch.float64)
    still, moved, next_window = (torch.zeros(1, 1, 28, 28, dtype=torch.float64) for _ in range(3))
    still[..., 9:15, 8:14], moved[..., 9:15, 9:15], next_window[..., 9:15, 15:21] = patch, patch, patch
    with torch.no_grad():
        (what, where), (_, after), (what7, where7) = (sent(model, x).values() for x in (still, moved, next_window))
    torch.testing.assert_close(what7[..., 1:3, 2], what[..., 1:3, 1])  # by a window: the same codes, one window on
    assert torch.equal(where7[..., 1:3, 2], where[..., 1:3, 1])
    inside = (where % 7 < 6) & (after == where + 1)
    assert inside.any()  # by a pixel: maxima that stay in their window are one column on
    assert not torch.equal(where, after)


@given(seed=st.integers(0, 1000), size=SIZES)
@settings(max_examples=20, deadline=None)
def test_soft_pooling_becomes_hard_as_beta_grows(seed: int, size: int) -> None:
    h = maps(seed, size)
    soft, hard = Coordinates(size, 100.0), Switches(size, 0.0)
    (what, where), (maximum, switch) = soft.pool(h), hard.pool(h)
    torch.testing.assert_close(what, maximum)
    corner = torch.stack([switch // size, switch % size], 1) * 2 / (size - 1) - 1
    torch.testing.assert_close(where, corner.double())
    torch.testing.assert_close(soft.unpool(what, where), hard.unpool(maximum, switch))


@given(seed=st.integers(0, 1000), size=SIZES)
@settings(max_examples=20, deadline=None)
def test_soft_pooling_without_beta_is_the_mean_at_the_centre(seed: int, size: int) -> None:
    h = maps(seed, size)
    what, where = Coordinates(size, 0.0).pool(h)
    torch.testing.assert_close(what, F.avg_pool2d(h, size))
    torch.testing.assert_close(where, torch.zeros_like(where), atol=1e-12, rtol=0)


@given(seed=st.integers(0, 1000), size=SIZES, beta=st.floats(0.1, 3))
@settings(max_examples=20, deadline=None)
def test_soft_pooling_is_the_mean_under_softmax(seed: int, size: int, beta: float) -> None:
    h = maps(seed, size) / 10
    what, where = Coordinates(size, beta).pool(h)
    window = h[1, 2, size : 2 * size, size : 2 * size]
    w = (beta * window).flatten().softmax(0).view(size, size)
    axis = torch.linspace(-1, 1, size, dtype=h.dtype)
    expected = [(w * window).sum(), (w * axis.view(-1, 1)).sum(), (w * axis).sum()]
    found = [what[1, 2, 1, 1], where[1, 0, 2, 1, 1], where[1, 1, 2, 1, 1]]
    torch.testing.assert_close(torch.stack(found), torch.stack(expected))


@given(seed=st.integers(0, 1000), size=SIZES)
@settings(max_examples=20, deadline=None)
def test_soft_unpooling_writes_all_of_what_with_its_centre_of_mass_at_where(seed: int, size: int) -> None:
    rng, pooling = torch.Generator().manual_seed(seed), Coordinates(size, 1.0)
    what = torch.rand(1, 1, 1, 1, generator=rng, dtype=torch.float64) + 0.1
    where = torch.rand(1, 2, 1, 1, 1, generator=rng, dtype=torch.float64) * 2 - 1
    window = pooling.unpool(what, where)[0, 0]
    axis = torch.linspace(-1, 1, size, dtype=torch.float64)
    torch.testing.assert_close(window.sum(), what.sum())
    mass = torch.stack([(window.sum(1) * axis).sum(), (window.sum(0) * axis).sum()]) / what.sum()
    torch.testing.assert_close(mass, where.flatten())
    assert int((window > 0).sum()) <= 4
    torch.testing.assert_close(pooling.unpool(3 * what, where)[0, 0], 3 * window)


def test_soft_unpooling_stays_in_the_window_whatever_the_noise_does() -> None:
    pooling, what = Coordinates(4, 1.0), torch.ones(1, 1, 1, 1)
    far = pooling.unpool(what, torch.full((1, 2, 1, 1, 1), 5.0))
    assert far[0, 0, 3, 3] == 1 and far.sum() == 1


def test_the_encoder_learns_through_soft_coordinates_and_not_through_switches() -> None:
    h = torch.rand(1, 1, 4, 4, requires_grad=True)
    _, where = Coordinates(2, 5.0).pool(h)
    assert torch.autograd.grad(where.square().sum(), h)[0].abs().sum() > 0
    assert not Switches(2, 0.0).pool(h)[1].requires_grad


def test_the_control_repeats_what_it_was_given() -> None:
    what, where = Upsampling(2, 0.0).pool(torch.arange(16.0).view(1, 1, 4, 4))
    assert where is None
    assert torch.equal(Upsampling(2, 0.0).unpool(what, where)[0, 0, :2, :2], torch.full((2, 2), 5.0))


# --- the groups -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "classes"),
    [("(3)5c-2p-(4)3c-2p", [4, 4]), ("(3)5c-(4)3c-7p", [49]), ("(3)3c-4p-(4)3c-7p", [16, 49])],
)
def test_every_switch_is_charged_as_one_of_all_places(architecture: str, classes: list[int]) -> None:
    latents = SWWAE(SPEC, architecture).encode(batch(40).x)
    wheres = [group for name, group in latents.items() if name != "what"]
    assert all(isinstance(group, Discrete) for group in wheres)
    assert [group.classes for group in wheres] == classes
    for group in wheres:
        assert 0 <= int(group.values.min()) < int(group.values.max()) < group.classes
    assert wheres[-1].values.shape == latents["what"].shape  # one for each value


def test_the_decoder_needs_the_right_switches(digits: data.Dataset) -> None:
    model = trained(SWWAE(digits.spec, "(4)5c-(8)3c-7p"), digits)
    x = digits.val.binary
    with torch.no_grad():
        codes = sent(model, x)
        right = (model.decode(codes).sigmoid() - x).square().mean()
        wrong = (model.decode({**codes, "where_1": codes["where_1"].roll(1, 0)}).sigmoid() - x).square().mean()
    assert float(wrong) > 1.5 * float(right)


def test_the_control_hands_over_what_alone() -> None:
    model = SWWAE(SPEC, where="none")
    latents = model.encode(batch().x)
    assert list(latents) == ["what"]
    assert model.decode(latents).shape == (6, 1, 28, 28)


# --- the terms of the loss ------------------------------------------------------------------------------------


def reached(model: SWWAE, term: str) -> set[str]:
    """Which parts of the model a term of the loss sends a gradient to."""
    model.zero_grad()
    model.loss(batch(20))[term].mean().backward()
    parts = {name: parameter.grad for name, parameter in model.named_parameters()}
    return {
        f"{name.split('.')[2]} {name.split('.')[1]}" if name.startswith("stages") else "classifier"
        for name, gradient in parts.items()
        if gradient is not None and bool(gradient.any())
    }


ENCODER, DECODER = {"encoder 0", "encoder 1"}, {"decoder 0", "decoder 1"}


def with_all_terms(**params: object) -> SupervisedSWWAE:
    return SupervisedSWWAE(SPEC, "(6)5c-2p-(6)3c-2p", where="hard", reconstruction=1.0, intermediate=1.0, **params)


def test_the_likelihood_trains_the_encoder_and_the_classifier_and_nothing_else() -> None:
    assert reached(with_all_terms(), "nll") == ENCODER | {"classifier"}


def test_the_reconstruction_trains_encoder_and_decoder_and_nothing_else() -> None:
    assert reached(with_all_terms(), "reconstruction") == ENCODER | DECODER


def test_the_intermediate_term_trains_the_stages_above_its_map_through_what() -> None:
    # The only map between two stages is what the upper decoder returns: the lowest decoder comes after it.
    assert reached(with_all_terms(), "intermediate") == ENCODER | {"decoder 1"}


@pytest.mark.parametrize("stop", [True, False])
def test_a_stopped_target_is_not_pulled_towards_the_decoder(stop: bool) -> None:
    model = with_all_terms(stop_gradient=stop)
    torch.nn.init.zeros_(model.stages[1].decoder.weight)
    torch.nn.init.zeros_(model.stages[1].decoder.bias)  # whatever is encoded, the decoder says 0
    assert (reached(model, "intermediate") & ENCODER == set()) is stop
    if not stop:  # shrinking the encoder's map lowers the term: Euler's theorem for the homogeneous first stage
        first = model.stages[0].encoder
        slope = sum(float((p * p.grad).sum().detach()) for p in first.parameters())
        term = float(model.loss(batch(20))["intermediate"].detach().mean())
        assert slope == pytest.approx(2 * term, rel=1e-4)


def test_the_terms_are_means_over_elements_of_squared_errors() -> None:
    model, b = SWWAE(SPEC, "(6)5c-2p-(6)3c-2p", reconstruction=3.0, intermediate=0.5), batch()
    terms = model.loss(b)
    first, second = model.stages
    lower, switches = first.up(b.x)
    upper, top_switches = second.up(lower)
    returned = second.down(upper, top_switches)
    image = first.down(returned, switches).sigmoid()
    torch.testing.assert_close(terms["reconstruction"], (image - b.x).square().mean((1, 2, 3)))
    torch.testing.assert_close(terms["intermediate"], (returned - lower).square().mean((1, 2, 3)))
    torch.testing.assert_close(terms["loss"], 3 * terms["reconstruction"] + 0.5 * terms["intermediate"])


def test_the_supervised_net_leaves_its_decoder_as_it_was() -> None:
    model = SupervisedSWWAE(SPEC)
    assert {part.split()[0] for part in reached(model, "loss")} == {"encoder", "classifier"}
    assert all(stage.decoder.weight.grad is None for stage in model.stages)


# --- few labels -----------------------------------------------------------------------------------------------


def semi(**params: object) -> SemiSWWAE:
    return SemiSWWAE(SPEC, "(6)5c-2p-(6)3c-2p", labels=30, **params)


def fitted(model: SemiSWWAE, train: TrainSet) -> SemiSWWAE:
    torch.manual_seed(1)
    model.fit(train)
    return model


def loss_of(model: SemiSWWAE, b: Batch) -> dict[str, Tensor]:
    torch.manual_seed(2)
    return model.loss(b)


def test_the_label_of_an_image_that_is_not_labelled_changes_nothing() -> None:
    train, model = trainable_set(), semi()
    fitted(model, train)
    b = batch(16)
    other = replace(b, y=(b.y + 1) % 10)
    assert all(torch.equal(loss_of(model, b)[name], loss_of(model, other)[name]) for name in loss_of(model, b))
    torch.testing.assert_close(loss_of(model, replace(b, y=None)), loss_of(model, b))


def test_the_label_of_a_labelled_image_changes_the_likelihood_and_nothing_else() -> None:
    model, b = fitted(semi(), trainable_set()), batch(16)
    before = loss_of(model, b)
    model.classes.copy_((model.classes + 1) % 10)
    after = loss_of(model, b)
    assert not torch.equal(before["nll"], after["nll"])
    assert torch.equal(before["reconstruction"], after["reconstruction"])


def test_a_fixed_share_of_every_batch_is_labelled_and_its_likelihood_is_the_mean_over_it() -> None:
    model, b = fitted(semi(share=0.25), trainable_set()), batch(16)
    nll = loss_of(model, b)["nll"]
    assert (nll > 0).tolist() == [True] * 4 + [False] * 12
    torch.manual_seed(2)
    rows = torch.randint(30, (4,))
    x = torch.bernoulli(model.images[rows])
    expected = F.cross_entropy(model.classifier(model._ascend(x)[0]["what"]), model.classes[rows])
    torch.testing.assert_close(nll.mean(), expected)


def test_labelled_images_come_from_the_training_split_with_their_labels_in_balance() -> None:
    train = trainable_set()
    model = fitted(semi(), train)
    assert model.classes.bincount().tolist() == [3] * 10
    index = (model.images.flatten(1).unsqueeze(1) == train.grey.flatten(1)).all(-1).nonzero()[:, 1]
    assert len(index.unique()) == 30
    assert torch.equal(train.labels[index], model.classes)
    other = semi()
    torch.manual_seed(5)
    other.fit(train)
    assert not torch.equal(other.images, model.images)  # another trial, other labels


def test_labels_that_do_not_share_out_evenly_differ_by_one() -> None:
    counts = torch.arange(60) % 6
    assert sorted(counts[balanced(counts, 20, 6)].bincount().tolist()) == [3, 3, 3, 3, 4, 4]


@pytest.mark.parametrize("labels", [201, 190])
def test_more_labels_than_there_are_is_unsupported(labels: int) -> None:
    uneven = torch.cat([torch.zeros(110, dtype=torch.long), torch.arange(90) % 10])
    train = replace(trainable_set(), labels=uneven)
    with pytest.raises(Unsupported, match=r"201 labels of 200|190 labels in balance: class \d has \d+ images, not 19"):
        SemiSWWAE(SPEC, labels=labels).fit(train)


@pytest.mark.journey
def test_few_labels_and_many_images_make_a_classifier(digits: data.Dataset) -> None:
    model = SemiSWWAE(digits.spec, labels=100)
    model.fit(digits.train_set(labels=True))
    trained(model, digits)
    with torch.no_grad():
        guess = model.classifier(model.encode(digits.val.grey)["what"]).argmax(1)
    assert float((guess == digits.val.labels).float().mean()) > 0.6


# --- parameters -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"architecture": "(8)5c-3p"}, r"3 does not divide a map of 28 x 28; choose from 2, 4, 7, 14, 28"),
        ({"architecture": "(8)5c-4p-(8)3c-2p"}, r"2 does not divide a map of 7 x 7; choose from 7"),
        ({"architecture": "(8)4c-2p"}, r"'\(8\)4c' in architecture"),
        ({"architecture": "2p-(8)5c"}, "'2p' in architecture"),
        ({"architecture": "(8)5c-2p-2p"}, "'2p' in architecture"),
        ({"architecture": ""}, "write it like"),
        ({"where": "firm"}, "is 'hard', 'soft' or 'none'"),
        ({"beta": -1.0}, "beta is 0 or more"),
        ({"intermediate": float("nan")}, "intermediate is 0 or more"),
    ],
)
def test_a_wrong_parameter_is_answered_in_one_line(params: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        SWWAE(SPEC, **params)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"labels": 5}, "at least 10"),
        ({"labels": 30, "share": 0.0}, "share is above 0"),
        ({"labels": 30, "dropout": 1.0}, "dropout is at least 0"),
    ],
)
def test_a_wrong_parameter_of_the_labels_is_answered_in_one_line(params: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        SemiSWWAE(SPEC, **params)


def test_an_image_that_no_window_fills_is_refused() -> None:
    with pytest.raises(UserError, match="a map of 29 x 31; no pooling does"):
        SWWAE(DataSpec("odd", (1, 29, 31), 10, 200))


def test_the_source_s_net_can_be_built_and_images_may_be_coloured() -> None:
    assert [tuple(layer) for layer in parse("(64)5c-2p-(64)3c-(64)3c-2p")] == [(64, 5, 2), (64, 3, 0), (64, 3, 2)]
    model = SWWAE(DataSpec("colour", (3, 28, 28), 10, 200), "(64)5c-2p-(64)3c-(64)3c-2p")
    codes = sent(model, torch.rand(2, 3, 28, 28))
    assert codes["what"].shape == (2, 64, 7, 7)
    assert model.decode(codes).shape == (2, 3, 28, 28)


# --- helpers --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits() -> data.Dataset:
    return data.load("digits")


def sent(model: SWWAE, x: Tensor) -> dict[str, Tensor]:
    """What the decoder receives, without noise."""
    latents = model.encode(x)
    return {name: group.values if isinstance(group, Discrete) else group for name, group in latents.items()}


def trained(model: SWWAE, dataset: data.Dataset, steps: int = 150) -> SWWAE:
    adam = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(steps):
        index = torch.randint(len(dataset.train), (64,))
        b = Batch(torch.bernoulli(dataset.train.grey[index]), dataset.train.labels[index], index, 0.0)
        adam.zero_grad()
        model.loss(b)["loss"].mean().backward()
        adam.step()
    return model.eval()
