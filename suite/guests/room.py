"""The referee's side of one guest process: opens it, seats it, asks it, and ends it.

A room is a container with a keeper inside (``suite.guests.player``). A sitting is a process that the keeper forks.
Nothing that it sends is believed: every answer is a bounded frame of the kind that was asked for, or an error.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from suite.errors import ContractError, MachineFault, UserError
from suite.files import TemporaryFolder
from suite.guests import containment
from suite.guests.wire import MOST_BYTES, Closed, Frame, TimedOut, WireError, receive, send

#: Seconds in which a keeper must be ready.
READY_SECONDS = 120.0
#: Seconds that one answer may take where nothing else is said.
ANSWER_SECONDS = 600.0
#: Commands to a keeper that may wait for their answer, and bytes that a sitting's connection holds.
MOST_DUE, BUFFER_BYTES = 16, 2**20
#: Bytes of address space of a sitting beyond the largest need of the repository's own models on a CPU.
MEMORY_BYTES = 16 * 2**30


class GuestDied(Exception):
    """A guest's process ended, or did not answer in time: the model's own doing, or its limit's."""


@dataclass(frozen=True)
class Job:
    """All that a keeper holds: the source and what the model is built with.

    Attributes:
        source: The fields of ``suite.plugins.Source`` but its files.
        files: Name -> bytes.
        params: Of the constructor.
        spec: ``DataSpec`` as a dict.
        seed: The trial's.
        threads: Of torch.
        state: The weights; empty before training.
    """

    source: dict[str, Any]
    files: dict[str, bytes]
    params: dict[str, Any]
    spec: dict[str, Any]
    seed: int
    threads: int
    state: dict[str, Tensor]

    def frame(self, name: str = "") -> Frame:
        """Returns the job as the keeper takes it, under a name."""
        import torch

        text = {
            "job": name,
            "source": repr(self.source),  # JSON would make lists of tuples
            "files": list(self.files),
            "params": repr(self.params),
            "spec": self.spec,
            "seed": self.seed,
            "threads": self.threads,
            "state": list(self.state),
            "origin": self.source["origin"],
        }
        raw = [torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)
               for data in self.files.values()]  # fmt: skip
        return Frame("job", text, [*raw, *self.state.values()])


class Room:
    """One container with a keeper in it.

    Args:
        walls: From ``containment.available``.
        memory: Bytes of address space of a sitting; None for no limit.
    """

    def __init__(self, walls: containment.Containment, memory: int | None = MEMORY_BYTES) -> None:
        self._memory, self._filter = memory, walls.filter
        self._here, there = socket.socketpair()
        inner = [sys.executable, "-m", "suite.guests.player", str(there.fileno())]
        inner.append("filtered" if walls.filter else "open")
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # as long as the room
        self._scratch = TemporaryFolder()
        self._process = subprocess.Popen(
            containment.command(walls, inner),
            pass_fds=[there.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env={**containment.environment(), "TMPDIR": str(self._scratch.path)},
            cwd="/",
            start_new_session=True,
        )
        there.close()
        self._sitting: socket.socket | None = None
        self._playing, self._sat = "", False
        self._due = ["ready"]
        self.deadline: float | None = None
        self.counts = False  # whether a sitting that opens counts the operations of its answers

    def give(self, job: Job, name: str = "") -> None:
        """Hands the keeper a source and weights under a name; ends the sitting."""
        self.rise()
        self._tell(job.frame(name))

    def sit(self, name: str = "", *, early: bool = False, watch: bool = False) -> None:
        """Opens a sitting anew: nothing of the one before is left.

        Args:
            name: Of the job that is played.
            early: Whether it builds the model at once, while nobody has asked yet.
            watch: Whether it notes what the guest opens and whom it calls.
        """
        self._close()
        mine, theirs = socket.socketpair()
        for end in (mine, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        told = {"memory": self._memory, "filter": self._filter, "job": name, "early": early, "watch": watch}
        self._tell(Frame("sit", told | {"count": self.counts}))
        try:
            socket.send_fds(self._here, [b"f"], [theirs.fileno()])
        except OSError as error:
            raise self._ended(f"the keeper of the guest ended: {self.last_words() or error}") from error
        finally:
            theirs.close()
        self._sitting, self._playing, self._sat = mine, name, True

    def rise(self) -> None:
        """Has the sitting ended, if there is one; ``settle`` waits until it has."""
        if self._sitting is not None:
            self._close()
            self._tell(Frame("end"))

    @property
    def open(self) -> bool:
        """Whether a sitting is there."""
        return self._sitting is not None

    def emptied(self) -> None:
        """Waits until the sittings that were ended have ended; a keeper that still starts has none."""
        if self._sat:
            self.settle()

    def settle(self) -> None:
        """Waits until the keeper has done all that it was told."""
        deadline = self._until(READY_SECONDS)
        while self._due:
            try:
                answer = receive(self._here, deadline)
            except WireError as error:
                raise self._ended(f"the keeper of the guest ended: {self.last_words() or error}") from error
            if answer.kind != self._due.pop(0):
                raise GuestDied(f"the keeper of the guest answered '{_plain(answer.kind)}'")

    def seated(self, name: str) -> bool:
        """Whether a sitting is open that plays this job."""
        return self._sitting is not None and self._playing == name

    def ask(
        self,
        request: Frame,
        kind: str,
        seconds: float = ANSWER_SECONDS,
        told: Callable[[Any], None] | None = None,
        most_bytes: int = MOST_BYTES,
    ) -> Frame:
        """Asks the sitting and returns its answer.

        Args:
            request: What is asked.
            kind: Which kind of frame answers.
            seconds: How long it may take.
            told: Takes the text of frames of the kind ``progress``.
            most_bytes: Of the answer's tensors.

        Raises:
            ContractError: With what the guest raised, or what its answer breaks.
            GuestDied: If it ended or did not answer in time.
            MachineFault: If the keeper had not even started.
        """
        assert self._sitting is not None
        deadline = self._until(seconds)
        try:
            send(self._sitting, request, deadline)
            answer = receive(self._sitting, deadline, most_bytes)
            while answer.kind == "progress":
                if told is not None:
                    told(answer.text)
                answer = receive(self._sitting, deadline, most_bytes)
        except Closed as error:
            raise self._ended(f"the guest's process ended ({self.last_words() or 'without a word'})") from error
        except TimedOut as error:
            raise self._ended(f"no answer to '{request.kind}' in time") from error
        except WireError as error:
            raise ContractError(f"{request.kind}: {error}") from error
        if answer.kind == "error":
            raise ContractError(_cleaned(answer.text))
        if answer.kind != kind:
            raise ContractError(f"{request.kind}: the guest answered with '{_plain(answer.kind)}'")
        return answer

    def close(self) -> None:
        """Ends the room and all that is in it."""
        self._close()
        self._here.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()
        self._scratch.close()

    def last_words(self) -> str:
        """Returns the last line that was printed inside."""
        self._log.seek(0)
        lines = self._log.read()[-4_000:].decode("utf-8", "replace").strip().splitlines()
        return _plain(lines[-1]) if lines else ""

    def _close(self) -> None:
        if self._sitting is not None:
            self._sitting.close()
            self._sitting = None

    def _ended(self, what: str) -> Exception:
        """The error of a room that ended: no line of a guest is read before its keeper has started."""
        return GuestDied(what) if self._started() else MachineFault(f"no process for a guest could be started: {what}")

    def _started(self) -> bool:
        """Whether the keeper has said that it is ready, or says so now."""
        if self._due[:1] == ["ready"]:
            try:
                if receive(self._here, time.monotonic() + 1.0).kind == "ready":
                    self._due.pop(0)
            except WireError:
                pass
        return self._due[:1] != ["ready"]

    def _until(self, seconds: float) -> float:
        until = time.monotonic() + seconds
        return until if self.deadline is None else min(until, self.deadline)

    def _tell(self, command: Frame) -> None:
        """Tells the keeper; that it is done is heard later, for meanwhile the referee has work of its own."""
        if len(self._due) > MOST_DUE:
            self.settle()
        try:
            send(self._here, command, self._until(READY_SECONDS))
        except WireError as error:
            raise self._ended(f"the keeper of the guest ended: {self.last_words() or error}") from error
        self._due.append("done")


def _cleaned(told: Any) -> str:
    """The text of a guest's error as one line of plain characters."""
    fields = told if isinstance(told, dict) else {}
    kind, text, where = (_plain(str(fields.get(name, ""))) for name in ("type", "text", "where"))
    kind = "" if kind in (ContractError.__name__, UserError.__name__) else kind  # it is raised again as the former
    where = "" if where and text.startswith(where) else where
    return ": ".join(part for part in (where, kind, text) if part)[:500]


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^\x20-\x7e -\uffef]", " ", text).split())


def of_source(source: Any) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Returns a ``suite.plugins.Source`` as the fields and files of a job."""
    fields = {name: getattr(source, name) for name in ("kind", "name", "attribute", "entry", "digest")}
    fields |= {"static": dict(source.static), "declared": dict(source.declared)}
    return {**fields, "origin": Path(source.origin).name}, dict(source.files)
