"""Autoencoders with skip connections from encoder to decoder: a cheat, two filters that tame it, and a price.

1. Ronneberger, Fischer & Brox 2015, U-Net (1505.04597).
2. Burt & Adelson 1983, The Laplacian pyramid as a compact image code.
3. Mallat 1989, A theory for multiresolution signal decomposition: the wavelet representation.
4. Sønderby et al. 2016, Ladder variational autoencoders (1602.02282).
5. Higgins et al. 2017, beta-VAE.
6. Vahdat & Kautz 2020, NVAE (2007.03898).
7. Shi et al. 2016, Real-time single image and video super-resolution using sub-pixel convolutions (1609.05158).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal, kl_divergence
from torch.nn import functional as F

from suite.contract import Baseline, Batch, DataSpec, Latents, UserError, Values, image_nats

# --- bands: linear, exactly invertible, without parameters ----------------------------------------------------


def low(x: Tensor, pool: int) -> Tensor:
    """The mean of each pool x pool block of maps (N, C, H, W), repeated over the block: an orthogonal projection."""
    return F.interpolate(F.avg_pool2d(x, pool), scale_factor=pool)


def high(x: Tensor, pool: int) -> Tensor:
    """x - low(x): the projection onto maps whose blocks all have mean zero."""
    return x - low(x, pool)


def enlarge(x: Tensor) -> Tensor:
    """Twice the height and width by bilinear interpolation, edges held: (N, C, H, W) to (N, C, 2H, 2W)."""
    return _enlarge_rows(_enlarge_rows(x).mT).mT


def _enlarge_rows(x: Tensor) -> Tensor:
    # Slices and not F.interpolate, whose bilinear gradient comes out differently each time on a GPU.
    before = torch.cat([x[..., :1], x[..., :-1]], -1)
    after = torch.cat([x[..., 1:], x[..., -1:]], -1)
    return torch.stack([(before + 3 * x) / 4, (3 * x + after) / 4], -1).flatten(-2)


def laplacian_bands(x: Tensor) -> list[Tensor]:
    """The Laplacian pyramid [2] of two octaves, finest band first: x_l - enlarge(x_{l+1}), and x_2 last.

    x_{l+1} is x_l averaged over 2 x 2 blocks; [2] blurs with a Gaussian, and any two resizings will do. Overcomplete:
    28^2 pixels become 28^2 + 14^2 + 7^2 numbers.
    """
    bands = []
    for _ in range(2):
        smaller = F.avg_pool2d(x, 2)
        bands.append(x - enlarge(smaller))
        x = smaller
    return [*bands, x]


def laplacian_image(bands: Sequence[Tensor]) -> Tensor:
    """Undoes ``laplacian_bands``; takes any bands of those shapes."""
    *details, x = bands
    for detail in reversed(details):
        x = detail + enlarge(x)
    return x


def haar_bands(x: Tensor) -> list[Tensor]:
    """The orthonormal Haar wavelets [3] of two octaves, finest band first: 3C, 3C and C maps of H/2, H/4 and H/4 rows.

    As many numbers as pixels, with the same sum of squares. The last band is four times the mean of 4 x 4 blocks.
    """
    bands = []
    for _ in range(2):
        a, b, c, d = x[..., ::2, ::2], x[..., ::2, 1::2], x[..., 1::2, ::2], x[..., 1::2, 1::2]
        bands.append(torch.cat([a - b + c - d, a + b - c - d, a - b - c + d], 1) / 2)
        x = (a + b + c + d) / 2
    return [*bands, x]


def haar_image(bands: Sequence[Tensor]) -> Tensor:
    """Undoes ``haar_bands``; takes any coefficients of those shapes."""
    *details, x = bands
    for detail in reversed(details):
        p, q, r = detail.chunk(3, 1)  # differences along a row, along a column, and across
        corners = torch.stack([x + p + q + r, x - p + q - r, x + p - q - r, x - p - q + r], 2) / 2
        x = F.pixel_shuffle(corners.flatten(1, 2), 2)
    return x


#: Name -> (image to bands, bands to image). The last band is the lowest.
TRANSFORMS: dict[str, tuple[Callable[[Tensor], list[Tensor]], Callable[[Sequence[Tensor]], Tensor]]] = {
    "laplacian": (laplacian_bands, laplacian_image),
    "haar": (haar_bands, haar_image),
}


def decomposition(x: Tensor, transform: str = "laplacian") -> list[Tensor]:
    """Draws images (N, C, H, W) level by level: one picture of their size per band, finest first; their sum is x."""
    analyse, synthesise = TRANSFORMS[transform]
    bands = analyse(x)
    return [synthesise([b if i == level else torch.zeros_like(b) for i, b in enumerate(bands)]) for level in range(3)]


# --- the cheat ------------------------------------------------------------------------------------------------


class UNetAutoencoder(Baseline):
    """A U-Net [1] with a narrow bottleneck, trained to reconstruct: the copy that looks like a model.

    The full-resolution skip alone carries the image, so z need not hold anything. The reconstruction is nearly
    perfect until the skips are charged like every other message to the decoder.
    """

    summary = "naive skip connections around a code of 16 numbers (the cheat)"
    paper = "Ronneberger, Fischer & Brox 2015, U-Net, as an autoencoder"
    groups = {
        "z": "16 numbers, a deterministic code: the bottleneck",
        "skip0": "4 feature maps at full resolution, a deterministic code",
        "skip1": "4 feature maps at half resolution, a deterministic code",
    }
    variants = {"unet_autoencoder": {}}

    def __init__(self, spec: DataSpec, latent: int = 16, width: int = 4) -> None:
        super().__init__(spec)
        channels, height, breadth = spec.shape
        low = (2 * width, height // 4, breadth // 4)
        size = low[0] * low[1] * low[2]
        self.enter = nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.ReLU())
        self.down = nn.Sequential(nn.Conv2d(width, width, 4, 2, 1), nn.ReLU())
        self.bottleneck = nn.Sequential(
            nn.Conv2d(width, 2 * width, 4, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(size, latent)
        )
        self.up = nn.Sequential(nn.Linear(latent, size), nn.ReLU(), nn.Unflatten(1, low), twice(2 * width, width))
        self.rise = nn.Sequential(nn.ReLU(), twice(2 * width, width), nn.ReLU())
        self.out = nn.Conv2d(2 * width, channels, 3, padding=1)
        self.to(memory_format=torch.channels_last)  # a fifth faster on a CPU

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.decode(self._codes(batch.x))
        return {"loss": image_nats(logits, batch.x)}

    def _codes(self, x: Tensor) -> dict[str, Tensor]:
        skip0 = self.enter(x)  # (N, 4, 28, 28)
        skip1 = self.down(skip0)  # (N, 4, 14, 14)
        return {"z": self.bottleneck(skip1), "skip0": skip0, "skip1": skip1}

    def encode(self, x: Tensor) -> Latents:
        return self._codes(x)

    def decode(self, values: Values) -> Tensor:
        h = torch.cat([self.up(values["z"]), channels_last(values["skip1"])], 1)  # (N, 8, 14, 14)
        h = torch.cat([self.rise(h), channels_last(values["skip0"])], 1)  # (N, 8, 28, 28)
        return self.out(h)


# --- the filters ----------------------------------------------------------------------------------------------


class FilteredSkipAutoencoder(UNetAutoencoder):
    """The same U-Net, its skips high-pass filtered: frequencies below a level's cut have no way but through z.

    Paper: none; the filter is that of the pyramids [2] and [3], put into [1].
    Objective: -log p(b | z, skips) of the binarized image, as without the filter; no bound: the codes are free.
    Groups: all deterministic. A skip carries high(h) = h - up(pool(h)) of its level's maps; the deeper path gets low(h)
    alone. ``up`` repeats ("nearest"), so that high is an orthogonal projection. It is the last operation before a skip
    meets the decoder: a bias or a ReLU behind it would bring the means back. The decoder applies it again, which
    changes no skip but keeps out the low frequencies of noise, and those that a search over its inputs would use.
    Core: z, the only way of the coarsest means. Supervision: none.
    No bottleneck all the same: an image that is nowhere negative and zero somewhere in each block is its high band
    less the band's minimum in that block, so that the skips alone still give the image away.
    """

    summary = "skip connections that carry high frequencies only, around a code of 16 numbers"
    paper = ""
    groups = {
        "z": "16 numbers, a deterministic code: the bottleneck",
        "skip0": "4 feature maps at full resolution less their 2 x 2 block means, a deterministic code",
        "skip1": "4 feature maps at half resolution less their 2 x 2 block means, a deterministic code",
    }
    variants = {"filtered_skip_autoencoder": {}}

    def __init__(self, spec: DataSpec, latent: int = 16, width: int = 4, pool0: int = 2, pool1: int = 2) -> None:
        check_size(spec, "filtered_skip_autoencoder")
        for name, pool, side in (("pool0", pool0, 1), ("pool1", pool1, 2)):
            sizes = [p for p in range(1, min(spec.shape[1:]) + 1) if all(n // side % p == 0 for n in spec.shape[1:])]
            if pool not in sizes:
                nearest = min(sizes, key=lambda p: abs(p - pool))
                raise UserError(f"filtered_skip_autoencoder: {name}={pool} does not divide the maps; try {nearest}")
        super().__init__(spec, latent, width)
        self.pool0, self.pool1 = pool0, pool1

    def _codes(self, x: Tensor) -> dict[str, Tensor]:
        h0 = self.enter(x)  # (N, 4, 28, 28)
        low0 = low(h0, self.pool0)
        h1 = self.down(low0)  # (N, 4, 14, 14)
        low1 = low(h1, self.pool1)
        return {"z": self.bottleneck(low1), "skip0": h0 - low0, "skip1": h1 - low1}

    def decode(self, values: Values) -> Tensor:
        skip0 = high(channels_last(values["skip0"]), self.pool0)
        skip1 = high(channels_last(values["skip1"]), self.pool1)
        return super().decode({"z": values["z"], "skip0": skip0, "skip1": skip1})


class BandAutoencoder(Baseline):
    """Each frequency band of the image goes through a narrow autoencoder of its own; the rebuilt bands are summed.

    Paper: none; the transforms are [2] and [3].
    Objective: -log p(b | z, skip0, skip1) of the binarized image. The logits are the inverse transform of three
    rebuilt bands. No bound: the codes are free.
    Groups: all deterministic vectors. z codes the lowest band (7 x 7 of 28 x 28), skip1 the next octave, skip0 the
    finest.
    Core: z. Supervision: none.
    The transforms differ in what a fine code may do: rebuilt Haar coefficients cannot move the mean of any block of
    logits; a rebuilt Laplacian band can, since the pyramid is overcomplete.
    """

    summary = "each frequency band through a narrow code of its own, the rebuilt bands summed"
    paper = "Burt & Adelson 1983, The Laplacian pyramid; Mallat 1989, multiresolution decomposition"
    groups = {
        "z": "16 numbers for the lowest band, a deterministic code",
        "skip0": "32 numbers for the finest band, a deterministic code",
        "skip1": "16 numbers for the middle band, a deterministic code",
    }
    variants = {
        "laplacian_skip_autoencoder": {"transform": "laplacian"},
        "haar_skip_autoencoder": {"transform": "haar"},
    }

    def __init__(
        self, spec: DataSpec, transform: str = "laplacian", sizes: Sequence[int] = (16, 32, 16), hidden: int = 256
    ) -> None:
        super().__init__(spec)
        if transform not in TRANSFORMS:
            raise UserError(f"{transform}_skip_autoencoder: transform is 'laplacian' or 'haar', not '{transform}'")
        check_size(spec, f"{transform}_skip_autoencoder")
        self.analyse, self.synthesise = TRANSFORMS[transform]
        shapes = {name: band.shape[1:] for name, band in self._bands(torch.zeros(1, *spec.shape)).items()}
        if not isinstance(sizes, Sequence) or len(sizes) != len(shapes) or min(sizes) < 1:
            raise UserError(f"{transform}_skip_autoencoder: sizes are three positive numbers, of {', '.join(shapes)}")
        self.encoders, self.decoders = nn.ModuleDict(), nn.ModuleDict()
        for (name, shape), size in zip(shapes.items(), sizes, strict=True):
            n = shape.numel()
            self.encoders[name] = nn.Sequential(nn.Flatten(), nn.Linear(n, hidden), nn.ReLU(), nn.Linear(hidden, size))
            self.decoders[name] = nn.Sequential(
                nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, n), nn.Unflatten(1, shape)
            )

    def _bands(self, x: Tensor) -> dict[str, Tensor]:
        fine, middle, lowest = self.analyse(x)
        return {"z": lowest, "skip0": fine, "skip1": middle}

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return {"loss": image_nats(self.decode(self.encode(batch.x)), batch.x)}

    def encode(self, x: Tensor) -> dict[str, Tensor]:
        return {name: self.encoders[name](band) for name, band in self._bands(x).items()}

    def decode(self, values: Values) -> Tensor:
        rebuilt = {name: decoder(values[name]) for name, decoder in self.decoders.items()}
        return self.synthesise([rebuilt["skip0"], rebuilt["skip1"], rebuilt["z"]])


# --- the price ------------------------------------------------------------------------------------------------


class VariationalSkipAutoencoder(Baseline):
    """A U-Net whose skips are priced: every level is a stochastic group, and the decoder gets draws alone.

    Paper: the hierarchy of [4], its posteriors relative to the prior as in [6], its weights as in [5].
    Objective: -log p(b | z, skip1, skip0) + sum over groups of beta_g KL(q_g || p_g). With betas of 1 the negative
    ELBO, a bound on -log p(b); larger ones price the skips above their cost, so that z has to carry more.
    Groups: all stochastic, Normal, coarse to fine. p(z) = N(0, I). The prior of a skip is N(0, diag sigma^2), sigma
    learned as a function of the coarser groups as the decoder receives them: where there are edges, details vary. Its
    posterior sees these groups too, and the encoder's maps of its level.
    Core: z. Supervision: none.
    Against [4] and [6] the priors' means are zero. With learned means a skip repeats what z has said for nothing, the
    decoder may as well read it there, and no ablation can tell what z is for.
    Unlike a filter the price is a bottleneck: what flows around z costs as much as what flows through it.
    """

    summary = "every skip a stochastic group with a learned prior; 2x, 4x: skips priced above their cost"
    paper = "Sønderby et al. 2016, Ladder variational autoencoders"
    groups = {
        "z": "20 units, a Normal posterior, prior N(0, I)",
        "skip1": "2 maps at quarter resolution, a Normal posterior, prior given z",
        "skip0": "1 map at half resolution, a Normal posterior, prior given z and skip1",
    }
    variants = {
        "variational_skip_autoencoder": {},
        "variational_skip_autoencoder_2x": {"betas": [1.0, 2.0, 2.0]},
        "variational_skip_autoencoder_4x": {"betas": [1.0, 4.0, 4.0]},
    }
    zero: Tensor

    def __init__(
        self,
        spec: DataSpec,
        betas: Sequence[float] = (1.0, 1.0, 1.0),
        latent: int = 20,
        width: int = 24,
        maps0: int = 1,
        maps1: int = 2,
    ) -> None:
        super().__init__(spec)
        check_size(spec, "variational_skip_autoencoder")
        if not isinstance(betas, Sequence) or len(betas) != len(self.groups) or min(betas) < 0:
            raise UserError(f"variational_skip_autoencoder: betas are three weights >= 0, of {', '.join(self.groups)}")
        self.betas = dict(zip(self.groups, betas, strict=True))
        channels, height, breadth = spec.shape
        coarsest = (2 * width, height // 4, breadth // 4)
        size = coarsest[0] * coarsest[1] * coarsest[2]
        self.enter = nn.Sequential(nn.Conv2d(channels, width, 4, 2, 1), nn.ReLU())
        self.down = nn.Sequential(nn.Conv2d(width, 2 * width, 4, 2, 1), nn.ReLU())
        self.bottleneck = nn.Sequential(nn.Flatten(), nn.Linear(size, 2 * latent))
        self.top = nn.Sequential(nn.Linear(latent, size), nn.ReLU(), nn.Unflatten(1, coarsest))
        self.skip1 = _StochasticSkip(2 * width, maps1, width)
        self.skip0 = _StochasticSkip(width, maps0, channels)
        self.register_buffer("zero", torch.zeros(latent))
        self.to(memory_format=torch.channels_last)  # a tenth faster on a CPU

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        h0, h1 = self._climb(batch.x)
        p = {"z": self.prior("z", {})}
        q = {"z": self._q_z(h1)}
        state = self.top(q["z"].rsample())
        p["skip1"] = self.skip1.prior(state)
        q["skip1"] = self.skip1.posterior(state, h1, p["skip1"])
        state = F.relu(self.skip1(state, q["skip1"].rsample()))
        p["skip0"] = self.skip0.prior(state)
        q["skip0"] = self.skip0.posterior(state, h0, p["skip0"])
        distortion = image_nats(self.skip0(state, q["skip0"].rsample()), batch.x)
        rates = {name: kl_divergence(q[name], p[name]).flatten(1).sum(1) for name in q}
        loss = distortion + sum(self.betas[name] * rate for name, rate in rates.items())
        return {"loss": loss, "distortion": distortion} | {f"rate/{name}": rate for name, rate in rates.items()}

    def _climb(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The encoder's maps, (N, 24, 14, 14) and (N, 48, 7, 7)."""
        h0 = self.enter(x)
        return h0, self.down(h0)

    def _q_z(self, h1: Tensor) -> Normal:
        mu, log_sigma = self.bottleneck(h1).chunk(2, 1)
        return Normal(mu, log_sigma.exp(), validate_args=False)

    def _state(self, name: str, values: Values) -> Tensor:
        """The decoder's maps just above a skip, from the coarser groups."""
        state1 = self.top(values["z"])
        return state1 if name == "skip1" else F.relu(self.skip1(state1, values["skip1"]))

    def encode(self, x: Tensor) -> Latents:
        h0, h1 = self._climb(x)

        def q_skip1(earlier: Mapping[str, Tensor]) -> Distribution:
            state = self._state("skip1", earlier)
            return self.skip1.posterior(state, h1, self.skip1.prior(state))

        def q_skip0(earlier: Mapping[str, Tensor]) -> Distribution:
            state = self._state("skip0", earlier)
            return self.skip0.posterior(state, h0, self.skip0.prior(state))

        return {"z": self._q_z(h1), "skip1": q_skip1, "skip0": q_skip0}

    def prior(self, name: str, earlier: Values) -> Normal:
        if name == "z":
            return Normal(self.zero, self.zero + 1, validate_args=False)
        skip = self.skip1 if name == "skip1" else self.skip0
        return skip.prior(self._state(name, earlier))

    def decode(self, values: Values) -> Tensor:
        return self.skip0(self._state("skip0", values), values["skip0"])


class _StochasticSkip(nn.Module):
    """One skip: the prior of its code, its posterior, and the step of the decoder that takes it in.

    Args:
        width: Channels of the decoder's and of the encoder's maps at this level.
        maps: Channels of the code.
        out: Channels of the decoder's maps at twice the resolution.
    """

    def __init__(self, width: int, maps: int, out: int) -> None:
        super().__init__()
        self.log_scale = nn.Conv2d(width, maps, 1)
        self.correct = nn.Conv2d(2 * width, 2 * maps, 1)
        self.enter = nn.Conv2d(maps, width, 3, padding=1)
        self.rise = nn.ConvTranspose2d(width, out, 4, 2, 1)

    def prior(self, state: Tensor) -> Normal:
        sigma = self.log_scale(state).exp()
        return Normal(torch.zeros_like(sigma), sigma, validate_args=False)

    def posterior(self, state: Tensor, maps: Tensor, prior: Normal) -> Normal:
        """The prior, moved and scaled by what the encoder saw: no correction, no cost."""
        shift, log_ratio = self.correct(torch.cat([state, maps], 1)).chunk(2, 1)
        return Normal(prior.scale * shift, prior.scale * log_ratio.exp(), validate_args=False)

    def forward(self, state: Tensor, code: Tensor) -> Tensor:
        return self.rise(F.relu(state + self.enter(code)))


def twice(channels: int, out: int) -> nn.Sequential:
    """A convolution to maps of twice the height and width, by the sub-pixels of [7].

    With few channels it takes less than half the time of a transposed convolution on a CPU.
    """
    return nn.Sequential(nn.Conv2d(channels, 4 * out, 3, padding=1), nn.PixelShuffle(2))


def channels_last(x: Tensor) -> Tensor:
    """The same maps (N, C, H, W), with a pixel's channels side by side in memory."""
    return x.contiguous(memory_format=torch.channels_last)


def check_size(spec: DataSpec, name: str) -> None:
    """Two octaves need a height and a width that four divides."""
    height, width = spec.shape[1:]
    if height % 4 or width % 4:
        fits = f"{-(-height // 4) * 4} x {-(-width // 4) * 4}"
        raise UserError(f"{name}: images of {height} x {width} do not halve twice; pad them to {fits}")
