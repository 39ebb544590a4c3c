"""What can the decoder express? Its inputs are optimized for given test images, the encoder set aside.

The question of the inverted auto-encoder's source, asked so that the answer means something: targets inside
[0, 1], eval mode, and a fixed reference, since an error falls with the number of free inputs whatever the model
has learned. The reference is PCA with as many components (Pearson 1901: the best linear generator), clipped and
searched alike. The search knows no units, nothing that is taken from the image is free, and no number is known to more
than nine bits.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from suite.contract import Anchor, Measure, Metric, Score, Task, Unsupported
from suite.measuring import (
    BLUR,
    MOST_IMAGES,
    MOST_TRIES,
    Found,
    Frozen,
    Start,
    decode_grey,
    fit_linear,
    grid,
    lay_out,
    linear_outputs,
    model_decoder,
    nearer,
    observe,
    search,
)

if TYPE_CHECKING:
    from suite.measuring import Subject

#: Test images: the first of each class, and at most this many in all.
PER_CLASS = 10
TARGETS = 100
#: Adam's step sizes in whitened coordinates, compared after TRIAL_STEPS steps.
STEP_SIZES = (0.3, 0.1, 0.03, 0.01)
TRIAL_STEPS = 50
#: Steps of the search, by budget and otherwise.
STEPS = {"smoke": 50, "quick": 150}
FULL_STEPS = 500
#: PSNR counts up to here: beyond it lies rounding.
CAP_DB = 60.0
#: The seed whose cell also measures the untrained decoder.
UNTRAINED_SEED = 0
#: Curves keep every so many steps; the picture shows every so many targets.
CURVE_EVERY = 10
PICTURE_EVERY = 5


class InputOptimization(Task):
    """PSNR of the best outputs found, in dB over the best linear generator with as many inputs."""

    version = 3
    summary = "how well the decoder can express test images, in dB over PCA with as many inputs"
    primary = "gain_db"
    official = True
    requires = ("labels",)
    metrics = (
        Metric("gain_db", "dB", "higher", "psnr over psnr_pca"),
        Metric("psnr", "dB", "higher", "of the best outputs found, all real groups free"),
        Metric("psnr_pca", "dB", "", "of clipped PCA with latent_dims components, its inputs searched alike"),
        Metric("psnr_pca_projected", "dB", "", "of the same PCA with the images' own coordinates"),
        Metric("mse", "", "lower", "squared error per pixel"),
        Metric("ssim", "", "higher", "structural similarity"),
        Metric("latent_dims", "", "", "free real inputs per image, and one for each group that is tried out"),
        Metric("psnr_encoder", "dB", "higher", "of the output for the encoder's own means and codes"),
        Metric("psnr_given_discrete", "dB", "higher", "of the best found with the image's own discrete values"),
        Metric(
            "encoder_gap", "dB", "lower", "what the encoder leaves unused: the best with its discrete values over it"
        ),
        Metric(
            "psnr_core", "dB", "higher", "with the core group alone free, the others at their training mean or mode"
        ),
        Metric("psnr_random", "dB", "", "the same search in the untrained decoder"),
        Metric("gain_over_random", "dB", "higher", "psnr over psnr_random"),
    )
    anchors = (
        Anchor("floor", "the mean training image, which PCA with no component gives; 12.0 dB on MNIST"),
        Anchor("pca", "gain_db 0: the reference itself; projected only, 16.7 dB with 20 components on MNIST"),
        Anchor(
            "raw_pixels", f"an identity decoder: PCA of all pixels is exact ({CAP_DB:g} dB), so its gain is at most 0"
        ),
    )

    def card(self) -> dict[str, Any]:
        steps = ", ".join(f"{budget} {count}" for budget, count in STEPS.items())
        return {
            "targets": f"first {PER_CLASS} test images of each class, {TARGETS} at most, grey",
            "coordinates": f"whitened by the group's codes or posteriors of {MOST_IMAGES:,} training images at most",
            "starts": "training mean and encoder's own code; the best over starts and steps counts for each image",
            "precision": f"outputs that count are of inputs with noise of 1/{1 / BLUR:g} training deviation",
            "optimizer": f"Adam on squared error, {FULL_STEPS} steps ({steps})",
            "step size": f"one of {', '.join(map(str, STEP_SIZES))} a start, by the error after {TRIAL_STEPS} steps",
            "categories": f"groups of one category each are tried out, up to {MOST_TRIES} combinations",
            "other discrete groups": "held at their training mode; psnr_given_discrete alone has the image's own",
            "core alone": "every other group at its training mean or mode",
            "reference": "PCA of the training split with as many components as free inputs, clipped to [0, 1]",
            "reference's inputs": "a tried group counts as one; searched alike, also around as many centroids",
            "PSNR": f"mean over images, each capped at {CAP_DB:g} dB",
            "SSIM": "Wang et al. 2004: Gaussian window of sigma 1.5, data range 1",
            "untrained": f"in the cell of seed {UNTRAINED_SEED}, for models trained by gradient steps",
        }

    def score(self, subject: Subject) -> Score:
        test, train = subject.dataset.test, subject.dataset.train.grey
        x = test.grey[pick_targets(test.labels)]
        steps = STEPS.get(subject.budget, FULL_STEPS)
        arms = _Arms(subject.model, train, x, steps, subject.rng)
        found = {"trained": arms.all_free(), "given": arms.given_discrete(), "core": arms.core_free()}
        if subject.seed == UNTRAINED_SEED and subject.model.trainable:
            found["random"] = _Arms(subject.untrained(), train, x, steps, subject.rng).all_free("random")
        searched = {name: arm for name, arm in found.items() if arm is not None}
        outputs = {"targets": x, "encoder": arms.encoder} | {name: arm.images for name, arm in searched.items()}
        outputs["pca"], outputs["projected"] = pca_outputs(
            train, x, arms.start.dims, steps, *arms.start.tries, rng=subject.rng("inputs", "pca")
        )
        score = measure(outputs, arms.start.dims + len(arms.start.tries))
        score.notes = _notes(arms.start, searched["trained"], steps)
        score.curves = {name: _thinned(arm.curve) for name, arm in searched.items()}
        shown = [outputs[n][::PICTURE_EVERY] for n in ("targets", "trained", "core", "pca", "random") if n in outputs]
        score.pictures = {"inputs": grid(shown)}
        return score


class _Arms:
    """The searches in one model's decoder; ``rng`` gives each a generator by its name."""

    def __init__(
        self, model: Frozen, train: Tensor, x: Tensor, steps: int, rng: Callable[..., torch.Generator]
    ) -> None:
        self.model, self.x, self.steps, self.rng = model, x, steps, rng
        if not model.means(x[:1]):
            raise Unsupported("no latents to optimize")
        self.observed = observe(model, train)
        self.start = lay_out(model, x, self.observed)
        if not self.start.dims:
            raise Unsupported("no free real input: nothing to optimize")
        self.encoder = decode_grey(model, self.observed.blurred(model.means(x), rng("inputs", "encoder")))

    def all_free(self, name: str = "trained") -> Found:
        """The search with every real group free."""
        found = self._search(self.start, name)
        return found if self.start.held else found.or_nearer(self.encoder, self.x)

    def given_discrete(self) -> Found | None:
        """The same with the image's own discrete values; None where there are none."""
        if not self.start.tries and not self.start.held:
            return None
        start = lay_out(self.model, self.x, self.observed, given_discrete=True)
        return self._search(start, "given").or_nearer(self.encoder, self.x)

    def core_free(self) -> Found | None:
        """The search with the core alone free; None where it is the only group, or has no real numbers."""
        if len(self.start.order) == 1 or self.model.core not in self.start.free:
            return None
        return self._search(lay_out(self.model, self.x, self.observed, only=self.model.core), "core")

    def _search(self, start: Start, name: str) -> Found:
        rng = self.rng("inputs", name)
        return search(model_decoder(self.model), start, self.x, STEP_SIZES, TRIAL_STEPS, self.steps, rng)


def _notes(start: Start, found: Found, steps: int) -> list[str]:
    sizes = Counter(found.step_sizes.tolist())
    notes = ["step sizes " + ", ".join(f"{size:g} ({count} images)" for size, count in sizes.most_common())]
    if start.tries:
        notes.append(f"best of {math.prod(start.tries)} combinations of categories")
    notes += [f"group '{name}' is held at its training mode" for name in start.held]
    if len(found.curve) <= steps:
        notes.append(f"the decoder's output stopped being finite after step {len(found.curve) - 1}")
    return notes


def measure(outputs: dict[str, Tensor], dims: int) -> Score:
    """Compares outputs (N, C, H, W) in [0, 1] with ``outputs["targets"]``.

    Args:
        outputs: ``targets``, ``trained``, ``pca``, ``projected``, ``encoder``; where they exist ``given``, ``core``,
            ``random``.
        dims: Inputs per image.
    """
    x = outputs["targets"]
    psnr = {name: decibels(output, x) for name, output in outputs.items()}
    values = {
        "gain_db": psnr["trained"] - psnr["pca"],
        "psnr": psnr["trained"],
        "psnr_pca": psnr["pca"],
        "psnr_pca_projected": psnr["projected"],
        "mse": (outputs["trained"] - x).square().flatten(1).mean(1),
        "ssim": similarity(outputs["trained"], x),
        "psnr_encoder": psnr["encoder"],
        "encoder_gap": psnr.get("given", psnr["trained"]) - psnr["encoder"],
    }
    if "given" in psnr:
        values["psnr_given_discrete"] = psnr["given"]
    if "core" in psnr:
        values["psnr_core"] = psnr["core"]
    if "random" in psnr:
        values["psnr_random"], values["gain_over_random"] = psnr["random"], psnr["trained"] - psnr["random"]
    score = Score({name: Measure.mean(value) for name, value in values.items()})
    score.metrics["latent_dims"] = Measure(float(dims))
    score.per_image = {name: value.cpu().numpy() for name, value in values.items()}
    return score


def pick_targets(labels: Tensor) -> Tensor:
    """Returns the positions of the first images of each class, spread evenly where there are many classes."""
    classes = labels.unique()
    if len(classes) > TARGETS:
        classes = classes[torch.linspace(0, len(classes) - 1, TARGETS, device=labels.device).long()]
    share, rest = divmod(TARGETS, len(classes))
    picked = [
        (labels == label).nonzero().flatten()[: min(PER_CLASS, share + (rank < rest))]
        for rank, label in enumerate(classes)
    ]
    return torch.cat(picked)


def pca_outputs(
    train: Tensor, x: Tensor, dims: int, steps: int, *tries: int, rng: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Returns the best outputs of the linear reference for images x, and those of its projections, (N, C, H, W) each.

    Args:
        train: Training images (N, C, H, W).
        x: Target images.
        dims: Free real inputs of the model.
        steps: Of the search.
        tries: Sizes of the model's categorical groups that are tried out: each counts as one more input, and all
            their combinations as so many centroids, each with ``dims`` components of what they leave over.
        rng: The suite's own noise.
    """
    references = [fit_linear(train.flatten(1), dims + len(tries))]
    if tries:
        references.append(fit_linear(train.flatten(1), dims, math.prod(tries)))
    found = [linear_outputs(linear, train, x, STEP_SIZES, TRIAL_STEPS, steps, rng) for linear in references]
    searched, projected = zip(*found, strict=True)
    return nearer(x, *searched), nearer(x, *projected)


def decibels(output: Tensor, x: Tensor) -> Tensor:
    """PSNR of each image (N,), in dB for intensities in [0, 1], capped."""
    mse = (output - x).double().square().flatten(1).mean(1)
    return -10 * mse.clamp_min(10 ** (-CAP_DB / 10)).log10()


def similarity(output: Tensor, x: Tensor) -> Tensor:
    """SSIM of each image (N,) (Wang et al. 2004, with its Gaussian window)."""
    from skimage.metrics import structural_similarity

    pairs = zip(output.cpu().double().numpy(), x.cpu().double().numpy(), strict=True)
    return torch.tensor([
        structural_similarity(
            a, b, channel_axis=0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1
        )
        for a, b in pairs
    ])  # fmt: skip


def _thinned(curve: Tensor) -> list[tuple[float, float]]:
    steps = sorted({*range(0, len(curve), CURVE_EVERY), len(curve) - 1})
    return [(float(step), float(curve[step])) for step in steps]
