"""Spectrum: at which scales does a reconstruction err, and which group carries which scale?

A mean squared error is dominated by the few low frequencies that hold most of an image's energy. Here the residual
is split by the discrete Fourier transform into octaves of spatial frequency, each measured against what the pixel
marginals leave there, and each group is put to the test by another image's. Ranked are the high octaves, on which
other errors are silent.

The residual is the one to the grey image, though the model has seen only bits: the noise of binarization is
white, so against the bits it would drown every high octave, and copying it would be the best that can be done. Here
it is an error.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from suite.contract import Anchor, Measure, Metric, Score, Task
from suite.measuring import BATCH, Channel, Subject, batches, fit_channel, grid

#: The first test images, at most.
IMAGES = 2000
#: The first octave of the high frequencies: more than 4 cycles per image, strokes and edges rather than layout.
HIGH_FROM = 4
#: Transmissions of each image; intact and shuffled decodings share them.
DRAWS = 2
SHOWN = 12

Values = dict[str, Tensor]


def octaves(height: int, width: int) -> Tensor:
    """The octave of every coefficient of the DFT, int64 (height, width).

    Octave 0 is the mean (frequency 0), octave 1 a frequency of 1 cycle per image, octave k > 1 the frequencies
    r = sqrt(u^2 + v^2) with 2^(k-2) < r <= 2^(k-1). The last begins at the largest power of two below the Nyquist
    frequency and reaches into the corners, so that every coefficient is in exactly one.
    """
    u, v = (torch.fft.fftfreq(n).mul(n).round().long() for n in (height, width))
    squared = u.square().unsqueeze(1) + v.square()
    last, octave = min(height, width) // 2, (squared > 0).long()
    edge = 1
    while edge < last:
        octave += squared > edge**2
        edge *= 2
    return octave


def energy(residual: Tensor) -> Tensor:
    """Energy of images (N, C, H, W) in each octave, (N, octaves) float64; the octaves sum to the squared norm.

    The transform is orthonormal, so that is Parseval's theorem; the channels are summed.
    """
    spectrum = torch.fft.fft2(residual.double(), norm="ortho").abs().square().sum(1).flatten(1)
    index = octaves(*residual.shape[-2:]).flatten().to(residual.device)
    return spectrum.new_zeros(len(spectrum), int(index.max()) + 1).index_add(1, index, spectrum)


def band(images: Tensor, octave: int) -> Tensor:
    """The part of images (N, C, H, W) that lies in one octave."""
    keep = octaves(*images.shape[-2:]).to(images.device) == octave
    return torch.fft.ifft2(torch.fft.fft2(images) * keep).real


def high_frequency_error(errors: Tensor) -> Tensor:
    """Mean error (N, octaves) over the octaves from ``HIGH_FROM``, none worse than the floor: (N,), 1 for the floor.

    An octave whose mean over images exceeds 1 counts 1 for every image: a wrong detail is no worse than none. Where
    the images hold next to nothing, the ratio would otherwise be all that counts.
    """
    high = errors[:, HIGH_FROM:]
    return torch.where(high.mean(0) > 1, 1.0, high).mean(1)


class Spectrum(Task):
    """The error of a reconstruction, and the contribution of each group, by octave of spatial frequency."""

    version = 1
    summary = "error of the reconstruction in fine detail, over that of the pixel marginals"
    primary = "high_frequency_error"
    metrics = (
        Metric(
            "high_frequency_error",
            "",
            "lower",
            f"mean error of the octaves from {HIGH_FROM} on, each at most 1; ranked",
        ),
        Metric("error/*", "", "lower", "squared residual in an octave, over that of the pixel marginals"),
        Metric("rise/*", "", "", "rise of an octave's error when a group is another image's"),
        Metric("energy/*", "", "", "share of an octave in the squared residual of the pixel marginals"),
        Metric("floor", "", "", "high_frequency_error of the pixel marginals"),
    )
    anchors = (
        Anchor("floor", "1 in every octave: the pixel marginals"),
        Anchor("exact", "0: the grey image itself, which nobody can know from its bits"),
        Anchor("copy", "in each octave the energy of the binarization's noise: the bits are not the image"),
    )

    def card(self) -> dict[str, Any]:
        return {
            "images": f"the first {IMAGES:,} of the test split, binarized, through the channel and calibration of nats",
            "residual": "grey image - calibrated probability",
            "transform": "orthonormal 2-D DFT of each channel",
            "octaves": "cycles per image: 0, 1, (1, 2], (2, 4], (4, 8], (8, corners] for 28 x 28",
            "error": "energy of the residual over that of the pixel marginals' residual, summed over images",
            "ranked": f"mean error of the octaves from {HIGH_FROM} on, each at most 1; not charged: see nats",
            "shuffle": "each image gets the group of the image half the test images further on",
            "transmissions per image": DRAWS,
            "images per pass": BATCH,
        }

    def score(self, subject: Subject) -> Score:
        experiment = _Experiment(subject, fit_channel(subject))
        errors = experiment.errors()
        value = high_frequency_error(errors)
        score = Score({"high_frequency_error": Measure.mean(value), "floor": Measure(1.0)})
        score.per_image = {"high_frequency_error": value.cpu().numpy()}
        for k, share in enumerate(experiment.floor / experiment.floor.sum()):
            score.metrics[f"energy/octave_{k}"] = Measure(float(share))
            score.metrics[f"error/octave_{k}"] = Measure.mean(errors[:, k])
            score.per_image[f"error/octave_{k}"] = errors[:, k].cpu().numpy()
        for name in experiment.groups:
            rise = experiment.errors(shuffled=name) - errors
            for k, column in enumerate(rise.T):
                score.metrics[f"rise/{name}/octave_{k}"] = Measure.mean(column)
        if not experiment.groups:
            score.notes.append("no latents: nothing to shuffle")
        score.pictures["octaves"] = experiment.picture()
        return score


class _Experiment:
    """The test images sent once (``DRAWS`` times) through the channel, to be decoded with a group shuffled."""

    def __init__(self, subject: Subject, channel: Channel) -> None:
        self.channel, test = channel, subject.dataset.test
        self.grey, bits = test.grey[:IMAGES], test.binary[:IMAGES]
        self.sent: list[Values] = []
        for k in range(DRAWS):
            parts = [
                channel.send(channel.model.encode(b), len(b), subject.rng("spectrum", k, i)).values
                for i, (b,) in enumerate(batches(bits))
            ]
            self.sent.append({n: torch.cat([p[n] for p in parts]) for n in parts[0]})
        self.groups = list(self.sent[0])
        marginals = channel.calibration.floor.sigmoid()
        self.floor = energy(self.grey - marginals).mean(0).clamp_min(torch.finfo(torch.float32).tiny)

    def errors(self, shuffled: str | None = None) -> Tensor:
        """Energy of each image's residual, over the floor's mean, (N, octaves), with a group shuffled or none."""
        found = [energy(self.grey - self.outputs(values, shuffled)) for values in self.sent]
        return torch.stack(found).mean(0) / self.floor

    def outputs(self, values: Values, shuffled: str | None = None) -> Tensor:
        """Calibrated probabilities, (N, C, H, W)."""
        if shuffled is not None:
            values = values | {shuffled: values[shuffled].roll(len(self.grey) // 2, 0)}
        parts = []
        for start in range(0, len(self.grey), BATCH):
            part = {name: value[start : start + BATCH] for name, value in values.items()}
            parts.append(self.channel.logits(part, min(BATCH, len(self.grey) - start)).sigmoid())
        return torch.cat(parts)

    def picture(self) -> Tensor:
        """Rows: image and reconstruction, whole, then octave by octave (grey is 0, contrast stretched)."""
        x, y = self.grey[:SHOWN], self.outputs(self.sent[0])[:SHOWN]
        rows = [x, y]
        for k in range(1, len(self.floor)):
            bands = [band(images, k) for images in (x, y)]
            rows += [0.5 + 0.5 * b / bands[0].abs().amax().clamp_min(1e-6) for b in bands]
        return grid(rows)
