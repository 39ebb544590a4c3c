"""latent-suite: measure what the latents of image models are worth.

The names below load on first use, so that importing ``suite`` stays cheap.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"

#: Version of everything in the engine that can move a number (data, training, coding).
#: It stands in every key; raise it when the golden test says that a number moved.
ENGINE_VERSION = 2

__all__ = ["ENGINE_VERSION", "__version__", "board", "load_records", "run"]


def __getattr__(name: str) -> Any:
    if name in {"run", "load_records", "board"}:
        from suite import api

        return getattr(api, name)
    raise AttributeError(f"module 'suite' has no attribute {name!r}")
