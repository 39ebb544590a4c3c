"""``suite check``: a file against the contract and the integrity checks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from suite.cli.options import DataRoot, Workspace

STYLES = {"pass": "green", "fail": "bold red", "skipped": "yellow"}


def check(
    path: Annotated[str, typer.Argument(help="A file with baselines or tasks.")],
    dataset: Annotated[str, typer.Option("--dataset", "-d", metavar="NAME", help="Try it on this dataset.")] = "digits",
    budget: Annotated[
        str, typer.Option("--budget", metavar="NAME", help="Train the model that the tasks are tried on so long.")
    ] = "smoke",
    workspace: Workspace = Path("runs"),
    data_root: DataRoot = None,
) -> None:
    """Try a baseline or task file against the contract and the integrity checks, on digits unless told otherwise.

    The workspace keeps whether the source passed, and with which version. Exit code 0 if every check passed or was
    skipped with a reason, 1 if one failed.
    """
    from rich.console import Console
    from rich.markup import escape

    from suite.checking import check_file

    console = Console(highlight=False, soft_wrap=True)
    counts = dict.fromkeys(STYLES, 0)
    subject = ""
    found = check_file(path, dataset=dataset, budget=budget, workspace=workspace, data_root=data_root)
    for finding in found:
        if finding.subject != subject:
            subject = finding.subject
            console.print(f"[bold]{escape(subject)}[/bold]")
        counts[finding.status] += 1
        style = STYLES[finding.status]
        console.print(f"  [{style}]{finding.status:7}[/{style}]  {finding.check:24}  {escape(finding.reason)}")
    console.print(", ".join(f"{count} {status}" for status, count in counts.items()))
    if counts["fail"]:
        raise typer.Exit(1)
