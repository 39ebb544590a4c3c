"""``suite rekey``: records of equal sources get the keys that these sources have today."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from suite.errors import UserError


def rekey(
    workspace: Annotated[Path, typer.Argument(metavar="FOLDER", help="A workspace or a folder of published records.")],
    sources: Annotated[
        Path, typer.Option("--sources", metavar="CHECKOUT", help="The repository as it was when they were made.")
    ],
) -> None:
    """Give records new keys where the hashing of sources has changed, and prove that the sources are equal."""
    from suite.planning import rekey as give_new_keys

    if not workspace.is_dir():
        raise UserError(f"{workspace} is not a folder")
    done = give_new_keys(workspace, sources)
    for reason, count in done.refused.items():
        typer.echo(f"refused {count}: {reason}", err=True)
    refused = sum(done.refused.values())
    typer.echo(f"{done.renamed} records have new keys, {done.kept} had them already, {refused} refused")
    if done.refused:
        raise typer.Exit(1)
