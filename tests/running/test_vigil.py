"""A part of Ray that no longer answers is told once, and one that does is not."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from suite.running import vigil


def test_a_part_that_no_longer_answers_is_told_once_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vigil, "INTERVAL", 0.02)
    told: list[str] = []
    heard = threading.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=100) as here, socket.create_server(("127.0.0.1", 0)) as away:
        parts = {"Ray's head": here.getsockname(), "Ray's daemon": away.getsockname()}
        port = parts["Ray's daemon"][1]
        with vigil.watched(parts, lambda cause: (told.append(cause), heard.set())):
            time.sleep(0.3)
            assert told == []
            away.close()
            assert heard.wait(10)
            time.sleep(0.3)
    assert told == [f"Ray's daemon at 127.0.0.1:{port} no longer answers"]


def test_after_the_block_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vigil, "INTERVAL", 0.02)
    told: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server, vigil.watched({"it": server.getsockname()}, told.append):
        pass
    time.sleep(0.3)
    assert told == []
