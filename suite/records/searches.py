"""What searches for parameters have left in a workspace: the price of every trial at every rung, and each search's end.

Small JSON files, each written whole the moment its content is known: so a search that was killed goes on from them.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from suite.errors import UserError
from suite.files import read_object, write_atomically
from suite.records.schema import digest_of

#: The parts of the folder: prices by trial and rung, and the searches that are done.
PRICES, SEARCHES = "prices", "searches"

#: What a search took -> the field of a tuned model's cost.
SEARCH_COSTS = {name: f"search_{name}" for name in ("trials", "seconds", "flops", "images")}

#: Field of a file: SHA-256 over the JSON of all others.
CHECKSUM = "sha256"


def tuning_folder(workspace: str | Path) -> Path:
    """Where searches keep what they have found; a folder of checkpoints lies in it while one goes on."""
    return Path(workspace) / "tuning"


def write_price(workspace: str | Path, key: str, price: Mapping[str, Any]) -> None:
    """Keeps what a trial cost and scored at one rung.

    Raises:
        UserError: If the workspace cannot be written.
    """
    _write(tuning_folder(workspace) / PRICES / f"{key[:32]}.json", {"key": key, **price})


def read_price(workspace: str | Path, key: str) -> dict[str, Any]:
    """Returns what a trial cost and scored at one rung; empty where it is not known."""
    raw = _read(tuning_folder(workspace) / PRICES / f"{key[:32]}.json")
    return raw if raw.get("key") == key else {}


def search_key(checkpoint: Mapping[str, Any]) -> str:
    """Returns the key of the search that has chosen a model: what a checkpoint is made of, for any seed."""
    return digest_of({name: value for name, value in checkpoint.items() if name != "seed"})


def write_search(workspace: str | Path, key: str, content: Mapping[str, Any]) -> Path:
    """Keeps how a search ended, under the key of the model that it chose, and returns the file.

    Raises:
        UserError: If the workspace cannot be written.
    """
    path = tuning_folder(workspace) / SEARCHES / f"{key[:32]}.json"
    _write(path, {"key": key, **content})
    return path


def search_costs(workspace: str | Path, checkpoint: Mapping[str, Any]) -> dict[str, float]:
    """Returns what the search took that has chosen a model, as a record's cost has it; empty where none is known."""
    key = search_key(checkpoint)
    raw = _read(tuning_folder(workspace) / SEARCHES / f"{key[:32]}.json")
    cost = raw.get("cost") if raw.get("key") == key else None
    found = [(field, cost.get(name)) for name, field in SEARCH_COSTS.items()] if isinstance(cost, dict) else []
    return {field: value for field, value in found if isinstance(value, int | float) and value >= 0}


def tuning_secret(workspace: str | Path) -> str:
    """Returns the secret of a workspace's searches, from which comes the noise that prices models from outside.

    It is made once: whatever is run again after an interruption meets the same noise.

    Raises:
        UserError: If the workspace cannot be written.
    """
    path = tuning_folder(workspace) / "secret"
    try:
        known = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        known = ""
    if not re.fullmatch(r"[0-9a-f]{32}", known):
        known = secrets.token_hex(16)
        write_atomically(path, known.encode())
    return known


def _write(path: Path, content: Mapping[str, Any]) -> None:
    try:
        told = json.loads(json.dumps(content, allow_nan=False))  # as it will be read
    except ValueError as error:
        raise UserError(f"{path.name} cannot be written: {error}") from error
    write_atomically(path, json.dumps(told | {CHECKSUM: digest_of(told)}, indent=1).encode())


def _read(path: Path) -> dict[str, Any]:
    """Returns a file's content; a file that is damaged counts as missing, and what it held is computed again."""
    raw = read_object(path)
    known = raw.pop(CHECKSUM, "")  # older files lack it
    return raw if known in ("", digest_of(raw)) else {}
