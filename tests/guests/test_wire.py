"""The wire takes what keeps its rules to the bit, and whatever does not is one kind of error, never more memory."""

from __future__ import annotations

import json
import socket
import threading
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.guests import wire
from suite.guests.wire import HEADER, MAGIC, Closed, Frame, TimedOut, WireError, receive, send


def across(frame: Frame) -> Frame:
    here, there = socket.socketpair()
    with here, there:
        writer = threading.Thread(target=send, args=(here, frame))
        writer.start()
        found = receive(there, time.monotonic() + 10)
        writer.join()
    return found


def raw(data: bytes) -> Frame:
    """What is received where these bytes arrive and then nothing."""
    here, there = socket.socketpair()
    with there:
        with here:
            here.sendall(data)
        return receive(there, time.monotonic() + 10)


def framed(text: object, payload: bytes = b"", kind: bytes = b"x", length: int | None = None) -> bytes:
    encoded = text if isinstance(text, bytes) else json.dumps(text).encode()
    n = len(payload) if length is None else length
    return HEADER.pack(MAGIC, kind.ljust(12), len(encoded), n) + encoded + payload


@pytest.mark.parametrize("dtype", wire.DTYPES.values(), ids=str)
def test_tensors_of_every_type_and_layout_arrive_bit_for_bit(dtype: torch.dtype) -> None:
    tensors = [
        (torch.randn(3, 4, 5) * 3).to(dtype),
        torch.randn(6, 4).to(dtype).T,  # not contiguous
        torch.empty(0, 7, dtype=dtype),
        torch.tensor(2).to(dtype),
    ]
    found = across(Frame("values", {"a": [1, None, "é"]}, tensors))
    assert found.kind == "values"
    assert found.text == {"a": [1, None, "é"]}
    for sent, arrived in zip(tensors, found.tensors, strict=True):
        assert arrived.dtype == dtype
        assert arrived.shape == sent.shape
        assert arrived.is_contiguous()
        assert torch.equal(arrived, sent)


def test_not_a_number_and_the_infinities_cross_as_they_are() -> None:
    odd = torch.tensor([float("nan"), float("inf"), -0.0])
    (found,) = across(Frame("x", None, [odd])).tensors
    assert found.view(torch.int32).tolist() == odd.view(torch.int32).tolist()


def test_a_type_that_does_not_cross_is_refused_before_anything_is_sent() -> None:
    here, there = socket.socketpair()
    with here, there:
        with pytest.raises(WireError, match="complex64"):
            send(here, Frame("x", None, [torch.zeros(1, dtype=torch.complex64)]))
        there.setblocking(False)
        with pytest.raises(BlockingIOError):
            there.recv(1)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n" + b" " * 64,
        framed([None, [["float32", [2]]]], b"1234"),  # fewer bytes than the layout says
        framed([None, [["float32", [1]]]], b"12345678"),  # more
        framed([None, [["float32", [-1]]]]),
        framed([None, [["float32", [1.0]]]], b"1234"),
        framed([None, [["float32", [True]]]], b"1234"),
        framed([None, [["object", [1]]]], b"1234"),
        framed([None, [["uint8", [1] * 17]]], b"1"),
        framed([None, [["uint8", [0]]] * 5_000]),
        framed([None, "float32"]),
        framed([None]),
        framed(b"[" * 100_000),
        framed(b"\xff\xfe"),
        framed([None, [["uint8", [4]]]], b"12"),  # ends in the middle
        HEADER.pack(MAGIC, b"x".ljust(12), 2**32 - 1, 0),
        HEADER.pack(MAGIC, b"x".ljust(12), 0, 2**63),
    ],
)
def test_a_frame_that_breaks_the_rules_is_one_kind_of_error(data: bytes) -> None:
    with pytest.raises(WireError):
        raw(data)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_that(data: bytes) -> None:
    with pytest.raises(WireError):
        raw(data)


@settings(max_examples=200, deadline=None)
@given(st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda x: st.lists(x, max_size=4), max_leaves=20))
def test_no_text_does_more_than_that(text: object) -> None:
    try:
        found = raw(framed(text))
    except WireError:
        return
    assert found.tensors == [] or all(tensor.numel() == 0 for tensor in found.tensors)


def test_an_end_between_frames_is_told_from_one_within() -> None:
    with pytest.raises(Closed):
        raw(b"")
    with pytest.raises(WireError) as caught:
        raw(MAGIC)
    assert not isinstance(caught.value, Closed)


def test_silence_ends_at_the_deadline_also_where_bytes_trickle() -> None:
    here, there = socket.socketpair()
    stop = threading.Event()

    def trickle() -> None:
        for byte in framed([None, []], b""):
            if stop.wait(0.05):
                return
            here.send(bytes([byte]))

    with here, there:
        writer = threading.Thread(target=trickle)
        writer.start()
        began = time.monotonic()
        with pytest.raises(TimedOut):
            receive(there, began + 0.3)
        assert time.monotonic() - began < 5
        stop.set()
        writer.join()
