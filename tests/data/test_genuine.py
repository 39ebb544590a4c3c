"""Files of other sets, turned or resized ones, and made-up ones are told from the published files."""

from __future__ import annotations

import gzip
import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from suite import data
from suite.data import genuine
from suite.data import raw as sources
from suite.errors import UserError
from tests.data.layouts import idx

IMAGES = "train-images-idx3-ubyte"


def said(root: Path, name: str = "kmnist") -> str:
    """Returns what the error says, in one line."""
    with pytest.raises(UserError) as error:
        data.content_hash(name, root)
    assert "\n" not in str(error.value)
    return str(error.value)


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def packed(path: Path, content: bytes | None = None) -> Path:
    """Writes a compressed file beside another."""
    path = path.with_name(path.name + ".gz")
    path.write_bytes(gzip.compress(path.with_suffix("").read_bytes() if content is None else content, mtime=0))
    return path


def test_another_sets_files_are_named(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny / "KMNIST" / "raw" / IMAGES
    monkeypatch.setitem(genuine.SHA256, f"MNIST/{IMAGES}", sha256(path))
    assert f"{path} is MNIST/{IMAGES}, not KMNIST/{IMAGES}; delete it to download it again" in said(tiny)


def test_another_sets_compressed_files_are_named(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = tiny / "KMNIST" / "raw" / IMAGES
    path = packed(plain)
    plain.unlink()
    monkeypatch.setitem(genuine.MD5, f"FashionMNIST/{IMAGES}", hashlib.md5(path.read_bytes()).hexdigest())
    assert f"{path} is FashionMNIST/{IMAGES}, not KMNIST/{IMAGES}" in said(tiny)


@pytest.mark.parametrize("turn", [np.transpose, lambda image: np.rot90(image), lambda image: 255 - image])
def test_turned_images_have_another_digest(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, turn: Callable[[np.ndarray], np.ndarray]
) -> None:
    path = tiny / "KMNIST" / "raw" / IMAGES
    images = np.random.RandomState(0).randint(0, 256, (24, 28, 28))
    path.write_bytes(idx(images))
    monkeypatch.setitem(genuine.SHA256, f"KMNIST/{IMAGES}", sha256(path))
    data.content_hash("kmnist", tiny)
    path.write_bytes(idx(np.stack([turn(image) for image in images])))
    assert "has the wrong SHA-256" in said(tiny)


def test_images_of_another_size_are_named(tiny: Path) -> None:
    path = tiny / "KMNIST" / "raw" / IMAGES
    path.write_bytes(idx(np.zeros((24, 32, 32))))
    assert f"{path} holds items of 32 x 32, expected items of 28 x 28" in said(tiny)


def test_labels_in_the_place_of_images_are_named(tiny: Path) -> None:
    folder = tiny / "KMNIST" / "raw"
    (folder / "train-labels-idx1-ubyte").write_bytes((folder / IMAGES).read_bytes())
    assert "holds items of 28 x 28, expected single numbers" in said(tiny)


@pytest.mark.parametrize("alone", [True, False])
def test_where_only_the_compressed_files_digest_is_known_that_one_is_checked(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, alone: bool
) -> None:
    plain = tiny / "KMNIST" / "raw" / IMAGES
    path = packed(plain)
    if alone:
        plain.unlink()
    assert f"{path} has the wrong MD5" in said(tiny)
    monkeypatch.setitem(genuine.MD5, f"KMNIST/{IMAGES}", hashlib.md5(path.read_bytes()).hexdigest())
    assert len(data.content_hash("kmnist", tiny)) == 64


def test_an_unpacked_file_that_differs_from_the_compressed_one_beside_it_is_named(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = tiny / "KMNIST" / "raw" / IMAGES
    path = packed(plain, idx(np.ones((24, 28, 28))))
    monkeypatch.setitem(genuine.MD5, f"KMNIST/{IMAGES}", hashlib.md5(path.read_bytes()).hexdigest())
    assert f"{plain} is not what {IMAGES}.gz beside it holds" in said(tiny)


def test_the_digests_are_those_that_torchvision_publishes() -> None:
    from torchvision import datasets

    for name in ("MNIST", "FashionMNIST", "KMNIST"):
        for file, md5 in getattr(datasets, name).resources:
            assert genuine.MD5[f"{name}/{file.removesuffix('.gz')}"] == md5
    assert datasets.Omniglot.zips_md5 == genuine.ARCHIVES


@pytest.fixture
def drawings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root folder with an Omniglot of one character a part, and the archives beside their folders."""
    monkeypatch.setattr(sources, "OMNIGLOT", {"train": ("images_background", 1), "test": ("images_evaluation", 1)})
    monkeypatch.setattr(sources, "DRAWINGS", 2)
    root = tmp_path / "omniglot-py"
    for part in ("images_background", "images_evaluation"):
        folder = root / part / "Greek" / "character01"
        folder.mkdir(parents=True)
        with zipfile.ZipFile(root / f"{part}.zip", "w") as archive:
            for n in range(2):
                ink = np.full((105, 105), 255, np.uint8)
                ink[: 10 + n] = 0
                Image.fromarray(ink).save(folder / f"{n}.png")
                archive.write(folder / f"{n}.png", f"{part}/Greek/character01/{n}.png")
        monkeypatch.setitem(genuine.ARCHIVES, part, hashlib.md5((root / f"{part}.zip").read_bytes()).hexdigest())
    return tmp_path


def test_drawings_are_held_against_their_archive(drawings: Path) -> None:
    assert len(data.content_hash("omniglot", drawings)) == 64
    path = drawings / "omniglot-py" / "images_evaluation" / "Greek" / "character01" / "1.png"
    with Image.open(path) as image:
        turned = image.rotate(90)
    turned.save(path)
    assert f"{path} is not what images_evaluation.zip holds" in said(drawings, "omniglot")


def test_an_archive_that_is_not_the_published_one_is_named(drawings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(genuine.ARCHIVES, "images_background", "0" * 32)
    assert "images_background.zip has the wrong MD5" in said(drawings, "omniglot")


def test_drawings_of_another_size_are_named(drawings: Path) -> None:
    path = drawings / "omniglot-py" / "images_background" / "Greek" / "character01" / "0.png"
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(path)
    with pytest.raises(UserError, match=r"0\.png is an image of 32 x 32, expected 105 x 105"):
        sources.read("omniglot", "train", drawings)
