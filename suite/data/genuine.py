"""Whether files of datasets are the published ones: their digests, and whose files they are instead.

Some sets publish digests of the compressed files alone. Where such a file has been unpacked and the compressed one is
not beside it, all that can be said is that it is no other set's.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
import zipfile
import zlib
from pathlib import Path

from suite.errors import UserError

#: SHA-256 of the uncompressed files, by ``folder/file``, where they are known.
SHA256 = {
    "MNIST/train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "MNIST/train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "MNIST/t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "MNIST/t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    "FashionMNIST/train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "FashionMNIST/train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "FashionMNIST/t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "FashionMNIST/t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}

#: MD5 of the compressed files, as torchvision has them (EMNIST's: of the files inside its archive).
MD5 = {
    "MNIST/train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "MNIST/train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
    "MNIST/t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
    "MNIST/t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
    "FashionMNIST/train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "FashionMNIST/train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
    "FashionMNIST/t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
    "FashionMNIST/t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
    "KMNIST/train-images-idx3-ubyte": "bdb82020997e1d708af4cf47b453dcf7",
    "KMNIST/train-labels-idx1-ubyte": "e144d726b3acfaa3e44228e80efcd344",
    "KMNIST/t10k-images-idx3-ubyte": "5c965bf0a639b31b8f53240b1b52f4d7",
    "KMNIST/t10k-labels-idx1-ubyte": "7320c461ea6c1c855c0b718fb2a4b134",
    "EMNIST/emnist-balanced-train-images-idx3-ubyte": "4041b0d6f15785d3fa35263901b5496b",
    "EMNIST/emnist-balanced-train-labels-idx1-ubyte": "7a35cc7b2b7ee7671eddf028570fbd20",
    "EMNIST/emnist-balanced-test-images-idx3-ubyte": "6818d20fe2ce1880476f747bbc80b22b",
    "EMNIST/emnist-balanced-test-labels-idx1-ubyte": "acd3694070dcbf620e36670519d4b32f",
}

#: MD5 of Omniglot's archives, as torchvision has them.
ARCHIVES = {
    "images_background": "68d2efa1b9178cc56df9314c21c6e718",
    "images_evaluation": "6b91aef0f799c5bb55b94e3f2daec811",
}

AGAIN = "delete it to download it again"


def check(path: Path, sha256: str, known_as: str) -> None:
    """Checks one IDX file.

    Args:
        path: The file, compressed or not.
        sha256: Of its uncompressed bytes.
        known_as: ``folder/file``, the file's name without ``.gz``.

    Raises:
        UserError: If it is not the published one, as far as that can be told.
    """
    packed = path if path.suffix == ".gz" else path.with_name(path.name + ".gz")
    md5 = _md5(packed, packed.stat().st_mtime_ns) if packed.is_file() else ""
    owner = _owner(sha256, md5 if packed == path else "")
    if owner not in (None, known_as):
        raise UserError(f"{path} is {owner}, not {known_as}; {AGAIN}")
    if known_as in SHA256:
        if sha256 != SHA256[known_as]:
            raise UserError(f"{path} has the wrong SHA-256 ({sha256[:12]}...); {AGAIN}")
    elif known_as in MD5 and md5:
        if md5 != MD5[known_as]:
            raise UserError(f"{packed} has the wrong MD5 ({md5[:12]}...); {AGAIN}")
        if packed != path and sha256 != _unpacked(packed, packed.stat().st_mtime_ns):
            raise UserError(f"{path} is not what {packed.name} beside it holds; {AGAIN}")


def check_drawings(folder: Path, files: tuple[Path, ...]) -> None:
    """Checks Omniglot's drawings against the archive that they come from, where it is still beside their folder.

    Raises:
        UserError: If the archive is not the published one, or a drawing is not the archive's.
    """
    archive = folder.with_name(folder.name + ".zip")
    if not archive.is_file() or folder.name not in ARCHIVES:
        return
    if (md5 := _md5(archive, archive.stat().st_mtime_ns)) != ARCHIVES[folder.name]:
        raise UserError(f"{archive} has the wrong MD5 ({md5[:12]}...); {AGAIN}")
    with zipfile.ZipFile(archive) as packed:
        sums = {member.filename: member.CRC for member in packed.infolist()}
    for path in files:
        if sums.get(path.relative_to(folder.parent).as_posix()) != zlib.crc32(path.read_bytes()):
            raise UserError(f"{path} is not what {archive.name} holds; delete {folder} to download it again")


def _owner(sha256: str, md5: str) -> str | None:
    """Returns whose file has one of these digests, None where no known one has."""
    told = [name for name, known in SHA256.items() if known == sha256]
    told += [name for name, known in MD5.items() if known == md5]
    return told[0] if told else None


@functools.lru_cache(maxsize=64)
def _md5(path: Path, mtime: int) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


@functools.lru_cache(maxsize=64)
def _unpacked(path: Path, mtime: int) -> str:
    try:
        return hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"cannot read {path}: truncated or damaged ({error})") from error
