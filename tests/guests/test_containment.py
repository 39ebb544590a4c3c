"""The walls hold whatever place the suite is installed in."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import sklearn

from suite.guests import containment
from suite.guests.containment import CONTAINED, SCRATCH, available, command

contained = pytest.mark.skipif(available().kind != CONTAINED, reason="bubblewrap is not here, or does not work here")


def targets(walls: list[str], kind: str, place: int) -> list[str]:
    """Where bubblewrap's options of a kind put what they mount."""
    return [walls[i + place] for i, word in enumerate(walls) if word == kind]


@contained
@pytest.mark.parametrize("home", ["/tmp/clone", "/srv/clone", "/opt"])
def test_the_only_folder_that_can_be_written_holds_nothing_else(monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    """It is wiped after every sitting: an environment within it took a check from 40 seconds to four minutes."""
    monkeypatch.setattr(containment, "PACKAGE", Path(home) / "suite")
    monkeypatch.setattr(containment, "_interpreter", lambda: [f"{home}/.venv"])
    monkeypatch.setattr(os.path, "lexists", lambda _: True)
    walls = command(available(), ["true"])
    bound, read_only = targets(walls, "--ro-bind", 2), targets(walls, "--remount-ro", 1)
    assert f"{home}/suite" in bound
    assert f"{home}/.venv" in bound
    assert [place for place in targets(walls, "--tmpfs", 1) if place not in read_only] == [SCRATCH]
    assert "--bind" not in walls
    assert not [place for place in bound if Path(place).is_relative_to(SCRATCH)]


@contained
def test_within_the_walls_only_the_scratch_folder_is_written_and_no_trained_judge_is_read() -> None:
    script = f"""
import os, sys, tempfile
for place in ("/", "/tmp", "/dev", "/dev/shm", "/proc", "/usr", {str(containment.PACKAGE)!r}, sys.prefix, {SCRATCH!r}):
    try:
        open(os.path.join(place, "planted"), "w").close()
        print(place)
    except OSError:
        pass
print(tempfile.gettempdir(), os.path.expanduser("~"))
print(os.listdir({str(containment.PACKAGE / "measuring" / "judges")!r}))
"""
    told = subprocess.run(command(available(), [sys.executable, "-c", script]), env={}, capture_output=True, check=True)
    assert told.stdout.decode().split() == [SCRATCH] * 3 + ["[]"], "and what was trained on labels is not there"


@contained
def test_images_within_packages_are_hidden_wherever_packages_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    """``venv --system-site-packages`` leaves scikit-learn, with digits' test images, below ``sys.base_prefix``."""
    own = sysconfig.get_path
    monkeypatch.setattr(sysconfig, "get_path", lambda name: "/no" if name in ("purelib", "platlib") else own(name))
    monkeypatch.setattr(sys, "path", [])
    digits = Path(sklearn.__file__).parent / "datasets" / "data"
    script = f"import os; print(os.listdir({str(digits)!r}))"
    assert list(digits.glob("digits*"))
    told = subprocess.run(command(available(), [sys.executable, "-I", "-c", script]), capture_output=True, check=True)
    assert told.stdout.split() == [b"[]"]
