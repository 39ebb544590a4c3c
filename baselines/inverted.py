"""Inverted autoencoders: a message becomes an image, the image is disturbed, the message is read back.

Nothing here is learned from data. An autoencoder turned inside out invents an alphabet of pictures that survive a
noisy channel; whether such a reader knows anything of digits is then a question for the suite.

1. The inverted auto-encoder and its source code (github.com/ichko/inverted-auto-encoder, October 2020).
2. GlyphNet, its ancestor, with a noise that grows as the messages get through (github.com/noahtren/GlyphNet).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal

from suite.contract import Baseline, Batch, DataSpec, Latents, UserError, Values

#: The geometry of [1] at strength 1: degrees; shares of the image's side; share; degrees.
ROTATION, SHIFT, SCALE, SHEAR = 30.0, 0.1, 0.1, 10.0
#: Every corner moves inwards by up to half this share of the side, in this share of the images.
PERSPECTIVE, PERSPECTIVE_SHARE = 0.6, 0.5

#: Numbers per message: [1] went up to 2048.
LONGEST = 2048
#: Width of the last feature map of the source's decoder network, whatever the message's length.
SOURCE_NECK = 32


class InvertedAutoencoder(Baseline):
    """min E |D(T(sigmoid G(m))) - m|^2 / M over m ~ N(0, I_M): a code for the noisy channel T, learned without data.

    G is the generator, D the decoder network [1], T a random homography (``homographies``) and normal noise.
    The loss is the mean squared error of the message, so 1 is a message that is lost and 1 - loss the share of its
    variance that arrives. It reads nothing of a batch but its size.

    Read as an autoencoder of images, D encodes and G decodes. The only group is the deterministic ``message`` D(x),
    which is also the core; its prior is the N(0, I) that messages were drawn from. No supervision.

    ``architecture`` is ``"conv"`` (the features that D reads the message from are as many as the message or more) or
    ``"source"`` ([1], 28 x 28 pixels). ``order`` is ``"noise_first"`` (as the authors tell it: the picture is noisy
    and then seen from somewhere) or ``"warp_first"`` (as their code has it). ``curriculum`` is the share of the budget
    over which the strength of T rises from 0 to 1, after the idea of [2]; 0 is full strength from the start.

    What was mended of the source:
        - D ended in 32 features under 64 to 2048 numbers: at most 32 of them can arrive, whatever the noise. Only
          ``inverted_source`` keeps that layer; it can't explain more than 32 / M of the message.
        - The noise had mean 1, so D never saw an image in the range of the data. Here its mean is 0.
        - Affine and perspective warps were two interpolations, the first of which cut off what the second might
          bring back. Their product is one homography and one interpolation.
        - Batch norm never left training mode. Here everything that is scored runs in eval mode.
        - The generator's logits went through a last batch norm, which bounds the contrast; "conv" has none.
        - "Frozen" arms were not frozen (an attribute was set on the module, and nothing on its parameters), the
          classifier's logits went through a LeakyReLU, its accuracy was a mean over the epoch it was trained in, and
          inputs were optimized for targets outside the generator's range. These are the tasks' business:
          ``linear_probe`` and ``input_optimization`` measure them anew.
    """

    summary = "messages that survive a noisy channel of images, learned without data"
    paper = "ichko 2020, Inverted auto-encoder (github.com/ichko/inverted-auto-encoder)"
    core = "message"
    groups = {"message": "what the decoder network reads in the image, a deterministic code, prior N(0, I)"}
    variants = {
        "inverted_autoencoder": {},
        "inverted_m32": {"message": 32},
        "inverted_m256": {"message": 256},
        "inverted_curriculum": {"curriculum": 0.5},
        "inverted_source": {"architecture": "source", "noise": 1.0, "order": "warp_first"},
    }
    learning_rate = 3e-3
    zero: Tensor

    def __init__(
        self,
        spec: DataSpec,
        message: int = 64,
        width: int = 32,
        architecture: str = "conv",
        noise: float = 0.25,
        order: str = "noise_first",
        curriculum: float = 0.0,
    ) -> None:
        """Builds the network.

        Args:
            spec: The data; images of 28 x 28 pixels.
            message: M, the numbers of a message.
            width: Channels of the widest layers; 128 in [1].
            architecture: ``"conv"`` or ``"source"``.
            noise: Standard deviation of the noise at strength 1, in intensities; 1/4 as told in [1], 1 in its code.
            order: ``"noise_first"`` or ``"warp_first"``.
            curriculum: Share of the budget over which the strength rises to 1.
        """
        super().__init__(spec)
        _check(spec, message, width, architecture, noise, order, curriculum)
        self.noise, self.order, self.curriculum = noise, order, curriculum
        build = conv if architecture == "conv" else source
        self.generator, self.decoder = build(spec.shape[0], message, width)
        self.register_buffer("zero", torch.zeros(message))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        message = torch.randn(len(batch.x), len(self.zero), device=self.zero.device)
        strength = min(1.0, batch.progress / self.curriculum) if self.curriculum else 1.0
        seen = disturb(self.generator(message).sigmoid(), strength, self.noise, self.order)
        error = (self.decoder(seen) - message).square().mean(1)
        return {"loss": error, "strength": torch.full_like(error, strength)}

    def encode(self, x: Tensor) -> Latents:
        return {"message": self.decoder(x)}

    def prior(self, name: str, earlier: Values) -> Distribution:
        return Normal(self.zero, self.zero + 1)

    def decode(self, values: Values) -> Tensor:
        return self.generator(values["message"])


def disturb(x: Tensor, strength: float, noise: float, order: str = "noise_first") -> Tensor:
    """T: warps images (N, C, H, W) at random and adds normal noise of mean 0; the images themselves at strength 0.

    Args:
        x: Intensities in [0, 1]; what comes back may leave the range by the noise.
        strength: Scales all ranges of the warp, and the noise.
        noise: Its standard deviation at strength 1.
        order: ``"noise_first"`` or ``"warp_first"``.
    """
    if strength == 0:
        return x
    with torch.autocast(x.device.type, enabled=False):  # a homography in bfloat16 is off by pixels
        x = x.float()
        n, _, height, width = x.shape
        warp = homographies(n, height, width, strength).to(x.device)
        if order == "noise_first":
            return warped(x + strength * noise * torch.randn_like(x), warp)
        return warped(x, warp) + strength * noise * torch.randn_like(x)


def warped(x: Tensor, warp: Tensor) -> Tensor:
    """Images (N, C, H, W) seen through homographies (N, 3, 3) of their pixels; what lies beyond an image is 0."""
    from kornia.geometry import warp_perspective

    # kornia divides by a pixel's distance from the horizon, and on it by 0. Such a pixel lies beyond every image.
    return torch.nan_to_num(warp_perspective(x, warp, x.shape[-2:]), nan=0.0)


def homographies(n: int, height: int, width: int, strength: float) -> Tensor:
    """Returns (n, 3, 3) random homographies of pixel coordinates: an affine map, then now and then a perspective.

    The ranges are those of [1] times ``strength``, which is at most 1: corners that move further may fold the image.
    """
    from kornia.geometry import get_affine_matrix2d, get_perspective_transform

    side = torch.tensor([float(width), float(height)])
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]) * (side - 1)
    affine = get_affine_matrix2d(
        translations=strength * SHIFT * side * _uniform(n, 2),
        center=((side - 1) / 2).expand(n, 2),
        scale=1 + strength * SCALE * _uniform(n, 1).expand(n, 2),
        angle=strength * ROTATION * _uniform(n),
        sx=math.radians(strength * SHEAR) * _uniform(n),
        sy=torch.zeros(n),
    )
    inwards = torch.tensor([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
    moved = (torch.rand(n, 1, 1) < PERSPECTIVE_SHARE) * torch.rand(n, 4, 2) * strength * PERSPECTIVE / 2
    perspective = get_perspective_transform(corners.expand(n, 4, 2), corners + moved * inwards * side)
    return perspective @ affine


def _uniform(*shape: int) -> Tensor:
    """Uniform on [-1, 1]."""
    return 2 * torch.rand(*shape) - 1


def conv(channels: int, message: int, width: int) -> tuple[nn.Module, nn.Module]:
    """28 -> 14 -> 7 -> 4 pixels, a linear layer from all 16 x width features (or more), and the mirror image."""
    wide = max(width, math.ceil(message / 16))  # the decoder reads a message from no fewer features than it has numbers
    half = width // 2
    generator = nn.Sequential(
        nn.Linear(message, wide * 16, bias=False), nn.Unflatten(1, (wide, 4, 4)), *_norm(wide),
        nn.ConvTranspose2d(wide, width, 3, 2, 1, bias=False), *_norm(width),
        nn.ConvTranspose2d(width, half, 4, 2, 1, bias=False), *_norm(half),
        nn.ConvTranspose2d(half, channels, 4, 2, 1),
    )  # fmt: skip
    decoder = nn.Sequential(
        nn.Conv2d(channels, half, 4, 2, 1, bias=False), *_norm(half),
        nn.Conv2d(half, width, 4, 2, 1, bias=False), *_norm(width),
        nn.Conv2d(width, wide, 3, 2, 1, bias=False), *_norm(wide),
        nn.Flatten(), nn.Linear(wide * 16, message),
    )  # fmt: skip
    return generator, decoder


def source(channels: int, message: int, width: int) -> tuple[nn.Module, nn.Module]:
    """The layers of [1] for 28 x 28 pixels, at ``width / 128`` of its channels; D's neck keeps its 32."""
    half, quarter, eighth = width // 2, width // 4, width // 8
    ups = [  # channels, kernel, stride, padding: 1 -> 3, 3, 3, 7, 7, 7, 13, 28 pixels
        (width, 5, 2, 1), (half, 5, 1, 2), (half, 5, 1, 2), (half, 5, 2, 1),
        (quarter, 5, 1, 2), (quarter, 5, 1, 2), (eighth, 5, 2, 2), (channels, 4, 2, 0),
    ]  # fmt: skip
    generator, before = [nn.Unflatten(1, (message, 1, 1))], message
    for after, kernel, stride, padding in ups:
        generator += [nn.ConvTranspose2d(before, after, kernel, stride, padding, bias=False), *_norm(after)]
        before = after
    decoder, before = [], channels
    for after in (width, width, half, SOURCE_NECK):  # 28 -> 14 -> 7 -> 4 -> 2 pixels
        decoder += [nn.Conv2d(before, after, 3, 2, 1, bias=False), *_norm(after)]
        before = after
    decoder += [nn.Conv2d(before, SOURCE_NECK, 3, 2, 1), nn.Flatten(), nn.LeakyReLU(0.2)]
    return nn.Sequential(*generator[:-1]), nn.Sequential(*decoder, nn.Linear(SOURCE_NECK, message))


def _norm(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm2d(channels), nn.LeakyReLU(0.2)


def _check(
    spec: DataSpec, message: int, width: int, architecture: str, noise: float, order: str, curriculum: float
) -> None:
    """Raises ``UserError`` at the first parameter that makes no sense."""

    def demand(fine: bool, name: str, allowed: str, found: object) -> None:
        if not fine:
            raise UserError(f"inverted: {name} is {allowed}, not {found!r}")

    demand(spec.shape[1:] == (28, 28), "the size of an image", "28 x 28 pixels", spec.shape[1:])
    demand(type(message) is int and 1 <= message <= LONGEST, "message", f"a whole number from 1 to {LONGEST}", message)
    demand(type(width) is int and width >= 8, "width", "a whole number from 8 on", width)
    demand(architecture in ("conv", "source"), "architecture", "'conv' or 'source'", architecture)
    demand(noise >= 0, "noise", "a standard deviation of at least 0", noise)
    demand(order in ("noise_first", "warp_first"), "order", "'noise_first' or 'warp_first'", order)
    demand(0 <= curriculum <= 1, "curriculum", "a share of the budget from 0 to 1", curriculum)
