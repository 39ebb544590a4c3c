"""A submitted file's model on trial, as a guest: no line of the file runs in the process that judges it."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from suite.checking.integrity import BUDGET, ROWS, Caught, Examinee, compare, disturbed, rows
from suite.data import Dataset
from suite.guests import SETTLING, TWIN_IMAGES, Guest, Job, Rooms, available, of_source
from suite.measuring import Frozen, Subject, answers
from suite.plugins import Source
from suite.running import note_of, own_training


@dataclass
class Hosted(Examinee):
    """A trained guest with its declarations.

    Attributes:
        guest: The trained model, in rooms of its own.
        static: What the text of its file declares.
        note: What a checkpoint would say of its training.
    """

    guest: Guest
    static: Mapping[str, Any]
    note: Mapping[str, Any]

    @staticmethod
    def grow(source: Source, params: dict[str, Any], dataset: Dataset, rooms: Rooms, budget: str = BUDGET) -> Hosted:
        """Trains a file's model with seed 0 in rooms that are open, by default for a few steps.

        Raises:
            ContractError: With what its file, its training or its first answer raised.
        """
        fields, files = of_source(source)
        job = Job(fields, files, params, asdict(dataset.spec), 0, 1, {})
        guest = Guest(job, source.static, dataset.spec, available(), secrets.token_hex(16))
        guest.open(rooms, budget)
        report = guest.train(dataset, budget, "float32")
        weights = guest.state_dict().values()
        guest.settle(dataset.train.grey[:SETTLING])
        guest.count()
        return Hosted(dataset, Frozen(guest), budget, guest, source.static, note_of(report, {}, weights, weights))

    @property
    def declared(self) -> Mapping[str, Any]:
        return self.static

    @property
    def state(self) -> Mapping[str, Tensor]:
        return self.guest.state_dict()

    def again(self, dataset: Dataset, before: Dataset | None = None) -> str:
        return hash_of(self.guest.train_again(dataset, BUDGET, before)[0])

    def reloaded(self) -> Frozen:
        return Frozen(self.guest.sibling("reloaded", replace(self.guest.job, seed=1)))

    def subject(self, noise: str = "") -> Subject:
        images = self.dataset.train.grey[:TWIN_IMAGES]
        twin = self.guest.untrained
        return Subject(
            self.model, self.dataset, 0, self.budget, self.guest.device, lambda: Frozen(twin(images)), noise=noise
        )


def hash_of(state: Mapping[str, Tensor]) -> str:
    """Returns what ``Frozen.parameter_hash`` returns of a model with these weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(name.encode() + tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def fresh_process(s: Hosted) -> str:
    """A process that never saw the images gives the same parameters and answers, reads no file, calls nobody."""
    state, seen = s.guest.train_again(s.dataset, BUDGET)
    if seen:
        raise Caught(f"the model {', '.join(dict.fromkeys(seen[:3]))}")
    if hash_of(state) != s.model.parameter_hash():
        raise Caught("trained again in a fresh process with the same seed, the parameters differ")
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(0))
    with s.model.fitting():  # one process answers all of this
        values = disturbed(s.model, s.images())
        expected = answers.of_decoder(s.model, values)
    answered = answers.of_decoder(s.model, rows(values, order))  # and one each of this
    compare(rows(expected, order) if values else expected, answered, "in a fresh process, on stored latents")
    return "same parameters and answers; no file read, no connection"


def within_budget(s: Hosted) -> str:
    """Its training takes no more than its budget's images cost to be coded and learnt from."""
    coding = s.guest.coding(s.dataset)
    if own := own_training(s.note, coding, s.budget, s.dataset):
        fixed = f"; {coding.fixed:,} operations do not grow with the images" if coding and coding.fixed else ""
        raise Caught(f"{own}: its rows would be marked 'own training'{fixed}")
    return f"{s.note['training_flops']:,} operations after the {s.budget} budget"
