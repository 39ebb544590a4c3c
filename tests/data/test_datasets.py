"""Datasets: what is in them, how they are cut and binarized."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from suite import data
from suite.data import datasets, genuine
from suite.data import raw as sources
from suite.errors import UserError
from tests.data.layouts import idx

MNIST = Path(os.environ.get("SUITE_DATA", "")) / "MNIST" / "raw" / "train-images-idx3-ubyte"


@pytest.fixture(scope="module")
def digits() -> data.Dataset:
    return data.load("digits")


def test_digits_are_grey_floats_of_the_protocols_sizes(digits: data.Dataset) -> None:
    assert tuple(map(len, (digits.train, digits.val, digits.test))) == digits.info.sizes == (1_200, 197, 400)
    for split in (digits.train, digits.val, digits.test):
        assert split.grey.dtype == torch.float32
        assert split.grey.shape[1:] == digits.spec.shape == (1, 28, 28)
        assert float(split.grey.min()) == 0
        assert float(split.grey.max()) == 1
        assert split.labels.dtype == torch.int64


def test_digits_are_scikit_learns_enlarged_bilinearly(digits: data.Dataset) -> None:
    from sklearn.datasets import load_digits

    known = load_digits()
    images, labels = sources.read("digits", "train", Path())
    assert np.array_equal(images * 16, known.images)
    assert np.array_equal(labels, known.target)
    # The corners of a bilinear enlargement are the corners of the original, whichever image this is.
    corners = {tuple(image[[0, 0, 7, 7], [0, 7, 0, 7]] / 16) for image in known.images}
    assert {tuple(image[0][[0, 0, 27, 27], [0, 27, 0, 27]].tolist()) for image in digits.test.grey} <= corners


def test_digits_splits_are_disjoint_complete_stratified_and_fixed(digits: data.Dataset) -> None:
    labels = sources.read("digits", "train", Path())[1]
    order = datasets.stratified_order(labels, digits.info.sizes)
    assert sorted(order) == list(range(1_797))
    whole = np.bincount(labels) / 1_797
    for part in np.split(order, [1_200, 1_397]):
        assert np.all(np.abs(np.bincount(labels[part]) - whole * len(part)) <= 2)
    assert digits.test.labels[:12].tolist() == [2, 6, 1, 9, 8, 3, 0, 6, 0, 3, 0, 4]


def test_the_order_within_a_split_says_nothing_about_the_class(digits: data.Dataset) -> None:
    assert len(digits.test.labels[::10].unique()) == 10


def test_a_split_is_binarized_by_one_fresh_frozen_stream(digits: data.Dataset) -> None:
    for split in (digits.train, digits.val):
        u = np.random.RandomState(20).random_sample(tuple(split.grey.shape))
        assert np.array_equal(split.binary.numpy(), (u < split.grey.numpy()).astype(np.float32))


def test_labels_are_handed_over_only_where_they_are_declared(digits: data.Dataset) -> None:
    assert digits.train_set(labels=False).labels is None
    assert digits.val_set(labels=True).labels is digits.val.labels


def test_an_idx_dataset_is_cut_in_file_order_and_scaled_to_one(tiny: Path) -> None:
    dataset = data.load("kmnist", tiny)
    assert [len(s) for s in (dataset.train, dataset.val, dataset.test)] == [22, 2, 6]
    assert torch.equal(dataset.val.grey[:, 0, 5, 5], torch.tensor([22.0, 23.0]) / 255)
    assert dataset.test.labels.tolist() == [0, 1, 2, 3, 4, 5]


def test_the_test_split_is_read_at_its_first_access(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, parts = sources.read, []
    monkeypatch.setattr(sources, "read", lambda name, part, root: parts.append(part) or read(name, part, root))
    dataset = data.load("kmnist", tiny)
    assert parts == ["train"]
    assert dataset.test is dataset.test
    assert parts == ["train", "test"]


def test_the_content_hash_is_of_the_uncompressed_bytes(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(genuine, "MD5", {})
    before = data.content_hash("kmnist", tiny)
    for path in (tiny / "KMNIST" / "raw").iterdir():
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert data.content_hash("kmnist", tiny) == before == data.load("kmnist", tiny).hash


def test_the_content_hash_moves_with_any_byte_and_with_the_preparation(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = data.content_hash("kmnist", tiny)
    path = tiny / "KMNIST" / "raw" / "t10k-labels-idx1-ubyte"
    path.write_bytes(idx(np.arange(6) + 1))
    os.utime(path, ns=(1, 1))
    changed = data.content_hash("kmnist", tiny)
    monkeypatch.setattr(sources, "PREPARATION", 99)
    assert len({before, changed, data.content_hash("kmnist", tiny)}) == 3


def test_the_content_hash_of_digits_imports_neither_torch_nor_scikit_learn() -> None:
    code = (
        "import sys; from suite import data; print(data.content_hash('digits'));"
        "assert not {'torch', 'sklearn', 'numpy', 'torchvision'} & set(sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == data.content_hash("digits")


def test_an_unknown_dataset_is_told_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'fashion_mnist'"):
        data.load("fashion-mnist")


def test_the_option_goes_before_the_environment_and_that_before_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUITE_DATA", "~/sets")
    assert data.data_root("here") == Path.cwd() / "here"
    assert data.data_root() == Path.home() / "sets"
    monkeypatch.delenv("SUITE_DATA")
    assert data.data_root() == Path.home() / ".cache" / "latent-suite"


@pytest.mark.skipif(not MNIST.is_file(), reason="SUITE_DATA does not hold MNIST")
def test_mnist_gives_the_pixel_marginals_their_known_nats() -> None:
    dataset = data.load("mnist")
    assert [len(s) for s in (dataset.train, dataset.val, dataset.test)] == [55_000, 5_000, 10_000]
    assert dataset.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    p = (dataset.train.binary.sum(0) + 1) / (55_000 + 2)
    nats = -torch.where(dataset.test.binary > 0, p.log(), (1 - p).log()).flatten(1).sum(1)
    assert float(nats.mean()) == pytest.approx(205.87, abs=0.15)


def test_data_without_their_test_split_hand_out_validation_images_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = data.load("digits")
    rest = data.without_test(whole)
    assert rest.test is whole.val
    assert rest.info.sizes == (1_200, 197, 197)
    assert (rest.hash, rest.spec, rest.train) == (whole.hash, whole.spec, whole.train)
    assert "test" not in vars(whole)  # it was not so much as read
    assert len(whole.test) == 400
