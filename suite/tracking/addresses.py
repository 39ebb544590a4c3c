"""The address of a tracking store: which one it is, where its file lies, and how it is shown: without its password."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote

from suite.errors import UserError

#: The tracking URI that turns tracking off.
OFF = "off"

#: What stands in the place of a password.
MASK = "***"

#: Characters that end the path of a URI, and the one that begins an escape.
_ESCAPES = {"%": "%25", "?": "%3F", "#": "%23"}

#: ``scheme://user:password@``: a password may hold an ``@`` of its own, so that the last one counts.
_LOGIN = re.compile(r"(?P<before>[a-zA-Z][\w+.\-]*://[^\s/:@'\"]*:)(?P<secret>[^\s'\"]*)(?=@)")
_TOKEN = re.compile(r"(?P<before>https?://)(?P<secret>[^\s/:@'\"]+)(?=@)")
_QUERY = re.compile(
    r"(?P<before>[?&][\w\-]*(?:pass|pwd|token|secret|key)[\w\-]*=)(?P<secret>[^\s&'\"]+)", re.IGNORECASE
)


def resolve_uri(uri: str | None, workspace: Path) -> str:
    """Returns the tracking URI: the given one, else ``MLFLOW_TRACKING_URI``, else the workspace's own store.

    Raises:
        UserError: If it is a plain folder, which MLflow no longer keeps runs in.
    """
    path = "".join(_ESCAPES.get(letter, letter) for letter in str(workspace.absolute() / "mlflow.db"))
    chosen = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{path}"
    if chosen != OFF and ("://" not in chosen or chosen.startswith("file:")):
        raise UserError(
            f"tracking URI '{masked(chosen)}' is not a store; use sqlite:///PATH, http://HOST:PORT or {OFF}"
        )
    return chosen


def database(uri: str) -> Path | None:
    """Returns the file of a SQLite store, None for any other."""
    path = unquote(uri.removeprefix("sqlite:///").split("?")[0])
    return Path(path).absolute() if uri.startswith("sqlite:///") and path else None


def masked(text: str, uri: str = "") -> str:
    """Returns a text to show: no password of any URI in it, and none of ``uri``'s wherever else it stands.

    Args:
        text: Of any kind: a URI, an error.
        uri: The store that the text is about.
    """
    for pattern in (_LOGIN, _TOKEN, _QUERY):
        text = pattern.sub(rf"\g<before>{MASK}", text)
    for secret in _secrets(uri):
        text = text.replace(secret, MASK)
    return text


def _secrets(uri: str) -> list[str]:
    """Returns the passwords of a URI, as they are written there and as a server is told them; the longest first."""
    written = [match["secret"] for pattern in (_LOGIN, _TOKEN, _QUERY) for match in pattern.finditer(uri)]
    return sorted({form for secret in written for form in (secret, unquote(secret)) if form}, key=len, reverse=True)


def first_line(error: Exception, uri: str) -> str:
    """Returns the error in one line, without the password of a store."""
    text = masked(str(error), uri).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__
