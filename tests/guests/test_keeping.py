"""What a keeper has loaded before it forks a sitting."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from suite.guests import keeping
from suite.plugins import loading

FIRST_USE = """
import sys
import torch
from suite.guests.keeping import warm_up
warm_up()
from suite.data import DataSpec
from suite.measuring import Frozen
from suite.plugins import registry
from suite.training import Recipe
spec = DataSpec("toy", (1, 28, 28), 10, 100)
for name in ("swwae", "vunet", "conv_vae", "acn"):
    (source, params), *_ = registry.resolve_all("baseline", name)
    model = Frozen(Recipe(registry.load(source), spec, params, 0).build().eval())
    before = set(sys.modules)
    with torch.no_grad():
        model.decode(model.means(torch.rand(4, *spec.shape)))
    print(name, *sorted(set(sys.modules) - before)[:9])
"""


def test_the_first_answer_of_a_sitting_loads_nothing() -> None:
    """A sitting is forked for every answer: what its first use loads, it loads each time."""
    done = subprocess.run([sys.executable, "-c", FIRST_USE], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["swwae", "vunet", "conv_vae", "acn"], done.stdout + done.stderr


def test_a_sitting_leaves_no_time_at_which_it_read_the_scratch_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "")
    monkeypatch.setattr(loading, "_folders", [SimpleNamespace(path=tmp_path / "kept")])
    (tmp_path / "kept").mkdir()
    for read in (False, True):
        (tmp_path / "left").touch()
        if read:
            for folder in (tmp_path, tmp_path / "kept"):
                os.utime(folder, ns=(7 * 10**9, 5 * 10**9))
        keeping.end(0)
        times = {path: (path.stat().st_atime_ns, path.stat().st_mtime_ns) for path in (tmp_path, tmp_path / "kept")}
        assert set(times.values()) == {(0, 0)}
        assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "torch"]
