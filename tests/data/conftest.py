from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from suite import data
from suite.data import raw as sources
from tests.data.layouts import write_idx


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root folder with a KMNIST of 24 + 6 images, in torchvision's layout; image i is filled with i."""
    monkeypatch.setitem(sources.IDX, "kmnist", replace(sources.IDX["kmnist"], sizes=(24, 6)))
    monkeypatch.setitem(data.DATASETS, "kmnist", replace(data.DATASETS["kmnist"], sizes=(22, 2, 6)))
    write_idx(tmp_path / "KMNIST" / "raw", ("train", 24), ("t10k", 6))
    return tmp_path
