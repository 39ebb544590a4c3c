"""``suite site``: the board as a static site."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from suite.cli.blocks import spread
from suite.cli.board import load
from suite.cli.options import BoardOptions, DataRoot, Folders, Paths, Workspace


@spread()
def site(
    out: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder to write; a site that lies there is replaced.")
    ],
    records: BoardOptions,
    folders: Folders = None,
    path: Paths = None,
    workspace: Workspace = Path("runs"),
    data_root: DataRoot = None,
) -> None:
    """Write the board as a static site: pages that need no server and no network."""
    from suite.boards import board, measured
    from suite.pages import find_anchors, write_site

    places = workspaces(folders or [workspace])
    data, chosen = load(places), records.filters()
    found = board(data, **chosen)
    anchors = find_anchors(set(found["task"]), path or ())
    metrics, further = measured(data, **chosen), path or ()
    count = write_site(out, found, metrics, places, anchors=anchors, paths=further, data_root=data_root)
    typer.echo(f"wrote {count} files: open {out / 'index.html'}")


def workspaces(folders: Sequence[Path]) -> list[Path]:
    """Returns the workspaces among the folders; one that holds workspaces stands for all of them."""
    found = []
    for folder in folders:
        below = sorted(inner.parent for inner in folder.glob("*/records") if inner.is_dir())
        found += below if below and not (folder / "records").is_dir() else [folder]
    return found
