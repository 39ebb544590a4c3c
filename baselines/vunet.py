"""Variational U-Nets: an image is drawn from its shape, which is estimated, and its appearance, which is inferred.

1. Esser, Sutter & Ommer 2018, A Variational U-Net for Conditional Appearance and Shape Generation (1804.04694).
2. Guo & Hall 1989, Parallel Thinning with Two-Subiteration Algorithms.
3. Canny 1986, A Computational Approach to Edge Detection.
4. Bishop 2006, Pattern Recognition and Machine Learning, section 9.3.3 (mixtures of Bernoulli distributions).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Categorical, Distribution, Independent, MixtureSameFamily, Normal
from torch.nn import functional as F

from suite.contract import Baseline, Batch, DataSpec, Discrete, Latents, TrainSet, UserError, Values, image_nats

# --- the shape estimator e(x): a fixed function of the image, without parameters ----------------------------------

#: Ink is where the smoothed image is brighter than this.
INK = 0.45
#: Gradients over the first threshold are edges, those over the second where they touch one [3].
STRONG_EDGE, WEAK_EDGE = 0.2, 0.1


def smoothed(x: Tensor) -> Tensor:
    """Blurs images (N, C, H, W) with the binomial window of 5 x 5 (variance 1) and takes the brightest channel.

    A binarized image has its grey image as mean, pixel by pixel, so that its blur estimates the blur of the grey image:
    the same estimator serves both, and noise does not shatter the shape.

    Returns:
        (N, H, W), zero outside the image.
    """
    x = F.pad(x, (2, 2, 2, 2))
    for _ in range(4):  # four sums of two neighbours: 1 4 6 4 1
        x = x[..., 1:, :] + x[..., :-1, :]
        x = x[..., 1:] + x[..., :-1]
    return x.amax(1) / 256


def skeleton(x: Tensor) -> Tensor:
    """The lines one pixel wide that are left when the ink of images (N, C, H, W) is thinned, bool (N, 1, H, W)."""
    return thinned(smoothed(x) > INK).unsqueeze(1)


def thinned(ink: Tensor) -> Tensor:
    """Thins binary images, bool (N, H, W), until nothing changes ([2], the first algorithm, A1).

    A pixel goes if that breaks no connection (the ring around it holds one stretch of ink), if it is neither the end of
    a line nor inside, and if it lies on the side that the subiteration peels: two opposite ones in turn. All pixels are
    looked at together, so the result does not depend on an order.
    """
    height, width = ink.shape[1:]
    bits = _packed(ink)
    while True:
        before = bits
        for turn in (0, 4):
            padded = F.pad(bits, (0, 0, 1, 1, 1, 1))
            ring = [padded[1 + y : 1 + y + height, 1 + x : 1 + x + width] for y, x in _RING[turn:] + _RING[:turn]]
            bits = bits & ~_removable(ring)
        if torch.equal(bits, before):
            return _unpacked(bits)[: len(ink)]


def _packed(ink: Tensor) -> Tensor:
    """Binary images (N, H, W) side by side, 64 in the bits of each number: int64 (H, W, N / 64), with empty ones."""
    groups = F.pad(ink, (0, 0, 0, 0, 0, -len(ink) % 64)).unflatten(0, (-1, 64))
    places = torch.arange(64, device=ink.device).view(64, 1, 1)
    return (groups.long() << places).sum(1).permute(1, 2, 0).contiguous()


def _unpacked(bits: Tensor) -> Tensor:
    """The images of ``_packed``, bool (N, H, W), the empty ones last."""
    places = torch.arange(64, device=bits.device).view(64, 1, 1)
    return (bits.permute(2, 0, 1).unsqueeze(1) >> places & 1).bool().flatten(0, 1)


#: The eight neighbours (y, x) of a pixel, counter-clockwise from the east.
_RING = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))


def _removable(ring: list[Tensor]) -> Tensor:
    """Whether a pixel with these eight neighbours, from the east, goes: conditions (a) to (c) of [2], A1."""
    x1, x2, x3, x4, x5, x6, x7, x8 = ring
    opens = [
        ~side & (corner | after) for side, corner, after in ((x1, x2, x3), (x3, x4, x5), (x5, x6, x7), (x7, x8, x1))
    ]
    one_opens = (opens[0] ^ opens[1] ^ opens[2] ^ opens[3]) & ~((opens[0] & opens[1]) | (opens[2] & opens[3]))
    first, second = (x1 | x2, x3 | x4, x5 | x6, x7 | x8), (x2 | x3, x4 | x5, x6 | x7, x8 | x1)
    on_border = _two_of(first) & _two_of(second) & ~(_all_of(first) & _all_of(second))
    return one_opens & on_border & ~((x2 | x3 | ~x8) & x1)


def _two_of(q: tuple[Tensor, ...]) -> Tensor:
    """Whether at least two of four are true."""
    return (q[0] & q[1]) | (q[2] & q[3]) | ((q[0] | q[1]) & (q[2] | q[3]))


def _all_of(q: tuple[Tensor, ...]) -> Tensor:
    return q[0] & q[1] & q[2] & q[3]


def edges(x: Tensor) -> Tensor:
    """Edges of images (N, C, H, W) as by [3], bool (N, 1, H, W).

    The gradient of the smoothed image, kept where it is greatest across the edge and where it is strong or touches a
    strong edge. Both sides of a stroke are outlined: the map gives the thickness away, which is what it is here for.
    """
    grey = F.pad(smoothed(x).unsqueeze(1), (1, 1, 1, 1))
    across = F.avg_pool2d(grey, (2, 1), 1)
    down = F.avg_pool2d(grey, (1, 2), 1)
    dx = 4 * F.avg_pool2d(across[..., 2:] - across[..., :-2], (2, 1), 1)  # the Sobel operator: 1 2 1 by -1 0 1
    dy = 4 * F.avg_pool2d(down[..., 2:, :] - down[..., :-2, :], (1, 2), 1)
    steep = (dx.square() + dy.square()).sqrt()
    crest = steep >= _along_gradient(steep, dx, dy)
    weak, grown = crest & (steep > WEAK_EDGE), crest & (steep > STRONG_EDGE)
    while True:
        before, grown = grown, weak & (F.max_pool2d(grown.to(steep), 3, 1, 1) > 0)
        if torch.equal(grown, before):
            return grown


def _along_gradient(steep: Tensor, dx: Tensor, dy: Tensor) -> Tensor:
    """The greater of a pixel's two neighbours in the direction of the gradient, rounded to 45 degrees."""
    height, width = steep.shape[2:]
    padded = F.pad(steep, (1, 1, 1, 1))
    pairs = [
        torch.maximum(*(padded[..., 1 + s * y : 1 + s * y + height, 1 + s * x : 1 + s * x + width] for s in (1, -1)))
        for y, x in ((0, 1), (1, 1), (1, 0), (1, -1))
    ]
    sector = (torch.atan2(dy, dx) * (4 / math.pi)).round().long() % 4
    return torch.cat(pairs, 1).gather(1, sector)


ESTIMATORS: dict[str, Callable[[Tensor], Tensor]] = {"skeleton": skeleton, "edges": edges}

# --- p(y), p(z | y), q(z | x, y), p(x | y, z) ---------------------------------------------------------------------


class ShapeMixture(nn.Module):
    """p(y): a mixture of K products of Bernoullis over the pixels of the shape map, fitted by EM ([4], eq. 9.56-9.60).

    Its likelihood is exact, so the shape costs exactly -log p(y). It holds buffers only: no gradient reaches it.

    Args:
        components: K.
        shape: (H, W).
    """

    #: Prior images at the overall mean that every component has seen: they keep its probabilities off 0 and 1.
    SEEN = 5.0
    STEPS = 25
    log_weights: Tensor
    logits: Tensor

    def __init__(self, components: int, shape: tuple[int, int]) -> None:
        super().__init__()
        self.register_buffer("log_weights", torch.full((components,), -math.log(components)))
        self.register_buffer("logits", torch.zeros(components, *shape))

    def fit(self, maps: Tensor) -> None:
        """EM from components that each start halfway between one map and the mean, on maps (N, 1, H, W) of 0 and 1."""
        y = maps.flatten(1)
        mean = (y.sum(0) + 1) / (len(y) + 2)
        start = y[torch.randint(len(y), (len(self.logits),)).to(y.device)]
        self.logits.copy_(torch.logit(0.5 * start + 0.5 * mean).view_as(self.logits))
        for _ in range(self.STEPS):
            mass, on = torch.zeros_like(self.log_weights), torch.zeros_like(self.logits.flatten(1))
            for part in y.split(5000):
                responsibility = self._log_joint(part).softmax(1)
                mass += responsibility.sum(0)
                on += responsibility.T @ part
            probability = (on + self.SEEN * mean) / (mass + self.SEEN).unsqueeze(1)
            self.logits.copy_(torch.logit(probability).view_as(self.logits))
            self.log_weights.copy_(((mass + 1) / (mass + 1).sum()).log())

    def _log_joint(self, y: Tensor) -> Tensor:
        """Joint log p(y, k), (N, K), of flat maps."""
        logits = self.logits.flatten(1)
        return y @ logits.T - F.softplus(logits).sum(1) + self.log_weights

    def nats(self, maps: Tensor) -> Tensor:
        """-log p(y) of maps (N, 1, H, W) of 0 and 1, (N,)."""
        return -self._log_joint(maps.flatten(1)).logsumexp(1)

    def distribution(self) -> Distribution:
        """The same as a distribution over maps (1, H, W)."""
        pixels = Independent(Bernoulli(logits=self.logits.unsqueeze(1)), 3)
        return MixtureSameFamily(Categorical(logits=self.log_weights), pixels)


class _ShapeBranch(nn.Module):
    """The U-Net's way down, E_theta of [1]: features of the shape map at half and quarter resolution.

    Where the map has full resolution, the pixels of a 2 x 2 block enter as channels, so that none is lost.
    """

    def __init__(self, width: int, block: int) -> None:
        super().__init__()
        pixels = 2 // block
        self.fine = nn.Sequential(nn.PixelUnshuffle(pixels), nn.Conv2d(pixels**2, width, 3, padding=1), nn.ELU())
        self.coarse = nn.Sequential(nn.Conv2d(width, 2 * width, 4, 2, 1), nn.ELU())

    def forward(self, shape: Tensor) -> tuple[Tensor, Tensor]:
        fine = self.fine(shape)
        return fine, self.coarse(fine)


class _Generator(nn.Module):
    """The U-Net's way up, G_theta of [1]. z enters at both resolutions, the same at every position."""

    def __init__(self, channels: int, latent: int, width: int) -> None:
        super().__init__()
        self.looks = nn.Linear(latent, 3 * width)
        self.coarse = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.rise = nn.ConvTranspose2d(2 * width, width, 4, 2, 1)
        self.fine = nn.Conv2d(2 * width, width, 3, padding=1)
        self.out = nn.Sequential(nn.Conv2d(width, 4 * channels, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, skips: tuple[Tensor, Tensor], z: Tensor) -> Tensor:
        fine, coarse = skips
        width = fine.shape[1]
        low, high = self.looks(z)[:, :, None, None].split([2 * width, width], 1)
        h = F.elu(self.coarse(coarse) + low)
        h = F.elu(self.fine(torch.cat([self.rise(h), fine], 1)) + high)
        return self.out(h)


class _Pictures(nn.Module):
    """F_phi of [1] as a small convolutional network over the whole picture."""

    def __init__(self, spec: DataSpec, width: int, features: int, block: int) -> None:
        super().__init__()
        channels, height, breadth = spec.shape
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 4, 2, 1), nn.ELU(),
            nn.Conv2d(width, 2 * width, 4, 2, 1), nn.ELU(), nn.Flatten(),
            nn.Linear(2 * width * (height // 4) * (breadth // 4), features), nn.ELU(),
        )  # fmt: skip

    def forward(self, x: Tensor, shape: Tensor) -> Tensor:
        return self.layers(x)


class BagOfPatches(nn.Module):
    """F_phi as the mean embedding of the 7 x 7 patches around the points of the shape: a set, without positions.

    Every patch is embedded by one convolution, and a mean forgets where they were. It takes the place of the source's
    crops around body joints, normalized so that they hold appearance and no layout.
    """

    def __init__(self, spec: DataSpec, width: int, features: int, block: int) -> None:
        super().__init__()
        self.patch = nn.Conv2d(spec.shape[0], width, 7, stride=block, padding=3)
        self.mix = nn.Sequential(nn.Linear(width, features), nn.ELU())

    def forward(self, x: Tensor, shape: Tensor) -> Tensor:
        points = shape.to(x)
        total = (F.elu(self.patch(x)) * points).sum((2, 3))
        return self.mix(total / points.sum((2, 3)).clamp_min(1))


ENCODERS = ("augmented", "plain", "bag")


class VUNet(Baseline):
    """log p(x | y) >= E_q[log p(x | y, z)] - KL(q(z | x, y) || p(z | y)) with y = e(x) fixed [1]; here y costs too.

    **Objective.** loss = distortion + rate + shape, in nats: -log p(x | y, z) under pixel Bernoullis, the KL of the
    appearance from a prior that is learned from the shape, and -log p(y). Their sum bounds -log p(x), since y is a
    function of x; the source leaves out the last term, and its number is conditional on the shape.

    **Groups.** ``shape`` is discrete, one bit per block of 2 x 2 pixels: whether it holds a point of the image's
    skeleton, or of its edges, found by a fixed algorithm without parameters ([2], or [3]). At full resolution a map
    costs more than twice as much: where in its block a line runs is mostly noise. Every skip of the U-Net starts from
    the shape, so what passes the bottleneck is paid for. ``z`` is stochastic, a Normal given the shape: the appearance
    (thickness, colour), and the core. It enters the generator alike at every position: how to draw, not where.

    **Supervision.** None: the shape comes from the image itself.

    **Encoders.** A shape-blind encoder, not the KL, keeps shape out of z: the KL is minimal where z holds nothing that
    y does not say, yet whatever y says it may repeat. ``augmented`` sees, in training, a randomly turned, sheared and
    shifted image while y stays; ``bag`` sees a set of patches around the skeleton's points; ``plain`` is the control.

    **Errors of the source mended** (of the paper's text, its released code, and accounts of them):

    - the shape is free there; here p(y) is a mixture fitted to training shapes and every image pays -log p(y);
    - both Gaussians have unit variance there (KL = |mu_q - mu_p|^2 / 2), so that z costs nats even where it says
      nothing; here both learn their variances;
    - the likelihood is stood in for by weighted differences of VGG features: no likelihood, and no nats. Here the
      default is a Bernoulli likelihood; ``vunet_laplace`` keeps the idea, marked as what it is;
    - the encoder is written q(z | x, y) but sees x alone in the code, cut into normalized crops: kept, and said: only
      ``bag`` uses y, to choose its patches;
    - the KL is weighted from 1e-6 up to 1 during training; here it counts fully from the first step;
    - the appearance encoder is at times called a discriminator: it is none, there is no adversary. What is Laplace is
      p(x | y, z), not q. The prior is learned with the rest through the KL, not estimated beforehand, and comes from
      the shape branch. To evaluate p(x | y), sample only z and take the generator's density at x.

    Args:
        spec: The data.
        shape: ``skeleton`` or ``edges`` (leaks thickness: the counter-example).
        encoder: ``augmented``, ``plain`` or ``bag``.
        block: Side of the blocks of pixels that one bit of the shape stands for, 1 or 2.
        latent: Units of z.
        width: Feature maps at half resolution, doubled at a quarter. (The source: 32 to 128 maps in residual blocks.)
        components: K of p(y).
    """

    summary = "a U-Net from the skeleton, 16 Gaussian units of appearance, shape charged"
    paper = "Esser, Sutter & Ommer 2018, A Variational U-Net for Conditional Appearance and Shape Generation"
    core = "z"
    groups = {
        "shape": "one bit per 2 x 2 pixels, a discrete code: the skeleton's (or edges') course, a mixture prior",
        "z": "16 units of appearance, a Normal posterior, a Normal prior given the shape",
    }
    variants = {
        "vunet": {},
        "vunet_bag": {"encoder": "bag"},
        "vunet_plain": {"encoder": "plain"},
        "vunet_canny": {"shape": "edges"},
    }

    def __init__(
        self,
        spec: DataSpec,
        shape: str = "skeleton",
        encoder: str = "augmented",
        block: int = 2,
        latent: int = 16,
        width: int = 12,
        components: int = 100,
    ) -> None:
        super().__init__(spec)
        _check(spec, shape, encoder, block)
        features = 64
        self.shape, self.block, self.augmented = shape, block, encoder == "augmented"
        self.appearance = (BagOfPatches if encoder == "bag" else _Pictures)(spec, width, features, block)
        self.posterior = nn.Linear(features, 2 * latent)
        self.branch = _ShapeBranch(width, block)
        low = 2 * width * (spec.shape[1] // 4) * (spec.shape[2] // 4)
        self.prior_of_shape = nn.Sequential(nn.Flatten(), nn.Linear(low, 2 * latent))
        self.generator = _Generator(spec.shape[0], latent, width)
        self.mixture = ShapeMixture(components, (spec.shape[1] // block, spec.shape[2] // block))
        self.to(memory_format=torch.channels_last)  # a tenth faster on a CPU

    def estimate(self, x: Tensor) -> Tensor:
        """y = e(x), 0 or 1, float (N, 1, H / block, W / block): which blocks of pixels hold a point of the shape."""
        return F.max_pool2d(ESTIMATORS[self.shape](x).to(x), self.block)

    def fit(self, train: TrainSet) -> None:
        """Fits p(y) to the shapes of binarized training images, of several draws where there are few images."""
        draws = [train.binary]
        for _ in range(1, min(MOST_DRAWS, ENOUGH_SHAPES // len(train.grey))):
            draws.append(torch.bernoulli(train.grey))
        maps = [self.estimate(x) for draw in draws for x in draw.split(500)]
        self.mixture.fit(torch.cat(maps))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        shape, logits, rate = self._transmit(batch.x)
        nats = image_nats(logits, batch.x)
        price = self.mixture.nats(shape)
        return {"loss": nats + rate + price, "distortion": nats, "rate": rate, "shape": price}

    def _transmit(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The shape (N, 1, H, W), the generator's output for a draw of z, and the rate of z (N,)."""
        shape = self.estimate(x)
        skips = self._skips(shape)
        q = self._q(turned(x) if self.augmented else x, shape)
        p = self._p(skips)
        z = q.loc + q.scale * torch.randn_like(q.loc)
        return shape, self.generator(skips, z), gaussian_kl(q, p)

    def _skips(self, shape: Tensor) -> tuple[Tensor, Tensor]:
        return self.branch(shape.to(self.mixture.logits.dtype))

    def _q(self, x: Tensor, shape: Tensor) -> Normal:
        return _normal(self.posterior(self.appearance(x, shape)))

    def _p(self, skips: tuple[Tensor, Tensor]) -> Normal:
        return _normal(self.prior_of_shape(skips[-1]))

    def encode(self, x: Tensor) -> Latents:
        def q_z(earlier: Mapping[str, Tensor]) -> Distribution:
            return self._q(x, earlier["shape"])

        return {"shape": Discrete(self.estimate(x).long(), classes=2), "z": q_z}

    def prior(self, name: str, earlier: Values) -> Distribution:
        return self.mixture.distribution() if name == "shape" else self._p(self._skips(earlier["shape"]))

    def decode(self, values: Values) -> Tensor:
        return self.generator(self._skips(values["shape"]), values["z"])


#: Where a training split is small, p(y) is fitted to this many shapes, of at most so many draws of every image.
ENOUGH_SHAPES, MOST_DRAWS = 20_000, 8


class VUNetLaplace(VUNet):
    """The variational U-Net with the source's Laplace likelihood, discretized, and a pyramid loss in place of VGG's.

    **The training loss is no likelihood.** loss = distortion + rate + shape + pyramid: the first three bound
    -log p(x) of an image with 256 levels (p(x | y, z) = a discretized Laplace around the generator's output, of one
    learned scale), and the last is a perceptual stand-in, the absolute difference in every band of a Laplacian pyramid.
    (The source compares VGG19 features, which say little of images this small.) The suite judges the model, like every
    other, by calibrated Bernoullis.

    Groups, core, supervision and mended errors are those of ``VUNet``.

    Args:
        spec: The data.
        pyramid: Weight of the pyramid loss; 0 leaves a bound on -log p(x).
        shape: As in ``VUNet``.
        encoder: As in ``VUNet``.
        block: As in ``VUNet``.
        latent: As in ``VUNet``.
        width: As in ``VUNet``.
        components: As in ``VUNet``.
    """

    summary = "the variational U-Net, trained on a Laplace likelihood and a pyramid loss (no likelihood)"
    variants = {"vunet_laplace": {}}
    trains_on = "grey"

    def __init__(
        self,
        spec: DataSpec,
        pyramid: float = 1.0,
        shape: str = "skeleton",
        encoder: str = "augmented",
        block: int = 2,
        latent: int = 16,
        width: int = 12,
        components: int = 100,
    ) -> None:
        super().__init__(spec, shape, encoder, block, latent, width, components)
        if not pyramid >= 0:
            raise UserError(f"vunet_laplace: pyramid is a weight of 0 or more, not {pyramid}")
        self.pyramid = pyramid
        self.log_scale = nn.Parameter(torch.tensor(-2.0))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        shape, logits, rate = self._transmit(batch.x)
        mean = logits.sigmoid()
        nats = laplace_nats(mean, self.log_scale.exp(), batch.x).flatten(1).sum(1)
        terms = {"distortion": nats, "rate": rate, "shape": self.mixture.nats(shape)}
        terms["pyramid"] = self.pyramid * pyramid_distance(mean, batch.x)
        return {"loss": torch.stack(list(terms.values())).sum(0), **terms}


# --- swapping -----------------------------------------------------------------------------------------------------


@torch.no_grad()
def swapped(model: VUNet, shapes: Tensor, looks: Tensor) -> Tensor:
    """Draws every shape of the first images with every appearance of the second.

    Args:
        model: In eval mode.
        shapes: Images (A, C, H, W) that give their shape.
        looks: Images (B, C, H, W) that give their appearance: the mean of q(z | x, e(x)).

    Returns:
        Intensities (A, B, C, H, W).
    """
    shape = model.estimate(shapes).long()
    z = model._q(looks, model.estimate(looks).long()).loc
    rows = [model.decode({"shape": y.expand(len(z), *y.shape), "z": z}).sigmoid() for y in shape]
    return torch.stack(rows)


def swap_grid(model: VUNet, shapes: Tensor, looks: Tensor) -> Tensor:
    """The table of ``swapped`` as one picture (C, (A + 1) H, (B + 1) W): its sources stand at the left and on top."""
    table = swapped(model, shapes, looks)
    head = torch.cat([torch.zeros_like(looks[:1]), looks]).unsqueeze(0)
    body = torch.cat([shapes.unsqueeze(1), table], 1)
    rows, columns, channels, height, width = (whole := torch.cat([head, body])).shape
    return whole.permute(2, 0, 3, 1, 4).reshape(channels, rows * height, columns * width)


# --- parts --------------------------------------------------------------------------------------------------------


def _check(spec: DataSpec, shape: str, encoder: str, block: int) -> None:
    if shape not in ESTIMATORS:
        raise UserError(f"vunet: shape is 'skeleton' or 'edges', not '{shape}'")
    if encoder not in ENCODERS:
        raise UserError(f"vunet: encoder is 'augmented', 'plain' or 'bag', not '{encoder}'")
    if block not in (1, 2):
        raise UserError(f"vunet: block is 1 or 2 pixels, not {block}")
    if spec.shape[1] % 4 or spec.shape[2] % 4:
        nearest = " x ".join(str(max(4, 4 * round(side / 4))) for side in spec.shape[1:])
        found = " x ".join(map(str, spec.shape[1:]))
        raise UserError(f"vunet: halves images twice, so height and width are multiples of 4 ({nearest}), not {found}")


def _normal(parameters: Tensor) -> Normal:
    mu, log_sigma = parameters.chunk(2, dim=1)
    # Soft limits of e^-5 and e^5: images unlike all training images stay priced by finite numbers.
    return Normal(mu, (5 * torch.tanh(log_sigma / 5)).exp(), validate_args=False)


def gaussian_kl(q: Normal, p: Normal) -> Tensor:
    """KL(q || p) of diagonal Gaussians (N, d), in nats, (N,)."""
    ratio, shift = q.scale / p.scale, (q.loc - p.loc) / p.scale
    return (0.5 * (ratio.square() + shift.square() - 1) - ratio.log()).sum(1)


def turned(x: Tensor) -> Tensor:
    """Turns, shears, squeezes and shifts every image (N, C, H, W) at random, keeping areas: thickness, on average.

    Pixels are taken from the nearest place: what was binary stays so, as the encoder will see it later.
    """
    angle, shear, squeeze, *shift = torch.randn(5, len(x), device=x.device, dtype=x.dtype) * 0.2
    cos, sin, wide = angle.cos(), angle.sin(), squeeze.exp()
    rows = [cos * wide, cos * shear - sin, 0.5 * shift[0], sin * wide, sin * shear + cos, 0.5 * shift[1]]
    grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="nearest", align_corners=False)


def laplace_nats(mean: Tensor, scale: Tensor, x: Tensor) -> Tensor:
    """-log P(x) of 256 levels in [0, 1] under a Laplace distribution, discretized, of any shape.

    P(v) = F((v + 1/2) / 255) - F((v - 1/2) / 255), with the first and the last bin open to their sides, so that the 256
    probabilities sum to 1.
    """
    level = (x * 255).round()
    half = 0.5 / 255 / scale
    away = (level / 255 - mean).abs() / scale
    # With the mean outside the bin e^-away sinh(half), with the mean inside it 1 - e^-half cosh(away).
    outside = -away + torch.sinh(half).log()
    inside = (-(-half).exp() * torch.cosh(torch.minimum(away, half))).log1p()
    log_p = torch.where(away >= half, outside, inside)
    # An open bin is a tail: beyond is how far it lies from the mean, in scales, negative where it holds the mean.
    sign = torch.where(level > 127, 1.0, -1.0).to(x)
    beyond = sign * (level / 255 - mean) / scale - half
    tail = torch.where(beyond >= 0, math.log(0.5) - beyond, (-0.5 * beyond.clamp_max(0).exp()).log1p())
    return -torch.where((level == 0) | (level == 255), tail, log_p)


def pyramid_distance(a: Tensor, b: Tensor) -> Tensor:
    """Absolute differences of images (N, C, H, W) in every band of a Laplacian pyramid, summed over it, (N,).

    A coarse pixel counts for the four that it stands for.
    """
    levels = [a - b]
    while min(levels[-1].shape[2:]) % 2 == 0:
        levels.append(F.avg_pool2d(levels[-1], 2))
    bands = [fine - F.interpolate(coarse, scale_factor=2) for fine, coarse in pairwise(levels)]
    return sum(4**i * band.abs().flatten(1).sum(1) for i, band in enumerate([*bands, levels[-1]]))
