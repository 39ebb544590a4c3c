"""``suite merge`` of a submission: its records into a workspace, with a mark that says how they stand."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from suite import records
from suite.errors import UserError
from suite.plugins import digest
from suite.records import Merged
from suite.submitting import claims, folder, verdict
from suite.submitting.claims import title
from suite.submitting.folder import Submission


def admit(path: str | Path, workspace: str | Path, *, claimed: bool = False) -> tuple[Merged, str]:
    """Takes a submission's records into a workspace; of the cells that were run again, those of that run.

    Args:
        path: The submission's folder.
        workspace: Where to.
        claimed: Take it without a verdict: its rows are marked as claimed, and not ranked.

    Returns:
        What was taken, and how it stands: ``verified``, ``given weights`` or ``claimed``; and if a verdict rests on a
        model without walls.

    Raises:
        UserError: If the workspace has no verdict on the folder as it is now, it was refused, or its records would
            take the place of others, or are there already and merely claimed.
    """
    submission = folder.read(Path(path))
    if claimed:
        _check_claims(submission)
    said = {} if claimed else verdict.read(submission.folder, workspace)
    standing = records.CLAIMED if claimed else said.get("standing")
    if standing not in records.STANDINGS:
        raise UserError(f"{path} was refused: {submission.folder / folder.VERDICT} says why")
    own = verdict.records_in(workspace, folder.hashes(submission.folder))
    again = set() if claimed else {raw["key"] for raw in records.read_raw([own], [])}
    held = records.read_raw([workspace], [])
    standings = records.read_standings(workspace)
    known = (records.standings_folder(workspace) / f"{_name(submission)}.json").exists()
    _check_places(submission, workspace, held, again, new_claim=claimed and not known)
    _make_way(workspace, held, again & (records.read_untried(workspace) | _merely_claimed(standings)))
    rest = submission.records.keys() - again
    merged = _together(
        records.merge([own], workspace, keys=again), records.merge([submission.folder], workspace, keys=rest)
    )
    own_keys = {raw["key"] for raw in held} - standings.keys()  # what was run here needs nobody's word
    keys = [key for key in submission.records if key not in own_keys]
    records.write_standing(workspace, _name(submission), standing, keys, again=sorted(again), card=submission.card)
    return merged, standing if claimed else verdict.told(said)


def _name(submission: Submission) -> str:
    """What no other submission is called: two may have files of one name."""
    return f"{submission.entry.stem}-{digest(folder.hashes(submission.folder))[:12]}"


def _check_claims(submission: Submission) -> None:
    """Without a verdict, records have to be at least what such a source can leave."""
    for reason in claims.objections(submission):
        raise UserError(f"{submission.folder}: {reason}")


def _together(*parts: Merged) -> Merged:
    return Merged(*(sum(keys, ()) for keys in zip(*map(astuple, parts), strict=True)))


def _merely_claimed(standings: Mapping[str, str]) -> set[str]:
    return {key for key, standing in standings.items() if standing == records.CLAIMED}


def _make_way(workspace: str | Path, held: Sequence[Mapping[str, Any]], keys: Collection[str]) -> None:
    """Removes records that stood as claimed where a maintainer's own take their place."""
    folder = Path(workspace)
    beside = [path for path in records.files_of(folder, held, keys) if path.parent.name != "checkpoints"]
    records.remove(beside)


def _check_places(
    submission: Submission,
    workspace: str | Path,
    held: Sequence[Mapping[str, Any]],
    again: Collection[str],
    *,
    new_claim: bool,
) -> None:
    """A submission takes nobody's place: neither another model's name nor another's result."""
    for old in held:
        new = submission.records.get(old["key"])
        if new is not None and new_claim:
            raise UserError(f"{workspace} holds {title(new)} already: a claim adds nothing to it")
        if new is not None and old["key"] not in again and records.differs(old, new):
            raise UserError(f"{workspace} holds another result of {title(new)}")
        name = old["baseline"].partition(":")[0]
        if name in submission.sources and new is None and _other_source(submission, old):
            raise UserError(f"{workspace} holds another model of the name '{name}': give the model a name of its own")


def _other_source(submission: Submission, old: Mapping[str, Any]) -> bool:
    return _source(old) not in [_source(raw) for raw in submission.records.values()]


def _source(raw: Mapping[str, Any]) -> Any:
    checkpoint = raw["ingredients"].get("checkpoint")
    return checkpoint.get("baseline") if isinstance(checkpoint, dict) else None
