"""Mirrors records into runs, and never costs a score.

MLflow is a view: every run can be rebuilt from the records by ``suite sync``. A run is a trial, found by its
checkpoint key; a tag per task, written last, says which record it shows, so mirroring twice changes nothing.
"""

from __future__ import annotations

import importlib.util
import logging
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from suite.errors import UserError
from suite.tracking import mirror
from suite.tracking.addresses import OFF, first_line, resolve_uri, shown
from suite.tracking.store import Store, client, set_environment

if TYPE_CHECKING:
    from suite.records import Record

_logger = logging.getLogger(__name__)


class Tracker:
    """Mirrors records while a run goes on, in a thread of its own: no call to it waits or raises.

    MLflow's import, a new store's migrations (seconds) and each record (a tenth of a second on SQLite) would
    otherwise be paid by the driver, which has workers to feed. What could not be mirrored is kept, tried again
    with the next record and at the end, and left to ``suite sync`` after that.

    Args:
        uri: A tracking URI, ``"off"``, or None for ``MLFLOW_TRACKING_URI`` or the workspace's own store.
        workspace: The runs folder.
    """

    def __init__(self, uri: str | None, workspace: Path) -> None:
        self._uri = resolve_uri(uri, workspace)
        self.problem = ""
        set_environment()
        self._workspace = workspace
        self._queue: queue.SimpleQueue[Record | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._logged = self._mirrored = 0
        self._pending: list[Record] = []
        self._before: list[Record] = []
        self.mended = 0

    @property
    def uri(self) -> str:
        """The store, to show: without its password."""
        return shown(self._uri)

    @property
    def missed(self) -> int:
        """How many records are not in MLflow (yet)."""
        return self._logged - self._mirrored

    def log(self, record: Record) -> None:
        """Hands over a finished record; returns at once."""
        if self.uri == OFF:
            return
        self._logged += 1
        self._queue.put(record)
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="tracking", daemon=True)
            try:
                thread.start()
                self._thread = thread
            except RuntimeError as error:  # the system gives no more threads
                self._warn(error)

    def compare(self, records: Iterable[Record]) -> None:
        """Hands over what was there before: what the store lacks or shows otherwise of it is mirrored at the end."""
        self._before += records

    def close(self, timeout: float = 30.0) -> int:
        """Waits until everything is mirrored, at most ``timeout`` seconds; returns how many records are not."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(timeout)
        return self.missed

    def _work(self) -> None:
        store: Store | None = None
        last = False
        while not last:
            batch = [self._queue.get()]
            while not self._queue.empty():
                batch.append(self._queue.get())
            last = None in batch
            self._pending += [record for record in batch if record is not None]
            try:
                store = store or Store(self._uri, self._workspace)
                self._drain(store)
                if last:
                    self._mend(store)
            except Exception as error:
                self._warn(error)

    def _drain(self, store: Store) -> None:
        """Mirrors what is pending; what fails stays pending, and a store that is away ends the attempt."""
        waiting, self._pending = by_trial(self._pending), []
        while waiting:
            records = waiting.pop(0)
            try:
                store.mirror(records)
                self._mirrored += len(records)
            except Exception as error:
                self._warn(error)
                self._pending += records
                if not store.answers():
                    self._pending += [record for trial in waiting for record in trial]
                    return

    def _mend(self, store: Store) -> None:
        """Mirrors what a driver that was killed, or a server that was away, has left out."""
        for trial in store.unlike(by_trial(self._before)):
            self.mended += store.mirror(trial)

    def _warn(self, error: Exception) -> None:
        if not self.problem:
            self.problem = first_line(error, self._uri)
            _logger.warning("tracking: %s; the run goes on, `suite sync` mirrors the rest", self.problem)


def open_tracker(uri: str | None, workspace: Path, warn: Callable[[str], None]) -> Tracker | None:
    """Returns a tracker, or None where tracking is off or MLflow is not installed.

    Args:
        uri: As for ``Tracker``.
        workspace: The runs folder.
        warn: Takes a line where MLflow is missing.

    Raises:
        UserError: If the URI is no store.
    """
    tracker = Tracker(uri, workspace)
    if tracker.uri == OFF:
        return None
    if importlib.util.find_spec("mlflow") is None:
        warn("MLflow is not installed: nothing is tracked (--tracking off says so beforehand)")
        return None
    return tracker


@dataclass(frozen=True)
class Synced:
    """What a sync did: how many trials it saw, and how many records MLflow lacked."""

    uri: str
    trials: int
    written: int


def sync(workspace: Path, uri: str | None = None) -> Synced:
    """Mirrors every record of a workspace that the store does not have.

    Raises:
        UserError: If the store does not answer or refuses a record.
    """
    from suite.records import read_all

    chosen = resolve_uri(uri, workspace)
    if chosen == OFF:
        raise UserError(f"tracking is {OFF}: name a store with --tracking")
    trials = by_trial(read_all(workspace))
    try:
        store = Store(chosen, workspace)
        unlike = store.unlike(trials)
    except Exception as error:
        raise UserError(f"tracking store {shown(chosen)}: {first_line(error, chosen)}") from None
    written, problems = _mirror_all(store, unlike)
    if problems:
        refused = f"{len(problems)} of {len(trials)} trials not mirrored"
        raise UserError(f"tracking store {shown(chosen)}: {refused}: {first_line(problems[-1], chosen)}") from None
    return Synced(shown(chosen), len(trials), written)


def _mirror_all(store: Store, trials: Sequence[list[Record]]) -> tuple[int, list[Exception]]:
    """Returns how many records the store lacked, and why trials were refused; a store that is away ends the attempt."""
    written, problems = 0, []
    for trial in trials:
        try:
            written += store.mirror(trial)
        except Exception as error:
            problems.append(error)
            if not store.answers():
                break
    return written, problems


def run_tables(uri: str) -> dict[str, str]:
    """Returns the experiments of a store that hold runs of the suite: name -> id.

    Raises:
        UserError: If there is no such store.
    """
    try:
        found = client(uri).search_experiments()
    except Exception as error:
        raise UserError(f"tracking store {shown(uri)}: {first_line(error, uri)}") from None
    return {e.name: e.experiment_id for e in found if "/" in e.name}


def by_trial(records: Iterable[Record]) -> list[list[Record]]:
    """Returns the records grouped by trial, in order of first appearance."""
    trials: dict[str, list[Record]] = {}
    for record in records:
        trials.setdefault(mirror.trial_key(record), []).append(record)
    return list(trials.values())
