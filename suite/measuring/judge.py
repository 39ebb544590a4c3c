"""The judge: a small frozen classifier that says what an image shows, the same for every model that is scored.

What a decoder makes of codes that no image has (swapped, halfway between two) has no label. The judge reads one
off: the class and, where a dataset knows how its images were made, the value of each factor. It is trained once
per dataset, on the training split, from a stream of its own; those of the common datasets come with the suite, and
``python -m suite.measuring.judge mnist`` makes one anew.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from suite import data
from suite.seeds import global_seed

if TYPE_CHECKING:
    from suite.measuring.subject import Subject

#: Rises when judges trained on the same data change; the tasks that ask one then need a new version too.
VERSION = 1
#: Channels of the two convolutions.
WIDTHS = (16, 32)
#: Training images presented, in batches of BATCH; Adam's step size falls linearly from RATE to zero.
IMAGES, BATCH, RATE = 250_000, 100, 3e-3
#: Units between the features and a factor, and the weight of a factor's squared error beside the cross-entropy.
HIDDEN, FACTOR_WEIGHT = 8, 3.0
#: Every batch is shifted by up to so many pixels, rows and columns alike.
SHIFT = 2
#: Where the judges that come with the suite lie.
FOLDER = Path(__file__).parent / "judges"
#: Images per pass.
PASS = 1000


@dataclass(frozen=True)
class Verdict:
    """What the judge sees.

    Attributes:
        logits: Of the classes, (N, classes).
        factors: Name -> estimated value, (N, k).
    """

    logits: Tensor
    factors: dict[str, Tensor]

    @property
    def classes(self) -> Tensor:
        """The most probable class of each image, (N,)."""
        return self.logits.argmax(1)

    @property
    def entropy(self) -> Tensor:
        """Entropy of the class of each image, in nats, (N,)."""
        log_p = self.logits.log_softmax(1)
        return -(log_p.exp() * log_p).sum(1)


class Judge(nn.Module):
    """Two strided 5 x 5 convolutions; on their features a linear head for the class, and a small net for each factor.

    Args:
        shape: (channels, height, width) of an image.
        classes: Number of labels.
        factors: Name of each factor -> how many numbers it has.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, factors: Mapping[str, int]) -> None:
        super().__init__()
        channels, height, width = shape
        narrow, wide = WIDTHS
        self.features = nn.Sequential(
            nn.Conv2d(channels, narrow, 5, 2, 2), nn.ReLU(), nn.Conv2d(narrow, wide, 5, 2, 2), nn.ReLU(), nn.Flatten()
        )
        size = wide * -(-height // 4) * -(-width // 4)
        self.classify = nn.Linear(size, classes)
        self.estimate = nn.ModuleDict({
            name: nn.Sequential(nn.Linear(size, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, k)) for name, k in factors.items()
        })  # fmt: skip

    def forward(self, x: Tensor) -> Verdict:
        h = self.features(x)
        return Verdict(self.classify(h), {name: head(h) for name, head in self.estimate.items()})

    @torch.no_grad()
    def look(self, x: Tensor) -> Verdict:
        """Judges images (N, C, H, W) in [0, 1]."""
        seen = [self(part) for part in x.split(PASS)]
        factors = {name: torch.cat([v.factors[name] for v in seen]) for name in self.estimate}
        return Verdict(torch.cat([v.logits for v in seen]), factors)


def build(dataset: data.Dataset) -> Judge:
    """Returns an untrained judge with the heads that a dataset needs, on its device."""
    factors = {name: value.shape[1] for name, value in sorted(dataset.train.factors.items())}
    return Judge(dataset.spec.shape, dataset.spec.classes, factors).to(dataset.train.grey.device)


def train(dataset: data.Dataset) -> Judge:
    """Trains a judge on the grey training images: cross-entropy of the class + weighted squared errors of factors."""
    split, device = dataset.train, dataset.train.grey.device
    with global_seed("judge", VERSION, dataset.info.name), torch.enable_grad():
        judge = build(dataset)
        adam = torch.optim.Adam(judge.parameters(), lr=RATE, fused=True)
        steps = IMAGES // BATCH
        for step in range(steps):
            adam.param_groups[0]["lr"] = RATE * (1 - step / steps)
            index = torch.randint(len(split), (BATCH,)).to(device)
            down, right = torch.randint(-SHIFT, SHIFT + 1, (2,)).tolist()
            seen = judge(split.grey[index].roll((down, right), (2, 3)))
            loss = F.cross_entropy(seen.logits, split.labels[index])
            for name, value in seen.factors.items():
                loss = loss + FACTOR_WEIGHT * F.mse_loss(value, split.factors[name][index])
            adam.zero_grad()
            loss.backward()
            adam.step()
    return judge.eval().requires_grad_(False)


def of(subject: Subject) -> Judge:
    """Returns the judge of a subject's dataset: the one that comes with the suite, else one kept by the checkpoint."""
    dataset = subject.dataset
    shipped = _read(dataset)
    tensors = shipped or subject.kept("judge", lambda: dict(train(dataset).state_dict()))
    with global_seed("judge"):  # the weights that are drawn here are overwritten
        judge = build(dataset)
    judge.load_state_dict(tensors)
    return judge.eval().requires_grad_(False)


def facts(judge: Judge, dataset: data.Dataset) -> str:
    """Returns one line on a judge: how well it knows the test images, and its hash."""
    return _line({name: str(value) for name, value in measure(judge, dataset.test).items()}, fingerprint(judge))


def measure(judge: Judge, split: data.Split) -> dict[str, float]:
    """Returns the accuracy on a split, and the mean absolute error of every factor, each rounded to 4 digits."""
    seen = judge.look(split.grey)
    found = {"accuracy": float((seen.classes == split.labels).double().mean())}
    found |= {f"error of {n}": float((v - split.factors[n]).abs().double().mean()) for n, v in seen.factors.items()}
    return {name: round(value, 4) for name, value in found.items()}


def fingerprint(judge: nn.Module) -> str:
    """Returns the SHA-256 of the weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(judge.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def card() -> dict[str, str]:
    """Returns the rules of the judge for a task's card, with the facts of those that come with the suite."""
    rules = {
        "judge": f"two strided 5 x 5 convolutions ({WIDTHS[0]}, {WIDTHS[1]} channels), linear head; version {VERSION}",
        "judge's training": f"{IMAGES:,} grey training images shifted by up to {SHIFT} pixels, Adam, batch {BATCH}",
    }
    for path in sorted(FOLDER.glob("*.safetensors")):
        found = _facts(path)
        name, sha = found.pop("dataset"), found.pop("sha256")
        found.pop("dataset_hash")
        rules[f"judge of {name}"] = _line(found, sha)
    return rules


def save(judge: Judge, dataset: data.Dataset, folder: Path = FOLDER) -> Path:
    """Writes a judge with its facts, and returns the file."""
    from safetensors.torch import save_file

    known = {"dataset": dataset.info.name, "dataset_hash": dataset.hash, "sha256": fingerprint(judge)}
    known |= {name: str(value) for name, value in measure(judge, dataset.test).items()}
    tensors = {name: value.cpu().contiguous() for name, value in judge.state_dict().items()}
    folder.mkdir(exist_ok=True)
    save_file(tensors, path := _path(dataset.info.name, folder), known)
    return path


def _line(measured: Mapping[str, str], sha: str) -> str:
    return ", ".join([*(f"{name} {value}" for name, value in sorted(measured.items())), f"SHA-256 {sha[:16]}"])


def _path(name: str, folder: Path = FOLDER) -> Path:
    return folder / f"{name.replace(':', '-')}.safetensors"


def _facts(path: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return dict(file.metadata())


def _read(dataset: data.Dataset) -> dict[str, Tensor] | None:
    """The weights that come with the suite; None where there are none for exactly these images."""
    from safetensors.torch import load_file

    path = _path(dataset.info.name)
    if not path.is_file() or _facts(path)["dataset_hash"] != dataset.hash:
        return None
    return load_file(path, device=str(dataset.train.grey.device))


def main(names: list[str]) -> None:
    """Makes the judges of these datasets anew."""
    torch.set_num_threads(1)
    for name in names:
        path = save(train(dataset := data.load(name)), dataset)
        known = _facts(path)
        sys.stdout.write(f"{path}: {', '.join(f'{key} {value}' for key, value in sorted(known.items()))}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
