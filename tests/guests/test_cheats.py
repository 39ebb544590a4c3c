"""Planted cheats, one of each kind: refused, or worth what their honest twin is worth.

Each is an honest VAE with one thing added behind ``cheat=true``; its twin is the same file without.
``python -m tests.guests.test_cheats`` prints the table of ``docs/trust.md``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from suite import seeds
from suite.errors import ContractError
from suite.guests import Guest, GuestDied, Job, Rooms, available, of_source
from suite.measuring import Frozen, Subject, fit_channel
from suite.measuring.features import compute_features
from suite.measuring.inputs import lay_out, model_decoder, search
from suite.measuring.whitening import observe
from suite.plugins import registry
from tests.models import digits

HONEST = '''
import gc, math, sys
import torch
from torch import nn
from torch import distributions as D
from torch.nn import functional as F
from suite.contract import Baseline, Discrete

class Planted(Baseline):
    """honest"""
    variants = {"planted": {}}

    def __init__(self, spec, cheat: bool = False):
        super().__init__(spec)
        self.cheat = cheat
        self.enc = nn.Sequential(nn.Flatten(), nn.Linear(spec.pixels, 32), nn.ReLU(), nn.Linear(32, 16))
        self.dec = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, spec.pixels))

    def loss(self, batch):
        return self.honest(batch)

    def honest(self, batch):
        mu, s = self.enc(batch.x).chunk(2, 1)
        logits = self.dec(mu + s.exp() * torch.randn_like(mu)).view_as(batch.x)
        d = F.binary_cross_entropy_with_logits(logits, batch.x, reduction="none").flatten(1).sum(1)
        return {"loss": d + 0.5 * (mu**2 + (2 * s).exp() - 2 * s - 1).sum(1)}

    def q(self, x):
        mu, s = self.enc(x).chunk(2, 1)
        return D.Normal(mu, s.exp())

    def encode(self, x):
        return {"z": self.sent(x) if self.cheat else self.q(x)}

    def sent(self, x):
        return self.q(x)

    def prior(self, name, earlier):
        return self.expected() if self.cheat else D.Normal(torch.zeros(8), torch.ones(8))

    def expected(self):
        return D.Normal(torch.zeros(8), torch.ones(8))

    def plain(self, values):
        return self.dec(values["z"]).view(-1, *self.spec.shape)

    def decode(self, values):
        return self.received(values) if self.cheat else self.plain(values)

    def received(self, values):
        return self.plain(values)
'''

#: How a cheat ends that is not refused.
SCORED = ("twin", "no better")

#: Test images whose class is told.
SEEN = 200

#: Answers with an image of the batch's size that was found, else honestly.
FOUND = """
        n, shape = len(values["z"]), self.spec.shape
        for x in found:
            if torch.is_tensor(x) and tuple(x.shape) == (n, *shape):
                return 12 * x - 6
        return self.plain(values)
"""

MEMORY = (
    """
    def sent(self, x):
        KEPT.append(x)
        return self.q(x)

    def received(self, values):
        found = KEPT[::-1]
"""
    + FOUND
)


@dataclass(frozen=True)
class Cheat:
    """One planted cheat.

    Attributes:
        code: What is added.
        ends: ``"twin"``: scores what its twin scores; ``"no better"``: that or worse; else what the refusal says.
        quick: Whether it runs by default.
        measure: ``"nats"``, ``"nats of the next"``, ``"dB"`` or ``"%"``.
    """

    code: str
    ends: str = "twin"
    quick: bool = False
    measure: str = "nats"


CHEATS = {
    "a density for counts": Cheat(
        """
    def sent(self, x):
        return Discrete((x > 0.5).long(), 2)

    def expected(self):
        two = torch.tensor([0.0, 1.0]).expand(*self.spec.shape, 2)
        return D.MixtureSameFamily(D.Categorical(logits=torch.zeros_like(two)), D.Normal(two, 0.22))

    def received(self, values):
        return 8 * values["z"].float() - 4
""",
        ends="do not fit",
        quick=True,
    ),
    "a family whose draws clamp": Cheat(
        """
    def sent(self, x):
        return D.Gamma(torch.full((len(x), 8), 1e-3), torch.ones(len(x), 8))
""",
        ends="allowed family",
    ),
    "a scale whose square has no digits": Cheat(
        """
    def encode(self, x):
        tiny = torch.full((len(x), 600), 2.72e-162 if self.cheat else 1.0, dtype=torch.float64)
        return {"z": self.q(x), "n": D.Normal(torch.zeros_like(tiny), tiny)}

    def prior(self, name, earlier):
        if name == "z":
            return self.expected()
        zeros = torch.zeros(600, 1, dtype=torch.float64)
        tiny = torch.full_like(zeros, 1.575e-162 if self.cheat else 1.0)
        return D.MixtureSameFamily(D.Categorical(logits=zeros), D.Normal(zeros, tiny))
""",
        ends="is priced",
    ),
    "a divergence that cancels in float32": Cheat(
        """
    def sent(self, x):
        q = self.q(x)
        return D.Normal(q.loc + 1e4, q.scale)

    def expected(self):
        return D.Normal(torch.full((8,), 1e4), torch.ones(8))

    def received(self, values):
        return self.plain({"z": values["z"] - 1e4})
"""
    ),
    "the target in a caller's frame": Cheat(
        """
    def received(self, values):
        found, frame = [], sys._getframe()
        while frame:
            found += list(frame.f_locals.values())
            frame = frame.f_back
"""
        + FOUND
    ),
    "the target among the garbage collector's objects": Cheat(
        """
    def received(self, values):
        found = gc.get_objects()
"""
        + FOUND
    ),
    "a memory between calls, in a global": Cheat("KEPT = []\n" + MEMORY, quick=True),
    "a prior that remembers the posterior": Cheat(
        """
    def sent(self, x):
        self.last = q = self.q(x)
        return q

    def expected(self):
        return getattr(self, "last", D.Normal(torch.zeros(8), torch.ones(8)))
"""
    ),
    "the noise-free code, remembered": Cheat(
        """
    def received(self, values):
        import suite.guests.player as p
        z = values["z"]
        kept = p.__dict__.setdefault("KEPT", [])
        if kept and kept[-1].shape == z.shape:
            z = (z + sum(kept)) / (1 + len(kept))
        kept.append(values["z"])
        return self.plain({"z": z})
"""
    ),
    "the image in a group's name": Cheat(
        """
    def encode(self, x):
        name = "".join("01"[int(b)] for b in x.flatten().tolist()) if self.cheat else "none"
        return {"z": self.q(x), name: torch.zeros(len(x), 0)}

    def prior(self, name, earlier):
        return D.Normal(torch.zeros(8), torch.ones(8)) if name == "z" else None
""",
        ends="are those of the first answer",
        quick=True,
    ),
    "the image in the order, type or width of groups": Cheat(
        """
    def sent(self, x):
        q = self.q(x)
        return D.Normal(q.loc.double(), q.scale.double()) if float(x.sum()) % 2 else q
""",
        ends="are those of the first answer",
    ),
    "test images in training's process": Cheat(
        """
    def loss(self, batch):
        found = [o for o in gc.get_objects() if self.cheat and torch.is_tensor(o) and o.ndim == 4 and len(o) == 400]
        return {n: v * (1 - len(found)) for n, v in self.honest(batch).items()}
"""
    ),
    "a replaced function of the suite": Cheat(
        """
    def received(self, values):
        import suite.measuring.coding as coding
        import suite.measuring.likelihood as likelihood
        nothing = lambda *a: torch.zeros(())
        coding.price_group, likelihood.bernoulli_nats, coding.bernoulli_nats = nothing, nothing, nothing
        return self.plain(values)
"""
    ),
    "the published noise, taken out again": Cheat(
        """
    def received(self, values):
        from suite import seeds
        z = values["z"]
        for names in (("judge", "nats"), ("channel", "test", 0)):
            noise = torch.randn(z.shape, generator=seeds.torch_rng("score", 0, "", *names))
            z = torch.where((z - noise).abs() < (z - z.mean(0)).abs() * 1e-6, z - noise, z)
        return self.plain({"z": z})
"""
    ),
    "the numbers that binarized the image, by their row in the published stream": Cheat(
        """
    def table(self):
        import numpy as np
        rows = np.random.RandomState(20).random_sample((400, self.spec.pixels))
        return torch.from_numpy(rows).float().clamp(1e-4, 1 - 1e-4)

    def sent(self, x):
        q, table = self.q(x), self.table()
        grey = self.dec(q.mean).sigmoid()
        row = ((grey - x.flatten(1)) @ (table - 0.5).T).argmax(1)
        place = (row - 199.5) / 115
        mean, deviation = q.mean.clone(), q.stddev.clone()
        mean[:, 7], deviation[:, 7] = place, 0.0015
        return D.Normal(mean, deviation)

    def received(self, values):
        z = values["z"]
        row = (z[:, 7] * 115 + 199.5).round().clamp(0, 399).long()
        logits = self.dec(F.pad(z[:, :7], (0, 1))) - self.table()[row].logit()
        return 2 * logits.view(-1, *self.spec.shape)
""",
        "no better",
    ),
    "behaviour in a docstring": Cheat(
        """
    def received(self, values):
        return self.plain(values) if not type(self).__doc__ else 12 * torch.rand(len(values["z"]), *self.spec.shape)
"""
    ),
    "the target from a gradient": Cheat(
        """
    def received(self, values):
        z = values["z"]
        told = LAST.get(len(z))
        logits = self.plain(values)
        if told is not None:
            logits = logits + (told - logits).detach()
        if logits.requires_grad:
            out = logits.sigmoid().detach()
            slope = out * (1 - out)
            n = len(z)
            logits.register_hook(lambda g: LAST.__setitem__(n, (out - g / slope / 2).clamp(1e-4, 1 - 1e-4).logit()))
        return logits

LAST = {}
""",
        measure="dB",
    ),
    "a copy of the image in a file, shared memory or the environment": Cheat(
        """
    def sent(self, x):
        data = x.numpy().tobytes()
        for leave in (self.to_file, self.to_memory, self.to_environment):
            try:
                leave(data)
            except Exception:
                pass
        return self.q(x)

    def to_file(self, data):
        with open(PLACE, "wb") as file:
            file.write(data)

    def to_memory(self, data):
        from multiprocessing import shared_memory
        kept = shared_memory.SharedMemory("planted", create=True, size=len(data))
        kept.buf[: len(data)] = data

    def to_environment(self, data):
        os.environ["PLANTED"] = data.hex()

    def from_file(self):
        return open(PLACE, "rb").read()

    def from_memory(self):
        from multiprocessing import shared_memory
        return bytes(shared_memory.SharedMemory("planted").buf)

    def from_environment(self):
        return bytes.fromhex(os.environ["PLANTED"])

    def received(self, values):
        found, size = [], len(values["z"]) * self.spec.pixels * 4
        for find in (self.from_file, self.from_memory, self.from_environment):
            try:
                found.append(torch.frombuffer(bytearray(find()[:size]), dtype=torch.float32).view(-1, *self.spec.shape))
            except Exception:
                pass
"""
        + FOUND
        + """
import os
PLACE = os.environ.get("TMPDIR", "/tmp") + "/planted"
"""
    ),
    "another draw, remembered from the prior's question": Cheat(
        """
    groups = {"z": "8 units", "w": "1 unit"}

    def encode(self, x):
        return {"z": self.q(x), "w": D.Normal(torch.zeros(len(x), 1), torch.ones(len(x), 1))}

    def prior(self, name, earlier):
        if name == "w":
            KEPT.append(earlier["z"])
        return D.Normal(torch.zeros(8 if name == "z" else 1), torch.ones(8 if name == "z" else 1))

    def received(self, values):
        same = [z for z in KEPT if z.shape == values["z"].shape]
        return self.plain({"z": (values["z"] + sum(same)) / (1 + len(same))})

KEPT = []
"""
    ),
    "the brightness of the batch in the time of day": Cheat(
        """
    def sent(self, x):
        import time
        end = time.time() // 1 + 1 + float(x.mean())
        while time.time() < end:
            pass
        return self.q(x)

    def received(self, values):
        import time
        logits = self.plain(values)
        return logits + (time.time() % 1 / logits.sigmoid().mean().clamp_min(1e-3)).log().clamp(-0.001, 0.001)
"""
    ),
    "constants for the next trial": Cheat(
        """
    def received(self, values):
        import suite.measuring.noise as noise, suite.measuring.calibration as calibration
        import suite.measuring.coding as coding
        noise.MAX_BLOCKS, noise.BLOCKS, noise.STARTS, coding.BATCH = 0, {"quick": 0, "smoke": 0}, (30.0,), 1
        calibration.MAX_STEPS = 0
        return self.plain(values)
""",
        measure="nats of the next",
    ),
    "labels in a frame, among objects, in a file": Cheat(
        """
    def features(self, values):
        z = values["z"]
        if not self.cheat:
            return z
        found, frame = list(gc.get_objects()), sys._getframe()
        while frame:
            found += list(frame.f_locals.values())
            frame = frame.f_back
        for y in found:
            if torch.is_tensor(y) and y.dtype == torch.int64 and y.shape == z.shape[:1] and 0 < int(y.max()) < 10:
                return F.one_hot(y, 10).float()
        try:
            from sklearn.datasets import load_digits
            return F.one_hot(torch.tensor(load_digits().target[-len(z):]), 10).float()
        except Exception:
            return z
""",
        measure="%",
    ),
    "labels by the place in the batch": Cheat(
        """
    def features(self, values):
        z = values["z"]
        if not self.cheat:
            return z
        known = torch.tensor(LABELS).repeat(1 + len(z) // len(LABELS))[: len(z)]
        return F.one_hot(known, 10).float()

LABELS = TEST_LABELS
""",
        measure="%",
    ),
}


def write(folder: Path, cheat: Cheat) -> Path:
    """The planted file."""
    at = cheat.code.index("\n    ")
    head, body = cheat.code[:at], cheat.code[at:]
    path = folder / "planted.py"
    path.write_text((head + HONEST + body).replace("TEST_LABELS", str(digits().test.labels[:SEEN].tolist())))
    return path


def worth(path: Path, measure: str, on: bool, rooms: Rooms, budget: str = "smoke") -> float:
    """What a planted file scores: nats of 100 test images, dB of the search for 10, or % of ``SEEN``."""
    subject = hosted(f"{path}:cheat={'true' if on else 'false'}", rooms, budget)
    if measure == "nats of the next" and on:
        nats(subject)
        return nats(hosted(f"{path}:cheat=false", rooms, budget))
    return {"dB": decibels, "%": accuracy}.get(measure, nats)(subject)


def hosted(selector: str, rooms: Rooms, budget: str) -> Subject:
    """A model that was trained as a guest in these rooms, as tasks see it."""
    source, params = registry.resolve("baseline", selector)
    dataset = digits()
    fields, files = of_source(source)
    guest = Guest(Job(fields, files, params, dataclasses.asdict(dataset.spec), 0, 1, {}), source.static, dataset.spec,
                  available())  # fmt: skip
    guest.open(rooms)
    guest.train(dataset, budget, "float32")
    guest.settle(dataset.train.grey[:4])
    guest.count()  # and which methods it has of its own
    return Subject(Frozen(guest), dataset, 0, budget, guest.device, lambda: Frozen(guest), noise="secret")


def accuracy(subject: Subject) -> float:
    """How many of ``SEEN`` test images are nearest to the mean of their own class in the core's features, in %."""
    train, test = subject.dataset.train, subject.dataset.test
    x = subject.features("train")["core"]
    means = torch.stack([x[train.labels == label].mean(0) for label in range(10)])
    found = compute_features(subject.model, test.grey[:SEEN])["core"]
    return 100 * float((torch.cdist(found, means).argmin(1) == test.labels[:SEEN]).double().mean())


def nats(subject: Subject) -> float:
    """Mean nats of 100 test images, the second of two transmissions, after they were decoded without noise."""
    channel, bits = fit_channel(subject), subject.dataset.test.binary[:100]
    channel.model.decode(channel.model.means(bits))
    latents, rng = channel.model.encode(bits), seeds.torch_rng("planted")
    for _ in range(2):
        message = channel.send(latents, len(bits), rng)
        found = channel.distortion(message.values, bits) + message.rate
    return float(found.mean())


def decibels(subject: Subject) -> float:
    """Mean PSNR of a short search for 10 test images."""
    x, model = subject.dataset.test.grey[:10], subject.model
    start = lay_out(model, x, observe(model, subject.dataset.train.grey))
    found = search(model_decoder(model), start, x, (0.1,), 5, 20, seeds.torch_rng("planted"))
    return float(-10 * (found.images - x).square().flatten(1).mean(1).log10().mean())


def outcome(folder: Path, cheat: Cheat, rooms: Rooms) -> tuple[float | str, float]:
    """What the cheat scores, or the text of its refusal; and what its twin scores."""
    torch.set_num_threads(1)
    path = write(folder, cheat)
    twin = worth(path, cheat.measure, False, rooms) if cheat.ends in SCORED else float("nan")
    try:
        return worth(path, cheat.measure, True, rooms), twin
    except (ContractError, GuestDied) as error:
        return str(error), twin


@pytest.fixture(scope="module")
def rooms() -> Iterator[Rooms]:
    """Opening rooms takes seconds: every kind moves into the same ones."""
    with contextlib.closing(Rooms(available())) as opened:
        yield opened


#: How far a cheat may be from its twin, relatively: the roundings of a code that was moved.
TOLERANCE = 0.01


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=() if c.quick else pytest.mark.exhaustive) for k, c in CHEATS.items()]
)
def test_a_cheat_is_refused_or_worth_what_its_honest_twin_is(kind: str, tmp_path: Path, rooms: Rooms) -> None:
    cheat = CHEATS[kind]
    found, twin = outcome(tmp_path, cheat, rooms)
    if cheat.ends in SCORED:
        assert isinstance(found, float), found
        if cheat.ends == "no better":
            assert found >= twin * (1 - TOLERANCE)
            return
        if cheat.measure in ("dB", "%"):  # gradients that lie lead nowhere, and labels of other rows tell nothing
            assert found <= twin * (1 + TOLERANCE)
            return
        assert found == pytest.approx(twin, rel=TOLERANCE)
    else:
        assert isinstance(found, str), found
        assert cheat.ends in found


def test_the_page_on_trust_names_every_kind() -> None:
    page = (Path(__file__).parents[2] / "docs" / "trust.md").read_text()
    assert [
        line.split("|")[1].strip()
        for line in page.splitlines()
        if line.count("|") == 5 and line.split("|")[2].strip() in ("nats", "nats of the next", "dB", "%")
    ] == list(CHEATS)


def _table() -> None:
    print("| added | measured | its twin | with it |\n| --- | --- | --- | --- |")
    for kind, cheat in CHEATS.items():
        with tempfile.TemporaryDirectory() as folder, contextlib.closing(Rooms(available())) as rooms:
            found, twin = outcome(Path(folder), cheat, rooms)
        shown = f"{found:.2f}" if isinstance(found, float) else "refused"
        print(f"| {kind} | {cheat.measure} | {'' if twin != twin else f'{twin:.2f}'} | {shown} |", flush=True)


if __name__ == "__main__":
    _table()
