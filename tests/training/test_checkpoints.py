"""Checkpoints: what goes in comes out, and what was damaged is never taken for a model."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from suite.errors import MachineFault, UserError
from suite.training import checkpoints
from suite.training.checkpoints import CorruptCheckpoint


class Net(nn.Module):
    """Batch norm's integer buffer, tied weights, a buffer that is filled later."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.first = nn.Linear(width, width)
        self.norm = nn.BatchNorm1d(width)
        self.second = nn.Linear(width, width)
        self.second.weight = self.first.weight
        self.register_buffer("centroids", None)


def test_parameters_and_buffers_come_back_bit_by_bit(tmp_path: Path) -> None:
    net = Net()
    net.norm(torch.randn(8, 3))
    net.centroids = torch.arange(7)
    checkpoints.save(tmp_path / "new" / "one", net, {"seconds": 1.5})
    twin = Net()
    assert checkpoints.load(tmp_path / "new" / "one", twin) == {"seconds": 1.5}
    assert twin.state_dict().keys() == net.state_dict().keys()
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), twin.state_dict().values(), strict=True))
    assert twin.second.weight is twin.first.weight


def test_nothing_but_safetensors_and_json_is_written(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, Net(), {})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.json", "model.safetensors"]
    json.loads((tmp_path / "checkpoint.json").read_text())


def test_no_checkpoint_is_not_a_corrupt_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        checkpoints.load(tmp_path, Net())


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("model.safetensors", lambda data: data[:-1] + bytes([data[-1] ^ 1])),
        ("model.safetensors", lambda data: data[:100]),
        ("model.safetensors", lambda data: b""),
        ("checkpoint.json", lambda data: data[:-9]),
        ("checkpoint.json", lambda data: b"[]"),
        ("checkpoint.json", lambda data: b"\xff\xfe"),
        ("checkpoint.json", lambda data: b'"text"'),
        ("checkpoint.json", lambda data: data.replace(b"4800", b"4808")),
        ("checkpoint.json", lambda data: data.replace(b"images", b"imagds")),
    ],
)
def test_a_damaged_file_is_corrupt(tmp_path: Path, file: str, damage) -> None:
    checkpoints.save(tmp_path, Net(), {"images": 4800})
    path = tmp_path / file
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CorruptCheckpoint):
        checkpoints.load(tmp_path, Net())


def test_lost_tensors_are_a_corrupt_checkpoint(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, Net(), {})
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CorruptCheckpoint):
        checkpoints.load(tmp_path, Net())


def test_a_note_without_a_checksum_is_an_older_one_and_is_read(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, Net(), {"images": 4800, "loss": 0.1, 3: float("inf")})
    path = tmp_path / "checkpoint.json"
    note = json.loads(path.read_text())
    assert checkpoints.load(tmp_path, Net()) == {"images": 4800, "loss": 0.1, "3": float("inf")}
    del note["meta_sha256"]
    path.write_text(json.dumps(note))
    assert checkpoints.load(tmp_path, Net())["images"] == 4800


def test_a_folder_in_the_place_of_a_file_is_corrupt_and_a_file_in_that_of_the_folder_is_the_machines_fault(
    tmp_path: Path,
) -> None:
    (tmp_path / "one" / "checkpoint.json").mkdir(parents=True)
    with pytest.raises(CorruptCheckpoint, match="a folder"):
        checkpoints.read(tmp_path / "one")
    (tmp_path / "two").touch()
    with pytest.raises(MachineFault, match=r"cannot read .*/two: Not a directory"):
        checkpoints.read(tmp_path / "two")


def test_another_models_checkpoint_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, Net(4), {})
    net = Net(3)
    before = checkpoints.state_of(net)
    with pytest.raises(CorruptCheckpoint, match=r"not a checkpoint of this model \(first.weight"):
        checkpoints.load(tmp_path, net)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_a_failed_write_leaves_the_old_checkpoint_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = Net()
    checkpoints.save(tmp_path, net, {"step": 1})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"cannot write to .*No space left on device"):
        checkpoints.save(tmp_path, Net(), {"step": 2})
    assert checkpoints.load(tmp_path, Net()) == {"step": 1}
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_that_cannot_be_made_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write to"):
        checkpoints.save(tmp_path / "file" / "folder", Net(), {})


def test_corrupt_checkpoints_are_set_aside_one_beside_the_other(tmp_path: Path) -> None:
    names = []
    for _ in range(3):
        checkpoints.save(tmp_path / "key", Net(), {})
        names.append(checkpoints.set_aside(tmp_path / "key").name)
    assert names == ["key.corrupt", "key.corrupt-2", "key.corrupt-3"]
    assert not (tmp_path / "key").exists()
