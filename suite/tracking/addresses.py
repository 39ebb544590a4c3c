"""The address of a tracking store: which one it is, where its file lies, and how it is shown: without its password."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote, unquote

from suite.errors import UserError
from suite.records import clean

#: The tracking URI that turns tracking off.
OFF = "off"

#: What stands in the place of a password.
MASK = "***"

#: Characters that end the path of a URI, and the one that begins an escape.
_ESCAPES = {"%": "%25", "?": "%3F", "#": "%23"}

#: In any text, ``scheme://user:password@``: a password may hold an ``@`` of its own, so that the last one counts.
_LOGIN = re.compile(r"(?P<before>[a-zA-Z][\w+.\-]*://[^\s/:@'\"]*:)(?P<secret>[^\s'\"]*)(?=@)")
_TOKEN = re.compile(r"(?P<before>https?://)(?P<secret>[^\s/:@'\"]+)(?=@)")
_NAMED = r"(?P<before>[?&][\w\-]*(?:pass|pwd|token|secret|key)[\w\-]*=)"
_QUERY = re.compile(_NAMED + r"(?P<secret>[^\s&'\"]+)", re.IGNORECASE)
_QUERY_OF_URI = re.compile(_NAMED + "(?P<secret>[^&]+)", re.IGNORECASE)


def resolve_uri(uri: str | None, workspace: Path) -> str:
    """Returns the tracking URI: the given one, else ``MLFLOW_TRACKING_URI``, else the workspace's own store.

    Raises:
        UserError: If it is a plain folder, which MLflow no longer keeps runs in.
    """
    path = "".join(_ESCAPES.get(letter, letter) for letter in str(workspace.absolute() / "mlflow.db"))
    chosen = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{path}"
    if chosen != OFF and ("://" not in chosen or chosen.startswith("file:")):
        raise UserError(f"tracking URI '{shown(chosen)}' is not a store; use sqlite:///PATH, http://HOST:PORT or {OFF}")
    return chosen


def database(uri: str) -> Path | None:
    """Returns the file of a SQLite store, None for any other."""
    path = unquote(uri.removeprefix("sqlite:///").split("?")[0])
    return Path(path).absolute() if uri.startswith("sqlite:///") and path else None


def masked(text: str, uri: str = "") -> str:
    """Returns a text to show: no password of any URI in it, and none of ``uri``'s wherever else it stands.

    Args:
        text: Of any kind: a URI, an error.
        uri: The store that the text is about. Its password is known by its place, and so may hold any character.
    """
    for secret in _secrets(uri):
        text = text.replace(secret, MASK)
    for pattern in (_LOGIN, _TOKEN, _QUERY):
        text = pattern.sub(rf"\g<before>{MASK}", text)
    return text


def shown(uri: str) -> str:
    """Returns the address of a store without its password, whatever characters this holds."""
    begin, end = _secret_of_login(uri)
    return _QUERY_OF_URI.sub(rf"\g<before>{MASK}", f"{uri[:begin]}{MASK}{uri[end:]}" if end > begin else uri)


def _secret_of_login(uri: str) -> tuple[int, int]:
    """Returns where in a URI the password lies, or the token in its place; an empty range where there is none."""
    scheme, found, _ = uri.partition("://")
    begin = len(scheme + found) if found else 0  # mistyped, it is a login all the same
    end = max(begin, uri.rfind("@"))
    colon = uri.find(":", begin, end)
    if scheme.startswith("sqlite") and uri.startswith("/", begin):  # a path
        return 0, 0
    if colon >= 0:
        return colon + 1, end
    return (begin, end) if scheme in ("http", "https") else (0, 0)


def _secrets(uri: str) -> list[str]:
    """Returns the passwords of a URI, as they are written there and as others write them; the longest first."""
    begin, end = _secret_of_login(uri)
    written = [uri[begin:end], *(match["secret"] for match in _QUERY_OF_URI.finditer(uri))]
    plain = [unquote(each) for each in written]
    forms = {*written, *plain, *(quote(each, safe=safe) for each in plain for safe in ("", "/!$&'()*+,;=:"))}
    forms |= {repr(form)[1:-1] for form in forms}
    return sorted(filter(None, forms), key=len, reverse=True)


def first_line(error: Exception, uri: str) -> str:
    """Returns the error in one line, without the password of a store."""
    text = masked(str(error), uri).strip()
    return clean(text.splitlines()[0][:300]) if text else type(error).__name__
