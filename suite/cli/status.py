"""``suite status``: what runs in a workspace, and what it holds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import typer

from suite.cli.options import Format, Workspace, check_format
from suite.cli.output import print_facts, print_json, print_table
from suite.errors import UserError


def status(workspace: Workspace = Path("runs"), format: Format = "table") -> None:
    """Show what runs in the workspace, and what it holds."""
    from suite import records, running

    check_format(format)
    if not workspace.is_dir():
        raise UserError(f"no workspace {workspace}: `suite run` makes one")
    warnings: list[str] = []
    raws = records.read_raw([workspace], warnings)
    holder = running.holder(workspace)
    groups = Counter((raw["dataset"], raw["budget"], raw["status"]) for raw in raws)
    parts = records.sizes(workspace)
    left = [] if holder else records.leftovers(workspace)
    for line in warnings:
        typer.echo(f"warning: {line}", err=True)
    if format == "json":
        cells = [{"dataset": d, "budget": b, "status": s, "records": n} for (d, b, s), n in sorted(groups.items())]
        holds = {name: {"files": files, "bytes": size} for name, (files, size) in parts.items()}
        print_json({"running": holder or None, "records": cells, "holds": holds, "leftovers": [str(p) for p in left]})
        return
    facts = [("running", f"process {holder}" if holder else "nothing"), ("leftovers of killed runs", len(left) or None)]
    print_facts(f"workspace {workspace.absolute()}", facts)
    typer.echo()
    rows = [(*group, count) for group, count in sorted(groups.items())]
    print_table("records", ("dataset", "budget", "status", "records"), rows, ("records",))
    typer.echo()
    print_table(
        "files", ("part", "files", "MB"), [(n, f, f"{s / 1e6:.1f}") for n, (f, s) in parts.items()], ("files", "MB")
    )
    if left:
        typer.echo("`suite clean --leftovers` removes what killed runs have left")
