"""Where the raw files of a dataset lie: found, downloaded if need be, checked, hashed and read.

Nothing here imports torch; torchvision is imported only to download.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import hashlib
import importlib.util
import io
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.data import genuine
from suite.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

#: Rises when images prepared from the same bytes change; stands in every content hash.
PREPARATION = 1


@dataclass(frozen=True)
class Idx:
    """A dataset in MNIST's IDX format, laid out as torchvision does.

    Attributes:
        train: What the names of the training files begin with.
        test: What the names of the test files begin with.
        sizes: Images in the training and in the test files.
        transposed: Whether images are stored with rows and columns exchanged.
    """

    folder: str
    train: str = "train"
    test: str = "t10k"
    sizes: tuple[int, int] = (60_000, 10_000)
    transposed: bool = False


IDX = {
    "mnist": Idx("MNIST"),
    "fashion_mnist": Idx("FashionMNIST"),
    "kmnist": Idx("KMNIST"),
    "emnist": Idx("EMNIST", "emnist-balanced-train", "emnist-balanced-test", (112_800, 18_800), transposed=True),
}

#: Omniglot's folders: part -> (folder, characters); every character has 20 drawings.
OMNIGLOT = {"train": ("images_background", 964), "test": ("images_evaluation", 659)}
DRAWINGS = 20
#: Pixels a side: of all images as they are used, and of Omniglot's as they are stored.
SIDE, DRAWN = 28, 105


def content_hash(name: str, root: Path) -> str:
    """Returns the SHA-256 over the dataset's raw bytes and the preparation's version; checks every file.

    Raises:
        UserError: If a file is missing and cannot be downloaded, is truncated or is not the genuine one.
    """
    digest = hashlib.sha256(f"{name} {PREPARATION}".encode())
    for part in ("train", "test"):
        digest.update(_part_hash(name, part, root).encode())
    return digest.hexdigest()


def on_disk(name: str, root: Path) -> bool:
    """Whether the dataset's files are there; reads and downloads nothing."""
    if name == "digits":
        return True
    if name == "omniglot":
        return all((root / "omniglot-py" / folder).is_dir() for folder, _ in OMNIGLOT.values())
    folder, prefixes = root / IDX[name].folder / "raw", (IDX[name].train, IDX[name].test)
    files = (f"{prefix}-{kind}-ubyte" for prefix in prefixes for kind in ("images-idx3", "labels-idx1"))
    return all(_present(folder / file) is not None for file in files)


def read(name: str, part: str, root: Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads one part, ``train`` or ``test`` (for ``digits`` the whole in both).

    Returns:
        Images (N, H, W), uint8 or floating in [0, 1], white on black; labels (N,), int64.
    """
    import numpy as np

    if name == "digits":
        table = np.loadtxt(io.BytesIO(_bytes(_digits_file())), delimiter=",")
        return table[:, :64].reshape(-1, 8, 8) / 16, table[:, 64].astype(np.int64)
    if name == "omniglot":
        return _drawings(part, root)
    images, labels = (_parse(_bytes(path), path) for path in _idx_files(name, part, root))
    if IDX[name].transposed:
        images = images.transpose(0, 2, 1)
    return images, labels.astype(np.int64)


def _part_hash(name: str, part: str, root: Path) -> str:
    if name == "digits":
        return _file_hash(_digits_file()) if part == "train" else ""
    if name == "omniglot":
        files = _omniglot_files(part, root)
        stamp = sum(path.stat().st_mtime_ns for path in files)
        return _folder_hash(tuple(files), root, OMNIGLOT[part][0], stamp)
    config = IDX[name]
    expected = config.sizes[part == "test"]
    hashes = []
    for path in _idx_files(name, part, root):
        found = _file_hash(path)
        count, *each = _shape(path)
        wanted = [SIDE, SIDE] if "-images-" in path.name else []
        if each != wanted:
            raise UserError(f"{path} holds {_items(each)}, expected {_items(wanted)}")
        genuine.check(path, found, f"{config.folder}/{path.name.removesuffix('.gz')}")
        if count != expected:
            raise UserError(f"{path} holds {count} items, expected {expected}")
        hashes.append(found)
    return " ".join(hashes)


def _file_hash(path: Path) -> str:
    stat = path.stat()
    return _checked_hash(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=64)
def _checked_hash(path: Path, mtime: int, size: int) -> str:
    data = _bytes(path)
    if "-ubyte" in path.name:
        _parse(data, path)
    return hashlib.sha256(data).hexdigest()


@functools.lru_cache(maxsize=4)
def _folder_hash(files: tuple[Path, ...], root: Path, folder: str, stamp: int) -> str:
    genuine.check_drawings(root / "omniglot-py" / folder, files)
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _bytes(path: Path) -> bytes:
    """Returns the file's bytes, uncompressed."""
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except (OSError, EOFError) as error:
        raise UserError(f"cannot read {path}: truncated or damaged ({error})") from error


def _shape(path: Path) -> tuple[int, ...]:
    """Returns the dimensions that the header of an IDX file names."""
    opener: Callable[..., Any] = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as file:
        dims = file.read(4)[3]
        return struct.unpack(f">{dims}I", file.read(4 * dims))


def _items(each: list[int]) -> str:
    return f"items of {' x '.join(map(str, each))}" if each else "single numbers"


def _parse(data: bytes, path: Path) -> np.ndarray:
    """Reads an IDX file of unsigned bytes: two zeros, type 8, number of dimensions, the dimensions, the data."""
    import numpy as np

    dims = data[3] if len(data) > 3 else 0
    header = 4 + 4 * dims
    if len(data) < header or data[:3] != b"\0\0\x08":
        raise UserError(f"{path} is truncated or not an IDX file")
    shape = struct.unpack(f">{dims}I", data[4:header])
    if len(data) != header + math.prod(shape):
        raise UserError(f"{path} is truncated: {len(data) - header:,} of {math.prod(shape):,} bytes")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def _idx_files(name: str, part: str, root: Path) -> tuple[Path, Path]:
    """Returns the image and the label file of a part, downloaded if missing."""
    config = IDX[name]
    prefix = config.train if part == "train" else config.test
    folder = root / config.folder / "raw"
    names = f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"
    images, labels = (_present(folder / file) for file in names)
    if images is None or labels is None:
        _download(name, root)
        images, labels = (_present(folder / file) for file in names)
    if images is None or labels is None:
        raise _missing(name, folder, "the download left no such file")
    return images, labels


def _present(path: Path) -> Path | None:
    return next((p for p in (path, path.with_name(path.name + ".gz")) if p.is_file()), None)


def _digits_file() -> Path:
    """Returns the file that ``sklearn.datasets.load_digits`` reads, without importing scikit-learn."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise UserError("the dataset 'digits' comes with scikit-learn, which is not installed")
    return Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"


def _omniglot_files(part: str, root: Path) -> list[Path]:
    folder, characters = OMNIGLOT[part]
    path = root / "omniglot-py" / folder
    if not path.is_dir():
        _download("omniglot", root)
    files = sorted(path.glob("*/*/*.png"))
    if not files:
        raise _missing("omniglot", path, "the download left no images")
    if len(files) != characters * DRAWINGS:
        raise UserError(f"{path} holds {len(files)} images, expected {characters * DRAWINGS}: truncated?")
    return files


def _drawings(part: str, root: Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads Omniglot's black on white drawings of 105 x 105, reduced to 28 x 28 by averaging areas.

    Labels count the characters through both parts: the test set's characters are none of the training set's.
    """
    import numpy as np
    from PIL import Image

    files = _omniglot_files(part, root)
    characters = {folder: i for i, folder in enumerate(sorted({path.parent for path in files}))}
    first = 0 if part == "train" else OMNIGLOT["train"][1]
    images = np.empty((len(files), 28, 28), np.float32)
    for i, path in enumerate(files):
        try:
            with Image.open(path) as image:
                if image.size != (DRAWN, DRAWN):
                    found = " x ".join(map(str, image.size))
                    raise UserError(f"{path} is an image of {found}, expected {DRAWN} x {DRAWN}")
                images[i] = _shrink(image)
        except OSError as error:
            raise UserError(f"cannot read {path}: truncated or damaged ({error})") from error
    return images, np.array([first + characters[path.parent] for path in files], np.int64)


def _shrink(image: Image) -> np.ndarray:
    import numpy as np

    ink = 1 - np.asarray(image.convert("L"), np.float32) / 255
    # Each of the 28 steps covers 105 / 28 = 3.75 pixels: repeating each pixel 4 times makes that 15 whole ones.
    fine = ink.repeat(4, axis=0).repeat(4, axis=1)
    return fine.reshape(28, 15, 28, 15).mean((1, 3))


def _download(name: str, root: Path) -> None:
    """Downloads a dataset with torchvision, silently.

    Raises:
        UserError: In one line, with the ways out.
    """
    try:
        nowhere = io.StringIO()
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            _fetch(name, root)
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "").rstrip(": ") or type(error).__name__
        raise _missing(name, root, reason) from error


def _fetch(name: str, root: Path) -> None:
    from torchvision import datasets

    if name == "omniglot":
        for background in (True, False):
            datasets.Omniglot(str(root), background=background, download=True)
    elif name == "emnist":
        datasets.EMNIST(str(root), split="balanced", download=True)
    else:
        getattr(datasets, IDX[name].folder)(str(root), download=True)


def _missing(name: str, folder: Path, reason: str) -> UserError:
    return UserError(
        f"the dataset '{name}' is not in {folder} and could not be downloaded ({reason}); "
        "set SUITE_DATA or --data-root to the folder that holds it, or use --dataset digits"
    )
