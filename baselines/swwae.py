"""Stacked what-where autoencoders: a pooling passes on what it found and hands where it was to the decoder.

1. Zhao, Mathieu, Goroshin & LeCun 2015, Stacked What-Where Auto-encoders (1506.02351).
2. Goroshin, Mathieu & LeCun 2015, Learning to Linearize Under Uncertainty (1506.03011): pooling of the soft kind.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from suite.contract import Baseline, Batch, DataSpec, Discrete, Group, Latents, TrainSet, Unsupported, UserError, Values


class SWWAE(Baseline):
    """Convolutions, ReLU and pooling; unpooling and convolutions back; trained to reconstruct image and maps [1].

    ``what`` (the core) is the last map of pooled values, a deterministic code. ``where_k`` says for each value of the
    k-th pooling, counted from the image, which place of its window it came from:

    - ``where="hard"``: the switch of max pooling, a discrete code. Unpooling puts the value back, zeros around it.
    - ``where="soft"``: the mean place under softmax(beta h), a deterministic code; see ``Coordinates``.
    - ``where="none"``: not handed over (the control); unpooling repeats the value over its window.

    The objective, without labels, is

        L = reconstruction * L_L2rec + intermediate * L_L2M

    L_L2rec is the squared error of the image, sigmoid(logits) against the pixels: on binarized pixels a proper score,
    so the logits mean what they say. L_L2M sums over the maps between two stages the squared error of the decoder's
    map against the encoder's. Each is a **mean over elements**, so that a weight means the same at every width and
    image size, where a norm or a sum would change with both.

    What the source leaves to the reader, and where we differ:

    - The encoder's maps are constants in L_L2M (``stop_gradient``). If the gradient may flow through both sides,
      shrinking all maps lowers the term although nothing is learned.
    - A window without activity has its switch at the first place, by convention: it then costs almost nothing.
    - The maps are few, for a CPU; a GPU can have ``architecture="(64)5c-2p-(64)3c-(64)3c-2p"``.
    - A switch is an integer that the suite prices by its histogram. It can't be sent coarsely, as a real code can, so
      that a net with many switches costs more nats than it saves, and its score lies above the floor.

    Args:
        spec: Of the data.
        architecture: In the source's notation: ``(8)5c`` is a convolution to 8 maps with kernels 5 x 5, ``2p`` a
            pooling of windows 2 x 2. Kernels are odd; a pooling follows a convolution and divides its map.
        where: ``"hard"``, ``"soft"`` or ``"none"``.
        beta: Sharpness of soft pooling: 0 is the mean, infinity the maximum.
        reconstruction: Weight of L_L2rec.
        intermediate: Weight of L_L2M.
        stop_gradient: Whether the encoder's maps are constants in L_L2M.

    Another architecture or ``where`` changes which ``where_k`` there are; ``groups`` speaks of the named baselines.
    """

    summary = "conv autoencoder whose max pooling sends its switches to the decoder"
    paper = "Zhao, Mathieu, Goroshin & LeCun 2015, Stacked What-Where Auto-encoders"
    core = "what"
    groups = {
        "what": "8 maps of pooled values (392 numbers for 28 x 28 images), a deterministic code",
        "where_1": "switches of the pooling next to the image, 4 classes (1,568 for 28 x 28 images), a discrete code",
        "where_2": "switches of the last pooling, 4 classes (392 for 28 x 28 images), a discrete code",
    }
    variants = {"swwae": {}}

    def __init__(
        self,
        spec: DataSpec,
        architecture: str = "(8)5c-2p-(8)3c-(8)3c-2p",
        where: str = "hard",
        beta: float = 10.0,
        reconstruction: float = 1.0,
        intermediate: float = 0.2,
        stop_gradient: bool = True,
    ) -> None:
        super().__init__(spec)
        if where not in POOLINGS:
            raise UserError(f"swwae: where is 'hard', 'soft' or 'none', not '{where}'")
        weights = {"beta": beta, "reconstruction": reconstruction, "intermediate": intermediate}
        for name, value in weights.items():
            if not value >= 0:
                raise UserError(f"swwae: {name} is 0 or more, not {value}")
        self.reconstruction, self.intermediate, self.stop_gradient = reconstruction, intermediate, stop_gradient
        self.stages = nn.ModuleList()
        maps, *size = spec.shape
        poolings = 0
        for layer in parse(architecture):
            pooling, group = None, ""
            if layer.pool:
                check_pool(layer.pool, size)
                size = [side // layer.pool for side in size]
                poolings += 1
                pooling, group = POOLINGS[where](layer.pool, beta), f"where_{poolings}"
            self.stages.append(Stage(maps, layer, pooling, group, bottom=not self.stages))
            maps = layer.maps
        self.what_shape = (maps, *size)

    def _ascend(self, x: Tensor) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Encodes: ``what`` and every ``where_k``; and the input of every stage, the image first."""
        h, inputs, wheres = x, [], {}
        for stage in self.stages:
            inputs.append(h)
            h, where = stage.up(h)
            if where is not None:
                wheres[stage.where] = where
        return {"what": h, **wheres}, inputs

    def _descend(self, values: Values) -> list[Tensor]:
        """Decodes: the logits of the image, then the decoder's version of every further stage's input."""
        h, outputs = values["what"], []
        for stage in reversed(self.stages):
            h = stage.down(h, values.get(stage.where))
            outputs.append(h)
        return outputs[::-1]

    def _l2(self, codes: Values, inputs: list[Tensor]) -> dict[str, Tensor]:
        """L_L2rec and L_L2M of every image, (N,) each."""
        logits, *maps = self._descend(codes)
        image, *targets = inputs
        error = torch.zeros(len(image), dtype=image.dtype, device=image.device)
        for found, target in zip(maps, targets, strict=True):
            error = error + mean_square(found, target.detach() if self.stop_gradient else target)
        return {"reconstruction": mean_square(logits.sigmoid(), image), "intermediate": error}

    def _total(self, terms: dict[str, Tensor]) -> Tensor:
        return self.reconstruction * terms["reconstruction"] + self.intermediate * terms["intermediate"]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        terms = self._l2(*self._ascend(batch.x))
        return {"loss": self._total(terms), **terms}

    def encode(self, x: Tensor) -> Latents:
        codes, _ = self._ascend(x)
        wheres = {s.where: s.pooling.group(codes[s.where]) for s in self.stages if s.pooling and s.where in codes}
        return {"what": codes["what"], **wheres}

    def decode(self, values: Values) -> Tensor:
        return self._descend(values)[0]


class OnePoolingSWWAE(SWWAE):
    """The net with which the source studies reconstruction: two convolutions, then one pooling, of windows X x X.

    The source's ``(16)5c-(32)3c-Xp`` at a quarter of its width. The larger the window, the less ``what`` can hold and
    the more of the picture ``where_1`` carries. Objective and parameters are those of ``SWWAE``.
    """

    summary = "two convolutions and one pooling of large windows, whose switches go to the decoder"
    groups = {
        "what": "8 maps of pooled values (8 (28/X)^2 numbers for 28 x 28 images), a deterministic code",
        "where_1": "a switch of X^2 classes for each value of what, a discrete code",
    }
    variants = {
        "swwae_pool4": {"architecture": "(4)5c-(8)3c-4p"},
        "swwae_pool7": {"architecture": "(4)5c-(8)3c-7p"},
        "swwae_pool14": {"architecture": "(4)5c-(8)3c-14p"},
    }


class SoftSWWAE(SWWAE):
    """The SWWAE with soft pooling: ``where_k`` holds coordinates, and the encoder learns from them too.

    A coordinate is two real numbers where a switch is one of four values, so that the net is narrower. Objective and
    parameters are those of ``SWWAE``; the pooling is ``Coordinates``.
    """

    summary = "conv autoencoder whose soft pooling sends coordinates to the decoder"
    groups = {
        "what": "4 maps of softly pooled values (196 numbers for 28 x 28 images), a deterministic code",
        "where_1": "coordinates of the pooling next to the image (784 numbers for 28 x 28), a deterministic code",
        "where_2": "coordinates of the last pooling (392 numbers for 28 x 28 images), a deterministic code",
    }
    variants = {"swwae_soft": {"architecture": "(2)5c-2p-(4)3c-2p", "where": "soft"}}


class WhatSWWAE(SWWAE):
    """The control: the same net, whose decoder is told nothing but ``what`` and repeats each value over its window."""

    summary = "the same conv autoencoder without switches (the control)"
    groups = {"what": "8 maps of pooled values (392 numbers for 28 x 28 images), a deterministic code"}
    variants = {"swwae_no_where": {"where": "none"}}


class SupervisedSWWAE(SWWAE):
    """The SWWAE with labels: L = L_NLL + reconstruction * L_L2rec + intermediate * L_L2M [1].

    L_NLL = -log p(y | what), in nats, of a linear classifier on ``what``. By default the other weights are 0, which
    leaves a plain convolutional net that classifies. No gradient then reaches the decoder: it stays as it was
    initialized, ``decode`` returns its logits all the same, and calibration finds that they say next to nothing. A
    convolutional net hands no switches to anybody, so ``where`` is ``"none"``. With weights above 0 (and ``"hard"``)
    reconstruction regularizes the classifier, as in the source.

    The decoder starts from ``what``, below the classifier: its logits hold the class, and no longer the image.

    Args:
        spec: Of the data.
        architecture, where, beta, reconstruction, intermediate, stop_gradient: As for ``SWWAE``.
        dropout: Share of ``what`` that the classifier does not see in training.
    """

    summary = "the same conv encoder trained as a classifier, its decoder untrained"
    supervision = "labels"
    groups = {"what": "8 maps of pooled values (392 numbers for 28 x 28 images), a deterministic code"}
    variants = {"swwae_supervised": {}}

    def __init__(
        self,
        spec: DataSpec,
        architecture: str = "(8)5c-2p-(8)3c-(8)3c-2p",
        where: str = "none",
        beta: float = 10.0,
        reconstruction: float = 0.0,
        intermediate: float = 0.0,
        stop_gradient: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(spec, architecture, where, beta, reconstruction, intermediate, stop_gradient)
        if not 0 <= dropout < 1:
            raise UserError(f"swwae: dropout is at least 0 and below 1, not {dropout}")
        width = self.what_shape[0] * self.what_shape[1] * self.what_shape[2]
        self.classifier = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(width, spec.classes))

    def _nll(self, what: Tensor, y: Tensor) -> Tensor:
        """-log p(y | what) in nats, (N,)."""
        return F.cross_entropy(self.classifier(what), y, reduction="none")

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        assert batch.y is not None  # the loop hands labels to every model that declares supervision
        codes, inputs = self._ascend(batch.x)
        nll = self._nll(codes["what"], batch.y)
        if not (self.reconstruction or self.intermediate):
            return {"loss": nll, "nll": nll}
        terms = self._l2(codes, inputs)
        return {"loss": nll + self._total(terms), "nll": nll, **terms}


class SemiSWWAE(SupervisedSWWAE):
    """The SWWAE with few labels: all terms on every image, L_NLL on the labelled images alone [1].

    ``fit`` draws the labelled images, equally many of each class (one more of some), from the training split with the
    trial's own stream, so that the spread over seeds holds the choice of labels as well. They are kept as buffers, and
    no other label is ever looked at. A fixed share of every batch is replaced by labelled images drawn with
    replacement and binarized afresh. (The other way, a weight on the rows that happen to be labelled, leaves most
    batches without any: 100 labels in 55,000 images are one in four batches of 128.) L_NLL is divided by the share, so
    that its mean over the batch is that over the labelled rows.

    Args:
        spec: Of the data.
        architecture, where, beta, reconstruction, intermediate, stop_gradient, dropout: As for ``SupervisedSWWAE``.
        labels: How many training images are labelled; usual on MNIST are 100, 600, 1,000 and 3,000.
        share: Of each batch that is labelled.
    """

    summary = "what-where autoencoder with 1,000 labels"
    supervision = "semi"
    groups = {
        "what": "8 maps of pooled values (392 numbers for 28 x 28 images), a deterministic code",
        "where_1": "switches of the pooling next to the image, 4 classes (1,568 for 28 x 28 images), a discrete code",
        "where_2": "switches of the last pooling, 4 classes (392 for 28 x 28 images), a discrete code",
    }
    variants = {"swwae_semi": {}}
    images: Tensor
    classes: Tensor

    def __init__(
        self,
        spec: DataSpec,
        architecture: str = "(8)5c-2p-(8)3c-(8)3c-2p",
        where: str = "hard",
        beta: float = 10.0,
        reconstruction: float = 10.0,
        intermediate: float = 2.0,
        stop_gradient: bool = True,
        dropout: float = 0.0,
        labels: int = 1000,
        share: float = 0.25,
    ) -> None:
        super().__init__(spec, architecture, where, beta, reconstruction, intermediate, stop_gradient, dropout)
        if labels < spec.classes:
            raise UserError(f"swwae: labels is at least {spec.classes}, one of each class, not {labels}")
        if labels > spec.train_images:
            raise Unsupported(f"{labels} labels of {spec.train_images} training images")
        if not 0 < share <= 1:
            raise UserError(f"swwae: share is above 0 and at most 1, not {share}")
        self.share = share
        self.register_buffer("images", torch.zeros(labels, *spec.shape))
        self.register_buffer("classes", torch.zeros(labels, dtype=torch.long))

    def fit(self, train: TrainSet) -> None:
        assert train.labels is not None
        index = balanced(train.labels, len(self.classes), self.spec.classes)
        self.images.copy_(train.grey[index])
        self.classes.copy_(train.labels[index])

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        n = len(batch.x)
        labelled = max(1, round(self.share * n))
        rows = torch.randint(len(self.classes), (labelled,), device=self.classes.device)
        x = torch.cat([torch.bernoulli(self.images[rows]), batch.x[labelled:]])
        codes, inputs = self._ascend(x)
        nll = self._nll(codes["what"][:labelled], self.classes[rows]) * (n / labelled)
        terms = {"nll": F.pad(nll, (0, n - labelled)), **self._l2(codes, inputs)}
        return {"loss": terms["nll"] + self._total(terms), **terms}


class Stage(nn.Module):
    """One what-where autoencoder of the stack: convolution, ReLU and pooling, and their mirror image.

    Args:
        maps: Of its input.
        layer: Its convolution and the size of the pooling after it.
        pooling: None where the stage has none.
        where: Name of the group that the pooling hands over; empty where there is none.
        bottom: Whether its input is the image, of which the decoder gives logits, without a ReLU.
    """

    def __init__(self, maps: int, layer: Layer, pooling: Pooling | None, where: str, bottom: bool) -> None:
        super().__init__()
        self.pooling, self.where, self.bottom = pooling, where, bottom
        self.encoder = Convolution(maps, layer.maps, layer.kernel)
        self.decoder = Convolution(layer.maps, maps, layer.kernel)

    def up(self, h: Tensor) -> tuple[Tensor, Tensor | None]:
        """Encodes the input (N, maps, H, W): the output and, where there is a pooling that says so, ``where``."""
        h = F.relu(self.encoder(h))
        return self.pooling.pool(h) if self.pooling else (h, None)

    def down(self, h: Tensor, where: Tensor | None) -> Tensor:
        """Decodes the output to the input's shape."""
        h = self.decoder(self.pooling.unpool(h, where) if self.pooling else h)
        return h if self.bottom else F.relu(h)


class Convolution(nn.Conv2d):
    """A convolution that keeps the size of its maps, and keeps them together in memory (channels last).

    With so few maps a CPU is up to twice as fast that way. The weights themselves stay in the usual order.
    """

    def __init__(self, maps: int, to: int, kernel: int) -> None:
        super().__init__(maps, to, kernel, padding=kernel // 2)

    def forward(self, h: Tensor) -> Tensor:
        last = torch.channels_last
        weight = self.weight.contiguous(memory_format=last)
        return F.conv2d(h.contiguous(memory_format=last), weight, self.bias, padding=self.padding)


class Switches:
    """Hard pooling: ``what`` is a window's maximum, ``where`` its place r P + c in the window (N, C, H/P, W/P), int64.

    Of equal maxima the first counts.
    """

    def __init__(self, size: int, beta: float) -> None:
        self.size = size

    def pool(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Pools (N, C, H, W)."""
        what, index = F.max_pool2d(h, self.size, return_indices=True)
        place = torch.arange(self.size**2, device=h.device).view(self.size, self.size)
        # A table of the places: looked up, since dividing integers is slow.
        table = place.repeat(h.shape[-2] // self.size, h.shape[-1] // self.size).flatten()
        return what, table.take(index)

    def unpool(self, what: Tensor, where: Tensor) -> Tensor:
        """Puts each value at its place, zeros elsewhere: (N, C, H, W)."""
        height, width = (self.size * side for side in what.shape[-2:])
        top = torch.arange(0, height, self.size, device=what.device).view(-1, 1)
        left = torch.arange(0, width, self.size, device=what.device)
        inside = torch.arange(self.size, device=what.device)
        offsets = (inside.view(-1, 1) * width + inside).flatten()  # of each place from the window's first pixel
        return F.max_unpool2d(what, top * width + left + offsets.take(where), self.size)

    def group(self, where: Tensor) -> Group:
        """What is handed over: an integer of P^2 classes for each value."""
        return Discrete(where, classes=self.size**2)


class Coordinates:
    """Soft pooling ([1], [2]): what = sum h w, where = sum (y, x) w, with w = softmax(beta h) over the window.

    The coordinates run from -1 to 1 across the window, so that 0 is its centre; ``where`` is (N, 2, C, H/P, W/P). Our
    reading of soft unpooling: ``what`` is spread over the four places around ``where`` with bilinear weights, which
    sum to 1. beta -> infinity is hard pooling, beta = 0 the mean, placed at the centre.
    """

    def __init__(self, size: int, beta: float) -> None:
        self.size, self.beta = size, beta

    def pool(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Pools (N, C, H, W)."""
        largest = F.max_pool2d(h.detach(), self.size)  # taken off before the exponential, for its range
        weight = (self.beta * (h - self._spread(largest))).exp()
        total = F.avg_pool2d(weight, self.size)
        y, x = (F.avg_pool2d(weight * axis, self.size) / total for axis in self._axes(h))
        return F.avg_pool2d(weight * h, self.size) / total, torch.stack([y, x], 1)

    def unpool(self, what: Tensor, where: Tensor) -> Tensor:
        """Writes each value at its coordinates, kept inside the window: (N, C, H, W)."""
        h = self._spread(what)
        for place, axis in zip(where.clamp(-1, 1).unbind(1), self._axes(h), strict=True):
            pixels = (self._spread(place) - axis) * (self.size - 1) / 2  # neighbours are 2 / (P - 1) apart
            h = h * (1 - pixels.abs()).clamp_min(0)
        return h

    def _spread(self, values: Tensor) -> Tensor:
        return F.interpolate(values, scale_factor=self.size, mode="nearest")

    def _axes(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """The y (H, 1) and x (W,) of every pixel within its window."""
        axis = torch.linspace(-1, 1, self.size, dtype=h.dtype, device=h.device)
        return axis.repeat(h.shape[-2] // self.size).view(-1, 1), axis.repeat(h.shape[-1] // self.size)

    def group(self, where: Tensor) -> Group:
        """What is handed over: the coordinates, a deterministic code."""
        return where


class Upsampling:
    """Max pooling that keeps no ``where``; each value is repeated over its window."""

    def __init__(self, size: int, beta: float) -> None:
        self.size = size

    def pool(self, h: Tensor) -> tuple[Tensor, None]:
        """Pools (N, C, H, W)."""
        return F.max_pool2d(h, self.size), None

    def unpool(self, what: Tensor, where: None) -> Tensor:
        """Repeats: (N, C, H, W)."""
        return F.interpolate(what, scale_factor=self.size, mode="nearest")


Pooling = Switches | Coordinates | Upsampling
POOLINGS: dict[str, type[Pooling]] = {"hard": Switches, "soft": Coordinates, "none": Upsampling}


class Layer(NamedTuple):
    """A convolution to ``maps`` maps with square kernels, and the size of the pooling after it (0: none)."""

    maps: int
    kernel: int
    pool: int


def parse(architecture: str) -> list[Layer]:
    """Returns the layers of an architecture in the source's notation, ``(8)5c-2p-(16)3c-2p``.

    Raises:
        UserError: With the part that is not understood.
    """
    layers: list[Layer] = []
    for part in str(architecture).split("-"):
        if found := re.fullmatch(r"\(([1-9]\d*)\)(\d*[13579])c", part):
            layers.append(Layer(int(found[1]), int(found[2]), 0))
        elif (found := re.fullmatch(r"([2-9]|[1-9]\d+)p", part)) and layers and not layers[-1].pool:
            layers[-1] = layers[-1]._replace(pool=int(found[1]))
        else:
            example = "'(8)5c-2p-(16)3c-2p' (odd kernels; a pooling follows a convolution)"
            raise UserError(f"swwae: '{part}' in architecture '{architecture}': write it like {example}")
    return layers


def check_pool(pool: int, size: list[int]) -> None:
    """Raises ``UserError`` if windows of ``pool`` x ``pool`` do not fill a map of this (height, width)."""
    if any(side % pool for side in size):
        fitting = [p for p in range(2, min(size) + 1) if not any(side % p for side in size)]
        choice = f"choose from {', '.join(map(str, fitting))}" if fitting else "no pooling does"
        raise UserError(f"swwae: pooling by {pool} does not divide a map of {size[0]} x {size[1]}; {choice}")


def mean_square(a: Tensor, b: Tensor) -> Tensor:
    """Mean over elements of the squared difference, (N,)."""
    return (a - b).square().flatten(1).mean(1)


def balanced(labels: Tensor, size: int, classes: int) -> Tensor:
    """Returns positions of ``size`` labels (N,), equally many of each class, one more of some at random.

    Raises:
        Unsupported: If a class has too few.
    """
    larger = torch.randperm(classes)[: size % classes].tolist()
    picked = []
    for label in range(classes):
        positions = (labels == label).nonzero().flatten()
        count = size // classes + (label in larger)
        if count > len(positions):
            raise Unsupported(f"{size} labels in balance: class {label} has {len(positions)} images, not {count}")
        picked.append(positions[torch.randperm(len(positions))[:count].to(labels.device)])
    return torch.cat(picked)
