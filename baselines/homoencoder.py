"""Variational homoencoders: what the images of a class share, and what is each image's own.

1. Hewitt, Nye, Gane, Jaakkola & Tenenbaum 2018, The Variational Homoencoder (1807.08919).
2. Arthur & Vassilvitskii 2007, k-means++: The Advantages of Careful Seeding.

A class X of images has one code c, inferred from a support set D, a few images of the class, and every image has
a code z of its own:

    -log p(X) <= E_D E_q(c|D) [sum over x in X of -log p(x|c, z) + KL(q(z|x,c) || p(z|c))] + KL(q(c|D) || p(c))

The class code is paid once a class, so that each image bears 1/|X| of it. That holds only where D was drawn
without looking at which image is being coded: a code drawn from D = {x} is the image's own and costs its full KL.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Normal
from torch.nn import functional as F

from suite.contract import Baseline, Batch, DataSpec, Latents, TrainSet, UserError, Values, image_nats

#: Support sets behind each class code that is kept, drawn as in training (fewer where the class has fewer images).
ROUNDS = 200
#: Images per pass where no gradients are needed.
CHUNK = 1000
#: Training images on which gradients and information are estimated.
SAMPLE = 1000
#: Lloyd's iterations at most; a clustering that goes on from the last epoch's needs few.
ITERATIONS = 50

Gaussian = tuple[Tensor, Tensor]


class Homoencoder(Baseline):
    """The variational homoencoder [1] with the classes given by the labels.

    Trained, per image x of class k with |X_k| training images:

        -log p(x|c, z) + KL(q(z|x,c) || p(z|c)) + KL(q(c|D) || p(c)) / |X_k|

    D is 5 images of the class, drawn with replacement from the whole training split and binarized afresh, once per
    class and step. Its choice sees the class alone, so it is independent of which images of the class are in the
    batch (x may be in D by chance, as any other). All of them share one draw of c, as the bound has it: that moves
    no expectation, and 128 images need 50 support images instead of 640. A class of a single image can only have
    D = {x, ..., x} and bears its KL whole: an ordinary VAE with two codes.

    Nothing that looks at a test image is free. ``codes`` holds one c_k per class, the mean of q(c|D)'s mean over
    supports, a function of the training data and therefore free to send. The message is the class k, against the
    frequencies of the training classes, and z given c_k. q(k|b) is proportional to p(k) exp(-nats of b given c_k),
    taken at the mean of z: the posterior with which distortion + rate is -log of the sum over classes, up to
    that shortcut. No label is needed to encode, and a label that helps nothing costs nothing.

    Groups: ``k`` is stochastic and discrete, ``z`` stochastic and real. The core is ``k``: the content that images
    share, of which ``features`` shows c_k; z is the image's own rest. Supervision: labels, as sets of images.

    Mended here: the embeddings of D are averaged before the Gaussian is read off, not its log deviations, which
    know nothing of how many images agree; the KLs are exact instead of one draw; the class is charged.
    """

    summary = "a class code from support sets, an image code given it; the classes are the labels"
    paper = "Hewitt et al. 2018, The Variational Homoencoder"
    supervision = "labels"
    core = "k"
    groups = {
        "k": "the class, a Categorical posterior, prior its training frequency",
        "z": "20 units given the class code c_k, a Normal posterior, prior p(z | c_k)",
    }
    variants = {"vhe": {}}
    labels: Tensor
    sizes: Tensor
    order: Tensor
    codes: Tensor

    def __init__(self, spec: DataSpec, latent: int = 20, hidden: int = 512, supports: int = 5) -> None:
        super().__init__(spec)
        self._build(spec.classes, latent, hidden, supports)

    def _build(self, classes: int, latent: int, hidden: int, supports: int) -> None:
        """Makes networks and buffers for a number of classes."""
        if not isinstance(supports, int) or supports < 1:
            raise UserError(
                f"homoencoder: supports is a number of images >= 1, drawn from the class, not '{supports}' "
                "(a set that depends on the coded image would owe the class code's whole KL)"
            )
        pixels, images = self.spec.pixels, self.spec.train_images
        self.supports = supports
        self._train: TrainSet | None = None
        self.embedding = nn.Sequential(nn.Flatten(), nn.Linear(pixels, hidden), nn.ReLU())
        self.class_head = nn.Linear(hidden, 2 * latent)
        self.from_image = nn.Sequential(nn.Flatten(), nn.Linear(pixels, hidden))
        self.from_class = nn.Linear(latent, hidden, bias=False)
        self.image_head = nn.Linear(hidden, 2 * latent)
        self.image_prior = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent))
        self.decoder = nn.Sequential(
            nn.Linear(2 * latent, hidden), nn.ReLU(), nn.Linear(hidden, pixels), nn.Unflatten(1, self.spec.shape)
        )
        self.register_buffer("labels", torch.zeros(images, dtype=torch.long))  # class of each training image
        self.register_buffer("sizes", torch.zeros(classes, dtype=torch.long))  # |X_k|
        self.register_buffer("codes", torch.zeros(classes, latent))  # c_k
        self.register_buffer("order", torch.arange(images), persistent=False)  # training images, class by class

    # --- training ---------------------------------------------------------------------------------------------

    def fit(self, train: TrainSet) -> None:
        assert train.labels is not None  # the loop hands labels to every model that declares supervision
        self._regroup(train.labels)

    def begin(self, train: TrainSet) -> None:
        self._train = train
        self._regroup(self.labels)

    def _regroup(self, labels: Tensor) -> None:
        """Takes ``labels`` (N,) as the classes of the training images."""
        self.labels.copy_(labels)
        self.sizes.copy_(torch.bincount(labels, minlength=len(self.sizes)))
        self.order.copy_(labels.argsort(stable=True))

    def draw_supports(self, classes: Tensor) -> Tensor:
        """Draws a support set for each of ``classes`` (M,), which is all it sees: (M, |D|, C, H, W), binarized."""
        assert self._train is not None  # ``begin`` comes before the first step
        sizes = self.sizes[classes, None]
        first = (self.sizes.cumsum(0) - self.sizes)[classes, None]
        place = (torch.rand(len(classes), self.supports, device=classes.device) * sizes).long()
        members = self.order[first + torch.minimum(place, sizes - 1)]  # in float32 the product may round up to |X|
        return torch.bernoulli(self._train.grey[members])

    def class_posterior(self, supports: Tensor) -> Gaussian:
        """The mu and log sigma of q(c | D), each (M, L), for sets (M, |D|, C, H, W) in any order."""
        embedded = self.embedding(supports.flatten(0, 1)).unflatten(0, supports.shape[:2])
        return _halves(self.class_head(embedded.mean(1)))

    def image_posterior(self, x: Tensor, c: Tensor) -> Gaussian:
        """The mu and log sigma of q(z | x, c), each (N, L)."""
        return _halves(self.image_head(F.relu(self.from_image(x) + self.from_class(c))))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        present, row = self.labels[batch.index].unique(return_inverse=True)
        q_c = self.class_posterior(self.draw_supports(present))
        c = _draw(q_c)[row]
        q_z = self.image_posterior(batch.x, c)
        distortion = image_nats(self._logits(c, _draw(q_z)), batch.x)
        rate_z = _kl(q_z, _halves(self.image_prior(c)))
        rate_c = (_kl(q_c, _standard(q_c)) / self.sizes[present])[row]
        return {"loss": distortion + rate_z + rate_c, "distortion": distortion, "rate_z": rate_z, "rate_c": rate_c}

    def after_epoch(self, epoch: int, train: TrainSet, val: TrainSet) -> bool:
        self._encode_classes()
        return False

    @torch.no_grad()
    def _encode_classes(self) -> None:
        """Sets every c_k to the mean of q(c|D)'s mean over supports; a class without images keeps p(c)'s, 0."""
        self.codes.zero_()
        for k, size in enumerate(self.sizes.tolist()):
            if size:
                classes = torch.full((min(ROUNDS, size),), k, device=self.sizes.device)
                self.codes[k] = self.class_posterior(self.draw_supports(classes))[0].mean(0)

    # --- the message ------------------------------------------------------------------------------------------

    def encode(self, x: Tensor) -> Latents:
        def q_z(earlier: Values) -> Distribution:
            return _normal(self.image_posterior(x, self.codes[earlier["k"]]))

        return {"k": Categorical(logits=self._log_joint(x)), "z": q_z}

    def _log_joint(self, x: Tensor) -> Tensor:
        """log p(k) - nats of x given c_k, at the mean of z, (N, K)."""
        body, priors = self.from_image(x), _halves(self.image_prior(self.codes))
        nats = []
        for k, c in enumerate(self.codes):
            q = _halves(self.image_head(F.relu(body + self.from_class(c))))
            prior = priors[0][k], priors[1][k]
            nats.append(image_nats(self._logits(c.expand(len(x), -1), q[0]), x) + _kl(q, prior))
        return self._log_frequencies() - torch.stack(nats, 1)

    def _log_frequencies(self) -> Tensor:
        """log p(k), (K,); a class that does not occur in training counts as one image, so that no price is infinite."""
        return self.sizes.clamp_min(1).to(self.codes.dtype).log().log_softmax(0)

    def prior(self, name: str, earlier: Values) -> Distribution:
        if name == "k":
            return Categorical(logits=self._log_frequencies())
        return _normal(_halves(self.image_prior(self.codes[earlier["k"]])))

    def decode(self, values: Values) -> Tensor:
        return self._logits(self.codes[values["k"]], values["z"])

    def _logits(self, c: Tensor, z: Tensor) -> Tensor:
        return self.decoder(torch.cat([c, z], 1))

    def features(self, values: Values) -> Tensor:
        return self.codes[values["k"]]

    # --- what the codes contribute ----------------------------------------------------------------------------

    def monitor(self, batch: Batch) -> dict[str, float]:
        """Norms of the loss' gradient with respect to both codes, and the class code's undivided price.

        ``gradient/z`` and ``gradient/c`` are of the distortion, the other code held (partial derivatives; with
        the KLs in closed form the drawn z enters nothing else). ``gradient/c_total`` also runs through q(z|x,c)
        and p(z|c). ``scaled_gradient/...`` are times the code's standard deviation over images, unit by unit, and
        so do not depend on the code's scale. ``class_rate`` is KL(q(c|D) || p(c)), in nats a class.
        """
        k = self.labels[batch.index]
        with torch.no_grad():
            q_c = self.class_posterior(self.draw_supports(k.unique()))
        norms = self._contributions(batch.x, k)
        return {name: float(norm) for name, norm in norms.items()} | {
            "class_rate": float(_kl(q_c, _standard(q_c)).mean())
        }

    @torch.enable_grad()
    def _contributions(self, x: Tensor, k: Tensor) -> dict[str, Tensor]:
        """Mean over images x of class k of the gradients' norms, in nats per unit of code; see ``monitor``."""
        present, row = k.unique(return_inverse=True)
        c = _draw(self.class_posterior(self.draw_supports(present)))[row].detach().requires_grad_()
        q_z = self.image_posterior(x, c)
        z = _draw(q_z)
        held = z.detach().requires_grad_()
        partial = torch.autograd.grad(image_nats(self._logits(c, held), x).sum(), [held, c])
        nats = image_nats(self._logits(c, z), x) + _kl(q_z, _halves(self.image_prior(c)))
        (total,) = torch.autograd.grad(nats.sum(), c)
        norms = {}
        for name, gradient, code in (("z", partial[0], held), ("c", partial[1], c), ("c_total", total, c)):
            norms[f"gradient/{name}"] = gradient.norm(dim=1).mean()
            norms[f"scaled_gradient/{name}"] = (gradient * code.detach().std(0, correction=0)).norm(dim=1).mean()
        return norms


class ClusteredHomoencoder(Homoencoder):
    """A homoencoder that finds its classes itself, by k-means on its own codes.

    The first epoch has random classes. After every epoch all training images are encoded anew, each by itself:
    the means of q(c|{x}) and of q(z|x,c) with that c, each divided by its standard deviation and weighted, are the
    points that k-means clusters. Codes kept from the epoch's steps would be stale, noisy and a function of other
    images. From the second clustering on, k-means starts at the centroids of the last classes in the new codes, so
    that a class keeps its number as the codes move; the first starts at k-means++ [2]. An empty cluster takes the
    point that is farthest from its own centroid.

    What the classes are is said by ``rule``, the weights w_c : w_z:

    - ``"equal"``: 1 : 1.
    - ``"annealed"``: 1 : 1 - progress, from both codes to the class code alone.
    - ``"gradients"``: as the norms of the loss' gradients, scale-free and total (``monitor``).
    - ``"information"``: as the nats each code holds of its image, from above: the mean KL from q to a Gaussian
      with the moments of all q, which is at least I(code; x).
    - ``"random"``: no clustering; the random classes stay (a control: c can only hold what all images share).

    Everything else, the price of the class too, is ``Homoencoder``'s. Groups and core as there; no supervision.
    """

    summary = "a homoencoder whose classes are clusters of its own codes"
    supervision = "none"
    groups = {
        "k": "the cluster, a Categorical posterior, prior its training frequency",
        "z": "20 units given the cluster's code c_k, a Normal posterior, prior p(z | c_k)",
    }
    variants = {
        "vhe_kmeans": {"rule": "equal"},
        "vhe_annealed": {"rule": "annealed"},
        "vhe_gradient_balanced": {"rule": "gradients"},
        "vhe_mutual_information": {"rule": "information"},
        "vhe_random": {"rule": "random"},
    }
    progress: Tensor

    def __init__(
        self,
        spec: DataSpec,
        rule: str = "equal",
        clusters: int = 10,
        latent: int = 20,
        hidden: int = 512,
        supports: int = 5,
    ) -> None:
        super(Homoencoder, self).__init__(spec)
        rules = ("equal", "annealed", "gradients", "information", "random")
        if rule not in rules:
            raise UserError(f"homoencoder: rule is one of {', '.join(rules)}, not '{rule}'")
        if not 1 <= clusters <= spec.train_images:
            raise UserError(f"homoencoder: clusters is 1 to {spec.train_images}, the training images, not {clusters}")
        self.rule = rule
        self._build(clusters, latent, hidden, supports)
        self.register_buffer("progress", torch.zeros(()))

    def fit(self, train: TrainSet) -> None:
        # Dealt, not thrown: every cluster has its share even where there are as many clusters as images.
        places = torch.randperm(len(self.labels), device=self.labels.device)
        self._regroup(places % len(self.sizes))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        self.progress.fill_(batch.progress)
        return super().loss(batch)

    def after_epoch(self, epoch: int, train: TrainSet, val: TrainSet) -> bool:
        if self.rule != "random":
            self._regroup(self._cluster(train.binary, fresh=epoch == 0))
        return super().after_epoch(epoch, train, val)

    @torch.no_grad()
    def _cluster(self, images: Tensor, fresh: bool) -> Tensor:
        """Returns new classes (N,) of all training images; ``fresh`` takes no account of the present ones."""
        codes = [self.own_codes(x) for x in images.split(CHUNK)]
        q_c, q_z = ((torch.cat([q[i][0] for q in codes]), torch.cat([q[i][1] for q in codes])) for i in (0, 1))
        w_c, w_z = self.weights(q_c, q_z, images)
        points = torch.cat([w_c * _unit(q_c[0]), w_z * _unit(q_z[0])], 1)
        if fresh:
            return k_means(points, spread(points, len(self.sizes)))
        return k_means(points, centroids(points, self.labels, len(self.sizes)))

    def own_codes(self, x: Tensor) -> tuple[Gaussian, Gaussian]:
        """q(c | {x}) and q(z | x, its mean), of each image by itself: codes to compare images by, not to send."""
        q_c = self.class_posterior(x.unsqueeze(1))
        return q_c, self.image_posterior(x, q_c[0])

    def weights(self, q_c: Gaussian, q_z: Gaussian, images: Tensor) -> tuple[float, float]:
        """w_c and w_z by ``rule``, summing to 2 except under ``"annealed"``."""
        if self.rule == "annealed":
            return 1.0, 1.0 - float(self.progress)
        if self.rule == "gradients":
            some = torch.randperm(len(images), device=images.device)[:SAMPLE]
            norms = self._contributions(images[some], self.labels[some])
            of_c, of_z = norms["scaled_gradient/c_total"], norms["scaled_gradient/z"]
        elif self.rule == "information":
            of_c, of_z = information(*q_c), information(*q_z)
        else:
            return 1.0, 1.0
        share = float(of_c / (of_c + of_z))
        return 2 * share, 2 - 2 * share


# --- Gaussians ------------------------------------------------------------------------------------------------


def information(mu: Tensor, log_sigma: Tensor) -> Tensor:
    """Mean KL of N(mu_n, diag sigma_n^2) from the Gaussian with the moments of their mixture, in nats.

    For rows (N, L), 1/2 [log det(Cov(mu) + diag mean sigma^2) - mean sum log sigma^2]: an upper bound on the
    mutual information of code and image, which no estimate from batches of M images can show above log M.
    """
    mu, log_sigma = mu.double(), log_sigma.double()
    variance = torch.cov(mu.T, correction=0).reshape(mu.shape[1], -1) + (2 * log_sigma).exp().mean(0).diag()
    return 0.5 * torch.logdet(variance) - log_sigma.sum(1).mean()


def _halves(both: Tensor) -> Gaussian:
    """Splits a network's output (N, 2 L) into mu and log sigma."""
    mu, log_sigma = both.chunk(2, dim=1)
    return mu, log_sigma


def _draw(q: Gaussian) -> Tensor:
    return q[0] + q[1].exp() * torch.randn_like(q[0])


def _normal(q: Gaussian) -> Normal:
    return Normal(q[0], q[1].exp())


def _standard(q: Gaussian) -> Gaussian:
    """N(0, I) of the same shape."""
    return torch.zeros_like(q[0]), torch.zeros_like(q[1])


def _kl(q: Gaussian, p: Gaussian) -> Tensor:
    """KL(q || p) of diagonal Gaussians in nats, (N,)."""
    (mu, log_sigma), (m, log_s) = q, p
    return (log_s - log_sigma + 0.5 * ((2 * (log_sigma - log_s)).exp() + ((mu - m) / log_s.exp()) ** 2 - 1)).sum(1)


# --- k-means --------------------------------------------------------------------------------------------------


def _unit(code: Tensor) -> Tensor:
    """The code (N, L) over its root mean square deviation: its units keep their proportions."""
    return code / (code - code.mean(0)).square().mean().sqrt().clamp_min(1e-12)


def centroids(points: Tensor, labels: Tensor, clusters: int) -> Tensor:
    """Mean of each cluster's points, (K, d); zero where there are none."""
    sums = torch.zeros(clusters, points.shape[1], dtype=points.dtype, device=points.device)
    counts = torch.bincount(labels, minlength=clusters).clamp_min(1)
    return sums.index_add_(0, labels, points) / counts.unsqueeze(1)


def spread(points: Tensor, clusters: int) -> Tensor:
    """k-means++ [2]: centroids (K, d), each a point drawn with probability as its squared distance from the others."""
    chosen = points[torch.randint(len(points), (1,), device=points.device)]
    distance = (points - chosen).square().sum(1)
    for _ in range(clusters - 1):
        # Where all points are taken (duplicates), any one will do.
        weight = distance if bool(distance.sum() > 0) else torch.ones_like(distance)
        nearest = points[torch.multinomial(weight, 1)]
        chosen = torch.cat([chosen, nearest])
        distance = torch.minimum(distance, (points - nearest).square().sum(1))
    return chosen


def k_means(points: Tensor, centres: Tensor, iterations: int = ITERATIONS) -> Tensor:
    """Lloyd's algorithm from given centroids.

    Args:
        points: (N, d), N >= K.
        centres: (K, d), where to begin; cluster k of the answer is what became of row k.
        iterations: At most so many.

    Returns:
        The cluster of every point, (N,) int64; no cluster is empty.
    """
    labels = torch.full((len(points),), -1, device=points.device)
    for _ in range(iterations):
        found = [torch.cdist(some, centres).min(1) for some in points.split(CHUNK)]
        distance, nearest = (torch.cat(parts) for parts in zip(*found, strict=True))
        moved = _fill(nearest, distance, len(centres))
        if torch.equal(moved, labels):
            break
        labels = moved
        centres = centroids(points, labels, len(centres))
    return labels


def _fill(labels: Tensor, distance: Tensor, clusters: int) -> Tensor:
    """Gives every empty cluster the point farthest from its centroid among those that are not alone in theirs."""
    labels, distance = labels.clone(), distance.clone()
    sizes = torch.bincount(labels, minlength=clusters)
    for k in (sizes == 0).nonzero().flatten().tolist():
        farthest = torch.where(sizes[labels] > 1, distance, -1.0).argmax()
        sizes[labels[farthest]] -= 1
        labels[farthest], distance[farthest], sizes[k] = k, 0.0, 1
    return labels
