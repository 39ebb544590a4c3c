"""Checkpoints: tensors as safetensors, the rest as JSON with the tensors' checksum; never pickle."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from suite.errors import ContractError, MachineFault, UserError
from suite.files import write_atomically

TENSORS, META = "model.safetensors", "checkpoint.json"
FORMAT = 1


class CorruptCheckpoint(Exception):
    """A checkpoint that cannot be trusted: unreadable, of the wrong checksum, or not of this model."""


#: Methods by which the suite asks a module for its parts, moves and freezes it: one of a model's own would run where no
#: model is at work.
BOOKKEEPING = (
    *("parameters", "named_parameters", "buffers", "named_buffers", "modules", "named_modules", "children"),
    *("named_children", "state_dict", "load_state_dict", "_save_to_state_dict", "_load_from_state_dict"),
    *("_named_members", "requires_grad_", "zero_grad", "to", "apply", "_apply"),
)


def check_storable(module: nn.Module) -> None:
    """Checks that parameters and buffers of known shapes can be all that a module carries.

    Raises:
        ContractError: If a part of it is lazy, TorchScript, has extra state, bookkeeping of its own, or tensors that
            are none of torch's plain ones; names the part.
    """
    for path, part in _parts(module):
        where = f"{type(module).__name__}: '{path}' ({type(part).__name__})" if path else type(module).__name__
        if isinstance(part, torch.jit.ScriptModule):
            raise ContractError(f"{where} is TorchScript, which a checkpoint cannot hold; use the plain module")
        if type(part).get_extra_state is not nn.Module.get_extra_state:
            raise ContractError(f"{where} has extra state, which a checkpoint cannot hold; keep it in buffers")
        for name in BOOKKEEPING:
            if name in vars(part) or not _installed(next(c for c in type(part).__mro__ if name in vars(c))):
                raise ContractError(
                    f"{where} has a '{name}' of its own: it says what a model is made of, and is torch's"
                )
        for name, tensor in (*part._parameters.items(), *part._buffers.items()):
            if tensor is not None and type(tensor) not in (Tensor, nn.Parameter) and not is_lazy(tensor):
                raise ContractError(f"{where}: '{name}' is a {type(tensor).__name__}; a checkpoint holds plain tensors")
        tensors = (*part._parameters.values(), *part._buffers.values())
        if any(is_lazy(tensor) for tensor in tensors if tensor is not None):
            raise ContractError(f"{where} is lazy, and a checkpoint needs its shapes beforehand; give the sizes")


def _parts(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yields a module and all below it by their paths; runs nothing of their own."""
    if isinstance(module, torch.jit.ScriptModule):
        yield path, module
        return
    for name in ("_parameters", "_buffers", "_modules"):
        if type(vars(module).get(name)) not in (dict, OrderedDict):
            raise ContractError(f"{type(module).__name__}: '{path}' keeps its {name[1:]} in no plain dict")
    yield path, module
    for name, part in module._modules.items():
        if part is not None:
            yield from _parts(part, f"{path}.{name}".lstrip("."))


def _installed(cls: type) -> bool:
    """Whether a class is torch's or another installed package's, and not one that is called so."""
    module = sys.modules.get(cls.__module__)
    where = Path(getattr(module, "__file__", None) or "").parts
    return not {"site-packages", "dist-packages"}.isdisjoint(where) and getattr(module, cls.__qualname__, None) is cls


def save(folder: Path, baseline: nn.Module, meta: Mapping[str, Any]) -> None:
    """Writes a baseline's parameters and buffers with what is to be known of them.

    Raises:
        UserError: If the folder cannot be written.
    """
    write(folder, state_of(baseline), meta)


def load(folder: Path, baseline: nn.Module) -> dict[str, Any]:
    """Puts a checkpoint's tensors into ``baseline`` and returns what was written beside them.

    Raises:
        FileNotFoundError: If there is no checkpoint.
        CorruptCheckpoint: If there is one that cannot be trusted.
    """
    tensors, meta = read(folder)
    restore(baseline, tensors, folder)
    return meta


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """Returns copies of a module's parameters and buffers (tied tensors stand once under each name)."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in module.state_dict().items()}


def restore(module: nn.Module, tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Puts tensors into a module; a buffer takes the shape that it had when it was written.

    Raises:
        CorruptCheckpoint: If the tensors are not this module's.
    """
    owners = {f"{path}.{name}".lstrip("."): (m, name) for path, m in module.named_modules() for name in m._buffers}
    current = module.state_dict()
    wrong = [name for name in tensors if name not in current and name not in owners]
    for name, old in current.items():
        if name not in tensors or (name not in owners and tensors[name].shape != old.shape):
            wrong.append(name)
    if wrong:
        raise CorruptCheckpoint(f"{folder}: not a checkpoint of this model ({', '.join(wrong[:3])})")
    device = next((tensor.device for tensor in current.values()), torch.device("cpu"))
    for name in tensors.keys() & owners.keys():
        owner, leaf = owners[name]
        owner._buffers[leaf] = tensors[name].to(device, copy=True)
    module.load_state_dict(dict(tensors))


def write(folder: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Writes tensors and JSON, each atomically, the JSON last: without it there is no checkpoint."""
    from safetensors.torch import save as serialize

    data = serialize(dict(tensors))
    told = json.loads(json.dumps(dict(meta)))  # as it will be read
    note = {"format": FORMAT, "sha256": hashlib.sha256(data).hexdigest(), "meta_sha256": _checksum(told), "meta": told}
    write_atomically(folder / TENSORS, data)
    write_atomically(folder / META, json.dumps(note, indent=1).encode())


def _checksum(meta: Any) -> str:
    return hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()


def read(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Returns tensors and meta.

    Raises:
        FileNotFoundError: If there is no checkpoint.
        CorruptCheckpoint: If a checksum is wrong or a file is none.
        MachineFault: If the folder cannot be read.
    """
    from safetensors.torch import load as parse

    try:
        text = (folder / META).read_bytes()
    except FileNotFoundError:
        raise
    except IsADirectoryError as error:
        raise CorruptCheckpoint(f"{folder / META}: a folder") from error
    except OSError as error:
        raise MachineFault(f"cannot read {folder}: {error.strerror or error}") from error
    try:
        note = json.loads(text)
        if note.get("meta_sha256", "") not in ("", _checksum(note["meta"])):  # older ones lack it
            raise CorruptCheckpoint(f"{folder / META}: wrong checksum")
        data = (folder / TENSORS).read_bytes()
        if hashlib.sha256(data).hexdigest() != note["sha256"]:
            raise CorruptCheckpoint(f"{folder / TENSORS}: wrong checksum")
        return parse(data), note["meta"]
    except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
        raise CorruptCheckpoint(f"{folder}: {type(error).__name__} {error}") from error


def notes(folder: Path) -> Iterator[dict[str, Any]]:
    """Yields what stands beside the tensors of every checkpoint in a folder of them; skips what cannot be read."""
    for path in sorted(folder.glob(f"*/{META}")):
        try:
            meta = json.loads(path.read_bytes())["meta"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if isinstance(meta, dict):
            yield meta


def set_aside(folder: Path) -> Path:
    """Renames a corrupt checkpoint so that it is out of the way and yet not lost; returns its new path."""
    for number in range(1, 1_000):
        aside = folder.with_name(folder.name + (".corrupt" if number == 1 else f".corrupt-{number}"))
        if not aside.exists():
            return folder.rename(aside)
    raise UserError(f"too many corrupt checkpoints beside {folder}")
