"""A guest's side of the wire: ``python -m suite.guests.player FD``, behind the walls.

A keeper, which never runs a line of the guest's, holds the source and the weights. For every sitting it forks a
process that loads the guest from them and answers; when the sitting ends, whatever is left of it is killed and wiped.
So nothing can be carried from one sitting to the next: not in a global, a file, a closure, a counter or a thread, and
not in what a process leaves outside itself (``suite.guests.filter``).
"""

from __future__ import annotations

import ast
import contextlib
import ctypes
import gc
import os
import random
import resource
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from suite.guests import filter, groups
from suite.guests.audit import Witness
from suite.guests.keeping import Job, alone_with, end, told, torch_folder, warm_up
from suite.guests.wire import DTYPES, Frame, WireError, receive, send, unpack_values
from suite.training import Counter

_PR_SET_DUMPABLE = 4
#: Open files of a sitting.
MOST_FILES = 128
#: Graphs that wait for their cotangent.
MOST_GRAPHS = 8
#: Lines on what was opened.
MOST_SEEN = 20


def main() -> None:
    """Serves the referee on the descriptor that the command line names, until it hangs up."""
    control, filtered = socket.socket(fileno=int(sys.argv[1])), sys.argv[2] == "filtered"
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)  # no sitting can read or write the keeper's memory
    warm_up()
    torch_folder()
    from suite.plugins import loading

    jobs: dict[str, Job] = {}
    sitting = 0
    send(control, Frame("ready"))
    with contextlib.suppress(WireError, EOFError):
        while True:
            frame = receive(control)
            if frame.kind == "job":
                jobs[frame.text["job"]] = job = Job.of(frame)
                if filtered:  # no sitting can touch what is written here
                    with contextlib.suppress(Exception):  # the sitting that loads it says what is wrong
                        loading.compiled(job.source)
                gc.freeze()
            elif frame.kind == "sit":
                end(sitting)
                _, (descriptor, *_), _, _ = socket.recv_fds(control, 1, 1)
                sitting = _sit(jobs[frame.text["job"]], control, descriptor, frame.text)
            elif frame.kind == "end":
                end(sitting)
                sitting = 0
            send(control, Frame("done"))
    end(sitting)


def _sit(job: Job, control: socket.socket, descriptor: int, limits: dict[str, Any]) -> int:
    """Forks the process of one sitting and returns its number."""
    child = os.fork()
    if child:
        os.close(descriptor)
        return child
    status = 1
    try:
        control.detach()
        _Sitting(job, alone_with(descriptor), limits).serve()
        status = 0
    finally:
        os._exit(status)


class _Sitting:
    """One forked process: loads the guest, answers the referee's requests."""

    def __init__(self, job: Job, connection: socket.socket, limits: dict[str, Any]) -> None:
        self.connection, self.limits = connection, limits
        self.told, self.source, self.state = job.text, job.source, job.state
        self.graphs: dict[int, tuple[list[Tensor], Tensor]] = {}
        self.model: Any = None
        self.built: Any = None
        # Of operations; and of those that only repeat what another answer took.
        self.counter: Counter | None = Counter() if limits.get("count") else None
        self.again = Counter() if self.counter else None

    def serve(self) -> None:
        """Answers until the referee hangs up; what the guest raises is an answer too."""
        torch.set_num_threads(self.told["threads"])
        answers: dict[str, Callable[[Frame], Frame]] = {
            name.removeprefix("on_"): getattr(self, name) for name in dir(self) if name.startswith("on_")
        }
        self.witness = Witness(Path(name).name for name in self.source.files) if self.limits.get("watch") else None
        with self.witness or contextlib.nullcontext():
            self._serve(answers)

    def _serve(self, answers: dict[str, Callable[[Frame], Frame]]) -> None:
        problem = self._try(self._load)
        while True:
            request = receive(self.connection)
            answer = problem or self._try(partial(self._counted, answers, request))
            send(self.connection, answer or Frame("done"))

    def _counted(self, answers: dict[str, Callable[[Frame], Frame]], request: Frame) -> Frame:
        """Answers, and where it is to be counted counts all that this takes from the built model on."""
        answer = answers[request.kind]
        if self.counter is None or request.kind == "counted":
            return answer(request)
        from suite.measuring import flops

        self.built = self.built or self._recipe().build()
        with self.counter, flops.layer_by_layer():
            return answer(request)

    def _try(self, act: Callable[[], Frame | None]) -> Frame | None:
        try:
            answer = act()
            for thing in answer.tensors if answer else ():
                if not isinstance(thing, Tensor) or thing.dtype not in DTYPES.values():
                    found = thing.dtype if isinstance(thing, Tensor) else type(thing).__name__
                    raise TypeError(f"expected a tensor of numbers, found {found}")
            return answer
        except BaseException as error:  # SystemExit and its like are the guest's answers as well
            return Frame("error", told(error, self.source))

    def _load(self) -> None:
        """Writes the source's files, shuts the door, and only then runs the guest's first line."""
        from suite.plugins import loading

        loading.prepare(self.source)
        if self.limits.get("memory"):
            resource.setrlimit(resource.RLIMIT_AS, (self.limits["memory"], self.limits["memory"]))
        alone = self.told["threads"] == 1
        for limit, most in (
            (resource.RLIMIT_FSIZE, 0),
            *([(resource.RLIMIT_NPROC, 0)] if alone else []),
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_MSGQUEUE, 0),
            (resource.RLIMIT_NOFILE, MOST_FILES),
        ):
            resource.setrlimit(limit, (most, most))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        if not filter.apply(threads=not alone) and self.limits.get("filter"):
            raise OSError("the kernel did not take the filter of system calls")
        self.cls = loading.load(self.source)
        if self.limits.get("early"):
            self._playing()

    def _playing(self) -> Any:
        """The frozen model with its weights, made at the first question."""
        if self.model is None:
            self.model = self._ready(self.built or self._recipe().build()).eval().requires_grad_(False)
        return self.model

    def _ready(self, model: Any) -> Any:
        """Gives a model its weights."""
        from suite.plugins import confirm
        from suite.training import checkpoints

        checkpoints.check_storable(model)
        if self.state:
            checkpoints.restore(model, self.state, Path("weights"))
        confirm(self.source, model)
        return model

    def _recipe(self) -> Any:
        from suite.data import DataSpec
        from suite.training import Recipe

        spec = DataSpec(**{**self.told["spec"], "shape": tuple(self.told["spec"]["shape"])})
        return Recipe(self.cls, spec, ast.literal_eval(self.told["params"]), self.told["seed"], "cpu")

    # --- what the referee may ask ---------------------------------------------------------------------------------

    def on_encode(self, request: Frame) -> Frame:
        """Images -> the groups, in order."""
        tensors: list[Tensor] = []
        with torch.no_grad():
            latents = self._playing().encode(request.tensors[0])
            told = [[str(name), groups.pack(group, tensors)] for name, group in latents.items()]
        return Frame("groups", told, tensors)

    def on_resolve(self, request: Frame) -> Frame:
        """Images, a group's name and the values of the earlier groups -> what that ancestral group is."""
        x, *rest = request.tensors
        tensors: list[Tensor] = []
        with torch.no_grad():
            with self.again or contextlib.nullcontext():
                group = self._playing().encode(x)[request.text["group"]]
            told = groups.pack(group(unpack_values(request.text["names"], rest)), tensors)
        return Frame("group", told, tensors)

    def on_prior(self, request: Frame) -> Frame:
        """A group's name and the values of the earlier groups -> its prior, or none."""
        tensors: list[Tensor] = []
        with torch.no_grad():
            earlier = unpack_values(request.text["names"], request.tensors)
            told = groups.pack(self._playing().prior(request.text["group"], earlier), tensors)
        return Frame("group", told, tensors)

    def on_decode(self, request: Frame) -> Frame:
        """Values -> logits."""
        with torch.no_grad():
            return Frame("tensor", None, [self._playing().decode(unpack_values(request.text, request.tensors))])

    def on_features(self, request: Frame) -> Frame:
        """Values of the core -> features."""
        with torch.no_grad():
            return Frame("tensor", None, [self._playing().features(unpack_values(request.text, request.tensors))])

    def on_forward(self, request: Frame) -> Frame:
        """Values -> logits whose graph is kept under a number, until its one ``backward``."""
        values = unpack_values(request.text["names"], request.tensors)
        leaves = [value.requires_grad_(value.is_floating_point()) for value in values.values()]
        with torch.enable_grad():
            logits = self._playing().decode({name: value.clone() for name, value in values.items()})
        self.graphs[request.text["graph"]] = leaves, logits
        while len(self.graphs) > MOST_GRAPHS:  # of some the referee never asks the gradient
            del self.graphs[min(self.graphs)]
        return Frame("tensor", None, [logits])

    def on_backward(self, request: Frame) -> Frame:
        """A cotangent -> its product with the Jacobian, for every value that is floating."""
        leaves, logits = self.graphs.pop(request.text["graph"])
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        found: tuple[Tensor | None, ...] = (None,) * len(wanted)
        if logits.requires_grad:  # a decoder may read none of them
            found = torch.autograd.grad(logits, wanted, request.tensors[0], allow_unused=True)
        return Frame(
            "tensors", None, [torch.zeros_like(w) if g is None else g for w, g in zip(wanted, found, strict=True)]
        )

    def on_train(self, request: Frame) -> Frame:
        """The training and validation split -> weights and the report of training."""
        from suite.guests.apprentice import train

        self._ready(self._recipe().build())
        if "streams" in request.text:
            torch.manual_seed(request.text["streams"])
            numpy.random.seed(request.text["streams"] % 2**32)
            random.seed(request.text["streams"])
        return train(
            self._recipe(), self.source, request, lambda state: send(self.connection, Frame("progress", state))
        )

    def on_seen(self, request: Frame) -> Frame:
        """Nothing -> what it opened and whom it called, where that is watched."""
        return Frame("seen", self.witness.seen[:MOST_SEEN] if self.witness else [])

    def on_parameters(self, request: Frame) -> Frame:
        """Nothing -> how many numbers are trained."""
        return Frame("number", sum(p.numel() for p in self._playing().parameters()))

    def on_trains(self, request: Frame) -> Frame:
        """Nothing -> whether it has a loss."""
        from suite.training import Baseline

        return Frame("number", int(self.cls.loss is not Baseline.loss))

    def on_probed(self, request: Frame) -> Frame:
        """Nothing -> whether it says itself what a probe reads."""
        from suite.training import Baseline

        return Frame("number", int(self.cls.features is not Baseline.features))

    def on_counted(self, request: Frame) -> Frame:
        """Nothing -> the operations of all answers, those that took gradients, and apart those done again."""
        if self.counter is None or self.again is None:
            return Frame("number")
        all_, again = self.counter, self.again
        return Frame("number", [all_.flops - again.flops, all_.backward - again.backward, again.flops])

    def on_untrained(self, request: Frame) -> Frame:
        """Training images -> the weights of an untrained twin, with the running statistics of these images."""
        from suite.guests.apprentice import untrained

        self.state = {}
        return untrained(self._ready(self._recipe().build()), request, self.told["seed"])


if __name__ == "__main__":
    main()
