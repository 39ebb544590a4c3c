"""Whether a model got all that it knows from the budget's training, by what that cost and what it left behind."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from suite.records import GIVEN_WEIGHTS, OWN_TRAINING
from suite.training import BUDGETS, checkpoints

if TYPE_CHECKING:
    from torch import Tensor

    from suite.data import Dataset
    from suite.measuring import flops
    from suite.planning import Trial

#: A training may cost so much of its budget before its row is marked. The loop's own steps cost 0.2 to 1.02 of it.
MARGIN = 1.2
#: What takes no gradients may cost on top, in passes over the training split: so many that code every image, which is
#: what 200 rounds of a mixture's EM need, and two that take a covariance of its pixels.
PASSES, COVARIANCES = 400, 2
#: And where the loop takes gradients too: what starts or follows them, for each epoch.
PASSES_BESIDE = 2
#: A step takes .6 to .9 of its time where its operations are not counted, as the repository's models do; one that takes
#: more does more there. So many that were taken both ways say so, by their median.
PAIRS, HEAVIER = 5, 1.15
#: What a model may spend on gradients beside the loop's steps, as a share of theirs, however dear its coding is.
#: Gradients that balance the codes of all images after each epoch take .6 of them.
BESIDE = 1.0
#: Seconds by which single steps may take longer than most, beside what ``MARGIN`` leaves: a collection of garbage, a
#: first use of something large.
PAUSES = 2.0
PAUSED = {
    "lingered_seconds": "single steps took {:.3g} s longer than most",
    "elsewhere_seconds": "{:.3g} s passed between what is counted",
}


def marks(
    trial: Trial, note: Mapping[str, Any], coding: flops.Coding | None, dataset: Dataset, learns: bool, folder: Path
) -> dict[str, str]:
    """Returns the flags of a model, each with a note that says why.

    Args:
        trial: What is run.
        note: What its checkpoint says of the training.
        coding: Operations of coding without noise.
        dataset: What it was trained on.
        learns: Whether it has a loss; what takes gradients in ``fit`` learns too, and what takes none is a closed form.
        folder: Of its checkpoint; those of other seeds lie beside it.
    """
    found = {}
    files = trial.baseline.static.get("files", ())
    if files:
        found[GIVEN_WEIGHTS] = f"{GIVEN_WEIGHTS}: its files {', '.join(files)}"
    elif (learns or note.get("backward_flops")) and (same := sorted(_same_weights(note, folder.parent))):
        seeds = ", ".join(map(str, same))
        found[GIVEN_WEIGHTS] = f"{GIVEN_WEIGHTS}: trained with other seeds ({seeds}), its parameters are the same"
    if own := own_training(note, coding, trial.cells[0].budget, dataset):
        found[OWN_TRAINING] = f"{OWN_TRAINING}: {own}"
    return found


def own_training(note: Mapping[str, Any], coding: flops.Coding | None, budget: str, dataset: Dataset) -> str:
    """Returns by what a model has trained more than its budget; "" where it has not."""
    if own := steps_of_its_own(note):
        return own
    times = overspent(note, coding, budget, dataset)
    return f"{times:.3g} times the operations of its budget's images" if times else ""


def steps_of_its_own(note: Mapping[str, Any]) -> str:
    """Returns how a model that the loop trains has trained besides, whatever its coding costs; "" where it has not."""
    if count := note.get("own_steps", 0):
        return f"weights changed {count} times where it was watched, and where no step of the loop was taken"
    outside = note.get("outside_flops", 0)
    within = note.get("backward_flops", 0) - outside
    if note.get("steps") and outside > BESIDE * within:
        return f"gradients outside the loop's steps cost {outside / max(within, 1):.3g} times those within"
    if (share := note.get("uncounted_share", 0.0)) > HEAVIER:
        return f"steps took {share:.3g} times as long where nobody counted their operations"
    whole = note.get("train_core_seconds") or note.get("train_seconds", 0.0)
    for name, told in PAUSED.items():
        if (longer := note.get(name, 0.0)) > (MARGIN - 1) * max(0.0, whole - longer) + PAUSES:
            return f"{told.format(longer)}, in a training of {whole:.3g} s"
    return ""


def overspent(note: Mapping[str, Any], coding: flops.Coding | None, budget: str, dataset: Dataset) -> float:
    """Returns how many times its budget a training cost; 0 where it kept to it, or where there is nothing to compare.

    An image that is presented costs its coding and twice that for the gradients. Gradients are held against that alone,
    whoever takes them. What takes none, a closed form or a clustering, has ``PASSES`` and ``COVARIANCES`` besides, and
    beside gradients ``PASSES_BESIDE``. A coding in which nothing counts is held to use each of a model's numbers once.
    What a model does before it answers, or with every answer, however few images it is asked about, is training too.
    """
    unit, fixed = (coding.unit, coding.fixed) if coding else (0, 0)
    if "training_flops" not in note or not (unit := unit or 2 * note.get("numbers", 0)):
        return 0.0
    images, n = BUDGETS[budget], len(dataset.train)
    gradients = (note["backward_flops"] + fixed) / (2 * unit * images)
    passes = PASSES_BESIDE * (1 + images / n) if note.get("steps") else PASSES
    closed = n * (passes * unit + COVARIANCES * 2 * dataset.spec.pixels**2)
    whole = (note["training_flops"] + fixed) / (3 * unit * images + closed)
    return times if (times := max(gradients, whole)) > MARGIN else 0.0


def fingerprint(tensors: Iterable[Tensor]) -> str:
    """Returns the SHA-256 of tensors; of none, an empty string."""
    digest, empty = hashlib.sha256(), True
    for tensor in tensors:
        raw = tensor.detach().cpu().contiguous()
        digest.update(f"{tuple(raw.shape)} {raw.dtype}".encode())
        digest.update(raw.flatten().view(torch.uint8).numpy().tobytes() if raw.numel() else b"")
        empty = False
    return "" if empty else digest.hexdigest()


def _same_weights(note: Mapping[str, Any], folder: Path) -> Iterator[int]:
    """Yields the other seeds whose checkpoints in a workspace hold the same weights of the same model."""
    if not note.get("weights"):
        return
    mine = dict(note["ingredients"])
    seed = mine.pop("seed", None)
    for other in checkpoints.notes(folder):
        theirs = dict(other.get("ingredients", {}))
        if (found := theirs.pop("seed", None)) != seed and theirs == mine and other.get("weights") == note["weights"]:
            yield found
