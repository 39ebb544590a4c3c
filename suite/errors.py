"""The errors of the suite: what a user can mend, what a cell may end with."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class UserError(Exception):
    """Something the user can mend: shown as one line, exit code 2, no traceback."""


class Unwritable(UserError):
    """A file that the suite itself could not write."""


class Unsupported(Exception):
    """A cell that makes no sense for this baseline or dataset; the reason goes on the board."""


class ContractError(Exception):
    """A baseline or task broke the contract: which method, what was expected, what was found."""


class Diverged(Exception):
    """Training or scoring met a value that is not finite; names the step and the last terms."""


class MachineFault(Exception):
    """What a trial needs of its machine is not there: disk, data, driver. Says nothing of the model."""


class TrialTimeout(Exception):
    """A trial ran longer than its limit."""


def nearest(name: str, choices: Iterable[str]) -> str:
    """Returns ``; did you mean 'x'?`` for the nearest of ``choices``, else the list of them."""
    options = sorted(choices)
    close = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; choose from {', '.join(options)}" if options else ""


def no_file(path: str | Path, kind: str = "file") -> UserError:
    """Returns the error for a path at which there is nothing, with the nearest name in its folder."""
    place = Path(path).expanduser()
    beside = [other.name for other in place.parent.iterdir()] if place.parent.is_dir() else []
    close = difflib.get_close_matches(place.name, beside, n=1)
    return UserError(f"no such {kind}: {path}" + (f"; did you mean '{place.with_name(close[0])}'?" if close else ""))


def unknown(kind: str, name: str, choices: Iterable[str]) -> UserError:
    """Returns the error for a name that does not exist, with the nearest one that does."""
    return UserError(f"unknown {kind} '{name}'{nearest(name, choices)}")
