"""``suite verify``: a maintainer's own run of a submission."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from suite.cli.options import DataRoot, Workspace


def verify(
    folder: Annotated[Path, typer.Argument(help="A submission's folder.")],
    cells: Annotated[
        int,
        typer.Option(
            "--cells", metavar="N", help="How many cells, chosen at random, run again, of each task one; 0 for all."
        ),
    ] = 3,
    threads: Annotated[int, typer.Option("--threads", metavar="N", help="CPU threads of each run.")] = 1,
    check: Annotated[bool, typer.Option(help="Try `suite check` as well.")] = True,
    private: Annotated[
        str | None,
        typer.Option("--private", metavar="FOLDER", help="A data folder whose test images the submitter never had."),
    ] = None,
    workspace: Workspace = Path("runs"),
    data_root: DataRoot = None,
) -> None:
    """Train and score a random sample of a submission's cells again, from its source, and write the verdict.

    `suite merge` goes by the verdict that the workspace keeps. Exit code 0 if nothing is off, 1 if it is refused.
    """
    from suite.submitting import Options, told
    from suite.submitting import verify as examine

    options = Options(cells, threads, check, data_root, private)
    found = examine(folder, workspace, options, say=lambda line: typer.echo(line, err=True))
    for finding in found.findings:
        typer.echo(f"lint: {finding}")
    for cell in found.cells:
        typer.echo(_compared(cell))
    for cell in found.private:
        typer.echo(_on_private(cell))
    for reason in found.reasons:
        typer.echo(f"refused: {reason}")
    standing = told(asdict(found))
    typer.echo(f"{folder}: {standing}")
    if standing != found.standing:
        typer.echo("warning: the model could read files of this machine: install bubblewrap, verify again", err=True)
    raise typer.Exit(1 if found.reasons else 0)


def _compared(cell: dict[str, Any]) -> str:
    told = "nothing" if cell["found"] is None else f"{cell['found']:.6g}"
    head = f"{cell['cell']}: {cell['metric']} {cell['claimed']:.6g} claimed, {told} found"
    return f"{head}, {cell['tolerated']:.2g} tolerated"


def _on_private(cell: dict[str, Any]) -> str:
    if "note" in cell:
        return f"private: {cell['cell']}: {cell['note']}"
    about = (
        f"{cell['metric']} {cell['found']:.6g}, {cell['difference']:+.4g} ± {cell['half']:.2g} to the public test set"
    )
    return f"private: {cell['cell']}: {about}"
