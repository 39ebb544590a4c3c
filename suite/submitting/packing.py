"""``suite submit``: the folder that a submission is, made of a file and the records that it left in a workspace."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from suite import records
from suite.checking import REFUSED
from suite.errors import UserError, no_file
from suite.plugins import Source, identity, registry
from suite.submitting import card, claims, folder
from suite.version import ENGINE_VERSION, __version__


def submit(
    path: str | Path, workspace: str | Path, out: str | Path, *, card_path: str | Path | None = None
) -> folder.Submission:
    """Packs a file with all records of its present source into a folder that ``suite verify`` reads.

    Args:
        path: The file with the models.
        workspace: Where they were run.
        out: The folder to make, named after the file: ``<out>/<name>``.
        card_path: The card; by default ``<name>.card.yaml`` beside the file.

    Returns:
        The submission as it is read from the folder.

    Raises:
        UserError: If anything is off; nothing is written then.
    """
    file = Path(path).expanduser().resolve()
    if not file.is_file():
        raise no_file(path)
    entries = registry.read_file("baseline", file)
    if not entries:
        raise UserError(f"{path} holds no baseline")
    sources = [registry.source(entry) for entry in entries]
    about = Path(card_path) if card_path else file.with_name(f"{file.stem}.card.yaml")
    card.read(about)
    _demand_check(workspace, sources)
    rows = _records(workspace, sources)
    if not rows:
        raise UserError(f"{workspace} holds no record of the present {file.name}: suite run -b {path}")
    target = Path(out) / file.stem
    if target.exists():
        raise UserError(f"{target} is there already: move it away, or give another folder")
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / file.stem
        _write(made, sources, about, workspace, rows)
        submission = folder.read(made)
        found = [f"{finding}." for finding in submission.findings if finding.kind == REFUSED]
        if found := [*found, *claims.objections(submission)]:
            more = f" ({len(found) - 1} more of the kind)" if len(found) > 1 else ""
            raise UserError(f"{found[0]}{more}")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(made, target)
    return folder.read(target)


def _demand_check(workspace: str | Path, sources: Sequence[Source]) -> None:
    for source in sources:
        stamp = records.check_stamp(workspace, source.digest)
        if not stamp.get("passed"):
            how = "did not pass" if stamp else "has not been through"
            raise UserError(f"{source.name} {how} `suite check`: suite check {source.origin} --workspace {workspace}")


def _records(workspace: str | Path, sources: Sequence[Source]) -> list[records.Record]:
    wanted = [identity(source.attribute, source.files) for source in sources]
    return [
        record
        for record in records.read_all(workspace)
        if record.ingredients.get("checkpoint", {}).get("baseline") in wanted
        and record.ingredients["checkpoint"].get("engine") == ENGINE_VERSION
    ]


def _write(
    made: Path, sources: Sequence[Source], about: Path, workspace: str | Path, rows: Sequence[records.Record]
) -> None:
    for source in sources:
        for name, data in source.files.items():
            if not name.startswith("suite/"):  # a built-in model that it derives from is there already
                place = made / folder.SOURCE / name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)
    shutil.copyfile(about, made / folder.CARD)
    manifest = {"format": folder.FORMAT, "entry": sources[0].entry, "suite": __version__, "engine": ENGINE_VERSION}
    (made / folder.MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    (made / folder.ENVIRONMENT).write_text(json.dumps(records.environment(), indent=1) + "\n")
    for record in rows:
        records.write(made, record)
        kept = {n: v for n, v in records.load_values(workspace, record.key).items() if n == record.primary}
        if kept:
            records.write_values(made, record.key, kept)
