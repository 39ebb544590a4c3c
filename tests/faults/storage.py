"""Faults of the disk: full, and files of a workspace that were cut short or have a flipped bit."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.faults.findings import Finding, row, skipped
from tests.faults.stage import Stage, staged


@row("the workspace full", tested=True)
def workspace_full() -> Finding:
    def play(stage: Stage) -> Finding:
        stage.workspace.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(stage.workspace)]
        if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
            return skipped("no file system can be mounted here")
        try:
            driver = stage.start()
            stage.until(2)
            with stage.fault():
                _fill(stage.workspace / "filler")
            driver.wait()
            (stage.workspace / "filler").unlink()
            stage.again()
            return stage.finding(stage.says("No space left"))
        finally:
            subprocess.run(["umount", "--lazy", str(stage.workspace)], check=False)

    return staged(play, "--workers", "2")


def _fill(path: Path) -> None:
    """Takes all the room that there is."""
    with path.open("wb", buffering=0) as file:
        for size in (2**16, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flipped(data: bytes) -> bytes:
    """Flips a bit in the middle; of values, in the array that the board reads."""
    place = data.find(b"error.npy") + 100 if b"error.npy" in data else len(data) // 2
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def _damaged(pattern: str, damage: Callable[[bytes], bytes], says: str, also: str = "", calls: int = 1) -> Finding:
    """Plays damage to the first file that matches, in a workspace at rest; ``also`` names what goes as well."""

    def play(stage: Stage) -> Finding:
        stage.add("Other", "ok")  # the values of two models are read, to compare them
        stage.again()
        with stage.fault():
            path = sorted(stage.workspace.glob(pattern))[0]
            path.write_bytes(damage(path.read_bytes()))
            for other in list(stage.workspace.glob(also)) if also else ():
                other.unlink()
                stage.kept.pop(other.name, None)
            stage.kept.pop(f"{path.stem}.json", None)  # it is measured again
        for _ in range(calls):
            stage.again()
        return stage.finding(stage.says(says))

    return staged(play, "--executor", "local", seeds=3, pause=0.0)


@row("a record cut short", quick=True)
def record_cut() -> Finding:
    return _damaged("records/*.json", cut, "corrupt record")


@row("a record with a flipped bit", tested=True)
def record_flipped() -> Finding:
    return _damaged("records/*.json", flipped, "corrupt record")


@row("a checkpoint cut short, and its records gone")
def checkpoint_cut() -> Finding:
    return _damaged("checkpoints/*/model.safetensors", cut, "corrupt checkpoint", "records/*.json")


@row("a checkpoint with a flipped bit, and its records gone", tested=True)
def checkpoint_flipped() -> Finding:
    return _damaged("checkpoints/*/model.safetensors", flipped, "corrupt checkpoint", "records/*.json")


@row("values of single images cut short; the same command twice")
def values_cut() -> Finding:
    return _damaged("values/*.npz", cut, "corrupt values", calls=2)


@row("values of single images with a flipped bit; the same command twice", tested=True)
def values_flipped() -> Finding:
    return _damaged("values/*.npz", flipped, "corrupt values", calls=2)
