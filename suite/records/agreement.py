"""Whether two results of one key agree, and what to call it where they do not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

#: Flag on a record whose key was measured twice with different values.
IRREPRODUCIBLE = "not reproducible"

#: The same where the two were measured with other versions of what lies beneath; the versions follow.
OTHER_VERSIONS = "other versions"

#: Two values of one metric that differ by less are the same value.
TOLERANCE = 1e-6

#: What can move a number although nothing in the key has changed.
_VERSIONS = ("python", "torch", "numpy")


def differs(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two records of one key disagree: in status, in which metrics there are, or in a value."""
    if a["status"] != b["status"] or a["metrics"].keys() != b["metrics"].keys():
        return True
    pairs = ((entry["value"], b["metrics"][name]["value"]) for name, entry in a["metrics"].items())
    return any(not math.isclose(x, y, rel_tol=TOLERANCE, abs_tol=TOLERANCE) for x, y in pairs)


def alarm(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """Returns why two records of one key have other values, as far as one can tell."""
    old, new = _versions(a), _versions(b)
    changed = [f"{name} {old[name]} and {new[name]}" for name in _VERSIONS if old[name] != new[name]]
    return f"{OTHER_VERSIONS}: {', '.join(changed)}" if changed else IRREPRODUCIBLE


def _versions(raw: Mapping[str, Any]) -> dict[str, Any]:
    env = raw["env"]
    found = {**(env.get("versions") or {}), "python": env.get("python")}
    return {name: found.get(name) for name in _VERSIONS}
