"""``suite clean``: removes from a workspace what is no longer wanted, after it has shown what would go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from suite.cli.complete import baselines
from suite.cli.options import Workspace
from suite.errors import UserError, nearest

#: Statuses of cells that did not end well.
FAILED = ("failed", "timeout", "killed")


def clean(
    workspace: Workspace = Path("runs"),
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            "--baseline", "-b", metavar="MODEL", help="All of these models; repeatable.", autocompletion=baselines
        ),
    ] = None,
    stale: Annotated[
        bool, typer.Option("--stale", help="Records that newer sources, data or versions replaced.")
    ] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Records of cells that failed or were stopped.")] = False,
    leftovers: Annotated[bool, typer.Option("--leftovers", help="What runs that were killed have left.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
) -> None:
    """Remove models, stale or failed records, or leftovers from the workspace; asks first."""
    from suite import records, running

    if not workspace.is_dir():
        raise UserError(f"no workspace {workspace}")
    if not (baseline or stale or failed or leftovers):
        raise UserError("name what should go: --baseline MODEL, --stale, --failed or --leftovers")
    with running.locked(workspace):
        raws = records.read_raw([workspace])
        groups = _groups(raws, baseline or (), failed)
        if stale:
            from suite.boards import load_records, stale_keys

            groups["stale"] = stale_keys(load_records(workspace))
        paths = {name: records.files_of(workspace, raws, keys) for name, keys in groups.items()}
        if leftovers:
            paths["leftovers of killed runs"] = records.leftovers(workspace)
        # A checkpoint goes where all that use it go, whichever group they are of.
        every = dict.fromkeys(p for found in paths.values() for p in found)
        every |= dict.fromkeys(records.files_of(workspace, raws, {key for keys in groups.values() for key in keys}))
        for name, found in paths.items():
            count = f"{len(groups[name])} records, " if name in groups else ""
            typer.echo(f"{name}: {count}{_told(records.measure(found))}")
        if not every:
            typer.echo("nothing to remove")
        elif yes or typer.confirm(f"remove {_told(records.measure(every))} from {workspace.absolute()}?"):
            records.remove(every)
            typer.echo("removed; runs that MLflow shows stay there")
        else:
            typer.echo("nothing was removed")


def _told(size: tuple[int, int]) -> str:
    return f"{size[0]} {'file' if size[0] == 1 else 'files'} ({size[1] / 1e6:.1f} MB)"


def _groups(raws: Sequence[Mapping[str, Any]], models: Sequence[str], failed: bool) -> dict[str, set[str]]:
    """Returns what should go: name of the group -> keys of its records."""
    known = {raw["baseline"] for raw in raws}
    for model in models:
        if model not in known:
            raise UserError(f"no records of '{model}'{nearest(model, known)}")
    groups = {model: {raw["key"] for raw in raws if raw["baseline"] == model} for model in models}
    if failed:
        groups["failed"] = {raw["key"] for raw in raws if raw["status"] in FAILED}
    return groups
