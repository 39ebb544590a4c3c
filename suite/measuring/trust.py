"""The frozen baseline as tasks see it: nothing it hands over is trusted.

Every distribution is rebuilt from its detached parameters (exact types only, validated), every tensor is
checked and copied, and the model sees freshly made tensors only: an overridden sampler, an overwritten
logit, a state kept between calls has no way into a score.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor
from torch import distributions as D

from suite.data import DataSpec
from suite.errors import ContractError, Unsupported
from suite.measuring.families import mode, rebuild
from suite.training import Baseline, Discrete, Group, Values


class Player(Protocol):
    """Who answers for a model that is not in this process, with the methods of a baseline; nothing of it is trusted.

    Attributes:
        name: For messages.
        spec: What it may know of the data.
        core: The group that is meant to hold the content.
        supervision: As declared.
        device: Where it takes and gives tensors.
        trainable: Whether it has a loss.
        own_features: Whether it says itself what a probe reads.
    """

    name: str
    spec: DataSpec
    core: str
    supervision: str
    device: torch.device
    trainable: bool
    own_features: bool

    def state_dict(self) -> Mapping[str, Tensor]: ...

    def fitting(self) -> AbstractContextManager[None]: ...

    def encode(self, x: Tensor) -> Mapping[str, Any]: ...

    def prior(self, name: str, earlier: Values) -> D.Distribution | None: ...

    def decode(self, values: Values) -> Tensor: ...

    def features(self, values: Values) -> Tensor: ...


#: Positions times classes of a discrete group: the suite counts how often each occurs, and reads each as an indicator.
MOST_COUNTS = 2**24
#: Features of an image: beyond 4,096 the probe reads random sums of them.
MOST_FEATURES = 2**18


class Frozen:
    """A trained baseline in eval mode, without gradients of its own, whose every answer is checked.

    Args:
        baseline: The model; it is put in eval mode and its parameters stop requiring gradients.
        name: For error messages.
    """

    def __init__(self, baseline: Baseline | Player, name: str = "") -> None:
        self._model = baseline.eval().requires_grad_(False) if isinstance(baseline, Baseline) else baseline
        self.name = name or getattr(baseline, "name", type(baseline).__name__)
        self.spec = baseline.spec
        self.core = baseline.core
        self.supervision = baseline.supervision

    @property
    def device(self) -> torch.device:
        """Where the model's tensors live."""
        if not isinstance(self._model, Baseline):
            return self._model.device
        tensors = [*self._model.parameters(), *self._model.buffers()]
        return tensors[0].device if tensors else torch.device("cpu")

    @property
    def trainable(self) -> bool:
        """Whether the baseline has a loss, so that an untrained twin of it means something."""
        if not isinstance(self._model, Baseline):
            return self._model.trainable
        return type(self._model).loss is not Baseline.loss

    @property
    def own_features(self) -> bool:
        """Whether the baseline says itself what a probe reads."""
        if not isinstance(self._model, Baseline):
            return self._model.own_features
        return getattr(self._model.features, "__func__", None) is not Baseline.features

    @contextlib.contextmanager
    def fitting(self) -> Iterator[None]:
        """Says that all that is asked inside the block comes from training images; a guest may then stay seated."""
        with self._model.fitting() if not isinstance(self._model, Baseline) else contextlib.nullcontext():
            yield

    def parameter_hash(self) -> str:
        """SHA-256 of all parameters and buffers: proof that a measurement left the model as it was."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self._model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def encode(self, x: Tensor) -> dict[str, Group]:
        """Encodes images (N, C, H, W); every group is checked, detached and rebuilt.

        Ancestral groups come back as functions; ``resolve`` calls them.

        Raises:
            ContractError: With the group, the shape expected and the shape found.
        """
        with torch.no_grad():
            latents = self._model.encode(x.clone())
        if not isinstance(latents, Mapping) or not all(isinstance(name, str) for name in latents):
            raise ContractError(
                f"{self.name}.encode: expected a mapping of group names, found {type(latents).__name__}"
            )
        if latents and self.core not in latents:
            raise ContractError(f"{self.name}.encode: no group named as core '{self.core}' among {', '.join(latents)}")
        return {
            name: group if _is_ancestral(group) else self._check(name, group, len(x)) for name, group in latents.items()
        }

    def resolve(self, name: str, group: Group, earlier: Values, n: int) -> D.Distribution | Tensor | Discrete:
        """Returns the group itself, or what an ancestral group is given the values of the earlier ones."""
        if not _is_ancestral(group):
            return group  # type: ignore[return-value]
        with torch.no_grad():
            return self._check(name, group(_fresh(earlier)), n)  # type: ignore[operator]

    def _check(self, name: str, group: object, n: int) -> D.Distribution | Tensor | Discrete:
        where = f"{self.name}.encode['{name}']"
        if isinstance(group, D.Distribution):
            q = rebuild(group, where)
            if not q.batch_shape or q.batch_shape[0] != n:
                raise ContractError(f"{where}: expected a batch of {n}, found batch shape {tuple(q.batch_shape)}")
            return q
        if type(group) is Discrete:
            return Discrete(_check_integers(where, group.values, group.classes, n), int(group.classes))
        if isinstance(group, Tensor) and group.is_floating_point():
            code = torch.as_tensor(group.detach()).clone()
            if code.shape[:1] != (n,):
                raise ContractError(f"{where}: expected {n} rows, found shape {tuple(code.shape)}")
            if not all_finite(code):
                raise ContractError(f"{where}: the code is not finite")
            return code
        raise ContractError(
            f"{where}: expected a Distribution, a floating tensor or Discrete, found {_describe(group)}"
        )

    def prior(self, name: str, earlier: Values) -> D.Distribution | None:
        """Returns the rebuilt prior of a group, or None where the baseline leaves it to the suite."""
        with torch.no_grad():
            prior = self._model.prior(name, _fresh(earlier))
        if prior is None:
            return None
        if not isinstance(prior, D.Distribution):
            raise ContractError(
                f"{self.name}.prior('{name}'): expected a Distribution or None, found {_describe(prior)}"
            )
        return rebuild(prior, f"{self.name}.prior('{name}')")

    def decode(self, values: Values, *, gradients: bool = False) -> Tensor:
        """Returns the pixel logits (N, C, H, W) of freshly made copies of ``values``.

        Args:
            values: One tensor (N, ...) per group.
            gradients: Keep the graph, for fits and gradients with respect to ``values``.

        Raises:
            ContractError: If the shape is wrong or a logit is not finite.
        """
        n = len(next(iter(values.values()))) if values else 1
        with torch.set_grad_enabled(gradients):
            logits = self._model.decode({name: value.clone() for name, value in values.items()})
        expected = (n, *self.spec.shape)
        if not isinstance(logits, Tensor) or not logits.is_floating_point() or tuple(logits.shape) != expected:
            raise ContractError(f"{self.name}.decode: expected floating logits {expected}, found {_describe(logits)}")
        if not all_finite(logits.detach()):
            raise ContractError(f"{self.name}.decode: the logits are not finite")
        return logits if gradients else logits.detach()

    def features(self, values: Values) -> Tensor:
        """Returns the probe's features (N, d), computed from the core group alone."""
        core = {self.core: values[self.core].clone()}
        with torch.no_grad():
            features = self._model.features(core)
        n = len(core[self.core])
        if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != n:
            raise ContractError(f"{self.name}.features: expected ({n}, d), found {_describe(features)}")
        if features.shape[1] > MOST_FEATURES:
            raise ContractError(f"{self.name}.features: {features.shape[1]:,} an image, at most {MOST_FEATURES:,}")
        if not all_finite(features):
            raise ContractError(f"{self.name}.features: not finite")
        return features.detach().float()

    def means(self, x: Tensor) -> dict[str, Tensor]:
        """Encodes without noise: posterior means, deterministic codes, most probable discrete values."""
        values: dict[str, Tensor] = {}
        for name, group in self.encode(x).items():
            resolved = self.resolve(name, group, values, len(x))
            if isinstance(resolved, D.Distribution):
                values[name] = mode(resolved)
            else:
                values[name] = resolved.values if isinstance(resolved, Discrete) else resolved
        return values

    def unwrap(self) -> Baseline:
        """The model itself, for arms that train a copy of it. Never for a number that is reported.

        Raises:
            Unsupported: For a guest, which is not here.
        """
        if not isinstance(self._model, Baseline):
            raise Unsupported("trains a copy of the model, and a model from outside stays in its own processes")
        return self._model


def all_finite(x: Tensor) -> bool:
    """Whether no number is infinite or NaN: the sum says so for a tenth of the time, unless it overflows itself."""
    return bool(x.sum().isfinite()) or bool(x.isfinite().all())


def _is_ancestral(group: object) -> bool:
    return isinstance(group, Callable) and not isinstance(group, D.Distribution | Tensor | Discrete)  # type: ignore[arg-type]


def _fresh(values: Values) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in values.items()}


def _describe(thing: object) -> str:
    return f"{thing.dtype} {tuple(thing.shape)}" if isinstance(thing, Tensor) else type(thing).__name__


def _check_integers(where: str, values: Tensor, classes: int, n: int) -> Tensor:
    if values.is_floating_point() or values.shape[:1] != (n,):
        raise ContractError(f"{where}: expected {n} rows of integers, found {_describe(values)}")
    code = values.detach().long().clone()
    if code.numel() and (int(code.min()) < 0 or int(code.max()) >= classes):
        raise ContractError(f"{where}: values outside [0, {classes})")
    if code[:1].numel() * classes > MOST_COUNTS:
        raise ContractError(
            f"{where}: {code[:1].numel()} positions of {classes:,} classes: at most {MOST_COUNTS:,} in all"
        )
    return code
