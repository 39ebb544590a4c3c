"""latent-suite: measure what the latents of image models are worth.

The names below load on first use, so that importing ``suite`` stays cheap.
"""

from __future__ import annotations

from typing import Any

from suite.version import ENGINE_VERSION, __version__

__all__ = ["ENGINE_VERSION", "__version__", "board", "compare", "load_records", "run"]


def __getattr__(name: str) -> Any:
    if name in {"run", "load_records", "board", "compare"}:
        from suite import api

        return getattr(api, name)
    raise AttributeError(f"module 'suite' has no attribute {name!r}")
