"""The wire between the referee and a guest: frames of raw tensors in a fixed layout, bounded, and no pickle.

A frame is a header (magic, kind, two lengths), a JSON text that names what is sent, and the tensors' bytes one after
the other, C-contiguous. Nothing of it is trusted: lengths are checked before a byte is read, the layout before a
tensor is made, and what does not fit is a ``WireError``. A guest's distributions cross as the name of their family
and their parameters; they are built anew by ``suite.measuring``, which validates them.
"""

from __future__ import annotations

import contextlib
import json
import math
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

MAGIC = b"LSG1"
HEADER = struct.Struct("<4s12sIQ")
#: Most bytes of the text and of the tensors of one frame, and most tensors in it.
MOST_TEXT, MOST_BYTES, MOST_TENSORS = 2**20, 2**33, 4_096
#: Bytes for which memory is made before they arrive.
PIECE = 2**22
#: Most elements of the shape of a tensor.
MOST_DIMENSIONS = 16

#: Name on the wire <-> type. No other type crosses.
DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "int64": torch.int64,
    "int32": torch.int32,
    "uint8": torch.uint8,
    "bool": torch.bool,
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


class WireError(Exception):
    """A frame that breaks the rules, or a connection that ended in the middle of one."""


class Closed(WireError):
    """The other side is gone: no frame began."""


class TimedOut(WireError):
    """The other side did not answer in time."""


@dataclass(frozen=True)
class Frame:
    """One message.

    Attributes:
        kind: What it is, at most 12 ASCII letters.
        text: Anything JSON can hold.
        tensors: On the CPU.
    """

    kind: str
    text: Any = None
    tensors: list[Tensor] = field(default_factory=list)


def send(connection: socket.socket, frame: Frame, deadline: float | None = None) -> None:
    """Writes a frame.

    Args:
        connection: A stream socket.
        frame: What to send; tensors of any strides, sent contiguous.
        deadline: On ``time.monotonic()``'s clock; None waits for ever.

    Raises:
        WireError: If it is too large, holds a type that does not cross, or the connection is gone.
        TimedOut: If the deadline passes.
    """
    tensors = [tensor.detach().cpu().contiguous() for tensor in frame.tensors]
    for tensor in tensors:
        if tensor.dtype not in _NAMES:
            raise WireError(f"{tensor.dtype} cannot be sent")
    layout = [[_NAMES[tensor.dtype], list(tensor.shape)] for tensor in tensors]
    text = json.dumps([frame.text, layout], allow_nan=False).encode()
    size = sum(tensor.nbytes for tensor in tensors)
    if len(text) > MOST_TEXT or size > MOST_BYTES or len(tensors) > MOST_TENSORS:
        raise WireError(f"a frame of {len(text)} bytes of text and {size} of tensors is too large")
    with _until(connection, deadline):
        connection.sendall(HEADER.pack(MAGIC, frame.kind.encode().ljust(12), len(text), size) + text)
        for tensor in tensors:
            if tensor.nbytes:
                connection.sendall(tensor.flatten().view(torch.uint8).numpy().data)


def receive(connection: socket.socket, deadline: float | None = None, most_bytes: int = MOST_BYTES) -> Frame:
    """Reads a frame.

    Args:
        connection: A stream socket.
        deadline: On ``time.monotonic()``'s clock; None waits for ever.
        most_bytes: Most bytes of tensors that are accepted.

    Raises:
        Closed: If the connection ended before a frame began.
        TimedOut: If the deadline passes.
        WireError: If the frame breaks the rules.
    """
    with _until(connection, deadline) as left:
        header = _read(connection, HEADER.size, left)
        magic, kind, n_text, n_bytes = HEADER.unpack(bytes(header))
        if magic != MAGIC or n_text > MOST_TEXT or n_bytes > min(most_bytes, MOST_BYTES):
            raise WireError("not a frame, or one that is too large")
        text, layout = _parse(bytes(_read(connection, n_text, left)))
        sizes = _sizes(layout, n_bytes)
        tensors = []
        for (dtype, shape), size in zip(layout, sizes, strict=True):
            raw = _read(connection, size, left)
            flat = torch.frombuffer(raw, dtype=DTYPES[dtype]) if size else torch.empty(0, dtype=DTYPES[dtype])
            tensors.append(flat.reshape(shape))
    return Frame(kind.decode("ascii", "replace").strip(), text, tensors)


@contextlib.contextmanager
def _until(connection: socket.socket, deadline: float | None):  # type: ignore[no-untyped-def]
    """Turns what a socket raises into the wire's own errors; yields a function that gives the seconds left."""

    def left() -> None:
        if deadline is None:
            connection.settimeout(None)
            return
        seconds = deadline - time.monotonic()
        if seconds <= 0:
            raise TimedOut("no answer in time")
        connection.settimeout(seconds)

    try:
        left()
        yield left
    except TimeoutError as error:
        raise TimedOut("no answer in time") from error
    except OSError as error:
        raise Closed(f"the connection is gone: {error.strerror or error}") from error


def _read(connection: socket.socket, n: int, left: Any) -> bytearray:
    """Reads exactly n bytes into memory that grows only as they arrive."""
    data, have = bytearray(min(n, PIECE)), 0
    while have < n:
        if have == len(data):
            data.extend(bytes(min(n - have, max(have, PIECE))))
        left()
        with memoryview(data) as view:
            got = connection.recv_into(view[have:])
        if not got:
            raise WireError("the connection ended within a frame") if have else Closed("the connection is gone")
        have += got
    return data


def _parse(text: bytes) -> tuple[Any, list[tuple[str, list[int]]]]:
    try:
        found = json.loads(text)
        content, layout = found
        for dtype, shape in layout:
            if dtype not in DTYPES or len(shape) > MOST_DIMENSIONS:
                raise ValueError(f"{dtype!r}")
            if not all(type(n) is int and n >= 0 for n in shape):
                raise ValueError("shape")
        if len(layout) > MOST_TENSORS:
            raise ValueError("too many tensors")
    except (ValueError, TypeError, RecursionError) as error:
        raise WireError("a frame whose text breaks the layout") from error
    return content, layout


def _sizes(layout: list[tuple[str, list[int]]], total: int) -> list[int]:
    """Returns the bytes of each tensor, where together they are all that was announced."""
    sizes = [math.prod(shape) * DTYPES[dtype].itemsize for dtype, shape in layout]
    if sum(sizes) != total:
        raise WireError("a frame whose tensors are not as long as they say")
    return sizes


# --- what crosses: values, groups, distributions -----------------------------------------------------------------


def pack_values(values: Mapping[str, Tensor]) -> tuple[list[str], list[Tensor]]:
    """Returns the names and the tensors of values, in their order."""
    return list(values), list(values.values())


def unpack_values(names: Any, tensors: list[Tensor]) -> dict[str, Tensor]:
    """Returns values by name.

    Raises:
        WireError: If the names are no names, or not as many as there are tensors.
    """
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(names) != len(tensors):
        raise WireError("values without a name each")
    return dict(zip(names, tensors, strict=True))
