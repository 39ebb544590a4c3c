"""A stage: a folder with toys, the command as a user calls it, and what is counted of a fault that is played there."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from suite.running.workspace import holder
from tests.faults.findings import Finding
from tests.faults.processes import MARK, alive, send, wait_for
from tests.toys import write_baseline, write_task

ROOT = Path(__file__).resolve().parents[2]

#: What every command here has in common.
OPTIONS = ("--path", "toys", "--budget", "smoke")

#: A score that says when it begins and takes its time.
SCORE = """import os, time
        with open(os.environ["FAULTS_STARTS"], "a") as log:
            log.write(f"{subject.model.name} {subject.seed} {os.getpid()}\\n")
        time.sleep(float(os.environ["FAULTS_PAUSE"]))
        while os.path.exists(os.environ["FAULTS_HOLD"]): time.sleep(0.05)"""

#: Statuses that stand, and the files of a workspace that only a run in progress may have.
SETTLED, UNFINISHED = ("ok", "unsupported"), (".run-*", ".trial-*", ".*.tmp", "*/.*.tmp", "checkpoints/*/.*.tmp")

#: How long what was told to end may take to be gone.
GRACE = 5.0


class Driver:
    """One call of ``suite run``; what it prints goes to files, so that nobody has to read along."""

    def __init__(self, stage: Stage, arguments: Sequence[str], code: str) -> None:
        number = len(stage.drivers)
        self.out, self.err = stage.folder / f"out-{number}.txt", stage.folder / f"err-{number}.txt"
        program = ["-c", f"{code}\nfrom suite.cli.app import command; command()"] if code else ["-m", "suite"]
        command = [sys.executable, *program, "run", *OPTIONS, *arguments]
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = subprocess.Popen(
                command, cwd=stage.folder, env=stage.env, stdout=out, stderr=err, start_new_session=True
            )
        self.began = time.time()

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait(self, seconds: float = 480.0) -> int:
        """Waits for the command's end and returns its exit code."""
        return self.process.wait(seconds)

    def running(self) -> bool:
        return self.process.poll() is None

    def said(self) -> str:
        return self.out.read_text(errors="replace") + self.err.read_text(errors="replace")


class Stage:
    """A folder of its own below a short path, since Ray's sockets lie in its folder for temporary files.

    Attributes:
        arguments: Of every command: what is run, and how.
        hold: While this file is there no cell ends.
    """

    def __init__(self, *arguments: str, seeds: int = 6, pause: float = 0.5, trust: bool = True) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="f-", dir="/tmp"))
        self.workspace, self.temporary = self.folder / "runs", self.folder / "tmp"
        self.hold = self.folder / "hold"
        self.temporary.mkdir()
        self.arguments = ["-t", "error", "-b", "toy", "--seeds", f"0-{seeds - 1}", *arguments]
        self.arguments += ["--trust"] if trust else []
        self.drivers: list[Driver] = []
        self.kept: dict[str, bytes] = {}
        self.fault_at = 0.0
        self.expected = {("toy", seed): "ok" for seed in range(seeds)}
        self.env = os.environ | {
            MARK: str(self.folder),
            "TMPDIR": str(self.temporary),
            "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
            "OMP_NUM_THREADS": "1",
            "FAULTS_STARTS": str(self.folder / "starts.txt"),
            "FAULTS_PAUSE": str(pause),
            "FAULTS_HOLD": str(self.hold),
        }
        self.env.pop("MLFLOW_TRACKING_URI", None)
        (self.folder / "starts.txt").touch()
        write_task(self.folder / "toys", score=SCORE)
        write_baseline(self.folder / "toys", "Toy")

    def add(self, name: str, status: str, **code: str) -> None:
        """Adds a model that misbehaves, with one seed like any other, and what its cells are to be."""
        write_baseline(self.folder / "toys", name, **code)
        self.arguments[:0] = ["-b", name.lower()]
        for _, seed in list(self.expected):
            self.expected[name.lower(), seed] = status

    def start(self, *more: str, code: str = "") -> Driver:
        """Starts the command, after some code in its process."""
        if not any(a == "--tracking" for a in [*self.arguments, *more]):
            more = (*more, "--tracking", "off")
        driver = Driver(self, [*self.arguments, *more], code)
        self.drivers.append(driver)
        return driver

    def again(self, *more: str, code: str = "") -> Driver:
        """Runs the same command to its end."""
        driver = self.start(*more, code=code)
        driver.wait()
        return driver

    def files(self) -> dict[str, Path]:
        return {path.name: path for path in (self.workspace / "records").glob("[0-9a-f]*.json")}

    def records(self) -> dict[tuple[str, int], dict[str, Any]]:
        """Returns (model, seed) -> its record; conflicts, which nobody should have, under a seed below 0."""
        found = {}
        for name, path in self.files().items():
            with contextlib.suppress(FileNotFoundError):
                raw = json.loads(path.read_bytes())
                found[raw["baseline"], -1 if "conflict" in name else raw["seed"]] = raw
        return found

    def until(self, records: int, driver: Driver | None = None, seconds: float = 300.0) -> None:
        """Waits for so many records with an answer."""
        watched = driver or self.drivers[-1]
        wait_for(lambda: self.answers() >= records or not watched.running(), seconds, f"{records} records")

    def answers(self) -> int:
        return sum(raw["status"] in SETTLED for raw in self.records().values())

    @contextlib.contextmanager
    def fault(self) -> Iterator[None]:
        """Plays the fault inside the block; what is finished before it must stay as it is, to the byte."""
        self.kept = {
            name: path.read_bytes()
            for name, path in self.files().items()
            if json.loads(path.read_bytes())["status"] in SETTLED
        }
        self.fault_at = time.time()
        yield

    def says(self, pattern: str) -> str:
        """Returns the first line of any command that matches, without what is of this machine and this moment."""
        lines = (line for driver in self.drivers for line in driver.said().splitlines())
        return next((self.plain(line) for line in lines if re.search(pattern, line)), "")

    def last(self, pattern: str) -> str:
        """Returns the first line of the last command that matches."""
        lines = self.drivers[-1].said().splitlines()
        return next((self.plain(line) for line in lines if re.search(pattern, line)), "")

    def sqlite(self) -> str:
        """Returns the store of the stage's own workspace."""
        return f"sqlite:///{self.workspace}/mlflow.db"

    def sync(self, uri: str) -> int:
        """Returns how many records a store lacked; it lacks none afterwards."""
        command = [sys.executable, "-m", "suite", "sync", "--tracking", uri]
        done = subprocess.run(command, cwd=self.folder, env=self.env, capture_output=True, text=True, check=True)
        return int(done.stdout.split()[0])

    def plain(self, line: str) -> str:
        """Returns a line with the names of folders, hosts and processes replaced."""
        line = line.replace(str(self.folder), "DIR")
        line = re.sub(r"process \d+", "process PID", line)
        line = re.sub(r"\b[0-9a-f]{32}\b", "KEY", line)
        line = re.sub(r":\d{4,5}\b", ":PORT", line.replace(platform.node(), "HOST"))
        return " ".join(re.sub(r"\b(?:\d{1,3}\.){3}\d{1,3}\b", "ADDRESS", line).split())

    def finding(self, says: str, *, more_lost: int = 0, more_wrong: int = 0) -> Finding:
        """Counts what the fault has cost."""
        lost = sum(1 for name, data in self.kept.items() if not self._holds(name, data))
        return Finding(
            lost=lost + more_lost,
            wrong=self._wrong() + more_wrong,
            redone=self._redone(),
            seconds=self._recovery(),
            left=self.left(),
            says=says,
        )

    def _holds(self, name: str, data: bytes) -> bool:
        path = self.workspace / "records" / name
        return path.exists() and path.read_bytes() == data

    def _wrong(self) -> int:
        """Counts the cells that are not what they are without the fault; a cell more is wrong too."""
        found, clean = self.records(), undisturbed(len({seed for _, seed in self.expected}))
        wrong = len(found.keys() - self.expected.keys())
        for cell, status in self.expected.items():
            raw = found.get(cell, {})
            same = cell not in clean or raw.get("metrics") == clean[cell]["metrics"]
            wrong += raw.get("status") != status or not same
        return wrong

    def _redone(self) -> int:
        """Counts the cells whose scoring began more than once, by as much."""
        starts = Counter(cell for cell, _ in self._starts())
        return sum(starts.values()) - len(starts)

    def _starts(self) -> list[tuple[tuple[str, int], int]]:
        """Returns (model, seed) and process of every scoring that began, in order."""
        lines = [line.split() for line in (self.folder / "starts.txt").read_text().splitlines()]
        return [((name.lower(), int(seed)), int(pid)) for name, seed, pid in lines]

    def busy(self) -> int:
        """Waits until a cell is being scored and returns the process that does it."""

        def scoring() -> list[int]:
            done = self.records()
            return [pid for cell, pid in self._starts() if cell not in done]

        wait_for(scoring, what="a cell that is being scored")
        return scoring()[-1]

    def _recovery(self) -> float | None:
        """Returns the seconds from the fault, or from the command's new start, to the next answer; None for none."""
        new = [p.stat().st_mtime for name, p in self.files().items() if name not in self.kept]
        later = sorted(when for when in new if when > self.fault_at)
        if not later or not self.fault_at:
            return None
        since = [self.fault_at, *(d.began for d in self.drivers if self.fault_at < d.began < later[0])]
        return later[0] - max(since)

    def left(self) -> list[str]:
        """Returns what is still there that only a run in progress may have: processes, folders, files, locks."""
        with contextlib.suppress(TimeoutError):
            wait_for(lambda: not alive(self.folder), GRACE)
        found = [f"process {process.name()}" for process in alive(self.folder)]
        found += [path.name for pattern in UNFINISHED for path in self.workspace.glob(pattern)]
        found += [f"temporary {path.relative_to(self.temporary)}" for path in self.temporary.glob("*")]
        return found + (["lock"] if holder(self.workspace) else [])

    def close(self) -> None:
        """Ends what still runs and removes the folder."""
        for process in alive(self.folder):
            send(process.pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)


@functools.cache
def undisturbed(seeds: int) -> dict[tuple[str, int], dict[str, Any]]:
    """Returns the records of a run that nothing happens to."""
    stage = Stage("--executor", "local", seeds=seeds, pause=0.0)
    try:
        code = stage.again()
        if code.wait() != 0:
            raise RuntimeError(code.said())
        return stage.records()
    finally:
        stage.close()


def staged(play: Callable[[Stage], Finding], *arguments: str, **options: Any) -> Finding:
    """Plays a fault on a stage of its own."""
    stage = Stage(*arguments, **options)
    try:
        return play(stage)
    finally:
        stage.close()
