"""``suite merge`` of a submission: its records into a workspace, with a mark that says how they stand."""

from __future__ import annotations

from pathlib import Path

from suite import records
from suite.errors import UserError
from suite.records import Merged
from suite.submitting import folder, verdict
from suite.submitting.claims import title
from suite.submitting.folder import Submission


def admit(path: str | Path, workspace: str | Path, *, claimed: bool = False) -> tuple[Merged, str]:
    """Takes a submission's records into a workspace.

    Args:
        path: The submission's folder.
        workspace: Where to.
        claimed: Take it without a verdict: its rows are marked as claimed, and not ranked.

    Returns:
        What was taken, and how it stands: ``verified``, ``given weights`` or ``claimed``.

    Raises:
        UserError: If the workspace has no verdict on the folder as it is now, it was refused, or its records would
            take the place of others.
    """
    submission = folder.read(Path(path))
    standing = records.CLAIMED if claimed else verdict.read(submission.folder, workspace).get("standing")
    if standing not in records.STANDINGS:
        raise UserError(f"{path} was refused: {submission.folder / folder.VERDICT} says why")
    _check_places(submission, workspace)
    merged = records.merge([submission.folder], workspace)
    records.write_standing(workspace, _name(submission), standing, list(submission.records), card=submission.card)
    return merged, standing


def _name(submission: Submission) -> str:
    return submission.entry.stem


def _check_places(submission: Submission, workspace: str | Path) -> None:
    """A submission takes nobody's place: neither another model's name nor another's result."""
    for old in records.read_raw([workspace], []):
        new = submission.records.get(old["key"])
        if new is not None and records.differs(old, new):
            raise UserError(f"{workspace} holds another result of {title(new)}")
        name = old["baseline"].partition(":")[0]
        if name in submission.sources and new is None and _other_source(submission, old):
            raise UserError(f"{workspace} holds another model of the name '{name}': give the model a name of its own")


def _other_source(submission: Submission, old: dict[str, object]) -> bool:
    mine = [raw["ingredients"]["checkpoint"]["baseline"] for raw in submission.records.values()]
    ingredients = old["ingredients"]
    checkpoint = ingredients.get("checkpoint", {}) if isinstance(ingredients, dict) else {}
    return checkpoint.get("baseline") not in mine
