"""Controls: models whose scores are known beforehand, or that know nothing, or that only copy.

They anchor every task: a number means something by its distance from theirs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution
from torch.nn import functional as F

from suite.contract import Baseline, DataSpec, Discrete, Latents, TrainSet, Unsupported, UserError, Values

#: Probabilities are kept this far from 0 and 1 before their logit is taken.
EDGE = 1e-4

#: Added to the sum of squares of every random feature, so that a small training set isn't learnt by heart.
RIDGE = 10.0


def _logit(probability: Tensor) -> Tensor:
    return torch.logit(probability.clamp(EDGE, 1 - EDGE))


class PixelMarginals(Baseline):
    """No latents: every pixel is on with its add-one frequency in training, (n_i + 1) / (N + 2). The floor."""

    family = "pixel_marginals"
    summary = "no latents; the frequency of each pixel (the floor)"
    core = ""
    logits: Tensor

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(spec)
        self.register_buffer("logits", torch.zeros(1, *spec.shape))

    def fit(self, train: TrainSet) -> None:
        on = train.binary.sum(0, keepdim=True, dtype=torch.float64)
        self.logits.copy_(torch.logit((on + 1) / (len(train.binary) + 2)))

    def encode(self, x: Tensor) -> Latents:
        return {}

    def decode(self, values: Values) -> Tensor:
        return self.logits

    def features(self, values: Values) -> Tensor:
        raise Unsupported("the model has no latents")


class Copy(Baseline):
    """The image itself as a binary code. Distortion 0, and the code costs exactly what the floor costs."""

    family = "copy"
    summary = "the binarized image as its own code (copying buys nothing)"
    core = "image"
    groups = {"image": "one bit per pixel, a discrete code"}

    def encode(self, x: Tensor) -> Latents:
        return {"image": Discrete((x > 0.5).long(), classes=2)}

    def decode(self, values: Values) -> Tensor:
        return 80.0 * values["image"].float() - 40.0


class RawPixels(Baseline):
    """The pixels as a real code, and the identity as decoder."""

    family = "raw_pixels"
    summary = "the pixels as a real code, decoded by the identity"
    core = "pixels"
    groups = {"pixels": "the image, a deterministic code"}

    def encode(self, x: Tensor) -> Latents:
        return {"pixels": x}

    def decode(self, values: Values) -> Tensor:
        return _logit(values["pixels"])


class PrincipalComponents(Baseline):
    """PCA of the grey training images: the best linear code in squared error."""

    family = "pca"
    summary = "principal components of the grey images, a linear code"
    paper = "Pearson 1901, On lines and planes of closest fit; Hotelling 1933"
    groups = {"z": "coordinates on the components, a deterministic code"}
    variants = {"pca": {}}
    mean: Tensor
    axes: Tensor

    def __init__(self, spec: DataSpec, components: int = 64) -> None:
        super().__init__(spec)
        components = min(components, spec.pixels)
        self.register_buffer("mean", torch.zeros(spec.pixels))
        self.register_buffer("axes", torch.zeros(components, spec.pixels))

    def fit(self, train: TrainSet) -> None:
        x = train.grey.flatten(1).double()
        mean = x.mean(0)
        covariance = x.T @ x / len(x) - mean.outer(mean)
        _, vectors = torch.linalg.eigh(covariance)  # ascending eigenvalues
        self.mean.copy_(mean)
        self.axes.copy_(vectors.flip(1).T[: len(self.axes)])

    def encode(self, x: Tensor) -> Latents:
        return {"z": (x.flatten(1) - self.mean) @ self.axes.T}

    def decode(self, values: Values) -> Tensor:
        return _logit(values["z"] @ self.axes + self.mean).view(-1, *self.spec.shape)


class RandomEncoder(Baseline):
    """An untrained convolutional encoder, 16 and 8 channels with two poolings, read out by least squares.

    Its features alone reach about 96.5 % on MNIST: what an encoder's architecture gives before any learning.
    """

    family = "random_encoder"
    summary = "an untrained conv encoder with a least-squares linear decoder"
    groups = {"z": "the last feature maps (392 numbers for 28 x 28 images), a deterministic code"}
    readout: Tensor

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(spec)
        channels, height, width = spec.shape
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        )  # fmt: skip
        self.register_buffer("readout", torch.zeros(8 * (height // 4) * (width // 4) + 1, spec.pixels))

    def fit(self, train: TrainSet) -> None:
        size, pixels = self.readout.shape
        gram = torch.zeros(size, size, dtype=torch.float64, device=self.readout.device)
        cross = torch.zeros(size, pixels, dtype=torch.float64, device=self.readout.device)
        with torch.no_grad():
            for x in train.binary.split(1000):
                z = F.pad(self.encoder(x), (0, 1), value=1.0)
                gram += (z.T @ z).double()
                cross += (z.T @ x.flatten(1)).double()
        gram.diagonal().add_(RIDGE)
        self.readout.copy_(torch.linalg.solve(gram, cross))

    def encode(self, x: Tensor) -> Latents:
        return {"z": self.encoder(x)}

    def decode(self, values: Values) -> Tensor:
        return _logit(F.pad(values["z"], (0, 1), value=1.0) @ self.readout).view(-1, *self.spec.shape)


class BernoulliMixture(Baseline):
    """A mixture of K product-Bernoulli distributions, fitted by EM (Bishop 2006, section 9.3.3).

    Its likelihood is known exactly, so three codes for the component k, of responsibility r(k), have known prices:
    the posterior r costs -log p(x); the most probable k costs -log r(k) more; a posterior proportional to the
    square root of r costs more than its importance-weighted bound, which costs more than -log p(x).
    """

    family = "bernoulli_mixture"
    summary = "mixture of product Bernoullis with an exact likelihood"
    paper = "Bishop 2006, Pattern Recognition and Machine Learning, section 9.3.3"
    core = "component"
    groups = {"component": "the mixture component, a Categorical posterior or an integer code"}
    log_weights: Tensor
    logits: Tensor

    def __init__(self, spec: DataSpec, components: int = 50, posterior: str = "exact") -> None:
        super().__init__(spec)
        if posterior not in ("exact", "code", "sqrt"):
            raise UserError(f"bernoulli_mixture: posterior is 'exact', 'code' or 'sqrt', not '{posterior}'")
        self.posterior = posterior
        self.register_buffer("log_weights", torch.zeros(components))
        self.register_buffer("logits", torch.zeros(components, spec.pixels))

    def fit(self, train: TrainSet, tolerance: float = 1e-6, iterations: int = 200) -> None:
        x = train.binary.flatten(1)
        mean = (x.mean(0) * len(x) + 1) / (len(x) + 2)
        start = x[torch.randperm(len(x))[: len(self.logits)].to(x.device)]
        self.logits.copy_(torch.logit(0.5 * start + 0.5 * mean))
        self.log_weights.fill_(1 / len(self.logits)).log_()
        before = float("inf")
        for _ in range(iterations):
            after = self._em_step(x, mean)
            if before - after < tolerance * after:
                break
            before = after

    def _em_step(self, x: Tensor, mean: Tensor) -> float:
        """One step of EM; returns the nats per image before it."""
        mass = torch.zeros_like(self.log_weights, dtype=torch.float64)
        on = torch.zeros_like(self.logits, dtype=torch.float64)
        nats = torch.zeros((), dtype=torch.float64, device=x.device)
        for chunk in x.split(5000):
            joint = self._log_joint(chunk)
            responsibility = joint.softmax(1)
            nats -= joint.logsumexp(1).sum(dtype=torch.float64)
            mass += responsibility.sum(0, dtype=torch.float64)
            on += (responsibility.T @ chunk).double()
        # A hundredth of an image at the overall mean keeps every probability off 0 and 1.
        self.logits.copy_(torch.logit((on + 0.01 * mean) / (mass + 0.01).unsqueeze(1)))
        self.log_weights.copy_(((mass + 0.01) / (mass + 0.01).sum()).log())
        return float(nats) / len(x)

    def _log_joint(self, x: Tensor) -> Tensor:
        """Joint log p(x, k), (N, K), of flat binary images."""
        return x @ self.logits.T - F.softplus(self.logits).sum(1) + self.log_weights

    def exact_nats(self, x: Tensor) -> Tensor:
        """-log p(x) of binary images (N, C, H, W), summed over all components."""
        return -self._log_joint(x.flatten(1)).logsumexp(1)

    def encode(self, x: Tensor) -> Latents:
        joint = self._log_joint(x.flatten(1))
        if self.posterior == "code":
            return {"component": Discrete(joint.argmax(1), classes=joint.shape[1])}
        return {"component": Categorical(logits=joint / 2 if self.posterior == "sqrt" else joint)}

    def prior(self, name: str, earlier: Values) -> Distribution:
        return Categorical(logits=self.log_weights)

    def decode(self, values: Values) -> Tensor:
        return self.logits[values["component"]].view(-1, *self.spec.shape)

    def features(self, values: Values) -> Tensor:
        return F.one_hot(values["component"], len(self.logits)).float()
