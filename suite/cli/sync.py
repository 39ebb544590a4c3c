"""``suite sync``: mirror the records that MLflow missed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from suite.cli.options import Workspace
from suite.errors import UserError

Tracking = Annotated[
    str | None,
    typer.Option("--tracking", metavar="URI", help="MLflow store [default: MLFLOW_TRACKING_URI or the workspace's]."),
]


def sync(workspace: Workspace = Path("runs"), tracking: Tracking = None) -> None:
    """Mirror into MLflow every record of the workspace that it lacks; a second call changes nothing."""
    from suite import tracking as mlflow

    if not (workspace / "records").is_dir():
        raise UserError(f"no records in {workspace}: `suite run` makes them")
    done = mlflow.sync(workspace, tracking)
    typer.echo(f"{done.written} records mirrored, {done.trials} trials up to date in {done.uri}")
