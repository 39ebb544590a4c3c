"""A guest as the referee plays with it: the sender, the receiver and the gradients, behind one face.

As in the theory of communication: the *sender* sees images and says what is sent; the *receiver* sees only what the
referee hands it, which was paid for. They live in rooms of their own, and are never seated at the same time. Each
answers about one message and is gone (``suite.guests.rooms``), so that nothing is remembered when the next one comes:
not the noise-free code of an image, not another draw of its noise, not the image before it was disturbed. Rows come in
random company (``suite.guests.company``). While something is fitted on training images, which the guest has anyway,
sittings may last. A cotangent tells the target, so what a sitting answers that was asked for gradients is no score.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from suite.data import Dataset
from suite.errors import ContractError
from suite.guests import groups
from suite.guests.company import MOST
from suite.guests.gradients import Decoded
from suite.guests.resident import Resident, is_count
from suite.guests.rooms import values_of
from suite.guests.wire import Frame, WireError, pack_values
from suite.measuring import Frozen, answers, flops
from suite.training import Group

#: Bytes that an answer about one image may have, and any answer.
ROW_BYTES, SMALL_BYTES = 2**22, 2**26
#: Images whose coding is counted, and twice as many: that is what is scored at once. And of which there are whole
#: numbers: a model may fill up its last block.
COUNTED, BLOCK = 256, 64


class Guest(Resident):
    """A model from outside in processes of its own, with the methods of a baseline. Arguments as for ``Resident``."""

    def settle(self, images: Tensor) -> None:
        """Freezes what answers look like, from training images (N, C, H, W).

        Raises:
            ContractError: If the guest cannot encode them.
        """
        with self.fitting():
            Frozen(self).means(images)

    def coding(self, dataset: Dataset) -> flops.Coding | None:
        """Operations of encoding and decoding, as they are counted in the rooms; None if they are not.

        The images are none that the model can have seen, as many as are scored at once, and each room's sitting is its
        first: what is learnt before an answer, from images that the weights hold, is told from what coding takes.
        """
        shift = secrets.choice([(down, right) for down in (-1, 0, 1) for right in (-2, -1, 1, 2)])
        half = len(dataset.train) // 2
        n = min(COUNTED + BLOCK * secrets.randbelow(3), half // BLOCK * BLOCK or half)
        images = dataset.train.grey[: 2 * n].roll(shift, (-2, -1))
        try:
            (once, one), (twice, two) = self._operations(images[:n]), self._operations(images)
        except ContractError:
            return None
        return flops.Coding.of(n, once, twice, (one, two))

    def _operations(self, images: Tensor) -> tuple[flops.Count, int]:
        """Operations of encoding and decoding images; and of priors, of features and of what is done again.

        For an ancestral group a sender encodes its images again, as it is another process by then.
        """
        with self.fitting(), self.rooms.counting() as counted:
            model = Frozen(self)
            values = model.means(images)
            model.decode(values)
        with self.fitting(), self.rooms.counting() as beside:
            answers.of_priors(model, values)
        with self.fitting(), self.rooms.counting() as beneath:
            answers.of_features(model, values)
        found = [*counted, *beside, *beneath]
        if not all(isinstance(told, list) and len(told) == 3 and all(map(is_count, told)) for told in found):
            raise ContractError("operations that are no numbers")
        operations, gradients, again = (sum(told[i] for told in counted) for i in range(3))
        return (operations, gradients), again + sum(told[0] + told[2] for told in (*beside, *beneath))

    # --- what a baseline answers ----------------------------------------------------------------------------------

    def encode(self, x: Tensor) -> dict[str, Group]:
        """Asks the sender; an ancestral group comes back as a function that asks it again."""
        answer = self._rows("sender", Frame("encode", None, [x]), "groups", len(x))
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
            answer = self._rows("sender", request, "group", len(x))
            where = f"encode['{group}']"
            self._schema.hold(where, answer.text, answer.tensors)
            found = self._unpacked(answer.text, answer.tensors, where)
            self._ndim[group] = groups.ndim(found)
            return found

        return resolve

    def prior(self, name: str, earlier: Mapping[str, Tensor]) -> Any:
        """Asks the receiver for the prior of a group given the values of the earlier ones."""
        where = f"prior('{name}')"
        request = Frame("prior", {"group": name, "names": list(earlier)}, list(earlier.values()))
        if earlier:
            answer, own = self._ask("receiver", request, "group", len(request.tensors[0]), stays=True)
        else:  # it is the same for every image, and no row of it is any image's
            answer, own = self._free_prior(name, request), self._company.shuffled
        prior = self._unpacked(answer.text, answer.tensors, where)
        if prior is None or groups.ndim(prior) != self._ndim.get(name):
            return prior  # one for all rows
        return self._unpacked(answer.text, own(answer.tensors), where)

    def _free_prior(self, name: str, request: Frame) -> Frame:
        """A prior for which nothing is needed: asked once."""
        if self._fitting:
            return self._ask("receiver", request, "group", 0)[0]
        if name not in self._free_priors:
            self._free_priors[name], _ = self._ask("receiver", request, "group", 0, stays=True)
        return self._free_priors[name]

    def decode(self, values: Mapping[str, Tensor]) -> Tensor:
        """Asks the receiver for logits; where gradients are wanted, with a graph that stays there."""
        names, tensors = pack_values(values)
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
            return Decoded.apply(self, names, *tensors)
        n = len(tensors[0]) if tensors else 1
        return self._one(self._rows("receiver", Frame("decode", names, tensors), "tensor", n), "decode")

    def features(self, values: Mapping[str, Tensor]) -> Tensor:
        """Asks the receiver for the probe's features."""
        names, tensors = pack_values(values)
        n = len(tensors[0]) if tensors else 1
        return self._one(self._rows("receiver", Frame("features", names, tensors), "tensor", n), "features")

    def forward(self, names: list[str], tensors: list[Tensor]) -> tuple[int, Tensor]:
        """Returns a graph's number and its logits."""
        self._graphs += 1
        request = Frame("forward", {"graph": self._graphs, "names": names}, tensors)
        answer = self.rooms.ask_gradients(self._place, request, "tensor", fitting=self._fitting)
        return self._graphs, self._one(answer, "decode")

    def backward(self, graph: int, cotangent: Tensor, expected: list[Tensor]) -> list[Tensor]:
        """Returns the product of a cotangent with a graph's Jacobian for each of the floating values."""
        request = Frame("backward", {"graph": graph}, [cotangent])
        found = self.rooms.ask_gradients(self._place, request, "tensors", fitting=self._fitting).tensors
        if [g.shape for g in found] != [e.shape for e in expected]:
            raise ContractError(f"{self.name}.decode: gradients that do not fit the values")
        return found

    def _ask(
        self, who: str, request: Frame, kind: str, n: int, *, stays: bool = False
    ) -> tuple[Frame, Callable[[list[Tensor]], list[Tensor]]]:
        """Asks about n rows in random company; returns the answer, and what takes these rows from its tensors.

        While fitting, the one is asked that is seated, about these rows alone.
        """
        most, what = SMALL_BYTES + (n + MOST) * ROW_BYTES, f"{request.kind} {request.text}"
        if self._fitting:
            room = self.rooms.sender if who == "sender" else self.rooms.receiver
            self._company.remember(what, request.tensors, n)
            return self.rooms.ask_for_fit(room, self._place, request, kind, most), list
        tensors, back, total = self._company.mix(what, request.tensors, n)
        mixed = replace(request, tensors=tensors)
        if who == "sender":
            answer = self.rooms.ask_sender(self._place, mixed, kind, most)
        else:
            answer = self.rooms.ask_receiver(self._place, mixed, values_of(request), kind, most, stays=stays)
        return answer, lambda tensors: [t[back] if t.ndim and len(t) == total else t for t in tensors]

    def _rows(self, who: str, request: Frame, kind: str, n: int) -> Frame:
        """The answer about n rows, in the referee's order."""
        answer, own = self._ask(who, request, kind, n)
        return replace(answer, tensors=own(answer.tensors))

    def _one(self, answer: Frame, where: str) -> Tensor:
        if len(answer.tensors) != 1:
            raise ContractError(f"{self.name}.{where}: expected one tensor, found {len(answer.tensors)}")
        return answer.tensors[0]

    def _unpacked(self, told: Any, tensors: list[Tensor], where: str) -> Any:
        try:
            return groups.unpack(told, tensors)
        except WireError as error:
            raise ContractError(f"{self.name}.{where}: {error}") from error
