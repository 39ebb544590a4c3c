"""``suite merge``: other machines' records into this workspace, or a workspace's into a folder to publish."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from suite.cli.options import DataRoot, Paths, SelectionFile, SelectionOptions, Workspace
from suite.errors import UserError


def merge(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="Workspaces or folders of records.")],
    file: SelectionFile = None,
    path: Paths = None,
    workspace: Workspace = Path("runs"),
    data_root: DataRoot = None,
    slim: Annotated[
        bool, typer.Option("--slim", help="Of values and pictures, take the ranked metrics' per-image values alone.")
    ] = False,
    values: Annotated[
        list[str] | None,
        typer.Option("--values", metavar="PATTERN", help="With --slim: further metrics whose values to take. Repeat."),
    ] = None,
    claimed: Annotated[
        bool, typer.Option("--claimed", help="Take a submission that nobody verified; its rows say so, unranked.")
    ] = False,
) -> None:
    """Take the records of other folders, or a verified submission, into the workspace; with --file, its cells alone."""
    from suite.planning import make_plan
    from suite.records import merge as take
    from suite.submitting import CARD, MANIFEST, SOURCE

    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder} is not a folder")
        if not (folder / MANIFEST).exists() and any((folder / name).exists() for name in (CARD, SOURCE)):
            raise UserError(f"{folder} is a submission without its {MANIFEST}; its records are taken by nothing else")
    if any((folder / MANIFEST).exists() for folder in folders):
        _admit(folders, workspace, claimed, plain=not (file or path or slim or values))
        return
    if values and not slim:
        raise UserError("--values narrows what --slim takes; without it all values are taken")
    keys = None
    if file:
        chosen = SelectionOptions(file=file, path=path, workspace=workspace, data_root=data_root)
        keys = {cell.key for cell in make_plan(chosen.selection()).cells}
    warnings: list[str] = []
    merged = take(folders, workspace, keys=keys, slim=slim, values=values or (), warnings=warnings)
    for line in warnings:
        typer.echo(f"warning: {line}", err=True)
    counts = f"{len(merged.taken)} records taken, {len(merged.present)} there already"
    if merged.conflicts:
        counts += f", {len(merged.conflicts)} with other values than the one there: kept beside it"
    if keys is not None:
        missing = len(keys) - len(merged.taken) - len(merged.present) - len(merged.conflicts)
        counts += f"; {missing} of {len(keys)} cells have none"
    typer.echo(counts)
    if merged.conflicts:
        raise typer.Exit(1)


def _admit(folders: list[Path], workspace: Path, claimed: bool, plain: bool) -> None:
    """Takes submissions one by one, each as its verdict says."""
    from suite.submitting import admit

    if not plain:
        raise UserError("a submission is merged whole: without --file, --path, --slim and --values")
    for folder in folders:
        merged, standing = admit(folder, workspace, claimed=claimed)
        counts = f"{len(merged.taken)} records taken, {len(merged.present)} there already"
        if merged.conflicts:
            counts += f", {len(merged.conflicts)} with other values than the one there: kept beside it"
        typer.echo(f"{folder}: {counts}; {standing}")
