"""``suite ui``: MLflow's UI on the store of this workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from suite.cli.options import Workspace
from suite.cli.sync import Tracking
from suite.errors import UserError


def ui(
    workspace: Workspace = Path("runs"),
    tracking: Tracking = None,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, metavar="PORT", help="Port to listen on.")] = 5000,
) -> None:
    """Open MLflow's UI on the runs of this workspace; Ctrl-C closes it."""
    from suite import tracking as mlflow
    from suite.running import interruptible
    from suite.tracking import server

    uri = mlflow.resolve_uri(tracking, workspace)
    if uri == mlflow.OFF or uri.startswith("http"):
        raise UserError(
            f"'{mlflow.shown(uri)}' is not a store to serve" + "; it has a UI of its own" * (uri != mlflow.OFF)
        )
    file = mlflow.database(uri)
    if file is not None and not file.exists():
        raise UserError(f"no runs in {file}; `suite run` makes them, `suite sync` mirrors records that are there")
    server.check_port(host, port)
    tables = mlflow.run_tables(uri)
    with interruptible():
        process = server.start(uri, host, port)
        try:
            server.wait(process, host, port)
            for name, number in tables.items():
                typer.echo(f"{name}: http://{host}:{port}/#/experiments/{number}/runs?viewStateShareKey={mlflow.VIEW}")
            typer.echo("Ctrl-C closes it")
            process.wait()
        except KeyboardInterrupt:
            typer.echo()
        finally:
            server.stop(process)
