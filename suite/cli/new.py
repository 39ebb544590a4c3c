"""``suite new``: a baseline or task file to start from."""

from __future__ import annotations

from typing import Annotated

import typer


def new(
    kind: Annotated[str, typer.Argument(help="baseline or task.", metavar="baseline|task")],
    name: Annotated[str, typer.Argument(help="In snake case, such as my_model.")],
    folder: Annotated[str, typer.Option(help="Where the file goes.")] = ".",
) -> None:
    """Write a baseline or task file of about 40 lines that passes `suite check`."""
    from suite.plugins import scaffold

    path = scaffold.write(kind, name, folder)
    typer.echo(f"wrote {path}")
    typer.echo(f"  suite check {path}")
    typer.echo(f"  suite run --{kind} {path}")
