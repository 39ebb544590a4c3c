"""Coordinates without units: in them the training codes of a group have mean 0 and covariance 1.

A step of a search means the same in them whatever the unit of a code, and however its numbers are mixed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch import distributions as D
from torch.distributions.transforms import Transform, identity_transform
from torch.nn import functional as F

from suite.measuring.families import bare
from suite.measuring.groups import (
    Resolved,
    classes_of,
    encoded,
    holds_integers,
    is_one_hot,
    support_transform,
)
from suite.measuring.priors import Moments
from suite.measuring.stream import normal
from suite.measuring.trust import Frozen

#: Training images from which moments and modes are taken, the first ones: a covariance of 256 numbers is then known to
#: about a percent, and whitening needs no more.
MOST_IMAGES = 10_000
#: Images per pass of the encoder.
CHUNK = 500
#: A direction counts as having at least this share of the largest variance. Standard deviations a thousand apart are a
#: matter of units, and a million apart of rounding: a direction that no training code takes is hardly searched.
FLOOR = 1e-12
#: A group whose standard deviations are below this share of its mean is constant up to rounding.
CONSTANT_BELOW = 1e-6
#: Inputs whose output counts are known to this share of a training deviation. A real number costs nothing here, and in
#: full precision its digits could hold a copy of the image; so it keeps nine bits. Noise of this size takes all pixels
#: of the standard data sets to 65 dB.
BLUR = 1 / 512
#: Beyond so many training deviations the noise grows with the number, and beyond so many there is none: codes that are
#: small on training images alone would else be as precise as they like. Directions that no training code takes are
#: ``FLOOR`` short of others, so that a deviation in them is a millionth.
NEAR, FAR = 8.0, 1e7
#: Unconstrained values of a code on the edge of its support (0 of a positive one) are cut here.
EDGE = 50.0


@dataclass(frozen=True)
class Whitening:
    """The map from whitened coordinates u to a group's values: transform(m + L u).

    Attributes:
        mean: m, (d,) float64.
        factor: L, (d, d), or (d,) where the covariance is a diagonal; float64.
        inverse: L^-1, of the same shape.
        shape: Of one image's values before ``transform``.
        transform: From all real numbers to the group's support.
    """

    mean: Tensor
    factor: Tensor
    inverse: Tensor
    shape: torch.Size
    transform: Transform

    def values(self, u: Tensor) -> Tensor:
        """Returns the group's values (N, ...) at coordinates u (N, d), in the type of u."""
        return self.transform((self.mean.to(u) + _times(u, self.factor.to(u))).view(-1, *self.shape))

    def coordinates(self, values: Tensor) -> Tensor:
        """Returns the coordinates (N, d) of values (N, ...), in their type."""
        return _times(_free(self.transform, values).double() - self.mean, self.inverse).to(values)


def blurred(u: Tensor, rng: torch.Generator) -> Tensor:
    """Returns whitened coordinates (N, d) with noise of deviation ``BLUR``: what a search may know of its inputs.

    A number keeps some nine bits where training codes lie, 13 up to ``NEAR`` and 17 up to ``FAR``.
    """
    u = u.clamp(-FAR, FAR)
    return u + BLUR * (u.abs() / NEAR).clamp_min(1.0) * normal(rng, tuple(u.shape), u.dtype).to(u.device)


def _times(x: Tensor, matrix: Tensor) -> Tensor:
    return x @ matrix.T if matrix.ndim == 2 else x * matrix


def _free(transform: Transform, values: Tensor) -> Tensor:
    """Values without the constraints of their support, flattened."""
    if transform is identity_transform:
        return values.flatten(1)
    return transform.inv(values).flatten(1).clamp(-EDGE, EDGE)


def whiten(moments: Moments, cross: Tensor, shape: torch.Size, transform: Transform) -> Whitening:
    """Returns the whitening that belongs to moments.

    m and L L^T say nothing of the rotation of u, and a search that treats each coordinate by itself, as Adam does,
    moves differently in a rotated frame. So the axes are those along which the coordinates covary most with the
    images, in falling order: any two codes that an invertible affine map takes into each other are then searched alike,
    and of a linear generator the axes are the principal ones.

    Args:
        moments: Mean and covariance of the training codes or posteriors.
        cross: Covariance of codes and images, (d, D); unused where the covariance is a diagonal.
        shape: Of one image's values before ``transform``.
        transform: From all real numbers to the group's support.
    """
    mean, covariance, variances = moments.mean, moments.covariance, moments.variances
    far = float(mean.abs().max()) if len(mean) else 0.0
    if not bool((variances > (CONSTANT_BELOW * far) ** 2).any()):
        variances = torch.full_like(variances, far**2 or 1.0)
        covariance = torch.diag(variances) if moments.full else variances
    if not moments.full:
        scale = variances.clamp_min(FLOOR * variances.max()).sqrt()
        return Whitening(mean, scale, 1 / scale, shape, transform)
    variances, axes = torch.linalg.eigh(covariance)
    scale = variances.clamp_min(FLOOR * variances.amax() if len(mean) else 0).sqrt()
    seen = (axes / scale).T @ cross
    turn = torch.linalg.eigh(seen @ seen.T)[1].flip(1)
    return Whitening(mean, (axes * scale) @ turn, turn.T @ (axes / scale).T, shape, transform)


@dataclass(frozen=True)
class Observed:
    """What training images say of a model's groups.

    Attributes:
        whitenings: Of the real groups.
        modes: Most frequent values of the discrete ones, of the shape of one image's values.
    """

    whitenings: dict[str, Whitening]
    modes: dict[str, Tensor]

    def blurred(self, values: dict[str, Tensor], rng: torch.Generator) -> dict[str, Tensor]:
        """Groups' values (N, ...), the real ones as precise as a search's inputs are."""
        found = dict(values)
        for name, whitening in self.whitenings.items():
            if values[name][0].numel():
                found[name] = whitening.values(blurred(whitening.coordinates(values[name]), rng))
        return found

    def typical(self, name: str, like: Tensor) -> Tensor:
        """The training mean or mode of a group for every row of ``like`` (N, ...), in its type."""
        if name in self.modes:
            return self.modes[name].to(like).expand_as(like)
        whitening = self.whitenings[name]
        return whitening.values(torch.zeros(1, len(whitening.mean), dtype=like.dtype, device=like.device)).expand_as(
            like
        )


def observe(model: Frozen, images: Tensor) -> Observed:
    """Encodes the first ``MOST_IMAGES`` training images (N, C, H, W) and returns their whitenings and modes."""
    images = images[:MOST_IMAGES]
    pixel_means = images.flatten(1).double().mean(0)
    codes: dict[str, Codes] = {}
    counts: dict[str, Tensor] = {}
    modes: dict[str, Tensor] = {}
    for x in images.split(CHUNK):
        centred = x.flatten(1).double() - pixel_means
        for name, (group, value) in encoded(model, x).items():
            if holds_integers(group):
                counts[name] = _counts(group, value) + counts.get(name, 0)
                modes[name] = _mode(group, value, counts[name])
            else:
                codes[name] = codes.get(name, Codes.of(group, value)).add(group, value, centred)
    return Observed({name: code.whitening() for name, code in codes.items()}, modes)


def whiten_codes(codes: Tensor, images: Tensor) -> Whitening:
    """Returns the whitening of codes (N, d) of images (N, ...)."""
    centred = images.flatten(1).double()
    return Codes.of(codes, codes).add(codes, codes, centred - centred.mean(0)).whitening()


@dataclass(frozen=True)
class Codes:
    """Running moments of a real group.

    Attributes:
        moments: Of the values without the constraints of their support.
        within: Sum over images of the posteriors' covariances, (d, d), or of their variances, (d,).
        cross: Sum over images of value times centred image, (d, D), where moments are full.
        shape: Of one image's values before ``transform``.
        transform: From all real numbers to the group's support.
    """

    moments: Moments
    within: Tensor
    cross: Tensor
    shape: torch.Size
    transform: Transform

    @staticmethod
    def of(group: Resolved, value: Tensor) -> Codes:
        """Moments of nothing yet, for values like these."""
        transform = support_transform(group)
        free = transform.inv(value) if len(value) else value
        moments = Moments.empty(free[0].numel(), value.device)
        return Codes(
            moments, torch.zeros_like(moments.covariance), moments.mean.new_zeros(()), free.shape[1:], transform
        )

    def add(self, group: Resolved, value: Tensor, centred: Tensor) -> Codes:
        """Takes in the values (N, ...) of images whose pixels, less their means, are ``centred`` (N, D)."""
        free = _free(self.transform, value)
        cross = self.cross + free.double().T @ centred if self.moments.full else self.cross
        within = (
            self.within + _within(group, self.moments.full) if self.transform is identity_transform else self.within
        )
        return replace(self, moments=self.moments.add(free), cross=cross, within=within)

    def whitening(self) -> Whitening:
        """Of codes their own moments, of posteriors those of their mixture over images."""
        moments = replace(self.moments, covariance=self.moments.covariance + self.within / self.moments.n)
        return whiten(moments, self.cross / self.moments.n, self.shape, self.transform)


def _within(group: Resolved, full: bool) -> Tensor | float:
    """Sum over images of the covariance of a posterior; 0 for a code, and where it has none."""
    if not isinstance(group, D.Distribution):
        return 0.0
    base = bare(group)
    if full and type(base) is D.MultivariateNormal and len(base.batch_shape) == 1:
        return base.covariance_matrix.double().sum(0)
    variances = group.variance.flatten(1).double().sum(0).nan_to_num(0.0, 0.0, 0.0)  # heavy tails have none
    return torch.diag(variances) if full else variances


def _counts(group: Resolved, value: Tensor) -> Tensor:
    """Occurrences of each class at each position, (positions, classes)."""
    if is_one_hot(group):
        return value.sum(0, dtype=torch.float64).reshape(-1, value.shape[-1])
    places = value.reshape(len(value), -1).long().T
    zeros = torch.zeros(len(places), classes_of(group), dtype=torch.float64, device=value.device)
    return zeros.scatter_add_(1, places, torch.ones_like(places, dtype=torch.float64))


def _mode(group: Resolved, value: Tensor, counts: Tensor) -> Tensor:
    best = counts.argmax(1)
    if is_one_hot(group):
        best = F.one_hot(best, counts.shape[1])
    return best.to(value.dtype).reshape(value.shape[1:])
