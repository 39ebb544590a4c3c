"""Associative compression networks: the code of an image, given that of a neighbour.

1. Graves, Menick & van den Oord 2018, Associative Compression Networks for Representation Learning (1804.02476).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Normal
from torch.nn import functional as F

from suite.contract import Baseline, Batch, DataSpec, Discrete, Latents, TrainSet, UserError, Values, image_nats

#: Images per pass where no gradients are needed.
CHUNK = 1000
#: Rows per pass over the distances to all images, and images per block of a row that is searched at once.
ROWS, BLOCK = 125, 128


class AssociativeCompressionNetwork(Baseline):
    """p(z) is conditioned on the code of a similar training image: N(m(c_n), diag s(c_n)^2), networks m and s [1].

    Trained, per image x, on -log p(x|z) + KL(q(z|x) || p(z|c_n)), with q(z|x) of unit variance and n drawn from
    the 5 images whose codes are nearest to that of x, x itself left out. Left in, the prior would learn to be told
    the answer by the image's own code, which no test image has among the training codes. Neighbours, random in
    the first epoch, come from the codes of a full pass over the training split after every epoch.

    The source orders the data set and counts the nats of an image given its neighbour, but not those that say which
    neighbour. Its numbers are the price of a data set in the best order, not a bound on -log p(x). Here an image
    comes alone: the neighbour is an index n among the N training images, and costs log N. So

    - what is advertised is distortion + rate/z,
    - an upper bound on -log p(b) is distortion + rate/z + rate/neighbour,

    and the second can be below a VAE's only where a neighbour saves more than log N nats. The sender picks the n
    that makes z cheapest. The decoder never sees n: its worth is in z's rate, not in a rise of the distortion.

    Groups: ``neighbour`` is discrete, ``z`` stochastic. The core is ``z``; no supervision. Changed from the source:
    dense networks in place of convolutions and an autoregressive decoder, and codes that are recomputed once an
    epoch, where the source keeps those met on the way.
    """

    summary = "16 Gaussian units whose prior knows a neighbour's code; the neighbour's index is charged"
    paper = "Graves, Menick & van den Oord 2018, Associative Compression Networks for Representation Learning"
    groups = {
        "neighbour": "which training image is the neighbour, an integer code, uniform prior",
        "z": "16 units, a Normal posterior of unit variance, prior given the neighbour's code",
    }
    variants = {"acn": {}}
    space = {"latent": (4, 64, "log"), "hidden": [256, 512, 1024], "neighbours": (1, 20, "log")}
    codes: Tensor
    neighbours: Tensor
    priors: Tensor

    def __init__(self, spec: DataSpec, latent: int = 16, hidden: int = 512, neighbours: int = 5) -> None:
        super().__init__(spec)
        n = spec.train_images
        if not 1 <= neighbours < n:
            raise UserError(f"acn: neighbours is 1 to {n - 1}, the other training images, not {neighbours}")
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(spec.pixels, hidden), nn.ReLU(), nn.Linear(hidden, latent))
        self.prior_network = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent))
        self.decoder = nn.Sequential(
            nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, spec.pixels), nn.Unflatten(1, spec.shape)
        )
        self.register_buffer("codes", torch.zeros(n, latent))  # mean of q(z | x) of every training image
        self.register_buffer("neighbours", torch.zeros(n, neighbours, dtype=torch.long))
        self.register_buffer("priors", torch.zeros(n, 2 * latent))  # m and log s given each of them

    def fit(self, train: TrainSet) -> None:
        n, k = self.neighbours.shape
        steps = torch.randint(1, n, (n, k), device=self.neighbours.device)
        own = torch.arange(n, device=steps.device).unsqueeze(1)
        self.neighbours.copy_((own + steps) % n)  # any image but itself

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        mu = self.encoder(batch.x)
        distortion = image_nats(self.decoder(mu + torch.randn_like(mu)), batch.x)
        which = torch.randint(self.neighbours.shape[1], (len(mu), 1), device=mu.device)
        neighbour = self.neighbours[batch.index].gather(1, which).squeeze(1)
        rate = unit_kl(mu, *self.prior_network(self.codes[neighbour]).chunk(2, dim=1))
        return {"loss": distortion + rate, "distortion": distortion, "rate_z": rate}

    @torch.no_grad()
    def after_epoch(self, epoch: int, train: TrainSet, val: TrainSet) -> bool:
        self.codes.copy_(torch.cat([self.encoder(x) for x in train.binary.split(CHUNK)]))
        self.priors.copy_(self.prior_network(self.codes))
        self.neighbours.copy_(nearest_others(self.codes, self.neighbours.shape[1]))
        return False

    def encode(self, x: Tensor) -> Latents:
        mu = self.encoder(x)
        return {"neighbour": Discrete(self._cheapest(mu), len(self.codes)), "z": Normal(mu, torch.ones_like(mu))}

    def _cheapest(self, mu: Tensor) -> Tensor:
        """The training image under whose prior z costs least, (N,).

        The KL is linear in (mu^2, mu), so that all prices are one product. In float64: which of two almost equal
        prices is less must not depend on the rest of the batch.
        """
        m, log_s = self.priors.double().chunk(2, dim=1)
        precision = (-2 * log_s).exp()
        fixed = (log_s + 0.5 * precision * (1 + m**2)).sum(1)
        slopes = torch.cat([0.5 * precision, -m * precision], 1).T
        rows = torch.cat([mu**2, mu], 1).double()
        prices = rows.new_empty(min(ROWS, len(rows)), len(fixed))  # one for all passes: the memory is what is slow
        found = torch.empty(len(rows), dtype=torch.long, device=rows.device)
        for start in range(0, len(rows), ROWS):
            row = rows[start : start + ROWS]
            found[start : start + ROWS] = torch.addmm(fixed, row, slopes, out=prices[: len(row)]).argmin(1)
        return found

    def prior(self, name: str, earlier: Values) -> Distribution:
        if name == "neighbour":
            return Categorical(logits=torch.zeros_like(self.codes[:, 0]))
        m, log_s = self.priors[earlier["neighbour"]].chunk(2, dim=1)
        return Normal(m, log_s.exp())

    def decode(self, values: Values) -> Tensor:
        return self.decoder(values["z"])


def unit_kl(mu: Tensor, m: Tensor, log_s: Tensor) -> Tensor:
    """KL(N(mu, I) || N(m, diag s^2)) in nats, (N,)."""
    return (log_s + 0.5 * ((1 + (mu - m) ** 2) * (-2 * log_s).exp() - 1)).sum(1)


def nearest_others(points: Tensor, k: int) -> Tensor:
    """The k nearest of the other rows to each row of ``points`` (N, d), as positions (N, k).

    Exact, in two steps: the k nearest lie within the k blocks of rows with the nearest members.
    """
    padding = -len(points) % BLOCK
    squares = F.pad(points.square().sum(1), (0, padding), value=math.inf)
    columns = F.pad(points, (0, 0, 0, padding)).T.contiguous()
    distances = points.new_empty(ROWS, columns.shape[1])
    found = torch.empty(len(points), k, dtype=torch.long, device=points.device)
    for start in range(0, len(points), ROWS):
        rows = points[start : start + ROWS]
        # Less the row's own square, which ranks nothing. Anew at every pass it would take gigabytes of the heap.
        distance = torch.addmm(squares, rows, columns, alpha=-2, out=distances[: len(rows)])
        own = torch.arange(len(rows), device=points.device)
        distance[own, own + start] = math.inf
        blocks = distance.unflatten(1, (-1, BLOCK))
        near = blocks.amin(2).topk(min(k, blocks.shape[1]), largest=False).indices
        candidates = blocks.gather(1, near.unsqueeze(2).expand(-1, -1, BLOCK)).flatten(1)
        best = candidates.topk(k, largest=False).indices
        found[start : start + ROWS] = near.gather(1, best // BLOCK) * BLOCK + best % BLOCK
    return found
