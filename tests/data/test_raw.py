"""Files of datasets: how they are read, and what a user hears of a bad folder."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from suite import data
from suite.data import raw as sources
from suite.errors import UserError
from tests.data.layouts import idx, write_idx


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
