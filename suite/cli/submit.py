"""``suite submit``: a model's file and its records as a folder to hand in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from suite.cli.options import Workspace


def submit(
    path: Annotated[str, typer.Argument(help="The file with the model.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where the submission's folder goes.")
    ] = Path("submissions"),
    card: Annotated[
        Path | None,
        typer.Option("--card", metavar="YAML", help="Authors, paper, licence, compute [default: NAME.card.yaml]."),
    ] = None,
    workspace: Workspace = Path("runs"),
) -> None:
    """Pack a model with its records, per-image values and card into a folder; refused if anything is off."""
    from suite.submitting import submit as pack

    made = pack(path, workspace, out, card_path=card)
    typer.echo(f"wrote {made.folder}: {len(made.records)} records of {', '.join(made.sources)}")
    for finding in made.findings:
        typer.echo(f"  {finding.kind}: {finding}")
    typer.echo(f"  suite verify {made.folder}")
