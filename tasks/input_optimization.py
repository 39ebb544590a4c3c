"""What can the decoder express? Its inputs are optimized for given test images, the encoder set aside.

The question of the inverted auto-encoder's source, asked so that the answer means something: targets inside
[0, 1], eval mode, and a fixed reference, since an error falls with the number of free inputs whatever the model
has learned. The reference is PCA with as many components (Pearson 1901: the best linear generator), clipped.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from suite.contract import Anchor, Measure, Metric, Score, Task, Unsupported
from suite.measuring import (
    MOST_TRIES,
    Found,
    Frozen,
    decode_grey,
    descend,
    grid,
    lay_out,
    principal_axes,
    search,
    typical_values,
)

if TYPE_CHECKING:
    from suite.measuring import Subject

#: Test images: the first of each class, and at most this many in all.
PER_CLASS = 10
TARGETS = 100
#: Adam's step sizes, compared after TRIAL_STEPS steps.
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

    version = 1
    summary = "how well the decoder can express test images, in dB over PCA with as many inputs"
    primary = "gain_db"
    official = True
    requires = ("labels",)
    metrics = (
        Metric("gain_db", "dB", "higher", "psnr over psnr_pca"),
        Metric("psnr", "dB", "higher", "of the best outputs found, all groups free"),
        Metric("psnr_pca", "dB", "", "of clipped PCA with latent_dims components, its inputs searched alike"),
        Metric("psnr_pca_projected", "dB", "", "of the same PCA with the images' own coordinates"),
        Metric("mse", "", "lower", "squared error per pixel"),
        Metric("ssim", "", "higher", "structural similarity"),
        Metric("latent_dims", "", "", "free real inputs per image"),
        Metric("psnr_encoder", "dB", "higher", "of the output for the encoder's own means and codes"),
        Metric("encoder_gap", "dB", "lower", "psnr over psnr_encoder: what the encoder leaves unused"),
        Metric("psnr_core", "dB", "higher", "with the core group alone free, the others at their prior mean"),
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
            "start": "prior mean given the earlier groups, else the mean of the training codes",
            "optimizer": f"Adam on squared error, {FULL_STEPS} steps ({steps}); the last step counts",
            "step size": f"one of {', '.join(map(str, STEP_SIZES))}, by the error after {TRIAL_STEPS} steps",
            "categories": f"groups of one category each are tried out, up to {MOST_TRIES} combinations",
            "other discrete groups": "keep the image's own encoded value",
            "core alone": "every other group at its prior mean or mode, else the training mean or mode",
            "reference": "PCA of the training split with as many components as free inputs, clipped to [0, 1]",
            "reference's inputs": "searched alike from the images' own coordinates; the better of both counts",
            "PSNR": f"mean over images, each capped at {CAP_DB:g} dB",
            "SSIM": "Wang et al. 2004: Gaussian window of sigma 1.5, data range 1",
            "untrained": f"in the cell of seed {UNTRAINED_SEED}, for models trained by gradient steps",
        }

    def score(self, subject: Subject) -> Score:
        test, train = subject.dataset.test, subject.dataset.train.grey
        x = test.grey[pick_targets(test.labels)]
        steps = STEPS.get(subject.budget, FULL_STEPS)
        arms = _Arms(subject.model, train, x, steps)
        trained, dims, notes = arms.all_free()
        outputs = {"targets": x, "trained": trained.images, "projected": pca_outputs(train, x, dims)}
        outputs["pca"] = pca_searched(train, x, dims, steps)
        outputs["encoder"] = decode_grey(subject.model, subject.model.means(x))
        found = {"trained": trained}
        if (core := arms.core_free()) is not None:
            found["core"], outputs["core"] = core, core.images
        if subject.seed == UNTRAINED_SEED and subject.model.trainable:
            found["random"] = _Arms(subject.untrained(), train, x, steps).all_free()[0]
            outputs["random"] = found["random"].images
        score = measure(outputs, dims)
        score.notes = [f"step size {trained.step_size:g}", *notes]
        score.curves = {name: _thinned(arm.curve) for name, arm in found.items()}
        shown = [outputs[n][::PICTURE_EVERY] for n in ("targets", "trained", "core", "pca", "random") if n in outputs]
        score.pictures = {"inputs": grid(shown)}
        return score


class _Arms:
    """The searches in one model's decoder."""

    def __init__(self, model: Frozen, train: Tensor, x: Tensor, steps: int) -> None:
        self.model, self.x, self.steps = model, x, steps
        self.typical = functools.cache(lambda: typical_values(model, train))

    def all_free(self) -> tuple[Found, int, list[str]]:
        """The search with every group free, its number of real inputs, and what a reader must know.

        Raises:
            Unsupported: If there is nothing to optimize.
        """
        start = lay_out(self.model, self.x, self.typical)
        if not start.order:
            raise Unsupported("no latents to optimize")
        if not start.free:
            raise Unsupported("discrete groups only: nothing to optimize")
        notes = [f"group '{name}' keeps the image's own encoded value" for name in start.kept]
        if start.tries > 1:
            notes.append(f"best of {start.tries} combinations of categories")
        return self._search(start), start.dims, notes

    def core_free(self) -> Found | None:
        """The search with the core alone free; None where it is the only group, or discrete."""
        start = lay_out(self.model, self.x, self.typical, only=self.model.core)
        return self._search(start) if len(start.order) > 1 and start.free else None

    def _search(self, start: Any) -> Found:
        return search(self.model, start, self.x, STEP_SIZES, TRIAL_STEPS, self.steps)


def measure(outputs: dict[str, Tensor], dims: int) -> Score:
    """Compares outputs (N, C, H, W) in [0, 1] with ``outputs["targets"]``.

    Args:
        outputs: ``targets``, ``trained``, ``pca``, ``projected``, ``encoder``; where they exist ``core``, ``random``.
        dims: Free real inputs per image.
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
        "encoder_gap": psnr["trained"] - psnr["encoder"],
    }
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


def pca_outputs(train: Tensor, x: Tensor, components: int) -> Tensor:
    """Returns x (N, C, H, W) seen through the first principal components of ``train``, clipped to [0, 1]."""
    mean, axes, _ = principal_axes(train.flatten(1), components)
    centred = x.flatten(1).double() - mean
    return (mean + centred @ axes @ axes.T).clamp(0, 1).to(x.dtype).view_as(x)


def pca_searched(train: Tensor, x: Tensor, components: int, steps: int) -> Tensor:
    """Returns the best outputs (N, C, H, W) of clipped PCA: its inputs optimized as a model's are.

    The search starts at the images' own coordinates, and the better of start and end counts for each image. From as
    many components as pixels on the start is exact already.
    """
    mean, axes, _ = (part.to(x.dtype) for part in principal_axes(train.flatten(1), components))
    target, coordinates = x.flatten(1), {"z": (x.flatten(1) - mean) @ axes}
    if components >= target.shape[1]:
        return pca_outputs(train, x, components)

    def output(inputs: dict[str, Tensor]) -> Tensor:
        return (mean + inputs["z"] @ axes.T).clamp(0, 1)

    def errors(inputs: dict[str, Tensor]) -> Tensor:
        return (output(inputs) - target).square().sum(1)

    size = min(STEP_SIZES, key=lambda s: float(descend(errors, coordinates, s, TRIAL_STEPS)[1][-1].sum()))
    found, history = descend(errors, coordinates, size, steps)
    better = (history[-1] < history[0]).unsqueeze(1)
    return torch.where(better, output(found), output(coordinates)).view_as(x)


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
