"""Per-image values from a file that may come from anybody: bounded before a byte of them is unpacked."""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

#: Bytes of all arrays of a file once unpacked, their number, and the length of a name.
MOST_BYTES, MOST_ARRAYS = 256 * 2**20, 2_000

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_:=.,\-+\[\] /]{0,199}")


class Unreadable(ValueError):
    """A file of values that is none, or too large; the message is one line."""


def read(path: Path, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Returns the arrays of an npz file by name, or those of some names.

    Only numbers are read: no object, no text, nothing that would have to be unpickled.

    Raises:
        Unreadable: If the file is no such archive, or its arrays are more or larger than values are.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise Unreadable("it is no regular file")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > MOST_ARRAYS:
                raise Unreadable(f"it holds {len(members):,} arrays, more than {MOST_ARRAYS:,}")
            total = sum(member.file_size for member in members)
            if total > MOST_BYTES:
                raise Unreadable(f"unpacked it takes {total / 2**20:,.0f} MiB, more than {MOST_BYTES // 2**20}")
            found = {_name(member): member for member in members}
            return {n: _array(archive, m) for n, m in found.items() if names is None or n in names}
    except Unreadable:
        raise
    except Exception as error:  # zipfile and NumPy raise a dozen kinds on a damaged file
        raise Unreadable(" ".join(f"{type(error).__name__}: {error}".split())[:200]) from error


def _name(member: zipfile.ZipInfo) -> str:
    name = member.filename.removesuffix(".npy")
    if not _NAME.fullmatch(name):
        raise Unreadable(f"{name[:80]!a} is no name of values")
    return name


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    from numpy.lib import format as npy

    with archive.open(member) as file:
        shape, _, dtype = _header(file)
        if dtype.kind not in "fiub":
            raise Unreadable(f"{member.filename} holds no numbers")
        if math.prod(shape) * dtype.itemsize > member.file_size:
            raise Unreadable(f"{member.filename} claims more numbers than it holds")
    with archive.open(member) as file:
        found: np.ndarray = npy.read_array(file, allow_pickle=False)
        return found


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    from numpy.lib import format as npy

    version = npy.read_magic(file)
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    if version not in readers:
        raise Unreadable(f"its format {version} is not known")
    return readers[version](file)
