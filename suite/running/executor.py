"""How trials are executed: the options, who is told, and the executor that needs no Ray.

An executor runs trials and tells an observer of each record the moment it has it. Every cell of every trial
ends in exactly one record, also where a trial is killed or out of time; an interrupt leaves cells without.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from suite import records
from suite.errors import TrialTimeout, UserError
from suite.running import limits

if TYPE_CHECKING:
    from suite.planning import Cell, Trial
    from suite.records import Record

EXECUTORS = ("ray", "local")
DEVICES = ("auto", "cpu", "cuda")

#: The most that an option may say (of time, a century): what lies beyond is a slip of the keyboard, and no number that
#: the system's own calls take.
MOST = {"workers": 1e6, "threads": 1e6, "timeout": 3.2e9, "memory": 1e9, "gpus_per_trial": 1e6}

#: GiB: what Python, torch and a small model take. Under less no trial could begin.
LEAST_MEMORY = 0.5

#: Beginning of the name of the file, in the workspace, that tells of a trial that ended its process.
NOTE = ".trial-"


@dataclass(frozen=True)
class Execution:
    """The options of a run that don't touch its numbers' meaning.

    Attributes:
        executor: ``"ray"``, or ``"local"``: one trial after the other in this process.
        workers: Trials at once; None for as many as there are cores.
        threads: CPU threads (and Ray CPUs) of each trial.
        gpus_per_trial: Share of a GPU that each trial gets.
        address: An existing Ray cluster to join; None starts a private one on this machine.
        shared: Whether every node sees the workspace and the data at the driver's paths.
        device: ``"auto"`` takes the GPU that was granted, else the CPU.
        fresh: A process of its own for each trial, instead of warm workers.
        timeout: Seconds a trial may take.
        memory: GiB a trial may hold.
        trust: Models from outside run in the trial's own process, for a debugger; their records say so.
        noise: The secret that a guest's record has revealed, to repeat its numbers; empty draws a new one.
    """

    executor: str = "ray"
    workers: int | None = None
    threads: int = 1
    gpus_per_trial: float = 0.0
    address: str | None = None
    shared: bool = True
    device: str = "auto"
    fresh: bool = False
    timeout: float | None = None
    memory: float | None = None
    trust: bool = False
    noise: str = ""

    def __post_init__(self) -> None:
        """Checks every option.

        Raises:
            UserError: Naming the option that makes no sense.
        """
        _one_of("--executor", self.executor, EXECUTORS)
        _one_of("--device", self.device, DEVICES)
        for name in ("workers", "threads", "timeout", "memory"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, str) or not value > 0):
                raise UserError(f"--{name} must be above 0, not {value}")
            if value is not None and value > MOST[name]:
                raise UserError(f"--{name} must be at most {MOST[name]:,.0f}, not {value}")
        if self.memory is not None and self.memory < LEAST_MEMORY:
            raise UserError(f"--memory must be at least {LEAST_MEMORY:g} (GiB), not {self.memory:g}")
        gpus = self.gpus_per_trial
        if not 0 <= gpus <= MOST["gpus_per_trial"] or (gpus > 1 and gpus != int(gpus)):
            raise UserError(f"--gpus-per-trial must be a share up to 1 or a whole number, not {gpus}")
        if self.executor == "ray" and self.device == "cuda" and not gpus:
            raise UserError("--device cuda needs --gpus-per-trial, so that Ray grants the trials a GPU")
        if self.executor == "local":
            self._check_local()

    def _check_local(self) -> None:
        given = {"--address": self.address, "--fresh": self.fresh, "--gpus-per-trial": self.gpus_per_trial}
        given |= {"--no-shared": not self.shared}
        for name, value in given.items():
            if value:
                raise UserError(f"{name} needs --executor ray")
        if self.workers not in (None, 1):
            raise UserError("--executor local runs one trial at a time; --workers needs --executor ray")

    @property
    def at_once(self) -> int:
        """How many trials run at once on this machine."""
        if self.executor == "local":
            return 1
        return self.workers or max(1, cores() // self.threads)

    def apply(self, trial: Trial) -> Trial:
        """Returns the trial with these options in it."""
        return dataclasses.replace(
            trial,
            threads=self.threads,
            device=self.device,
            timeout=self.timeout,
            trust=self.trust,
            noise="" if trial.baseline.built_in else self.noise,
        )


class Observer(Protocol):
    """Who is told of a run's progress, in the driver's main thread."""

    def started(self, trial: Trial, where: str) -> None:
        """A trial has begun on a worker."""

    def event(self, trial: Trial, event: dict[str, Any]) -> None:
        """A trial says what it does (``phase``) or warns (``warning``)."""

    def record(self, trial: Trial, record: Record) -> None:
        """A cell has ended."""

    def ended(self, trial: Trial) -> None:
        """A trial has ended, and every cell of it has a record."""


class Tally:
    """Passes on what one trial reports and knows which of its cells have no record yet.

    Attributes:
        closed: Whether every cell has a record.
        again: Whether its node has died and it is to run on another.
        node: What Ray calls the node that it was begun on; empty where nobody has said.
        lost: The machines that died with it.
        left: Key -> cell that has no record yet.
    """

    def __init__(self, trial: Trial, observer: Observer) -> None:
        self.trial = trial
        self.closed = self.again = False
        self.node = ""
        self.lost: list[str] = []
        self._began = ""
        self._env: dict[str, Any] = {}
        self.left: dict[str, Cell] = {cell.key: cell for cell in trial.cells}
        self._observer = observer

    @property
    def host(self) -> str:
        """The machine that the trial was begun on; empty before."""
        return str(self._env.get("host", ""))

    def start(self, where: str, env: dict[str, Any] | None = None) -> None:
        """The trial has begun, in an environment as records have it (None: this process's)."""
        self._began = records.now()
        self._env = env or records.environment()
        self._observer.started(self.trial, where)

    def event(self, event: dict[str, Any]) -> None:
        """The trial says something."""
        self._observer.event(self.trial, event)

    def record(self, record: Record) -> None:
        """A cell of the trial has ended."""
        if self.left.pop(record.key, None) is not None:
            self._observer.record(self.trial, record)

    def refuse(self, host: str, fault: str) -> None:
        """A machine may not run the trial: its numbers would not be this driver's."""
        self.start(host, {"host": host})
        self.close("killed", f"machine {host} was refused: it {fault}")

    def on(self, node: str, host: str) -> None:
        """The trial runs on a node, by Ray's name for it, and on a machine."""
        if node:
            self.node = node
            self._env.setdefault("host", host)

    def lose(self, runs: int) -> None:
        """The trial's node has died: it is to run again where it has not yet run so often, else it ends."""
        self.lost.append(self.host or "an unknown one")
        self.again = len(self.lost) < runs
        if not self.again:
            self.close("killed", self.losses + (f"; it was run {runs} times" if runs > 1 else ""))
            return
        self._env = {}
        self.event({"warning": f"the node {self.lost[-1]} died; {self.trial.name} runs again on another"})
        self.event({"phase": "waits for another node"})

    @property
    def losses(self) -> str:
        """Which nodes died with the trial, in a few words."""
        names = " and ".join(filter(None, [", ".join(self.lost[:-1]), self.lost[-1]]))
        return f"the node{'s' if len(self.lost) > 1 else ''} {names} died"

    def close(self, status: str = "killed", reason: str = "the trial ended without a record", stack: str = "") -> None:
        """The trial has ended: cells without a record get this one. A second call changes nothing."""
        if self.closed:
            return
        trial = self.trial
        for cell in list(self.left.values()):
            record = cell.ended(
                trial.baseline,
                trial.tasks[cell.task],
                status,
                reason=reason,
                traceback=stack,
                device=trial.device,
                threads=trial.threads,
                started=self._began,
            )
            record.env |= self._env
            self.record(record)
        self.closed = True
        self._observer.ended(self.trial)


def run_local(trials: Sequence[Trial], observer: Observer, execution: Execution) -> None:
    """Runs the trials one after the other in this process.

    Raises:
        UserError: If the device that was asked for is not there.
    """
    import torch

    from suite.running.trial import run_trial

    if execution.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: there is no usable GPU here")
    for trial in trials:
        tally = Tally(execution.apply(trial), observer)
        tally.start("this process")
        note = Path(trial.workspace) / f"{NOTE}{trial.checkpoint_key[:32]}"
        if note.is_file():  # it ended the process that ran it last
            status, _, stack = limits.cause_of_death(note, 0.0)
            if status == "timeout":
                tally.close(status, "not done in time, and it did not let itself be stopped", stack)
                continue
        try:
            with (
                limits.alarm(execution.timeout, partial(_warn_of_end, tally)),
                limits.last_resort(note, execution.timeout),
                limits.memory(execution.memory),
            ):
                run_trial(tally.trial, tally.record, tally.event)
        except TrialTimeout as error:
            tally.close("timeout", str(error))
        else:
            tally.close()


def _warn_of_end(tally: Tally) -> None:
    """Tells that a trial goes on beyond its time: nothing but its process can be stopped."""
    tally.event(
        {
            "warning": f"{tally.trial.name} goes on beyond its time: in {limits.GRACE:g} s this process ends with it; "
            "the same command then goes on with the next"
        }
    )


def cores() -> int:
    """Returns how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _one_of(option: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        from suite.errors import nearest

        raise UserError(f"{option} '{value}' is unknown{nearest(value, choices)}")
