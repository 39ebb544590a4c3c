"""A guest as the referee plays with it: the sender, the receiver and the gradients, behind one face.

As in the theory of communication: the *sender* sees images and says what is sent; the *receiver* sees only what the
referee hands it, which was paid for. They live in rooms of their own, and are never seated at the same time. Each
answers one request and is gone (``sitting``), so that nothing is remembered when the next one comes: not the noise-free
code of an image, not another draw of its noise, not the image before it was disturbed. Rows come in an order that no
process of the guest's can know, so that a place in a batch says nothing of an image. While something is fitted on
training images, which the guest has anyway, sittings may last. A cotangent tells the target, so what a sitting answers
that was asked for gradients is no score.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from suite import seeds
from suite.data import Dataset, DataSpec
from suite.errors import ContractError
from suite.guests import containment, groups
from suite.guests.apprentice import pack_splits, report_of
from suite.guests.gradients import Decoded
from suite.guests.room import Job, Room
from suite.guests.schema import Schema
from suite.guests.wire import Frame, WireError, pack_values
from suite.measuring import Frozen
from suite.training import Group, TrainingReport

#: Training images from which the looks of all answers are frozen.
SETTLING = 4
#: Bytes that an answer about one image may have, and any answer.
ROW_BYTES, SMALL_BYTES = 2**22, 2**26
#: Seconds that training may take at most where the trial has no limit of its own.
TRAINING_SECONDS = 24 * 3600.0


class Guest:
    """A model from outside in processes of its own, with the methods of a baseline.

    Args:
        job: Source, parameters and, once it is trained, weights.
        static: The declarations that were read from its text.
        spec: What it may know of the data.
        walls: From ``containment.available``.
        company: A secret from which the order of rows comes; empty draws one.
    """

    def __init__(
        self,
        job: Job,
        static: Mapping[str, Any],
        spec: DataSpec,
        walls: containment.Containment,
        company: str = "",
    ) -> None:
        self.job, self.static, self.spec, self.walls = job, static, spec, walls
        self.name = str(job.source["name"])
        self.core, self.supervision = str(static["core"]), str(static["supervision"])
        self.device = torch.device("cpu")
        self.trainable = self.own_features = False
        self._rooms: dict[str, Room] = {}
        self._fitting = False
        self._graphs = 0
        self._company = company or secrets.token_hex(16)
        self._asked = 0
        self._schema = Schema(self.name)
        self._ndim: dict[str, int] = {}
        self._twins: list[Guest] = []

    # --- the rooms --------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Opens the rooms of the sender and of the receiver; at once, for each takes seconds."""
        others = replace(self.walls, uid=self.walls.uid + 1) if self.walls.apart else self.walls
        self._rooms = {"sender": Room(self.walls), "receiver": Room(others)}
        for room in self._rooms.values():
            room.ready()
        self._give(self.job)

    def move_in(self, other: Guest) -> None:
        """Takes over another guest's rooms: keepers hold nothing but their job, and get this one's."""
        self._rooms = other._rooms
        self._give(self.job)

    def close(self) -> None:
        """Ends all processes, those of untrained twins too."""
        for twin in self._twins:
            twin.close()
        for room in self._rooms.values():
            room.close()
        self._rooms = {}

    def __enter__(self) -> Guest:
        self.open()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def until(self, deadline: float | None) -> None:
        """Sets when, on ``time.monotonic()``'s clock, every answer must have come."""
        for room in self._rooms.values():
            room.deadline = deadline

    def _give(self, job: Job) -> None:
        self.job = job
        for room in self._rooms.values():
            room.give(job)

    @contextlib.contextmanager
    def fitting(self) -> Iterator[None]:
        """Lets sittings last inside the block, where all that is asked comes from training images."""
        before, self._fitting = self._fitting, True
        self._rise()
        try:
            yield
        finally:
            self._fitting = before
            self._rise()

    def _rise(self) -> None:
        for room in self._rooms.values():
            room.rise()

    def settle(self, images: Tensor) -> None:
        """Freezes what answers look like, from training images (N, C, H, W).

        Raises:
            ContractError: If the guest cannot encode them.
        """
        with self.fitting():
            Frozen(self).means(images)

    # --- training ---------------------------------------------------------------------------------------------

    def train(
        self, dataset: Dataset, budget: str, precision: str, report: Callable[[dict[str, Any]], None] | None = None
    ) -> TrainingReport:
        """Trains in the sender's room, which has seen no test image yet, and takes the weights to both rooms."""
        told, tensors = pack_splits(dataset, self.supervision != "none")
        request = {**told, "seed": self.job.seed, "budget": budget, "precision": precision}
        room = self._rooms["sender"]
        room.sit()
        answer = room.ask(Frame("train", request, tensors), "trained", TRAINING_SECONDS, report)
        self._take_weights(answer)
        return report_of(answer.text)

    def give_weights(self, state: Mapping[str, Tensor]) -> None:
        """Plays with these weights from now on."""
        self._give(Job(**{**vars(self.job), "state": dict(state)}))

    def state_dict(self) -> dict[str, Tensor]:
        """Returns the weights that the rooms hold."""
        return dict(self.job.state)

    def untrained(self, images: Tensor) -> Guest:
        """Returns an untrained twin with open rooms; running statistics are those of the training images given."""
        room = self._rooms["sender"]
        room.sit()
        answer = room.ask(Frame("untrained", None, [images]), "trained")
        room.rise()
        twin = Guest(Job(**{**vars(self.job), "state": {}}), self.static, self.spec, self.walls)
        self._twins.append(twin)
        twin.open()
        twin.until(room.deadline)
        twin._take_weights(answer)
        twin.settle(images[:SETTLING])
        return twin

    def _take_weights(self, answer: Frame) -> None:
        names = answer.text.get("state") if isinstance(answer.text, dict) else None
        if not isinstance(names, list) or len(set(map(str, names))) != len(answer.tensors):
            raise ContractError("training handed over no weights")
        self._give(Job(**{**vars(self.job), "state": dict(zip(map(str, names), answer.tensors, strict=True))}))

    def count(self) -> int:
        """Returns how many numbers are trained, as the guest counts them; notes which methods it has of its own."""
        self.trainable = bool(self._asked_number("trains"))
        self.own_features = bool(self._asked_number("probed"))
        return self._asked_number("parameters") or 0

    def flops(self, dataset: Dataset) -> int | None:
        """Operations of encoding and decoding one image, as they are counted in the sender's room; None if not."""
        return self._asked_number("flops", [dataset.train.grey[:4]])

    def _asked_number(self, what: str, tensors: list[Tensor] | None = None) -> int | None:
        told = self._rooms["sender"].ask(Frame(what, None, tensors or []), "number").text
        return told if type(told) is int and 0 <= told < 2**62 else None

    # --- what a baseline answers ----------------------------------------------------------------------------------

    def encode(self, x: Tensor) -> dict[str, Group]:
        """Asks the sender; an ancestral group comes back as a function that asks it again."""
        answer = self._strict("sender", Frame("encode", None, [x]), "groups", len(x))
        self._schema.hold("encode", answer.text, answer.tensors)
        found: dict[str, Group] = {}
        for item in answer.text if isinstance(answer.text, list) else []:
            if not (isinstance(item, list) and len(item) == 2 and isinstance(item[0], str)):
                raise ContractError(f"{self.name}.encode: groups without names")
            group = self._unpacked(item[1], answer.tensors, "encode")
            found[item[0]] = self._resolver(x, item[0]) if group is groups.ANCESTRAL else group
            self._ndim[item[0]] = groups.ndim(group)
        return found

    def _resolver(self, x: Tensor, group: str) -> Callable[[Mapping[str, Tensor]], Any]:
        def resolve(earlier: Mapping[str, Tensor]) -> Any:
            names, tensors = pack_values(earlier)
            request = Frame("resolve", {"group": group, "names": names}, [x, *tensors])
            answer = self._strict("sender", request, "group", len(x))
            where = f"encode['{group}']"
            self._schema.hold(where, answer.text, answer.tensors)
            found = self._unpacked(answer.text, answer.tensors, where)
            self._ndim[group] = groups.ndim(found)
            return found

        return resolve

    def prior(self, name: str, earlier: Mapping[str, Tensor]) -> Any:
        """Asks the receiver for the prior of a group given the values of the earlier ones."""
        names, tensors = pack_values(earlier)
        n = len(tensors[0]) if tensors else 0
        order = self._order(n)
        request = Frame("prior", {"group": name, "names": names}, [tensor[order] for tensor in tensors])
        answer = self._received("receiver", request, "group", n)
        prior = self._unpacked(answer.text, answer.tensors, f"prior('{name}')")
        if prior is None or groups.ndim(prior) != self._ndim.get(name):
            return prior  # one for all rows
        rows = len(answer.tensors[0]) if answer.tensors[0].ndim else 0
        back = torch.argsort(order) if rows == n else self._order(rows)  # without earlier values no row is any image's
        return self._unpacked(answer.text, [tensor[back] for tensor in answer.tensors], f"prior('{name}')")

    def decode(self, values: Mapping[str, Tensor]) -> Tensor:
        """Asks the receiver for logits; where gradients are wanted, with a graph that stays there."""
        names, tensors = pack_values(values)
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            return Decoded.apply(self, names, *tensors)
        n = len(tensors[0]) if tensors else 1
        return self._one(self._strict("receiver", Frame("decode", names, tensors), "tensor", n), "decode")

    def features(self, values: Mapping[str, Tensor]) -> Tensor:
        """Asks the receiver for the probe's features."""
        names, tensors = pack_values(values)
        n = len(tensors[0]) if tensors else 1
        return self._one(self._strict("receiver", Frame("features", names, tensors), "tensor", n), "features")

    def forward(self, names: list[str], tensors: list[Tensor]) -> tuple[int, Tensor]:
        """Returns a graph's number and its logits."""
        self._graphs += 1
        request = Frame("forward", {"graph": self._graphs, "names": names}, tensors)
        self._rooms["sender"].rise()
        return self._graphs, self._one(self._rooms["receiver"].ask(request, "tensor"), "decode")

    def backward(self, graph: int, cotangent: Tensor, expected: list[Tensor]) -> list[Tensor]:
        """Returns the product of a cotangent with a graph's Jacobian for each of the floating values."""
        answer = self._rooms["receiver"].ask(Frame("backward", {"graph": graph}, [cotangent]), "tensors")
        found = answer.tensors
        if [g.shape for g in found] != [e.shape for e in expected]:
            raise ContractError(f"{self.name}.decode: gradients that do not fit the values")
        return found

    def _strict(self, room: str, request: Frame, kind: str, n: int) -> Frame:
        """Asks about n rows, in an order that the guest cannot know, and returns the answer in the referee's order."""
        order = self._order(n)
        tensors = [tensor[order] if len(tensor) == n else tensor for tensor in request.tensors]
        answer = self._received(room, Frame(request.kind, request.text, tensors), kind, n)
        back = torch.argsort(order)
        return replace(answer, tensors=[t[back] if t.ndim and len(t) == n else t for t in answer.tensors])

    def _order(self, n: int) -> Tensor:
        if self._fitting:
            return torch.arange(n)
        self._asked += 1
        return torch.randperm(n, generator=seeds.torch_rng("company", self._company, self._asked))

    def _received(self, name: str, request: Frame, kind: str, n: int) -> Frame:
        """Asks a sitting that saw nothing else; while fitting, the one that is seated."""
        room, most = self._rooms[name], SMALL_BYTES + n * ROW_BYTES
        if self._fitting:
            return room.ask(request, kind, most_bytes=most)
        self._rise()
        answer = room.ask(request, kind, most_bytes=most)
        room.rise()
        return answer

    def _one(self, answer: Frame, where: str) -> Tensor:
        if len(answer.tensors) != 1:
            raise ContractError(f"{self.name}.{where}: expected one tensor, found {len(answer.tensors)}")
        return answer.tensors[0]

    def _unpacked(self, told: Any, tensors: list[Tensor], where: str) -> Any:
        try:
            return groups.unpack(told, tensors)
        except WireError as error:
            raise ContractError(f"{self.name}.{where}: {error}") from error
