"""A guest says bit for bit what it says in process, and can neither see, keep nor do anything else."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor

from suite.errors import ContractError
from suite.guests import CONTAINED, Guest, GuestDied, Job, Rooms, available, of_source
from suite.measuring import Frozen, answers
from suite.plugins import registry
from suite.training import Recipe, train
from tests.models import digits

CODE = """
import torch
from torch import nn
from suite.contract import Baseline

class Player(Baseline):
    def __init__(self, spec):
        super().__init__(spec)
        self.scale = nn.Parameter(torch.ones(()))

    def encode(self, x):
        return {"z": x.flatten(1)[:, :4]}

    def decode(self, values):
        z = values["z"]
        return (self.answer(z) * self.scale).view(-1, 1, 1, 1).expand(len(z), *self.spec.shape)

    def answer(self, z):
        return z.sum(1)
"""


def player(folder: Path, extra: str, before: str = "") -> Path:
    """Writes a model whose ``answer`` to each message is every logit of its image."""
    path = folder / "player.py"
    path.write_text(before + CODE + textwrap.indent(textwrap.dedent(extra), "    "))
    return path


#: Opening rooms takes seconds: all tests here share one guest's.
OPENED: list[Rooms] = []


@contextmanager
def hosted(selector: str | Path) -> Iterator[Guest]:
    torch.set_num_threads(1)
    source, params = registry.resolve("baseline", str(selector))
    spec = digits().spec
    fields, files = of_source(source)
    job = Job(fields, files, params, dataclasses.asdict(spec), 0, 1, {})
    guest = Guest(job, source.static, spec, available())
    if not OPENED:
        OPENED.append(Rooms(available()))
    guest.open(OPENED[0])
    try:
        yield guest
    finally:
        guest.until(None)


@pytest.fixture(scope="module", autouse=True)
def _closed() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


def ask(guest: Guest, z: Tensor) -> list[float]:
    """What a model answers to messages: the first logit of each."""
    return Frozen(guest).decode({"z": z})[:, 0, 0, 0].tolist()


#: Tried each time; those that ``test_baselines`` tries as well are left out unless asked for.
FURTHER = ("swwae_pool14", "bernoulli_mixture", "inverted_autoencoder")


@pytest.mark.parametrize(
    "name", ["vae", "vhe", *(pytest.param(name, marks=pytest.mark.exhaustive) for name in FURTHER)]
)
def test_a_guest_says_bit_for_bit_what_it_says_in_process(name: str) -> None:
    torch.set_num_threads(1)
    source, params = registry.resolve("baseline", name)
    dataset = digits()
    recipe = Recipe(registry.load(source), dataset.spec, params, 0)
    here = recipe.build()
    train(here, dataset, seed=0, budget="smoke")
    with hosted(name) as guest:
        report = guest.train(dataset, "smoke", "float32")
        assert report.images in (0, 1_024)
        assert {n: t.tolist() for n, t in here.state_dict().items()} == {
            n: t.tolist() for n, t in guest.state_dict().items()
        }
        one, other = Frozen(here), Frozen(guest)
        x = dataset.test.binary[:50]
        values = one.means(x)
        for group, found in other.means(x).items():
            assert torch.equal(found, values[group]), group
        assert torch.equal(other.decode(values), one.decode(values))
        assert torch.equal(other.features(values), one.features(values))
        mine, theirs = answers.of_priors(one, values), answers.of_priors(other, values)
        assert {n: t.tolist() for n, t in mine.items()} == {n: t.tolist() for n, t in theirs.items()}
        free = {n: v.clone().requires_grad_(v.is_floating_point()) for n, v in values.items()}
        wanted = [v for v in free.values() if v.requires_grad]
        if wanted:
            gradients = [torch.autograd.grad(m.decode(free, gradients=True).sum(), wanted) for m in (one, other)]
            assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


KEEPERS = {
    "an attribute": """
        def answer(self, z):
            self.calls = getattr(self, "calls", 0) + 1
            return z.sum(1) * 0 + self.calls
    """,
    "a buffer": """
        def answer(self, z):
            self.scale += 1  # times which the answer is taken
            return z.sum(1) * 0 + (self.scale - 1) / self.scale
    """,
    "the keeper's module": """
        def answer(self, z):
            import suite.guests.player as p
            p.COUNT = getattr(p, "COUNT", 0) + 1
            return z.sum(1) * 0 + p.COUNT
    """,
}


@pytest.mark.parametrize("where", KEEPERS)
def test_nothing_is_remembered_from_one_answer_to_the_next(tmp_path: Path, where: str) -> None:
    with hosted(player(tmp_path, KEEPERS[where])) as guest:
        z = torch.zeros(1, 4)
        assert [ask(guest, z) for _ in range(3)] == [[1.0]] * 3
        with guest.fitting():
            assert [ask(guest, z) for _ in range(3)] == [[1.0], [2.0], [3.0]]
        assert ask(guest, z) == [1.0]


PRIORS = """
        def prior(self, name, earlier):
            self.told = getattr(self, "told", 0) + len(earlier)
            return torch.distributions.Normal(torch.zeros(4), torch.ones(4))

        def answer(self, z):
            return z.sum(1) * 0 + getattr(self, "told", 0)
    """


def test_what_a_prior_was_told_is_known_to_the_decoder_of_the_same_message_alone(tmp_path: Path) -> None:
    with hosted(player(tmp_path, PRIORS)) as guest:
        model, (one, other) = Frozen(guest), torch.randn(2, 3, 4)
        model.prior("w", {"z": one})
        assert ask(guest, one) == [1.0] * 3  # nothing but what it is told again
        assert ask(guest, one) == [0.0] * 3  # a message is decoded once
        model.prior("w", {"z": one})
        assert ask(guest, other) == [0.0] * 3
        model.prior("w", {"z": one})
        model.prior("w", {"z": other})
        assert ask(guest, other) == [1.0] * 3
        model.prior("w", {"z": other})
        model.means(digits().test.binary[:3])  # the sender
        assert ask(guest, other) == [0.0] * 3


def test_a_prior_that_is_told_nothing_is_asked_once(tmp_path: Path) -> None:
    draws = """
        def prior(self, name, earlier):
            import os
            return torch.distributions.Normal(torch.full((4,), float(os.getpid())), torch.ones(4))
    """
    with hosted(player(tmp_path, draws)) as guest:
        first, second = (Frozen(guest).prior("z", {}).mean for _ in range(2))
        assert torch.equal(first, second)


def test_the_gradient_of_a_decoder_that_reads_nothing_is_zero(tmp_path: Path) -> None:
    with hosted(player(tmp_path, "def answer(self, z): return torch.ones(len(z))")) as guest:
        z = torch.ones(3, 4, requires_grad=True)
        (found,) = torch.autograd.grad(Frozen(guest).decode({"z": z}, gradients=True).sum(), [z])
    assert torch.equal(found, torch.zeros(3, 4))


def test_an_untrained_twin_lives_in_the_same_rooms_and_takes_no_seat_of_the_model(tmp_path: Path) -> None:
    with hosted("vae") as guest:
        guest.train(digits(), "smoke", "float32")
        x = digits().test.binary[:20]
        model, twin = Frozen(guest), Frozen(guest.untrained(digits().train.grey[:100]))
        one, other = model.means(x)["z"], twin.means(x)["z"]
        assert not torch.equal(one, other)
        assert torch.equal(model.means(x)["z"], one)
        assert torch.equal(twin.means(x)["z"], other)
        assert guest.untrained(digits().train.grey[:100]) is twin._model


def test_a_receiver_finds_no_image_wherever_it_looks(tmp_path: Path) -> None:
    hunt = """
        def answer(self, z):
            import gc, sys
            found, frame = 0, sys._getframe()
            while frame:
                held = [v for v in frame.f_locals.values() if torch.is_tensor(v)]
                found += sum(tuple(v.shape[1:]) == self.spec.shape for v in held)
                frame = frame.f_back
            found += sum(torch.is_tensor(o) and tuple(o.shape[1:]) == self.spec.shape for o in gc.get_objects())
            return z.sum(1) * 0 + found
    """
    with hosted(player(tmp_path, hunt)) as guest:
        x = digits().test.binary[:3]
        values = Frozen(guest).means(x)
        assert ask(guest, values["z"]) == [0.0] * 3


def test_training_sees_neither_labels_that_are_not_declared_nor_test_images(tmp_path: Path) -> None:
    hunt = """
        def loss(self, batch):
            import gc
            tensors = [o for o in gc.get_objects() if torch.is_tensor(o)]
            labels = sum(t.dtype == torch.int64 and t.numel() > 200 and 1 < t.unique().numel() <= 10 for t in tensors)
            images = sum(t.ndim == 4 and len(t) == 400 for t in tensors)
            n = len(batch.x)
            return {"loss": self.scale.expand(n) * 0, "labels": torch.full((n,), float(labels)),
                    "images": torch.full((n,), float(images)), "given": torch.full((n,), float(batch.y is not None))}
    """
    with hosted(player(tmp_path, hunt)) as guest:
        digits().test  # noqa: B018  # it is here, and not there
        curves = guest.train(digits(), "smoke", "float32").curves
        assert {name: curves[name][-1][1] for name in ("labels", "images", "given")} == {
            "labels": 0.0,
            "images": 0.0,
            "given": 0.0,
        }


TRIES = {
    "a socket": "import socket; socket.create_connection(('127.0.0.1', PORT), 2)",
    "a process": "import os; os.fork() or os._exit(0)",
    "a thread": "import threading; threading.Thread(target=print).start()",
    "a file's bytes": "import os; os.write(os.open(os.environ['TMPDIR'] + '/kept', os.O_CREAT | os.O_WRONLY), b'x')",
    "the embedded digits": "from sklearn.datasets import load_digits; load_digits()",
    "the suite's files": "open('SUITE', 'a')",
    "a signal for the keeper's memory": "open('/proc/1/mem', 'rb').read(1)",
    "the repository": "open('RECORDS').read(1)",
}


@pytest.mark.skipif(available().kind != CONTAINED, reason="bubblewrap is not here, or does not work here")
def test_a_contained_guest_has_nothing_but_its_answer(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        names = {"PORT": str(server.getsockname()[1]), "RECORDS": str(tmp_path / "player.py")}
        names["SUITE"] = str(Path(registry.__file__))
        lines = []
        for i, code in enumerate(TRIES.values()):
            for name, value in names.items():
                code = code.replace(name, value)
            lines += [f"    try:\n        {code}\n        done[{i}] = 1.0\n    except BaseException: pass"]
        body = "def answer(self, z):\n    done = [0.0] * 8\n" + "\n".join(lines) + "\n    return torch.tensor(done)\n"
        with hosted(player(tmp_path, body)) as guest:
            found = dict(zip(TRIES, ask(guest, torch.zeros(8, 4)), strict=True))
    assert found == dict.fromkeys(TRIES, 0.0)


FAULTS = {
    "raise ValueError('seven\\x1b[31m')": (ContractError, r"player.py:\d+: ValueError: seven \[31m"),
    "import os; os._exit(3)": (GuestDied, "ended"),
    "raise SystemExit(0)": (ContractError, "SystemExit"),
    "raise GeneratorExit": (ContractError, "GeneratorExit"),
    "while True: pass": (GuestDied, "in time"),
    "import os; [os.write(int(f), b'GET / ' * 9) for f in os.listdir('/proc/self/fd') if int(f) > 2]": (
        (ContractError, GuestDied),
        ".",
    ),
    "return 'logits'": (ContractError, "TypeError"),
    "return torch.zeros(1, dtype=torch.complex64)": (ContractError, "complex64"),
    "return torch.zeros(1)": (ContractError, "expected floating logits"),
    "return torch.full((2, 1, 28, 28), float('nan'))": (ContractError, "not finite"),
}


@pytest.mark.parametrize("body", FAULTS)
def test_what_goes_wrong_in_there_is_one_line_here(tmp_path: Path, body: str) -> None:
    kind, message = FAULTS[body]
    with hosted(player(tmp_path, f"def decode(self, values):\n    {body}")) as guest:
        if "in time" in message:
            import time

            guest.until(time.monotonic() + 5)
        with pytest.raises(kind, match=message):
            ask(guest, torch.zeros(2, 4))


def test_a_process_of_ones_own_fails_in_one_line_that_says_so(tmp_path: Path) -> None:
    body = "import multiprocessing\n    multiprocessing.get_context('spawn').Queue()"
    source = player(tmp_path, f"def decode(self, values):\n    {body}\n    raise OSError('none')")
    with hosted(source) as guest, pytest.raises(ContractError) as error:
        ask(guest, torch.zeros(2, 4))
    if guest.walls.kind == "contained":
        assert "starts no processes (of a DataLoader: num_workers=0)" in str(error.value)
