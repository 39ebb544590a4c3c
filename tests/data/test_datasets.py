"""Datasets: what is in them, how they are cut and binarized, and what a user hears of a bad folder."""

from __future__ import annotations

import gzip
import os
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from suite import data
from suite.data import datasets
from suite.data import raw as sources
from suite.errors import UserError

MNIST = Path(os.environ.get("SUITE_DATA", "")) / "MNIST" / "raw" / "train-images-idx3-ubyte"


@pytest.fixture(scope="module")
def digits() -> data.Dataset:
    return data.load("digits")


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root folder with a KMNIST of 24 + 6 images, in torchvision's layout; image i is filled with i."""
    monkeypatch.setitem(sources.IDX, "kmnist", replace(sources.IDX["kmnist"], sizes=(24, 6)))
    monkeypatch.setitem(data.DATASETS, "kmnist", replace(data.DATASETS["kmnist"], sizes=(22, 2, 6)))
    write_idx(tmp_path / "KMNIST" / "raw", ("train", 24), ("t10k", 6))
    return tmp_path


def write_idx(folder: Path, *parts: tuple[str, int]) -> None:
    folder.mkdir(parents=True)
    for prefix, n in parts:
        images = np.broadcast_to(np.arange(n)[:, None, None], (n, 28, 28))
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(idx(images))
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(np.arange(n) % 10))


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


def test_the_content_hash_is_of_the_uncompressed_bytes(tiny: Path) -> None:
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


def test_a_truncated_file_is_named(tiny: Path) -> None:
    path = tiny / "KMNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte is truncated: 18,815 of 18,816 bytes"):
        data.load("kmnist", tiny)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>"])
def test_a_file_that_is_no_idx_file_is_named(tiny: Path, content: bytes) -> None:
    (tiny / "KMNIST" / "raw" / "train-labels-idx1-ubyte").write_bytes(content)
    with pytest.raises(UserError, match="train-labels-idx1-ubyte is truncated or not an IDX file"):
        data.content_hash("kmnist", tiny)


def test_a_damaged_gzip_file_is_named(tiny: Path) -> None:
    path = tiny / "KMNIST" / "raw" / "train-labels-idx1-ubyte"
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes())[:-9])
    path.unlink()
    with pytest.raises(UserError, match=r"cannot read .*train-labels-idx1-ubyte\.gz: truncated or damaged"):
        data.content_hash("kmnist", tiny)


def test_a_file_with_too_few_images_is_named(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sources.IDX, "kmnist", replace(sources.IDX["kmnist"], sizes=(60_000, 6)))
    with pytest.raises(UserError, match="train-images-idx3-ubyte holds 24 items, expected 60000"):
        data.content_hash("kmnist", tiny)


def test_an_mnist_that_is_not_the_genuine_one_is_named(tmp_path: Path) -> None:
    write_idx(tmp_path / "MNIST" / "raw", ("train", 24), ("t10k", 6))
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte has the wrong SHA-256 .* delete it") as error:
        data.load("mnist", tmp_path)
    assert "\n" not in str(error.value)


def test_a_missing_dataset_that_cannot_be_downloaded_says_the_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(name: str, root: Path) -> None:
        print("chatter")
        raise OSError("no route to host\nmore lines")

    monkeypatch.setattr(sources, "_fetch", offline)
    with pytest.raises(UserError) as error:
        data.content_hash("fashion_mnist", tmp_path)
    message = str(error.value)
    assert "\n" not in message
    for part in (str(tmp_path), "no route to host", "--dataset digits", "SUITE_DATA"):
        assert part in message


def test_a_missing_dataset_is_downloaded_in_silence(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fetch(name: str, root: Path) -> None:
        print("100 %")
        (tiny / "KMNIST").rename(root / "KMNIST")

    elsewhere = tiny / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr(sources, "_fetch", fetch)
    assert len(data.load("kmnist", elsewhere).train) == 22
    assert capsys.readouterr() == ("", "")


def test_emnist_is_put_upright(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sources.IDX, "emnist", replace(sources.IDX["emnist"], sizes=(24, 6)))
    monkeypatch.setitem(data.DATASETS, "emnist", replace(data.DATASETS["emnist"], sizes=(22, 2, 6)))
    folder = tmp_path / "EMNIST" / "raw"
    write_idx(folder, ("emnist-balanced-train", 24), ("emnist-balanced-test", 6))
    stored = np.zeros((24, 28, 28))
    stored[:, 3, 20] = 255  # column 3, row 20 of the upright image
    (folder / "emnist-balanced-train-images-idx3-ubyte").write_bytes(idx(stored))
    dataset = data.load("emnist", tmp_path)
    assert dataset.train.grey[0, 0].nonzero().tolist() == [[20, 3]]
    assert dataset.train.grey.is_contiguous()


def test_omniglot_is_white_on_black_with_other_characters_in_the_test_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "OMNIGLOT", {"train": ("images_background", 3), "test": ("images_evaluation", 2)})
    monkeypatch.setattr(sources, "DRAWINGS", 2)
    monkeypatch.setitem(data.DATASETS, "omniglot", replace(data.DATASETS["omniglot"], sizes=(4, 2, 4)))
    drawing = np.full((105, 105), 255, np.uint8)
    drawing[:15, :30] = 0  # ink over the first 4 rows and 8 columns of 28
    for folder, characters in (("images_background", 3), ("images_evaluation", 2)):
        for character in range(characters):
            path = tmp_path / "omniglot-py" / folder / "Greek" / f"character{character:02}"
            path.mkdir(parents=True)
            for n in range(2):
                Image.fromarray(drawing).convert("1").save(path / f"{n}.png")
    dataset = data.load("omniglot", tmp_path)
    expected = torch.zeros(28, 28)
    expected[:4, :8] = 1
    assert torch.allclose(dataset.train.grey[0, 0], expected)
    assert torch.cat([dataset.train.labels, dataset.val.labels]).tolist() == [0, 0, 1, 1, 2, 2]
    assert dataset.test.labels.tolist() == [3, 3, 4, 4]
    assert not dataset.info.shared_classes
    (path / "1.png").unlink()
    with pytest.raises(UserError, match="images_evaluation holds 3 images, expected 4"):
        data.content_hash("omniglot", tmp_path)


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
